"""Training samples from finished runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.lattice import Triple
from ..fields.linear_field import LinearField
from ..models.channels import (
    FIELD_CHANNELS,
    LINEAR_CONTOUR,
    POSITION_CHANNELS,
    PROBABILITY_CHANNELS,
    ModelInput,
    check_channels,
    network_input,
    remove_gauge,
    sees_evolution,
    transform,
)
from ..models.symmetry import Symmetry
from ..segmentation.watershed import contour_sites
from .augment import attribute_sites, label_centres, split_images
from .run_files import read_run

MIN_INSTANCE_SITES = 20
"""Instances with fewer sites in a crop are left out of the instance loss: they are cut off by its edge."""


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
    contour : bool, (n, n, n), optional
        `watershed.contour_sites` of the labels.
    evolved : EvolvedField, optional
        `evolve_field` of the field, for networks that see it.
    """

    field: LinearField
    labels: NDArray[np.int32]
    centres: NDArray[np.float64]
    probability: NDArray[np.float32] | None = None
    attributed: NDArray[np.int32] | None = None
    contour: NDArray[np.bool_] | None = None
    evolved: EvolvedField | None = None

    @property
    def model_input(self) -> ModelInput:
        """What networks see of the run."""
        return ModelInput(self.field, self.evolved, self.probability)

    @classmethod
    def from_labels(cls, field: LinearField, labels: NDArray[np.int32]) -> LabelledField:
        """Check that labels and field share a lattice."""
        field.lattice.check_cube(labels, "labels")
        return cls(field, np.ascontiguousarray(labels, dtype=np.int32), label_centres(labels, field.lattice))

    @classmethod
    def from_run(cls, filename: str | Path) -> LabelledField:
        """Read a run made by `training.simulate`."""
        field, labels, _ = read_run(filename)
        return cls.from_labels(field, labels)

    def with_probability(self, probability: NDArray[np.floating]) -> LabelledField:
        """The same run with what a semantic network says of it, for an instance network that sees it."""
        self.field.lattice.check_cube(probability, "probability")
        attributed = attribute_sites(self.labels, self.field.lattice, ATTRIBUTION_REACH)
        return replace(self, probability=probability.astype(np.float32, copy=False), attributed=attributed)

    def with_evolution(self, channels: Collection[str]) -> LabelledField:
        """The same run with its evolved field, if a channel sees it; without velocities, which no network sees."""
        if self.evolved is not None or not sees_evolution(channels):
            return self
        return replace(self, evolved=replace(evolve_field(self.field), velocity=None))

    def with_contour(self) -> LabelledField:
        """The same run with the contours of its haloes, for a contour network."""
        return replace(self, contour=contour_sites(self.labels, self.field.lattice))

    @property
    def outside_fraction(self) -> float:
        """Share of sites outside haloes, beta of eq. 3."""
        return float(np.mean(self.labels == 0))


def measure_beta(runs: Sequence[LabelledField]) -> float:
    """Mean share of sites outside haloes over the training runs."""
    return float(np.mean([run.outside_fraction for run in runs]))


def measure_contour_beta(runs: Sequence[LabelledField]) -> float:
    """Mean share of sites on no contour over the training runs: beta of eq. 3 for a contour network."""
    return float(np.mean([1 - np.mean(_contour(run)) for run in runs]))


def _contour(run: LabelledField) -> NDArray[np.bool_]:
    if run.contour is None:
        raise InitialConditionsError("a contour network needs runs with contours; use LabelledField.with_contour")
    return run.contour


def measure_normalisation(runs: Sequence[LabelledField], side: int, n_crops: int = 16) -> dict[str, float]:
    """Rms of delta, and of phi without its gauge in crops of `side` sites, over the training runs."""
    rng = np.random.default_rng(0)
    delta, phi = [], []
    for _ in range(n_crops):
        run = runs[int(rng.integers(len(runs)))]
        x, y, z = (int(s) for s in rng.integers(0, run.field.n, size=3))
        lattice = run.field.lattice
        delta.append(float(np.mean(lattice.crop(run.field.delta, (x, y, z), (side,) * 3) ** 2)))
        phi.append(float(np.mean(remove_gauge(lattice.crop(run.field.phi, (x, y, z), (side,) * 3)) ** 2)))
    return {"delta": round(float(np.sqrt(np.mean(delta))), 4), "phi": round(float(np.sqrt(np.mean(phi))), 4)}


