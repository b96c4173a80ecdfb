"""Counts of a prediction beside a simulation, kept by spatial block.

Every score of this package is a function of sums over sites and haloes. `BlockCounts` holds those sums for each block
of a box, so that several runs are pooled by adding counts, never by averaging ratios, and a bootstrap over blocks needs
no cube twice. Masses are in Msun/h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ScoringError
from ..fields.lattice import Lattice
from ..segmentation.labels import contingency
from .matching import match_haloes

Windows = tuple[tuple[float, float], ...]

MASS_STEP = 0.01
"""Width of the mass bins of a counts in log10; windows start and end at multiples of it."""
MASS_START, MASS_END = 9.0, 17.0
N_MASSES = round((MASS_END - MASS_START) / MASS_STEP)
OFFSET_STEP, OFFSET_LIMIT = 0.01, 4.0
N_OFFSETS = 2 * round(OFFSET_LIMIT / OFFSET_STEP) + 1
N_PROBABILITIES = 200
N_RELIABILITY = 10
N_IOUS = 100
LARGE = 500
"""Haloes of more sites than this count as large."""

BINS: Windows = tuple((round(11.1 + 0.2 * i, 2), round(11.3 + 0.2 * i, 2)) for i in range(17))
"""Bins of 0.2 dex from 10^11.1 to 10^14.5 Msun/h."""
OFFSET_WINDOWS: Windows = (*BINS, (11.75, 11.95))
"""`BINS` and a window at 10^11.85, where the offset of the paper's figure 8 was read."""


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Sums over the sites and haloes of each block; every array has the blocks on axis 0.

    Attributes
    ----------
    confusion : (B, 4)
        Sites that are true negative, false positive, false negative, true positive.
    members, found : (B, N_MASSES)
        Sites of true haloes by true mass; those of them that the mask holds.
    claimed, wrong : (B, N_MASSES)
        Sites of predicted haloes by predicted mass; those of them outside true haloes.
    offsets : (B, len(OFFSET_WINDOWS), N_OFFSETS)
        Sites inside both a true and a predicted halo, by window of true mass and by log10 of predicted over true mass,
        in bins of OFFSET_STEP centred on its multiples.
    predicted, simulated : (B, N_MASSES)
        Haloes by their own mass. A halo counts in the block that holds most of its sites.
    ious : (B, 2, N_IOUS)
        True haloes of at most, and of more than, `LARGE` sites by the best IoU with a predicted one.
    probable, probable_members : (B, N_PROBABILITIES)
        Sites and true members by predicted probability; zero where there is no probability.
    probability : (B, N_RELIABILITY)
        Sum of the probability in equal bins of it.
    volume : (B,)
        Comoving, (Mpc/h)^3.
    """

    confusion: NDArray
    members: NDArray
    found: NDArray
    claimed: NDArray
    wrong: NDArray
    offsets: NDArray
    predicted: NDArray
    simulated: NDArray
    ious: NDArray
    probable: NDArray
    probable_members: NDArray
    probability: NDArray
    volume: NDArray

    @property
    def n_blocks(self) -> int:
        """Length of axis 0."""
        return len(self.volume)

    def weighted(self, weights: NDArray) -> BlockCounts:
        """Sums over the blocks with each row of `weights`, (D, B): counts of D rows."""
        if weights.ndim != 2 or weights.shape[1] != self.n_blocks:
            raise ScoringError(f"weights of shape {weights.shape} for {self.n_blocks} blocks; give (draws, blocks)")
        matrix = np.asarray(weights, dtype=np.float64)
        return BlockCounts(*(np.tensordot(matrix, getattr(self, field.name), axes=(1, 0)) for field in fields(self)))

    def total(self) -> BlockCounts:
        """Sum over all blocks, counts of one row."""
        return self.weighted(np.ones((1, self.n_blocks)))

    @classmethod
    def pooled(cls, several: Sequence[BlockCounts]) -> BlockCounts:
        """Blocks of several boxes, one after the other.

        Raises
        ------
        ScoringError
            There is none.
        """
        if not several:
            raise ScoringError("no counts to pool; score at least one run")
        return cls(*(np.concatenate([getattr(counts, field.name) for counts in several]) for field in fields(cls)))


def count_box(
    labels: NDArray[np.integer],
    true_labels: NDArray[np.integer],
    lattice: Lattice,
    site_mass: float,
    *,
    mask: NDArray[np.bool_] | None = None,
    probability: NDArray[np.floating] | None = None,
    blocks: int = 2,
) -> BlockCounts:
    """Count a prediction of one periodic box against its simulation.

    Parameters
    ----------
    labels, true_labels : int, (n, n, n)
        0 outside, 1..K.
    lattice : Lattice
    site_mass : float
        Msun/h.
    mask : bool, (n, n, n), optional
        Predicted membership, for the scores per site; by default where `labels` is not 0.
    probability : float, (n, n, n), optional
        In [0, 1]; without it there is no calibration.
    blocks : int
        Blocks a side: 2 for octants.

    Raises
    ------
    LatticeError
        A cube is not the lattice's.
    ScoringError
        Negative labels, more blocks than sites, or a probability outside [0, 1].
    """
    for name, cube in (("labels", labels), ("true labels", true_labels), ("mask", mask), ("probability", probability)):
        if cube is not None:
            lattice.check_cube(cube, name)
    if not 1 <= blocks <= lattice.n:
        raise ScoringError(f"{blocks} blocks per side on a lattice of {lattice.n}; use 1 to {lattice.n}")
    matches = match_haloes(labels, true_labels)
    block = _block_of_sites(lattice, blocks)
    n_blocks = blocks**3
    member = true_labels.ravel() > 0
    inside = (labels > 0).ravel() if mask is None else np.asarray(mask, dtype=bool).ravel()

    true_size, size = np.bincount(true_labels.ravel()), np.bincount(labels.ravel())
    true_bin, bin_ = _mass_bins(true_size, site_mass), _mass_bins(size, site_mass)
    t, p, b, count = contingency(true_labels.ravel(), labels.ravel(), block)

    def by_mass(at: NDArray, where: NDArray, weights: NDArray | None = None) -> NDArray[np.int64]:
        return _count((where, n_blocks), (at, N_MASSES), weights=weights)

    found = member & inside
    exists, true_exists = np.flatnonzero(size[1:]) + 1, np.flatnonzero(true_size[1:]) + 1
    home, true_home = _home(p, b, count, n_blocks, len(size)), _home(t, b, count, n_blocks, len(true_size))
    # half-open from above, so that an IoU of exactly 0.5 is no match
    iou = np.clip(np.ceil(matches.iou[true_exists - 1] * N_IOUS).astype(np.int64) - 1, 0, N_IOUS - 1)
    both = (t > 0) & (p > 0)
    offset = _offsets(t[both], p[both], b[both], count[both], true_size, size, true_bin, n_blocks)
    probable, probable_members, probability_sum = _probabilities(probability, member, block, n_blocks)
    return BlockCounts(
        confusion=_count((block, n_blocks), (2 * member + inside, 4)),
        members=by_mass(true_bin[t[t > 0]], b[t > 0], count[t > 0]),
        found=by_mass(true_bin[true_labels.ravel()[found]], block[found]),
        claimed=by_mass(bin_[p[p > 0]], b[p > 0], count[p > 0]),
        wrong=by_mass(bin_[p[(p > 0) & (t == 0)]], b[(p > 0) & (t == 0)], count[(p > 0) & (t == 0)]),
        offsets=offset,
        predicted=by_mass(bin_[exists], home[exists]),
        simulated=by_mass(true_bin[true_exists], true_home[true_exists]),
        ious=_count((true_home[true_exists], n_blocks), (1 * (true_size[true_exists] > LARGE), 2), (iou, N_IOUS)),
        probable=probable,
        probable_members=probable_members,
        probability=probability_sum,
        volume=np.bincount(block, minlength=n_blocks) * lattice.spacing**3,
    )


def _block_of_sites(lattice: Lattice, blocks: int) -> NDArray[np.int64]:
    """Row-major block number of every site, (n^3,)."""
    axis = np.arange(lattice.n) * blocks // lattice.n
    return ((axis[:, None, None] * blocks + axis[:, None]) * blocks + axis).ravel()


def _count(*axes: tuple[NDArray, int], weights: NDArray | None = None) -> NDArray[np.int64]:
    """Histogram over pairs of (index, length); weights are whole numbers."""
    shape = tuple(length for _, length in axes)
    index = np.ravel_multi_index(tuple(np.asarray(values, dtype=np.int64) for values, _ in axes), shape)
    counts = np.bincount(index, weights=weights, minlength=int(np.prod(shape)))
    return np.rint(counts).astype(np.int64).reshape(shape)


def _mass_bins(sizes: NDArray[np.int64], site_mass: float) -> NDArray[np.int64]:
    """Mass bin of each label by its sites; entry 0, the outside, has no meaning."""
    mass = np.log10(np.maximum(sizes, 1) * site_mass)
    return np.clip(np.floor((mass - MASS_START) / MASS_STEP).astype(np.int64), 0, N_MASSES - 1)


def _home(label: NDArray, block: NDArray, count: NDArray, n_blocks: int, n_labels: int) -> NDArray[np.int64]:
    """Block with most sites of each label; the lowest of equals."""
    return _count((label, n_labels), (block, n_blocks), weights=count).argmax(axis=1)


def _offsets(
    true: NDArray, predicted: NDArray, block: NDArray, count: NDArray,
    true_size: NDArray, size: NDArray, true_bin: NDArray, n_blocks: int,
) -> NDArray[np.int64]:  # fmt: skip
    offset = np.rint(np.log10(size[predicted] / true_size[true]) / OFFSET_STEP).astype(np.int64) + N_OFFSETS // 2
    offset = np.clip(offset, 0, N_OFFSETS - 1)
    result = np.zeros((n_blocks, len(OFFSET_WINDOWS), N_OFFSETS), dtype=np.int64)
    for number, (low, high) in enumerate(OFFSET_WINDOWS):
        at = (true_bin[true] >= mass_index(low)) & (true_bin[true] < mass_index(high))
        result[:, number] = _count((block[at], n_blocks), (offset[at], N_OFFSETS), weights=count[at])
    return result


def mass_index(log10_mass: float) -> int:
    """First mass bin at or above an edge, log10 of Msun/h, which must be a multiple of `MASS_STEP`.

    Raises
    ------
    ScoringError
        It is none, or is outside the range of a counts.
    """
    index = (log10_mass - MASS_START) / MASS_STEP
    if abs(index - round(index)) > 1e-6 or not 0 <= round(index) <= N_MASSES:
        raise ScoringError(
            f"mass edge {log10_mass} is no multiple of {MASS_STEP} from {MASS_START} to {MASS_END}; round it"
        )
    return round(index)


def _probabilities(
    probability: NDArray | None, member: NDArray, block: NDArray, n_blocks: int
) -> tuple[NDArray, NDArray, NDArray]:
    if probability is None:
        zeros = np.zeros((n_blocks, N_PROBABILITIES), dtype=np.int64)
        return zeros, zeros, np.zeros((n_blocks, N_RELIABILITY))
    flat = probability.ravel()
    if not (flat.min() >= 0 and flat.max() <= 1):
        raise ScoringError(f"probability from {flat.min()} to {flat.max()}; it must lie in [0, 1]")
    fine = np.minimum((flat * N_PROBABILITIES).astype(np.int64), N_PROBABILITIES - 1)
    # the coarse bins are whole numbers of fine ones, whatever the rounding at their edges
    coarse = fine // (N_PROBABILITIES // N_RELIABILITY)
    total = np.bincount(block * N_RELIABILITY + coarse, weights=flat, minlength=n_blocks * N_RELIABILITY)
    return (
        _count((block, n_blocks), (fine, N_PROBABILITIES)),
        _count((block[member], n_blocks), (fine[member], N_PROBABILITIES)),
        total.reshape(n_blocks, N_RELIABILITY),
    )
