"""Training samples: crops of finished runs with their targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..exceptions import InitialConditionsError, LatticeError
from ..fields.evolution import EvolvedField
from ..fields.lattice import Lattice, Triple, circular_mean, wrap
from ..fields.linear_field import LinearField
from ..models.channels import ModelInput, network_input, remove_gauge, transform
from ..models.symmetry import Symmetry
from ..prediction.evolved_channels import evolve
from ..segmentation.watershed import contour_sites
from .position_targets import position_targets
from .run_files import read_positions, read_run
from .settings import TrainingSettings

MIN_INSTANCE_SITES = 20
"""Instances with fewer sites in a crop are left out of the instance loss: the crop's faces cut them off."""
ATTRIBUTION_REACH = 3.0
"""Sites; a predicted member farther than this from any halo teaches the instance network nothing."""


@dataclass(frozen=True)
class LabelledField:
    """A linear field with the labels of its haloes.

    Attributes
    ----------
    field : LinearField
    labels : int32, (n, n, n)
        0 outside, 1..K.
    centres : float, (K + 1, 3)
        Periodic mean site of each label.
    probability : float32, (n, n, n), optional
        Calibrated membership probability of a semantic network.
    attributed : int32, (n, n, n), optional
        Labels in which sites near a halo carry its label too; comes with `probability`.
    evolved : EvolvedField, optional
        Evolved field, for networks that see it.
    source : Path, optional
        Run file, from which a position network takes the final positions in the simulation.
    targets : float16, (6, n, n, n), optional
        `position_targets`, for a position network.

    Examples
    --------
    >>> from yt_protohalos.training.dataset import LabelledField
    >>> run = LabelledField.from_labels(field, prediction.labels)
    >>> bool(run.outside_fraction == np.mean(prediction.labels == 0))
    True
    """

    field: LinearField
    labels: NDArray[np.int32]
    centres: NDArray[np.float64]
    probability: NDArray[np.float32] | None = None
    attributed: NDArray[np.int32] | None = None
    evolved: EvolvedField | None = None
    source: Path | None = None
    targets: NDArray[np.float16] | None = None

    @classmethod
    def from_labels(cls, field: LinearField, labels: NDArray[np.int32]) -> LabelledField:
        """Run of a field and its labels (n, n, n); `LatticeError` if the two have not the same lattice."""
        field.lattice.check_cube(labels, "labels")
        return cls(field, np.ascontiguousarray(labels, dtype=np.int32), label_centres(labels, field.lattice))

    @classmethod
    def from_run(cls, filename: str | Path) -> LabelledField:
        """Read a run file of `simulate` or `label_run`."""
        field, labels, _ = read_run(filename)
        return replace(cls.from_labels(field, labels), source=Path(filename))

    @property
    def model_input(self) -> ModelInput:
        """Everything that networks see of the run."""
        return ModelInput(self.field, self.evolved, self.probability)

    @cached_property
    def contour(self) -> NDArray[np.bool_]:
        """Sites on the contours of haloes, bool (n, n, n), which a contour network learns."""
        return contour_sites(self.labels, self.field.lattice)

    @property
    def outside_fraction(self) -> float:
        """Share of sites outside haloes, beta of eq. 3."""
        return float(np.mean(self.labels == 0))

    def with_probability(self, probability: NDArray[np.floating]) -> LabelledField:
        """Add the output of a semantic network, for an instance network that sees it."""
        self.field.lattice.check_cube(probability, "probability")
        attributed = attribute_sites(self.labels, self.field.lattice, ATTRIBUTION_REACH)
        return replace(self, probability=probability.astype(np.float32, copy=False), attributed=attributed)

    def with_evolution(self, channels: Collection[str], evolution: str) -> LabelledField:
        """Add the evolved field if a channel sees it; without velocities, which no network sees.

        evolution : as a card states it
        """
        evolved = self.evolved or evolve(self.field, channels, evolution)
        return self if evolved is None else replace(self, evolved=replace(evolved, velocity=None))

    def with_targets(self, settings: TrainingSettings) -> LabelledField:
        """Add what a training with these settings reads; an error if it needs final positions and there are none."""
        run = self.with_evolution(settings.input_channels, settings.evolution)
        if settings.head != "positions" or run.targets is not None:
            return run
        if run.source is None:
            raise InitialConditionsError(
                "a position network learns from final positions, and these labels have none; give a file of: "
                "protohalos simulate --keep-positions"
            )
        assert run.evolved is not None
        positions = read_positions(run.source)
        targets = position_targets(run.labels, positions, run.evolved.displacement, run.field.lattice)
        return replace(run, targets=targets)


def measure_beta(runs: Sequence[LabelledField], head: str = "semantic") -> float:
    """Mean share of sites outside haloes, or on no contour for a contour network, over the training runs."""
    if head == "contour":
        return float(np.mean([1 - np.mean(run.contour) for run in runs]))
    return float(np.mean([run.outside_fraction for run in runs]))


def measure_normalisation(runs: Sequence[LabelledField], side: int, n_crops: int = 16) -> dict[str, float]:
    """Rms of delta, and of phi without its gauge in crops of `side` sites, over the training runs."""
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(n_crops):
        run, start = random_crop(runs, rng)
        delta, phi = (run.field.lattice.crop(cube, start, (side,) * 3) for cube in (run.field.delta, run.field.phi))
        squares.append([float(np.mean(delta**2)), float(np.mean(remove_gauge(phi) ** 2))])
    rms = np.sqrt(np.mean(squares, axis=0))
    return {"delta": round(float(rms[0]), 4), "phi": round(float(rms[1]), 4)}