def input_channels(head: str, mask_threshold: float, channels: Sequence[str] = ()) -> tuple[str, ...]:
    """The channels named, or else the paper's, with the probability where an instance network sees it.

    Raises
    ------
    ModelError
        Channels that `networks.channels.check_channels` refuses.
    """
    if channels:
        check_channels(channels)
        return tuple(channels)
    if head == "semantic":
        return FIELD_CHANNELS
    if head == "contour":
        return LINEAR_CONTOUR
    return PROBABILITY_CHANNELS if mask_threshold > 0 else POSITION_CHANNELS


def make_sample(
    run: LabelledField,
    start: Triple,
    side: int,
    margin: int,
    head: str,
    normalisation: Mapping[str, float],
    symmetry: Symmetry | None = None,
    mask_threshold: float = 0.0,
    channels: Sequence[str] = (),
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Channels and target of one crop.

    With a `mask_threshold`, the instance target is what the network will meet in use: the sites whose predicted
    probability exceeds the threshold, each with the label of the nearest halo.
    `channels` are those of `input_channels`.

    Returns
    -------
    channels : float32, (side, side, side, number of channels)
    target : int32, (side - 2 margin, ..., 1)
        1 inside haloes and 0 outside (semantic), 1 on contours and 0 elsewhere (contour), or instance labels 1..K with
        periodic images apart (instance).
    """
    lattice = run.field.lattice
    inner = side - 2 * margin
    if inner < 1:
        raise LatticeError(f"margin {margin} leaves nothing of a crop of {side} sites; use less")
    centre = (start[0] + margin, start[1] + margin, start[2] + margin)
    names = input_channels(head, mask_threshold, channels)
    if run.probability is None and (mask_threshold > 0 or "probability" in names):
        raise InitialConditionsError("a mask threshold needs runs with a membership probability; predict it first")
    cubes = run.model_input.crop(names, start, side)
    target = lattice.crop(_contour(run) if head == "contour" else run.labels, centre, (inner,) * 3)
    if head == "contour":
        target = target.astype(np.int32)
    if head == "semantic":
        target = (target > 0).astype(np.int32)
    if head == "instance":
        if mask_threshold > 0:
            target = _predicted_members(run, centre, inner, mask_threshold)
        target = split_images(target, centre, run.centres, lattice, MIN_INSTANCE_SITES)
    if symmetry is not None:
        cubes, target = transform(cubes, symmetry), symmetry.apply(target)
    return network_input(cubes, names, normalisation), target[..., None]


def _predicted_members(run: LabelledField, start: Triple, side: int, mask_threshold: float) -> NDArray[np.int32]:
    """Attributed labels of the predicted members in a crop."""
    assert run.probability is not None and run.attributed is not None
    probability = run.field.lattice.crop(run.probability, start, (side,) * 3)
    labels = run.field.lattice.crop(run.attributed, start, (side,) * 3)
    return np.where(probability > np.float32(mask_threshold), labels, 0).astype(np.int32)


@dataclass(frozen=True)
class Sampler:
    """Random training batches; batch `step` depends on the seed and the step alone, so that a run resumes exactly."""

    runs: Sequence[LabelledField]
    head: str
    margin: int
    normalisation: Mapping[str, float]
    seed: int
    mask_threshold: float = 0.0
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.runs:
            raise InitialConditionsError("no training runs were given; name at least one run file")
        object.__setattr__(self, "runs", [run.with_evolution(self.channels) for run in self.runs])

    def batch(self, step: int, side: int, size: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Channels (size, side, ...) and targets of one training step."""
        rng = np.random.default_rng([self.seed, step])
        samples = []
        for _ in range(size):
            run = self.runs[int(rng.integers(len(self.runs)))]
            x, y, z = (int(s) for s in rng.integers(0, run.field.n, size=3))
            symmetry = Symmetry.random(rng)
            sample = make_sample(
                run, (x, y, z), side, self.margin, self.head, self.normalisation, symmetry, self.mask_threshold,
                self.channels,
            )  # fmt: skip
            samples.append(sample)
        return np.stack([s[0] for s in samples]), np.stack([s[1] for s in samples])
