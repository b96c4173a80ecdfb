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

from .._utils.progress import Progress
from ..analysis.block_counts import count_box
from ..analysis.score_tables import score_table
from ..exceptions import ModelError
from ..fields.cosmology import Cosmology
from ..models.card import ModelCard, NetworkCard
from ..models.registry import file_sha256, write_card
from ..models.validity import measured_amplitude
from ..prediction.inference import calibrated
from ..prediction.predictor import ProtohaloPredictor
from .calibration import CANDIDATES, choose_threshold, fit_calibration, tune_clustering, watershed_candidates
from .dataset import LabelledField
from .friends_of_friends import LINKING_LENGTH, MIN_SITES
from .initial_weights import read_checkpoint

PAPER_CLUSTERING = {"n_dens": 20, "n_ngb": 15, "persistence": 4.2}
HALF_MANTISSA = 10
LEAST_COMPRESSED = 512
"""Bytes of the smallest array in a weight file that is compressed."""
UNTUNED_WATERSHED = {"foreground": 0.5, "contour": 0.5}


def export_network(
    training_folder: str | Path, filename: str | Path, side: int, half: bool = True, mantissa: int = HALF_MANTISSA
) -> NetworkCard:
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
    mantissa : int
        Bits that half-precision weights keep of their 10 of mantissa: with fewer, the file compresses further.

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
        _halve(partial, mantissa)
    os.replace(partial, filename)
    return NetworkCard(
        architecture=architecture, weights=filename.name, sha256=file_sha256(filename), channels=channels,
        normalisation=normalisation,
    )  # fmt: skip


def _halve(path: Path, mantissa: int) -> None:
    """Rewrite the float32 datasets of a weight file as float16 with so many bits of mantissa, compressed."""
    whole = path.with_name("whole.weights.h5")
    os.replace(path, whole)

    # groups and indices of the first HDF5 versions would take more room than the weights of a small network
    with h5py.File(whole, "r") as source, h5py.File(path, "w", libver=("v110", "v110")) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                data = item[()]
                small = _rounded(data, mantissa) if data.dtype == np.float32 else data
                # compression is for arrays; a scalar cannot have it, and a few numbers only grow
                large = small.nbytes >= LEAST_COMPRESSED
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if large else {}
                created = target.create_dataset(name, data=small, **packed)
            else:
                created = target.require_group(name)
            created.attrs.update(item.attrs)

        source.visititems(copy)
    whole.unlink()


def _rounded(values: NDArray[np.float32], mantissa: int) -> NDArray[np.float16]:
    """Nearest half-precision numbers that use the first bits of their mantissa alone."""
    fraction, exponent = np.frexp(values)
    # frexp's fraction is 0.1... in binary: one bit that half precision does not store, then the mantissa
    return np.ldexp(np.rint(np.ldexp(fraction, mantissa + 1)), exponent - mantissa - 1).astype(np.float16)


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
    calibrated_as: ModelCard | None = None,
) -> ModelCard:
    """Calibrate, choose threshold and clustering, score, and write the card beside the weights in `folder`.

    Parameters
    ----------
    instance : NetworkCard, optional
        None for a model that finds the members of haloes alone; of head ``"contour"`` for one by watershed.
    validation : sequence of LabelledField
        Runs that training did not see: calibration, threshold and persistence are chosen, and scores measured, on
        them. Where their sigma_8 differ, the calibration follows the amplitude of a field.
    training : mapping
        Runs, seeds, steps and settings, JSON values, kept in the card.
    amplitude_range : tuple of float, optional
        Lowest and highest sigma_8 of the training; 10 % about that of `cosmology` by default.
    calibrated_as : ModelCard, optional
        The model whose semantic network it is: calibration and threshold are then its own.

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
        calibration={"slope": 1.0, "intercept": 0.0}, clustering=_untuned(instance), core=core,
        amplitude_range=amplitude_range or (0.9 * cosmology.sigma_8, 1.1 * cosmology.sigma_8), training=dict(training),
        symmetries=symmetries, semantic_core=semantic_core,
    )  # fmt: skip
    if calibrated_as is not None:
        card = replace(card, calibration=calibrated_as.calibration, threshold=calibrated_as.threshold)
    write_card(card, folder)
    validation = [run.with_evolution(card.channels) for run in validation]
    predictor = ProtohaloPredictor.from_pretrained(folder)
    if calibrated_as is None:
        predictor.card, probability = _calibrate(predictor, validation, progress)
    else:
        probability = [predictor.probability(run.field, progress, run.evolved) for run in validation]
    card = predictor.card
    if instance is not None:
        clustered = card.method == "clustering"
        candidates = CANDIDATES if clustered else watershed_candidates(predictor, validation, probability)
        clustering, tried = tune_clustering(predictor, validation, probability, candidates, progress=progress)
        card = replace(card, clustering=clustering, training={**card.training, "clustering_candidates": tried})
    write_card(card, folder)
    scores = score_model(ProtohaloPredictor.from_pretrained(folder), validation, progress, probability)
    card = replace(card, scores={"validation": scores})
    write_card(card, folder)
    return card


def _untuned(instance: NetworkCard | None) -> dict[str, float]:
    contour = instance is not None and instance.architecture["head"] == "contour"
    return dict(UNTUNED_WATERSHED if contour else PAPER_CLUSTERING)


def _calibrate(
    predictor: ProtohaloPredictor, validation: Sequence[LabelledField], progress: Progress
) -> tuple[ModelCard, list[NDArray[np.float32]]]:
    """Card with calibration and threshold of the validation runs, and the calibrated probability of each."""
    card = predictor.card
    raw = [predictor.probability(run.field, progress, run.evolved) for run in validation]
    truth = np.stack([run.labels > 0 for run in validation])
    measured = [measured_amplitude(card, run.field)[0] for run in validation]
    several = len({run.field.target_sigma_8 for run in validation}) > 1
    changes = [float(np.log(one / card.cosmology.sigma_8)) for one in measured] if several else []
    card = replace(card, calibration=fit_calibration(raw, list(truth), changes))
    probability = np.stack(
        [calibrated(cube, **card.calibration_at(one)) for cube, one in zip(raw, measured, strict=True)]
    )
    return replace(card, threshold=choose_threshold(probability, truth)), list(probability)


def score_model(
    predictor: ProtohaloPredictor,
    runs: Sequence[LabelledField],
    progress: Progress = True,
    probabilities: Sequence[NDArray[np.float32]] | None = None,
) -> list[dict[str, Any]]:
    """`score_table` of a model on each run; `probabilities` of the runs where they are known already."""
    tables = []
    for i, run in enumerate(runs):
        run = run.with_evolution(predictor.card.channels)
        known = predictor.probability(run.field, progress, run.evolved) if probabilities is None else probabilities[i]
        labels = None
        if predictor.card.instance is not None:
            labels = predictor.predict(run.field, evolved=run.evolved, progress=progress, probability=known).labels
        mask = known > np.float32(predictor.card.threshold)
        counts = count_box(
            labels, run.labels, run.field.lattice, run.field.site_mass_msun_h, mask=mask, probability=known
        )
        tables.append(score_table(counts))
    return tables
