"""Membership probability of training runs by a semantic network, for an instance network that sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from .._utils.progress import Progress
from ..exceptions import ModelError
from ..models.card import NetworkCard
from ..models.registry import CARD_NAME, available
from ..models.runtime import Network, load_network
from ..prediction.inference import CropNetwork, calibrated
from ..prediction.pipeline import Pipeline
from ..prediction.predictor import ProtohaloPredictor
from ..segmentation.tiling import CropPlan
from .calibration import fit_calibration
from .dataset import LabelledField
from .export import export_network


def add_membership(
    semantic_folder: str | Path,
    runs: Mapping[str, LabelledField],
    calibration_runs: Sequence[str],
    folder: str | Path,
    side: int = 144,
    precision: str = "bfloat16",
    progress: Progress = True,
) -> dict[str, LabelledField]:
    """Give each run the calibrated probability of a semantic network in training or trained.

    Parameters
    ----------
    semantic_folder : path or str
        Folder of the semantic network's `Trainer`, or a model, by name or folder, whose own calibration is kept.
    runs : mapping of str to LabelledField
        Name -> run; the names are those of the cubes kept in `folder`.
    calibration_runs : sequence of str
        Names of runs that the semantic network did not train on, to calibrate it with; a model needs none.
    folder : path
        Keeps ``probability_NAME.npy`` (float16, calibrated) a run; a cube that is there is taken as it is.
    side : int
        Crop side of the semantic network in training.
    precision : {"bfloat16", "float32"}

    Returns
    -------
    dict
        The same runs with ``probability`` and ``attributed``.

    Raises
    ------
    ModelError
        Without a calibration run, or with one that is not among `runs`.
    """
    finished = is_model(semantic_folder)
    unknown = [] if finished else [name for name in calibration_runs if name not in runs]
    if unknown or not (finished or calibration_runs):
        raise ModelError(
            f"calibration runs {list(calibration_runs)} must name at least one of the runs {sorted(runs)}; "
            "pass a run that the semantic network did not train on as held out"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"probability_{name}.npy" for name in runs}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing and finished:
        predictor = ProtohaloPredictor.from_pretrained(semantic_folder)
        for name in missing:
            _keep(paths[name], predictor.probability(runs[name].field, progress))
    elif missing:
        card = export_network(semantic_folder, folder / "semantic.weights.h5", side)
        network = load_network(card, folder, precision)
        raw = {
            name: membership(network, card, runs[name], progress)
            for name in dict.fromkeys([*calibration_runs, *missing])
        }
        calibration = fit_calibration(
            [raw[name] for name in calibration_runs], [runs[name].labels > 0 for name in calibration_runs]
        )
        for name in missing:
            _keep(paths[name], calibrated(raw[name], **calibration))
    return {name: run.with_probability(np.load(paths[name])) for name, run in runs.items()}


def is_model(source: str | Path) -> bool:
    """Whether `source` is the name of a bundled model or the folder of a model, not of a training."""
    return str(source) in available() or (Path(source) / CARD_NAME).is_file()


def _keep(path: Path, probability: NDArray[np.float32]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, probability.astype(np.float16))


def membership(
    network: Network, card: NetworkCard, run: LabelledField, progress: Progress = True
) -> NDArray[np.float32]:
    """Output of a semantic network on a whole run, float32 (n, n, n), not calibrated."""
    inputs = run.with_evolution(card.channels).model_input
    # a margin's width of context beyond what the network drops anyway
    plan = CropPlan(run.field.n, card.side, card.margin, max(card.side - 4 * card.margin, 1))
    return Pipeline(inputs, progress=progress).membership(CropNetwork(network, card), plan.crops("a"))
