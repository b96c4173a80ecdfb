"""What speed costs: labels and scores of each precision beside the float32 reference.

Run: python benchmarks/fidelity.py [--model NAME] [--side 128] [--runs RUN.h5 ...] [-o FILE]

The float32 reference is predicted a second time with the crops of both lattices shifted by 32 sites along one axis:
what then changes is what the cutting into crops decides, and a measure for every other change. With --runs (made by
`protohalos simulate`), the scores of each precision are compared with those of the reference on the same runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SPACING = 50 / 256
SHIFT = 32
SCORES = ("ACC", "F1", "matched_share_large", "median_iou_large", "calibration_error")


def distance(first: Any, second: Any) -> dict[str, float]:
    """Share of the labelled sites whose protohalo in one prediction is not matched with that in the other."""
    import yt_protohalos as ph

    compared = ph.compare(first, second)
    partner = np.zeros(first.n_protohalos + 1, dtype=int)
    partner[compared.matched[:, 0]] = compared.matched[:, 1]
    inside = (first.labels > 0) | (second.labels > 0)
    same = (partner[first.labels] == second.labels) & (first.labels > 0)
    return {
        "sites_in_other_protohaloes": 1 - float(np.sum(same) / np.sum(inside)),
        "protohaloes": int(second.n_protohalos),
        "matched": len(compared.matched),
        "mask_differs": float(np.mean(first.mask != second.mask)),
        "probability_mean_difference": float(np.abs(first.probability - second.probability).mean()),
    }


def shifted_prediction(predictor: Any, field: Any) -> Any:
    """The prediction of a field moved along the first axis, moved back."""
    from dataclasses import replace

    there = replace(field, delta=np.roll(field.delta, SHIFT, 0), phi=np.roll(field.phi, SHIFT, 0))
    found = predictor.predict(there, progress=False)
    cubes = {name: np.roll(getattr(found, name), -SHIFT, 0) for name in ("probability", "mask", "labels")}
    return replace(found, **cubes)


def scores(predictor: Any, runs: list[Path]) -> dict[str, Any]:
    """Scores of the runs pooled: SCORES, and the mass function by bin of log10 mass."""
    from yt_protohalos.analysis.block_counts import count_box
    from yt_protohalos.analysis.score_tables import validation_table
    from yt_protohalos.training.run_files import read_run

    counts = []
    for path in runs:
        field, truth = read_run(path)[:2]
        found = predictor.predict(field, progress=False)
        counts.append(
            count_box(
                found.labels,
                truth,
                field.lattice,
                field.site_mass_msun_h,
                mask=found.mask,
                probability=found.probability,
            )
        )
    table = validation_table(counts)
    names = (*SCORES, "mass_function_ratio")
    return {name: {key: table[name][key] for key in ("value", "error")} for name in names} | {
        "bins": table["mass_function_ratio"]["bins"]
    }


def main() -> None:
    """Predict in every precision; print and keep what differs from float32."""
    import yt

    import yt_protohalos as ph
    from yt_protohalos.models.registry import DEFAULT_MODEL
    from yt_protohalos.prediction.predictor import PRECISIONS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--side", type=int, default=128, help="sites per side of a random box")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="held-out runs to score")
    parser.add_argument("-o", "--output", type=Path, default=Path("fidelity.json"))
    args = parser.parse_args()
    yt.set_log_level(50)
    with tempfile.TemporaryDirectory() as folder:
        ics = str(Path(folder) / "ics.hdf5")
        ph.generate_initial_conditions(args.side, args.side * SPACING, seed=1, filename=ics)
        field = ph.linear_field(ph.load(ics))
    result: dict[str, Any] = {"model": args.model, "side": args.side, "runs": [path.name for path in args.runs]}
    predictors = {name: ph.ProtohaloPredictor.from_pretrained(args.model, precision=name) for name in PRECISIONS[1:]}
    truth = predictors["float32"].predict(field, progress=False)
    result["labels"] = {"float32, shifted": distance(truth, shifted_prediction(predictors["float32"], field))}
    for name in PRECISIONS[2:]:
        result["labels"][name] = distance(truth, predictors[name].predict(field, progress=False))
    for name, entry in result["labels"].items():
        print(
            f"{name:18s} {entry['sites_in_other_protohaloes']:.2%} of the labelled sites in other protohaloes, "
            f"{entry['matched']} of {truth.n_protohalos} and {entry['protohaloes']} matched, "
            f"{entry['mask_differs']:.3%} of the sites change sides of the threshold",
            flush=True,
        )
    if args.runs:
        result["scores"] = {}
        for name, predictor in predictors.items():
            result["scores"][name] = scores(predictor, args.runs)
            line = [f"{key} {result['scores'][name][key]['value']:.4f}" for key in SCORES]
            ratio = result["scores"][name]["mass_function_ratio"]["value"]
            shown = " ".join("-" if value is None else f"{value:.3f}" for value in ratio)
            print(f"{name:18s} {', '.join(line)}; mass function {shown}", flush=True)
            args.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    args.output.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
