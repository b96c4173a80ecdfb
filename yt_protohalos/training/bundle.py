"""Make a shippable model of two trained networks: weights, calibration, threshold, scores, card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..analysis.scores import score_table
from ..cosmology import Cosmology
from ..evaluation import calibrated
from ..exceptions import ModelError
from ..models.card import ModelCard, NetworkCard
from ..models.limits import measured_amplitude
from ..models.registry import file_sha256, write_card
from ..predictor import ProtohaloPredictor
from ..progress import Progress
from .calibrate import choose_threshold, fit_calibration, tune_clustering
from .dataset import LabelledField
from .labels import LINKING_LENGTH, MIN_SITES
from .start import read_checkpoint

PAPER_CLUSTERING = {"n_dens": 20, "n_ngb": 15, "persistence": 4.2}


def export_network(training_folder: str | Path, filename: str | Path, side: int, half: bool = True) -> NetworkCard:
    """Write the averaged weights of a training folder's checkpoint and describe them.

    Parameters
    ----------
    training_folder : path
        Folder of a `Trainer`.
    filename : path
        ``NAME.weights.h5``.
    side : int
        Crop side the network will be used with.
    half : bool
        Store the weights in half precision.

    Raises
    ------
    ModelError
        The folder has no checkpoint.
    """
    filename = Path(filename)
    model, architecture, channels, normalisation = read_checkpoint(Path(training_folder), side)
    partial = filename.with_name("partial.weights.h5")
    model.save_weights(partial)
    if half:
        _halve(partial)
    os.replace(partial, filename)
    return NetworkCard(
        architecture=architecture, weights=filename.name, sha256=file_sha256(filename), channels=channels,
        normalisation=normalisation,
    )  # fmt: skip


def _halve(path: Path) -> None:
    """Rewrite the float32 datasets of a weight file as float16, compressed."""
    whole = path.with_name("whole.weights.h5")
    os.replace(path, whole)

    with h5py.File(whole, "r") as source, h5py.File(path, "w") as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                data = item[()]
                small = data.astype(np.float16) if data.dtype == np.float32 else data
                # compression is for arrays; a scalar cannot have it
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if small.ndim else {}
                created = target.create_dataset(name, data=small, **packed)
            else:
                created = target.require_group(name)
            created.attrs.update(item.attrs)

        source.visititems(copy)
    whole.unlink()


def bundle(
    name: str,
    folder: str | Path,
    semantic: NetworkCard,
    instance: NetworkCard | None,
    validation: Sequence[LabelledField],
    beta: float,
    spacing: float,
    cosmology: Cosmology,
    description: str,
    training: Mapping[str, Any],
    core: int = 64,
    symmetries: int = 1,
    semantic_core: int | None = None,
    version: int = 1,
    amplitude_range: tuple[float, float] | None = None,
    progress: Progress = True,
) -> ModelCard:
    """Calibrate, choose threshold and clustering, score, and write the card beside the weights in `folder`.

    Parameters
    ----------
    instance : NetworkCard, optional
        None for a model that finds the members of haloes alone.
    validation : sequence of LabelledField
        Runs that training did not see: calibration, threshold and persistence are chosen, and scores measured, on
        them. Where their sigma_8 differ, the calibration follows the amplitude of a field.
    training : mapping
        Runs, seeds, steps and settings, JSON values, kept in the card.
    amplitude_range : tuple of float, optional
        Lowest and highest sigma_8 of the training; 10 % about that of `cosmology` by default.

    Returns
    -------
    ModelCard
        With the scores of each validation run.
    """
    if not validation:
        raise ModelError("no validation runs were given; calibration needs at least one run that training did not see")
    folder = Path(folder)
    card = ModelCard(
        name=name, version=version, description=description, spacing=spacing, cosmology=cosmology,
        halo_definition={"finder": "FoF", "linking_length": LINKING_LENGTH, "min_sites": MIN_SITES},
        min_sites=MIN_SITES, semantic=semantic, instance=instance, beta=beta, threshold=0.5,
        calibration={"slope": 1.0, "intercept": 0.0}, clustering=PAPER_CLUSTERING, core=core,
        amplitude_range=amplitude_range or (0.9 * cosmology.sigma_8, 1.1 * cosmology.sigma_8), training=dict(training),
        symmetries=symmetries, semantic_core=semantic_core,
    )  # fmt: skip
    write_card(card, folder)
    raw_predictor = ProtohaloPredictor.from_pretrained(folder)
    raw = [raw_predictor.probability(run.field, progress) for run in validation]
    truth = np.stack([run.labels > 0 for run in validation])
    measured = [measured_amplitude(card, run.field)[0] for run in validation]
    several = len({run.field.target_sigma_8 for run in validation}) > 1
    changes = [float(np.log(one / cosmology.sigma_8)) for one in measured] if several else []
    card = replace(card, calibration=fit_calibration(raw, list(truth), changes))
    probability = np.stack(
        [calibrated(cube, **card.calibration_at(one)) for cube, one in zip(raw, measured, strict=True)]
    )
    card = replace(card, threshold=choose_threshold(probability, truth))
    raw_predictor.card = card
    if instance is not None:
        clustering, tried = tune_clustering(raw_predictor, validation, list(probability), progress=progress)
        card = replace(card, clustering=clustering, training={**card.training, "clustering_candidates": tried})
    write_card(card, folder)
    scores = score_model(ProtohaloPredictor.from_pretrained(folder), validation, progress, list(probability))
    card = replace(card, scores={"validation": scores})
    write_card(card, folder)
    return card


def score_model(
    predictor: ProtohaloPredictor,
    runs: Sequence[LabelledField],
    progress: Progress = True,
    probabilities: Sequence[NDArray[np.float32]] | None = None,
) -> list[dict[str, Any]]:
    """`score_table` of a model on each run; `probabilities` of the runs where they are known already."""
    tables = []
    for i, run in enumerate(runs):
        known = predictor.probability(run.field, progress) if probabilities is None else probabilities[i]
        labels = None
        if predictor.card.instance is not None:
            labels = predictor.predict(run.field, progress=progress, probability=known).labels
        mask = known > np.float32(predictor.card.threshold)
        tables.append(score_table(known, mask, labels, run.labels, run.field.site_mass))
    return tables
