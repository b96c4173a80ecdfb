"""Make a model of trained networks: weights, calibration, threshold, scores and card."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
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
from ..fields.particle_mesh import COARSE
from ..models.card import ModelCard, NetworkCard
from ..models.field_range import FieldRange
from ..models.registry import file_sha256, write_card
from ..models.validity import SPACING_TOLERANCE, measured_amplitude
from ..prediction.inference import calibrated
from ..prediction.position_predictor import PositionPredictor
from ..prediction.positions import SiteOutputs
from ..prediction.predictor import ProtohaloPredictor
from .calibration import fit_calibration, model_threshold, tune_clustering
from .dataset import LabelledField, measure_beta
from .friends_of_friends import LINKING_LENGTH, MIN_SITES
from .initial_weights import read_checkpoint
from .position_tuning import UNTUNED_GROUPS, tune_groups

PAPER_CLUSTERING = {"n_dens": 20, "n_ngb": 15, "persistence": 4.2}
MIN_COMPRESSED = 512
"""Bytes of the smallest array in a weight file that is compressed."""
UNTUNED = {"contour": {"foreground": 0.5, "contour": 0.5}, "positions": UNTUNED_GROUPS}
"""Clustering of a drafted model by the head that separates haloes; `PAPER_CLUSTERING` of others."""


def export_network(
    training_folder: str | Path,
    filename: str | Path,
    side: int,
    half: bool = True,
    mantissa: int = 10,
    margin: int | None = None,
) -> NetworkCard:
    """Write the averaged weights of a training folder's checkpoint, and describe them; see `read_checkpoint`.

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
        Bits that half-precision weights keep of their 10 bits of mantissa: with fewer, the file is smaller.
    margin : int, optional
        Sites that the network drops on each face in use, by default as many as in training: with more, every site of
        the output has more context.
    """
    filename = Path(filename)
    network = read_checkpoint(Path(training_folder), side, margin)
    partial = filename.with_name("partial.weights.h5")
    network.model.save_weights(partial)
    if half:
        _halve(partial, mantissa)
    os.replace(partial, filename)
    return NetworkCard(
        architecture=network.architecture, weights=filename.name, sha256=file_sha256(filename),
        channels=network.channels, normalisation=network.normalisation,
    )  # fmt: skip


def _halve(path: Path, mantissa: int) -> None:
    """Rewrite the float32 arrays of a weight file as compressed float16 with so many bits of mantissa."""
    whole = path.with_name("whole.weights.h5")
    os.replace(path, whole)

    # groups and indices of the first HDF5 versions would take more room than the weights of a small network
    with h5py.File(whole, "r") as source, h5py.File(path, "w", libver=("v110", "v110")) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                data = item[()]
                half = _rounded(data, mantissa) if data.dtype == np.float32 else data
                # scalars cannot be compressed, and short arrays would grow
                packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
                created = target.create_dataset(name, data=half, **(packed if half.nbytes >= MIN_COMPRESSED else {}))
            else:
                created = target.require_group(name)
            created.attrs.update(item.attrs)

        source.visititems(copy)
    whole.unlink()


def _rounded(values: NDArray[np.float32], mantissa: int) -> NDArray[np.float16]:
    """Nearest half-precision numbers that use only the first bits of their mantissa."""
    fraction, exponent = np.frexp(values)
    # frexp's fraction is 0.1... in binary: one bit that half precision does not store, then the mantissa
    rounded = np.ldexp(np.rint(np.ldexp(fraction, mantissa + 1)), exponent - mantissa - 1)
    return np.asarray(rounded, dtype=np.float16)


def draft_card(
    name: str,
    semantic: NetworkCard | ModelCard,
    instance: NetworkCard | None,
    runs: Sequence[LabelledField],
    core: int = 64,
    semantic_core: int | None = None,
    symmetries: int = 1,
    evolution: str = COARSE,
) -> ModelCard:
    """Describe a new model by its networks and training runs, before calibration.

    Parameters
    ----------
    name : str
    semantic : NetworkCard or ModelCard
        From `export_network`, of head ``"semantic"`` or ``"positions"``; or a bundled model, whose semantic network,
        calibration and threshold are shared.
    instance : NetworkCard, optional
        None for a position network, and for a model that finds the members of haloes alone; of head ``"contour"`` for
        one by watershed.
    runs : sequence of LabelledField
        Runs trained on. The first gives spacing and cosmology; those of several sigma_8 give the range of amplitudes,
        which is otherwise 10 % about that of the cosmology. Runs of several spacings make a model of a position
        network valid for their `FieldRange`.
    core, semantic_core, symmetries : int
        See `ModelCard`.
    evolution : str
        That of the training settings, for a position network.

    Returns
    -------
    ModelCard
        For `bundle`; `dataclasses.replace` gives it a description and a record of the training.

    Raises
    ------
    ModelError
        The networks do not make a model together; see `ModelCard`.
    """
    first, amplitudes = runs[0].field, {run.field.target_sigma_8 for run in runs}
    amplitude, several = first.target_sigma_8, len(amplitudes) > 1
    shared: dict[str, Any] = {
        "semantic": semantic, "semantic_core": semantic_core, "symmetries": symmetries,
        "calibration": {"slope": 1.0, "intercept": 0.0}, "threshold": 0.5,
    }  # fmt: skip
    if isinstance(semantic, ModelCard):
        if semantic.predicts_positions:
            raise ModelError(
                f"the network of model {semantic.name!r} separates haloes too and is not shared; recalibrate the model "
                "(protohalos bundle --from)"
            )
        shared = {key: getattr(semantic, key) for key in shared}
        shared["semantic"] = replace(semantic.semantic, model=semantic.name)
    separating = (instance or shared["semantic"]).architecture["head"]
    lowest, highest = (extreme(run.field.spacing for run in runs) for extreme in (min, max))
    field_range = None
    if highest > (1 + SPACING_TOLERANCE) * lowest:
        if separating != "positions":
            raise ModelError(
                f"the runs have spacings from {lowest:.4g} to {highest:.4g} Mpc/h, but networks other than position "
                "networks know one; give runs of one spacing"
            )
        field_range = FieldRange.of_fields(run.field for run in runs)
    return ModelCard(
        name=name, version=1, description="Trained with yt_protohalos", spacing=first.spacing,
        # a run stopped at another redshift counts with the amplitude that it had then
        cosmology=replace(first.cosmology, sigma_8=amplitude), beta=measure_beta(runs),
        amplitude_range=(min(amplitudes), max(amplitudes)) if several else (0.9 * amplitude, 1.1 * amplitude),
        halo_definition={"finder": "FoF", "linking_length": LINKING_LENGTH, "min_sites": MIN_SITES},
        min_sites=MIN_SITES, instance=instance, core=core, training={},
        clustering=dict(UNTUNED.get(separating, PAPER_CLUSTERING)), evolution=evolution, field_range=field_range,
        **shared,
    )  # fmt: skip


def bundle(
    card: ModelCard, folder: str | Path, validation: Sequence[LabelledField], progress: Progress = True
) -> ModelCard:
    """Calibrate, choose threshold and clustering, score, and write the card beside the weights in `folder`.

    Parameters
    ----------
    card : ModelCard
        From `draft_card`. Calibration and threshold stay if the semantic network is that of another model.
    folder : path
        Holds the weights that `export_network` wrote.
    validation : sequence of LabelledField
        Runs that training did not see: calibration, threshold and clustering are chosen, and scores measured, on
        them. If their sigma_8 differ, the calibration follows the amplitude of a field.
    progress : bool or callable

    Returns
    -------
    ModelCard
        With the scores of each validation run.

    Raises
    ------
    ModelError
        There is no validation run.
    """
    if not validation:
        raise ModelError("no validation runs were given; calibration needs at least one run that training did not see")
    write_card(card, folder)
    predictor = ProtohaloPredictor.from_pretrained(folder)
    validation = with_evolutions(card, validation)
    probability, positions = network_outputs(predictor, validation, progress)
    if not card.semantic.model:
        card, probability = _calibrate(card, validation, probability)
    predictor.card = card
    if card.separates_haloes:
        clustering, tried = tune_separation(predictor, validation, probability, positions, progress)
        card = replace(card, clustering=clustering, training={**card.training, "clustering_candidates": tried})
    write_card(card, folder)
    predictor.card = card
    scores = score_model(predictor, validation, progress, probability, positions)
    card = replace(card, scores={"validation": scores})
    write_card(card, folder)
    return card


def with_evolutions(card: ModelCard, runs: Sequence[LabelledField]) -> list[LabelledField]:
    """Runs with the evolved field, if several steps of a prediction read it; a position network runs once."""
    if card.predicts_positions:
        return list(runs)
    return [run.with_evolution(card.channels, card.evolution) for run in runs]


def network_outputs(
    predictor: ProtohaloPredictor, runs: Sequence[LabelledField], progress: Progress
) -> tuple[list[NDArray[np.float32]], list[SiteOutputs]]:
    """Calibrated probability of every site of each run, and what a position network says of them (else empty)."""
    if isinstance(predictor, PositionPredictor):
        positions = [predictor.site_outputs(run.field, progress, run.evolved) for run in runs]
        return [one.probability for one in positions], positions
    return [predictor.probability(run.field, progress, run.evolved) for run in runs], []


def tune_separation(
    predictor: ProtohaloPredictor,
    runs: Sequence[LabelledField],
    probability: Sequence[NDArray[np.float32]],
    positions: Sequence[SiteOutputs],
    progress: Progress,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """`tune_groups` or `tune_clustering`, by the method of the model; both last arrays from `network_outputs`."""
    if isinstance(predictor, PositionPredictor):
        return tune_groups(predictor.card, runs, positions, progress)
    return tune_clustering(predictor, runs, probability, progress=progress)


def _calibrate(
    card: ModelCard, validation: Sequence[LabelledField], raw: Sequence[NDArray[np.float32]]
) -> tuple[ModelCard, list[NDArray[np.float32]]]:
    """Card with calibration and threshold of the validation runs, and the calibrated probability of each."""
    truth = [run.labels > 0 for run in validation]
    measured = [measured_amplitude(card, run.field)[0] for run in validation]
    several = card.field_range is None and len({run.field.target_sigma_8 for run in validation}) > 1
    changes = [float(np.log(one / card.cosmology.sigma_8)) for one in measured] if several else []
    card = replace(card, calibration=fit_calibration(raw, truth, changes))
    probability = [calibrated(cube, **card.calibration_at(one)) for cube, one in zip(raw, measured, strict=True)]
    return replace(card, threshold=model_threshold(card, probability, truth)), probability


def score_model(
    predictor: ProtohaloPredictor,
    runs: Sequence[LabelledField],
    progress: Progress = True,
    probabilities: Sequence[NDArray[np.float32]] | None = None,
    positions: Sequence[SiteOutputs] = (),
) -> list[dict[str, Any]]:
    """`score_table` of a model on each run.

    probabilities, positions : calibrated, and of `network_outputs`, of the runs if they are known already
    """
    tables = []
    for i, run in enumerate(with_evolutions(predictor.card, runs)):
        if probabilities is None:
            (known,), found = network_outputs(predictor, [run], progress)
        else:
            known, found = probabilities[i], list(positions[i : i + 1])
        labels = None
        if isinstance(predictor, PositionPredictor):
            labels = predictor.labels(found[0])
        elif predictor.card.instance is not None:
            labels = predictor.predict(run.field, evolved=run.evolved, progress=progress, probability=known).labels
        mask = known > np.float32(predictor.card.threshold)
        counts = count_box(
            labels, run.labels, run.field.lattice, run.field.site_mass_msun_h, mask=mask, probability=known
        )
        tables.append(score_table(counts))
    return tables


def describe_training(folder: Path) -> dict[str, Any]:
    """Record of the training in a folder for a card: settings, last step, wall time, last held-out loss."""
    log, stored = folder / "log.csv", folder / "settings.json"
    if not log.is_file() or not stored.is_file():
        raise ModelError(f"{folder} holds no log.csv and settings.json; give the folder of a training run")
    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    settings = json.loads(stored.read_text(encoding="utf-8"))["settings"]
    # a card names the folder that a training began with, without its path
    settings["start"] = Path(settings.get("start", "")).name
    # without held-out runs the loss is NaN, which JSON does not have
    watched = [float(row["held_out_loss"]) for row in rows if row["held_out_loss"] not in ("", "nan")]
    return {
        "settings": settings, "steps": int(rows[-1]["step"]),
        "wall_seconds": float(rows[-1]["seconds"]), "held_out_loss": watched[-1] if watched else None,
    }  # fmt: skip
