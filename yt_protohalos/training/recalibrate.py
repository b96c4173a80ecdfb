"""A model fitted to runs of another kind: its weights stay, its calibration, threshold and clustering change."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._utils.progress import Progress
from ..exceptions import ModelError
from ..models.card import ModelCard
from ..models.registry import load_card, verify, write_card
from ..models.validity import check_range
from ..prediction.inference import calibrated
from ..prediction.predictor import ProtohaloPredictor
from .calibration import fit_calibration, model_threshold
from .dataset import LabelledField
from .export import network_outputs, score_model, tune_separation, with_evolutions
from .run_files import finder_of_runs

SPACING_TOLERANCE = 0.01


def recalibrate(
    parent: str | Path,
    name: str,
    folder: str | Path,
    runs: Sequence[LabelledField],
    described: Sequence[dict[str, Any]],
    description: str = "",
    clustering: bool = True,
    progress: Progress = True,
) -> ModelCard:
    """Fit calibration, threshold and clustering of a model to runs of a user's own, and write it as a new model.

    What the networks have learned stays. What is fitted is how often a probability comes true, how many sites are in
    haloes, and how groups become haloes: these follow the code, the force resolution and the halo finder of a run, and
    one run of moderate size fixes them.

    Parameters
    ----------
    parent : str or path
        Bundled model, or folder of one.
    name, folder : str, path
        Of the new model; weights are copied there. Not the parent's own.
    runs : sequence of LabelledField
        Runs that the parent was not trained on, with the model's lattice spacing.
    described : sequence of dict
        What the card shall say of each run.
    description : str
        One line for the card; the parent's with a note by default.
    clustering : bool
        False leaves the clustering as it is, which spares most of the time.
    progress : bool or callable

    Returns
    -------
    ModelCard
        Its ``training`` has the parent's with ``parent`` and ``recalibration``: runs, and the values before. Its scores
        are those on the runs given, flattered a little.

    Raises
    ------
    ModelError
        No run, a run of another spacing or one that the parent was trained on, the parent's name or folder; labels that
        have nothing to do with what the parent predicts.
    ScoringError
        The runs have only one class, or no halo large enough to tune on.
    OutOfRangeError
        The amplitude of a run is outside the model's range.
    """
    card, source = load_card(parent)
    verify(card, source)
    folder = Path(folder)
    _check(card, source, name, folder, runs, described)
    predictor = ProtohaloPredictor.from_pretrained(parent)
    runs = with_evolutions(card, runs)
    old, positions = network_outputs(predictor, runs, progress)
    truth = [run.labels > 0 for run in runs]
    # of the calibrated probability, so that what a calibration knows of the amplitude stays
    fit = fit_calibration(old, truth)
    if fit["slope"] <= 0:
        raise ModelError(
            f"the haloes of these runs are rarer where model {card.name!r} finds them likelier (slope "
            f"{fit['slope']:.2g}); check that labels and initial conditions belong together, or train a model"
        )
    probabilities = [calibrated(cube, **fit) for cube in old]
    # the two linear maps of the logit in turn, for every amplitude
    composed = {key: fit["slope"] * value for key, value in card.calibration.items()}
    composed["intercept"] += fit["intercept"]
    predictor.card = new = replace(
        card,
        name=name,
        version=1,
        calibration=composed,
        threshold=model_threshold(card, probabilities, truth),
        halo_definition={**card.halo_definition, "finder": finder_of_runs(described)},
        description=description or f"{card.description}; recalibrated",
        scores={},
    )
    record = {
        "runs": list(described),
        "before": {"calibration": card.calibration, "threshold": card.threshold, "clustering": card.clustering},
    }
    if clustering and new.separates_haloes:
        chosen, tried = tune_separation(predictor, runs, probabilities, positions, progress)
        predictor.card = new = replace(new, clustering=chosen)
        record["clustering_candidates"] = tried
    origin = {"name": card.name, "version": card.version, "sha256": card.sha256}
    scores = score_model(predictor, runs, progress, probabilities, positions)
    new = replace(
        new,
        training={**card.training, "parent": origin, "recalibration": record},
        scores={"runs that it was recalibrated on": scores},
    )
    folder.mkdir(parents=True, exist_ok=True)
    for _, network in new.networks:
        shutil.copyfile(source / network.weights, folder / network.weights)
    write_card(new, folder)
    return new


def _check(
    card: ModelCard,
    source: Path,
    name: str,
    folder: Path,
    runs: Sequence[LabelledField],
    described: Sequence[dict[str, Any]],
) -> None:
    if not runs or len(runs) != len(described):
        raise ModelError(f"{len(runs)} runs and {len(described)} descriptions; give at least one run, described")
    if name == card.name:
        raise ModelError(f"{name!r} is the name of the model it comes from; give the new one a name of its own")
    if folder.resolve() == source.resolve():
        raise ModelError(f"{folder} is the folder of model {card.name!r} itself; name another")
    for run, about in zip(runs, described, strict=True):
        if abs(run.field.spacing / card.spacing - 1) > SPACING_TOLERANCE:
            raise ModelError(
                f"a run has spacing {run.field.spacing:.4g} Mpc/h, model {card.name!r} {card.spacing:.4g}; give runs "
                "of its own spacing"
            )
        if about.get("seed") is not None and about in card.training.get("runs", ()):
            raise ModelError(
                f"model {card.name!r} was trained on the run of seed {about['seed']}, which it knows too well; "
                "recalibrate on runs that it has not seen"
            )
        check_range(card, run.field)
