"""Stand-ins for trained models: cards without training, and analytic networks that obey known laws."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models.card import ModelCard, NetworkCard
from yt_protohalos.models.channels import FIELD_CHANNELS, POSITION_CHANNELS
from yt_protohalos.prediction.predictor import ProtohaloPredictor

SPACING = 50 / 256
SMOOTHING = 1.6  # sites
REACH = 4  # sites beyond which the smoothing kernel is cut
COLLAPSE = 1.0  # smoothed delta at which the stand-in is undecided


def make_network(head: str, side: int = 40, margin: int = 5, **changes: Any) -> NetworkCard:
    """Network card of a small network whose weights do not exist."""
    channels = POSITION_CHANNELS if head == "instance" else FIELD_CHANNELS
    architecture = {"side": side, "margin": margin, "in_channels": len(channels), "head": head, "filters": (2, 4)}
    values: dict[str, Any] = {
        "architecture": architecture,
        "weights": f"{head}.weights.h5",
        "sha256": hashlib.sha256(head.encode()).hexdigest(),
        "channels": channels,
        "normalisation": {"delta": 1.0, "phi": 1.0},
    }
    return NetworkCard(**{**values, **changes})


def make_card(side: int = 40, margin: int = 5, core: int = 12, **changes: Any) -> ModelCard:
    """Card of a small model; `changes` replace its values."""
    values: dict[str, Any] = {
        "name": "tiny",
        "version": 1,
        "description": "analytic stand-in",
        "spacing": SPACING,
        "cosmology": PAPER_COSMOLOGY,
        "halo_definition": {"finder": "FoF", "linking_length": 0.2, "min_sites": 5},
        "min_sites": 5,
        "semantic": make_network("semantic", side, margin),
        "instance": make_network("instance", side, margin),
        "beta": 0.58,
        "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "clustering": {"n_dens": 20, "n_ngb": 15, "persistence": 4.2},
        "core": core,
        "amplitude_range": (0.7, 0.95),
    }
    return ModelCard(**{**values, **changes})


def make_field(n: int = 32, seed: int = 3, spacing: float = SPACING) -> LinearField:
    """Gaussian initial conditions of the paper's cosmology, `n` sites per side."""
    return generate_initial_conditions(n, n * spacing, seed=seed)


class StandIns:
    """Two analytic networks: a logistic of smoothed delta, and the peak of smoothed delta each site climbs to.

    Every output depends on delta within `REACH` sites (and the climb) only, so both are covariant under shifts.
    """

    def __init__(self, margin: int = 5) -> None:
        self.margin = margin
        self.calls = {"semantic": 0, "instance": 0}

    def semantic(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of smoothed delta above `COLLAPSE`."""
        self.calls["semantic"] += 1
        return (1 / (1 + np.exp(COLLAPSE - smoothed(batch[0, ..., 0]))))[
            None, self._inner, self._inner, self._inner, None
        ]

    def instance(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Position of the peak, spread by a hundredth of the separation from it so that no two points coincide."""
        self.calls["instance"] += 1
        peaks = peak_positions(smoothed(batch[0, ..., 0]))
        own = np.stack(np.indices(peaks.shape[:3]), axis=-1)
        points = peaks + 0.01 * (own - peaks)
        return points[None, self._inner, self._inner, self._inner].astype(np.float32)

    @property
    def _inner(self) -> slice:
        return slice(self.margin, -self.margin)


def smoothed(delta: NDArray[np.float32], mode: str = "nearest") -> NDArray[np.float32]:
    """Gaussian smoothing in a fixed order of operations per site, hence equal for equal surroundings."""
    return ndimage.gaussian_filter(delta, SMOOTHING, mode=mode, truncate=REACH / SMOOTHING)


def peak_positions(density: NDArray[np.float32], periodic: bool = False) -> NDArray[np.int64]:
    """Site (x, y, z) of the maximum that each site climbs to through its 26 neighbours, (s, s, s, 3)."""
    index = np.arange(density.size).reshape(density.shape)
    padded = np.pad(density, 1, mode="wrap") if periodic else np.pad(density, 1, constant_values=-np.inf)
    site = np.pad(index, 1, mode="wrap")
    best, target = density.copy(), index.copy()
    for step in itertools.product((-1, 0, 1), repeat=3):
        there = tuple(slice(1 + s, 1 + s + length) for s, length in zip(step, density.shape, strict=True))
        higher = padded[there] > best
        np.copyto(best, padded[there], where=higher)
        np.copyto(target, site[there], where=higher)
    target = target.ravel()
    while not np.array_equal(target, target[target]):
        target = target[target]
    return np.stack(np.unravel_index(target, density.shape), axis=-1).reshape(*density.shape, 3)


def exact_clusters(points: NDArray[np.float32], **_: Any) -> NDArray[np.int32]:
    """Clustering that knows the stand-in: one group a peak."""
    if not len(points):
        return np.zeros(0, dtype=np.int32)
    return np.unique(np.rint(points), axis=0, return_inverse=True)[1].ravel().astype(np.int32)


def make_predictor(**changes: Any) -> ProtohaloPredictor:
    """Predictor of the stand-in networks; ``predictor.standins.calls`` counts their runs."""
    card = make_card(**changes)
    standins = StandIns(card.instance.margin)
    predictor = ProtohaloPredictor(card, standins.semantic, standins.instance)
    predictor.standins = standins  # type: ignore[attr-defined]
    return predictor


def same_partition(first: NDArray[np.integer], second: NDArray[np.integer]) -> bool:
    """Whether two label arrays are equal up to the numbering of labels other than 0."""
    if not np.array_equal(first > 0, second > 0):
        return False
    pairs = np.unique(np.stack([first[first > 0], second[first > 0]]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))
