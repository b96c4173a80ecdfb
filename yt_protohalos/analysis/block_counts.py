"""Counts of a prediction beside a simulation, by spatial block of the box. Masses are in Msun/h.

Every score of this package is a function of sums over sites and haloes. `BlockCounts` holds these sums for each block,
so runs are pooled by adding counts, never by averaging ratios, and a bootstrap over blocks reads no cube again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag

from ..exceptions import ScoringError
from ..fields.lattice import Lattice
from ..segmentation.labels import contingency
from .matching import MATCH_IOU, match_haloes

Array = NDArray[Any]
Windows = tuple[tuple[float, float], ...]
"""Bins as (low, high), which may overlap."""

MASS_STEP = 0.01
"""Width of the mass bins in log10; windows start and end at multiples of it."""
MASS_START, MASS_END = 9.0, 17.0
N_MASSES = round((MASS_END - MASS_START) / MASS_STEP)
OFFSET_STEP, OFFSET_LIMIT = 0.01, 4.0
N_OFFSETS = 2 * round(OFFSET_LIMIT / OFFSET_STEP) + 1
N_PROBABILITIES = 200
N_RELIABILITY = 10
LARGE = 500
"""Haloes of more sites than this count as large."""

BINS: Windows = tuple((round(11.1 + 0.2 * i, 2), round(11.3 + 0.2 * i, 2)) for i in range(17))
"""Bins of 0.2 dex from 10^11.1 to 10^14.5 Msun/h."""
OFFSET_WINDOWS: Windows = (*BINS, (11.75, 11.95))
"""`BINS` and a window at 10^11.85, where the offset of the paper's figure 8 was read."""


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Sums over the sites and haloes of each of B blocks.

    A halo counts in the block that holds most of its sites. What needs predicted haloes is NaN where the prediction
    does not separate any.

    Attributes
    ----------
    confusion : (B, 4)
        Sites that are true negative, false positive, false negative, true positive.
    members, found : (B, N_MASSES)
        Sites of true haloes by true mass; those of them inside the mask.
    claimed, wrong : (B, N_MASSES)
        Sites of predicted haloes by predicted mass; those of them outside true haloes.
    offsets : (B, len(OFFSET_WINDOWS), N_OFFSETS)
        Sites inside both a true and a predicted halo, by window of true mass and by log10 of predicted over true mass,
        in bins of OFFSET_STEP centred on its multiples.
    predicted, simulated : (B, N_MASSES)
        Number of haloes by their own mass.
    matched : (B, 2, 2)
        Number of true haloes: of at most and of more than `LARGE` sites; without and with a predicted counterpart of an
        intersection over union (IoU) above `MATCH_IOU`.
    large_haloes, large_ious : (B, K), (K,)
        1 in the block of each true halo of more than `LARGE` sites, else 0; their best IoU with a predicted one.
    probability_sites, probability_members : (B, N_PROBABILITIES)
        Sites and true members by predicted probability; zero where there is no probability.
    probability_sum : (B, N_RELIABILITY)
        Sum of the probability in equal bins of it.
    volume : (B,)
        Comoving, (Mpc/h)^3.
    """

    confusion: Array
    members: Array
    found: Array
    claimed: Array
    wrong: Array
    offsets: Array
    predicted: Array
    simulated: Array
    matched: Array
    large_haloes: Array
    large_ious: Array
    probability_sites: Array
    probability_members: Array
    probability_sum: Array
    volume: Array

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.volume)

    def weighted(self, weights: ArrayLike) -> BlockCounts:
        """Sum the blocks with each row of `weights`, (D, B); returns counts with D in the place of B."""
        matrix = np.asarray(weights, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.n_blocks:
            raise ScoringError(f"weights of shape {matrix.shape} for {self.n_blocks} blocks; give (draws, blocks)")
        sums = {name: np.tensordot(matrix, values, axes=(1, 0)) for name, values in vars(self).items()
                if name != "large_ious"}  # fmt: skip
        return BlockCounts(**sums, large_ious=self.large_ious)

    def total(self) -> BlockCounts:
        """Sum over all blocks, with 1 in the place of B."""
        return self.weighted(np.ones((1, self.n_blocks)))

    @classmethod
    def pooled(cls, several: Sequence[BlockCounts]) -> BlockCounts:
        """Join the blocks of several boxes, one box after the other; `ScoringError` if there is none."""
        if not several:
            raise ScoringError("no counts to pool; score at least one run")
        columns = {field.name: [getattr(one, field.name) for one in several] for field in fields(cls)}
        haloes = block_diag(*columns.pop("large_haloes"))
        return cls(**{name: np.concatenate(arrays) for name, arrays in columns.items()}, large_haloes=haloes)


def count_box(
    labels: NDArray[np.integer] | None,
    true_labels: NDArray[np.integer],
    lattice: Lattice,
    site_mass_msun_h: float,
    *,
    mask: NDArray[np.bool_] | None = None,
    probability: NDArray[np.floating] | None = None,
    blocks: int = 2,
) -> BlockCounts:
    """Count a prediction of one periodic box against its simulation.

    Parameters
    ----------
    labels, true_labels : int, (n, n, n)
        0 outside, 1..K. None for a prediction that separates no haloes, which needs a mask.
    lattice : Lattice
    site_mass_msun_h : float
        Mass of a site, Msun/h.
    mask : bool, (n, n, n), optional
        Predicted membership, for the scores per site; by default where `labels` is not 0.
    probability : float, (n, n, n), optional
        In [0, 1]; without it there is no calibration.
    blocks : int
        Blocks per side: 2 for octants.

    Returns
    -------
    BlockCounts

    Raises
    ------
    LatticeError
        A cube has another shape than the lattice.
    ScoringError
        Negative labels, more blocks than sites, a probability outside [0, 1], or neither labels nor mask.
    """
    for name, cube in (("labels", labels), ("true labels", true_labels), ("mask", mask), ("probability", probability)):
        if cube is not None:
            lattice.check_cube(cube, name)
    if not 1 <= blocks <= lattice.n:
        raise ScoringError(f"{blocks} blocks per side on a lattice of {lattice.n}; use 1 to {lattice.n}")
    if labels is None and mask is None:
        raise ScoringError("neither labels nor mask; give at least one of them")
    haloes = np.zeros(lattice.shape, dtype=np.int32) if labels is None else labels
    inside = haloes > 0 if mask is None else np.asarray(mask, dtype=bool)
    axis = np.arange(lattice.n) * blocks // lattice.n
    block = (axis[:, None, None] * blocks + axis[:, None]) * blocks + axis
    counts = {
        **_site_counts(true_labels, haloes, inside, block, site_mass_msun_h),
        **_probability_counts(probability, true_labels > 0, block),
        "volume": np.bincount(block.ravel()) * lattice.spacing**3,
    }
    if labels is None:
        needed = ("claimed", "wrong", "offsets", "predicted", "matched", "large_ious")
        counts |= {name: np.full(counts[name].shape, np.nan) for name in needed}
    return BlockCounts(**counts)


def _site_counts(
    true_labels: Array, labels: Array, inside: Array, block: Array, site_mass_msun_h: float
) -> dict[str, Array]:
    matches = match_haloes(labels, true_labels)
    # everything is a sum over the combinations of labels, mask and block that occur
    true, label, masked, where, sites = contingency(true_labels, labels, inside.astype(np.int8), block)
    n_blocks = int(block[-1, -1, -1]) + 1
    true_size, size = _histogram([true], sites), _histogram([label], sites)
    true_bin, bin_ = _mass_bins(true_size, site_mass_msun_h), _mass_bins(size, site_mass_msun_h)
    member, claimed, inside = true > 0, label > 0, masked > 0

    def sites_by(value: Array, length: int, kept: Array | slice) -> NDArray[np.int64]:
        return _histogram([where[kept], value[kept]], sites[kept], (n_blocks, length))

    both = member & claimed
    offset = np.zeros(len(sites), dtype=np.int64)
    offset[both] = np.rint(np.log10(size[label[both]] / true_size[true[both]]) / OFFSET_STEP)
    offset = np.clip(offset + N_OFFSETS // 2, 0, N_OFFSETS - 1)
    mass = true_bin[true]
    windows = [both & (mass >= mass_index(low)) & (mass < mass_index(high)) for low, high in OFFSET_WINDOWS]

    # labels that occur, and the block with most of their sites
    halo, true_halo = (np.flatnonzero(sizes[1:]) + 1 for sizes in (size, true_size))
    home = _histogram([label, where], sites, (len(size), n_blocks)).argmax(axis=1)[halo]
    true_home = _histogram([true, where], sites, (len(true_size), n_blocks)).argmax(axis=1)[true_halo]
    iou, large = matches.iou[true_halo - 1], true_size[true_halo] > LARGE
    return {
        "confusion": sites_by(2 * member + inside, 4, slice(None)),
        "members": sites_by(mass, N_MASSES, member),
        "found": sites_by(mass, N_MASSES, member & inside),
        "claimed": sites_by(bin_[label], N_MASSES, claimed),
        "wrong": sites_by(bin_[label], N_MASSES, claimed & ~member),
        "offsets": np.stack([sites_by(offset, N_OFFSETS, window) for window in windows], axis=1),
        "predicted": _histogram([home, bin_[halo]], None, (n_blocks, N_MASSES)),
        "simulated": _histogram([true_home, true_bin[true_halo]], None, (n_blocks, N_MASSES)),
        "matched": _histogram([true_home, large, iou > MATCH_IOU], None, (n_blocks, 2, 2)),
        "large_haloes": (true_home[large] == np.arange(n_blocks)[:, None]).astype(np.int64),
        "large_ious": iou[large],
    }


def _histogram(
    values: Sequence[Array], weights: Array | None, shape: tuple[int, ...] | None = None
) -> NDArray[np.int64]:
    """Joint histogram of whole numbers, weighted with whole numbers; by default up to the largest value."""
    shape = shape or tuple(int(value.max(initial=0)) + 1 for value in values)
    index = np.ravel_multi_index(tuple(value.astype(np.int64) for value in values), shape)
    return np.rint(np.bincount(index, weights, int(np.prod(shape)))).astype(np.int64).reshape(shape)


def _mass_bins(sizes: NDArray[np.int64], site_mass_msun_h: float) -> NDArray[np.int64]:
    """Mass bin of each label by its sites; entry 0, the outside, has no meaning."""
    mass = np.log10(np.maximum(sizes, 1) * site_mass_msun_h)
    return np.clip(np.floor((mass - MASS_START) / MASS_STEP).astype(np.int64), 0, N_MASSES - 1)


def mass_index(log10_mass: float) -> int:
    """First mass bin at an edge, log10 of Msun/h; `ScoringError` if it is outside the bins or inside one."""
    index = (log10_mass - MASS_START) / MASS_STEP
    if abs(index - round(index)) > 1e-6 or not 0 <= round(index) <= N_MASSES:
        raise ScoringError(
            f"mass edge {log10_mass} is no multiple of {MASS_STEP} from {MASS_START} to {MASS_END}; round it"
        )
    return round(index)


def _probability_counts(probability: Array | None, member: Array, block: Array) -> dict[str, Array]:
    n_blocks = int(block[-1, -1, -1]) + 1
    shape = (n_blocks, N_PROBABILITIES)
    if probability is None:
        sites, total = np.zeros(shape, dtype=np.int64), np.zeros((n_blocks, N_RELIABILITY))
        return {"probability_sites": sites, "probability_members": sites, "probability_sum": total}
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise ScoringError(f"probability from {probability.min()} to {probability.max()}; it must lie in [0, 1]")
    fine = np.minimum((probability * N_PROBABILITIES).astype(np.int64), N_PROBABILITIES - 1)
    # the coarse bins are whole numbers of fine ones, whatever the rounding at their edges
    coarse = block * N_RELIABILITY + fine // (N_PROBABILITIES // N_RELIABILITY)
    sums = np.bincount(coarse.ravel(), probability.ravel(), n_blocks * N_RELIABILITY)
    return {
        "probability_sites": _histogram([block.ravel(), fine.ravel()], None, shape),
        "probability_members": _histogram([block[member], fine[member]], None, shape),
        "probability_sum": sums.reshape(n_blocks, N_RELIABILITY),
    }
