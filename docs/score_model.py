"""Score a bundled model on runs and keep the scores in its card: `python docs/score_model.py MODEL RUN.h5 ...`.

Each run file is one of `protohalos simulate`; its seed decides what the card says of it. `--reference DIR` adds the
TreePM run that DIR holds as treepm96_ics.hdf5 and treepm96.h5. Afterwards: `python docs/write_scores.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

import yt_protohalos as ph
from yt_protohalos.analysis.block_counts import count_box
from yt_protohalos.analysis.score_tables import score_table
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.registry import load_card, write_card
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.export import score_model
from yt_protohalos.yt_interface.predict import predict_field


def title(card: ModelCard, seed: int, sigma_8: float) -> str:
    """How a run stands to a model."""
    seen = {run["seed"] for run in card.training["runs"]}
    tuned = {run["seed"] for run in card.training["validation"]}
    if seed in seen:
        raise SystemExit(f"the model was trained on run {seed}; score it on another")
    chosen = "threshold and clustering" if card.separates_haloes else "threshold"
    what = f"{chosen} chosen on it" if seed in tuned else "neither trained nor tuned on"
    amplitude = "" if sigma_8 == card.cosmology.sigma_8 else f"sigma_8 = {sigma_8:g}, "
    return f"run {seed} ({amplitude}{what})"


def named_validation(card: ModelCard) -> dict[str, Any]:
    """Scores of the card, those that `protohalos bundle` measured under the names of their runs."""
    scores = dict(card.scores)
    measured = scores.pop("validation", [])
    runs = card.training["validation"]
    named = [title(card, run["seed"], run.get("sigma_8", card.cosmology.sigma_8)) for run in runs]
    return {**dict(zip(named, measured, strict=bool(measured))), **scores}


def score(predictor: ph.ProtohaloPredictor, run: LabelledField) -> dict[str, Any]:
    """Scores on a run; predictions are kept in the cache, where `protohalos validate` finds them too."""
    if not predictor.card.separates_haloes:
        return score_model(predictor, [run], progress=False)[0]
    found = predict_field(run.field, predictor, progress=False)
    counts = count_box(
        found.labels, run.labels, run.field.lattice, run.field.site_mass_msun_h, mask=found.mask,
        probability=found.probability,
    )  # fmt: skip
    return score_table(counts)


def main() -> None:
    """Score and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--reference", type=Path)
    args = parser.parse_args()
    card, folder = load_card(args.model)
    predictor = ph.ProtohaloPredictor.from_pretrained(args.model)
    scores = named_validation(card)
    if args.reference:
        field = ph.linear_field(ph.load(args.reference / "treepm96_ics.hdf5"))
        with h5py.File(args.reference / "treepm96.h5") as file:
            run = LabelledField.from_labels(field, file["halo_id"][()] + 1)
        scores = {"TreePM reference": score(predictor, run), **scores}
    for path in args.runs:
        run = LabelledField.from_run(path)
        with h5py.File(path) as file:
            name = title(card, int(file.attrs["seed"]), run.field.cosmology.sigma_8)
        scores[name] = score(predictor, run)
        print(name, {key: scores[name][key] for key in ("ACC", "F1", "matched_share_above_500_sites")}, flush=True)
    write_card(replace(card, scores=scores), folder)


if __name__ == "__main__":
    main()