def random_crop(runs: Sequence[LabelledField], rng: np.random.Generator) -> tuple[LabelledField, Triple]:
    """Draw a run, and a site of it where a crop starts."""
    run = runs[int(rng.integers(len(runs)))]
    x, y, z = (int(site) for site in rng.integers(0, run.field.n, size=3))
    return run, (x, y, z)


def make_sample(
    run: LabelledField,
    start: Triple,
    side: int,
    settings: TrainingSettings,
    normalisation: Mapping[str, float],
    symmetry: Symmetry | None = None,
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Channels, float32 (side, side, side, C), and target of one crop.

    The target is int32 (side - 2 margin, ..., 1); for a position network `position_targets`, float32 (..., 6).

    The target is 1 inside haloes (semantic) or on contours (contour), else 0, or instance labels 1..K with periodic
    images apart (instance). With a mask threshold in the settings, the instance target is what the network meets in
    use: the sites whose predicted probability exceeds it, each with the label of the nearest halo.
    """
    inner = side - 2 * settings.margin
    if inner < 1:
        raise LatticeError(f"margin {settings.margin} leaves nothing of a crop of {side} sites; use less")
    channels = settings.input_channels
    if run.probability is None and (settings.mask_threshold > 0 or "probability" in channels):
        raise InitialConditionsError("a mask threshold needs runs with a membership probability; predict it first")
    cubes = run.model_input.crop(channels, start, side)
    x, y, z = (first + settings.margin for first in start)
    target = _target(run, (x, y, z), inner, settings)
    if symmetry is not None:
        cubes, target = transform(cubes, symmetry), symmetry.apply(target)
        if settings.head == "positions":
            target[..., 2:5] = np.stack(symmetry.turn([target[..., i] for i in (2, 3, 4)]), axis=-1)
    return network_input(cubes, channels, normalisation), target if target.ndim == 4 else target[..., None]


def _target(run: LabelledField, start: Triple, side: int, settings: TrainingSettings) -> NDArray[Any]:
    lattice, shape = run.field.lattice, (side,) * 3
    if settings.head == "positions":
        assert run.targets is not None
        return np.stack([lattice.crop(cube, start, shape) for cube in run.targets], axis=-1).astype(np.float32)
    if settings.head == "contour":
        return lattice.crop(run.contour, start, shape).astype(np.int32)
    if settings.head == "semantic":
        return (lattice.crop(run.labels, start, shape) > 0).astype(np.int32)
    target = lattice.crop(run.labels, start, shape)
    if settings.mask_threshold > 0:
        assert run.probability is not None and run.attributed is not None
        member = lattice.crop(run.probability, start, shape) > np.float32(settings.mask_threshold)
        target = np.where(member, lattice.crop(run.attributed, start, shape), 0).astype(np.int32)
    return split_images(target, start, run.centres, lattice, MIN_INSTANCE_SITES)


@dataclass(frozen=True)
class Sampler:
    """Random training batches, which depend on seed and step alone, so that a run resumes exactly."""

    runs: Sequence[LabelledField]
    settings: TrainingSettings
    normalisation: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.runs:
            raise InitialConditionsError("no training runs were given; name at least one run file")
        runs = [run.with_targets(self.settings) for run in self.runs]
        object.__setattr__(self, "runs", runs)

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Channels (batch, side, ...) and targets of one training step."""
        rng = np.random.default_rng([self.settings.seed, step])
        side, samples = self.settings.side_at(step), []
        for _ in range(self.settings.batch):
            crop = random_crop(self.runs, rng)
            samples.append(make_sample(*crop, side, self.settings, self.normalisation, Symmetry.random(rng)))
        channels, targets = zip(*samples, strict=True)
        return np.stack(channels), np.stack(targets)


def label_centres(labels: NDArray[np.int32], lattice: Lattice) -> NDArray[np.float64]:
    """Periodic mean site of each label 1..K, shape (K + 1, 3); row 0 is unused."""
    inside = np.flatnonzero(labels)
    count = int(labels.max(initial=0)) + 1
    return wrap(circular_mean(lattice.sites(inside), lattice.n, labels.ravel()[inside], count), lattice.n)


def attribute_sites(labels: NDArray[np.int32], lattice: Lattice, reach: float) -> NDArray[np.int32]:
    """Give each site outside haloes the label of the nearest halo site at most `reach` sites away, periodically.

    A semantic network fills the gaps of haloes and rounds their faces. A sixth of the sites that it finds belong to no
    halo, but nearly all of them touch one.

    labels : int32, (n, n, n), 0 outside
    returns : int32, (n, n, n), 0 farther out
    """
    if not labels.any():
        return labels.copy()
    width = min(int(np.ceil(reach)), lattice.n)
    padded = np.pad(labels, width, mode="wrap")
    distance, nearest = distance_transform_edt(padded == 0, return_indices=True)
    inner = (slice(width, width + lattice.n),) * 3
    return np.where(distance <= reach, padded[tuple(nearest)], 0)[inner].astype(np.int32)


def split_images(
    block: NDArray[np.int32], start: Triple, centres: NDArray[np.float64], lattice: Lattice, min_sites: int = 1
) -> NDArray[np.int32]:
    """Give each periodic image of a halo its own label 1..J in a crop.

    block : int32, (m, m, m), labels of a periodic crop that begins at site `start`, 0 outside
    centres : float, (K + 1, 3), from `label_centres`
    min_sites : instances with fewer sites in the crop become 0
    """
    inside = np.nonzero(block)
    names = block[inside].astype(np.int64)
    key = names
    for axis in range(3):
        image = np.floor((inside[axis] + start[axis] - centres[names, axis]) / lattice.n + 0.5).astype(np.int64)
        key = key * 64 + (image + 32)
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    kept = counts >= min_sites
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    result = np.zeros_like(block)
    result[inside] = number[inverse]
    return result
