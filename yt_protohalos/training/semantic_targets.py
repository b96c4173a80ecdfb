"""Membership probability of training runs by a semantic network, for the networks that see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from .._utils.progress import Progress
from ..exceptions import ModelError
from ..fields.particle_mesh import COARSE
from ..models.registry import CARD_NAME, available
from ..models.runtime import best_precision, load_network
from ..prediction.inference import CropNetwork, calibrated
from ..prediction.pipeline import Pipeline
from ..prediction.predictor import ProtohaloPredictor
from ..segmentation.tiling import CropPlan
from .calibration import fit_calibration
from .dataset import LabelledField
from .export import export_network

SIDE = 144
"""Crop side of a semantic network in training."""


def add_membership(
    semantic: str | Path,
    runs: Mapping[str, LabelledField],
    calibration_runs: Sequence[str],
    folder: str | Path,
    progress: Progress = True,
) -> dict[str, LabelledField]:
    """Give each run the calibrated probability of a semantic network, with ``attributed`` labels.

    Parameters
    ----------
    semantic : path or str
        Folder of the semantic network's `Trainer`, or a model, by name or folder, whose own calibration is kept.
    runs : mapping of str to LabelledField
        Run of each name.
    calibration_runs : sequence of str
        Names of runs that the semantic network did not train on, to calibrate it with; a model needs none.
    folder : path
        Keeps ``probability_NAME.npy`` (float16, calibrated) for each run; a cube that is there is taken as it is.

    Raises
    ------
    ModelError
        A semantic network in training has no calibration run.
    """
    is_model = str(semantic) in available() or (Path(semantic) / CARD_NAME).is_file()
    if not (is_model or calibration_runs):
        raise ModelError(
            "a semantic network in training needs --held-out runs (held_out=), which it did not train on, to calibrate "
            "it with"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"probability_{name}.npy" for name in runs}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing and is_model:
        predictor = ProtohaloPredictor.from_pretrained(semantic)
        for name in missing:
            _keep(paths[name], predictor.probability(runs[name].field, progress))
    elif missing:
        card = export_network(semantic, folder / "semantic.weights.h5", SIDE)
        # what a membership loses by rounding does not matter; float32 is faster where bfloat16 is only emulated
        precision = "float32" if best_precision() == "float32" else "bfloat16"
        network = CropNetwork(load_network(card, folder, precision), card)
        needed = dict.fromkeys([*calibration_runs, *missing])
        raw = {name: _membership(network, runs[name], progress) for name in needed}
        truth = [runs[name].labels > 0 for name in calibration_runs]
        calibration = fit_calibration([raw[name] for name in calibration_runs], truth)
        for name in missing:
            _keep(paths[name], calibrated(raw[name], **calibration))
    return {name: run.with_probability(np.load(paths[name])) for name, run in runs.items()}


def _keep(path: Path, probability: NDArray[np.float32]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, probability.astype(np.float16))


def _membership(network: CropNetwork, run: LabelledField, progress: Progress) -> NDArray[np.float32]:
    """Output of a semantic network on a whole run, (n, n, n), not calibrated."""
    card = network.card
    # a margin's width of context beyond what the network drops anyway
    plan = CropPlan(run.field.n, card.side, card.margin, max(card.side - 4 * card.margin, 1))
    inputs = run.with_evolution(card.channels, COARSE).model_input
    return Pipeline(inputs, progress=progress).membership(network, plan.crops("a"))
