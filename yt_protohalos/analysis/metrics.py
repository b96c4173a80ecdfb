"""Figures of `BlockCounts`: scores per site, by halo mass, by halo and by probability.

Every function takes counts of D rows (`BlockCounts.total` or `BlockCounts.weighted`) and returns float64 with D on
axis 0; a value without data is NaN. Masses are log10 of Msun/h. Sources: López-Cano et al. 2024, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .block_counts import (
    BINS,
    N_IOUS,
    N_OFFSETS,
    N_PROBABILITIES,
    N_RELIABILITY,
    OFFSET_STEP,
    BlockCounts,
    Windows,
    mass_index,
)

Values = NDArray[np.float64]

RATE_CENTRES = (11.41, 12.0, 12.6, 13.04)
RATE_WINDOWS: Windows = tuple((round(c - 0.15, 2), round(c + 0.15, 2)) for c in RATE_CENTRES)
"""Windows of 0.3 dex at which the true positive rate of the paper's figure 6 was read."""


def ratio(part: ArrayLike, whole: ArrayLike) -> Values:
    """Part over whole, NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def site_scores(counts: BlockCounts) -> dict[str, Values]:
    """ACC, F1, TPR, TNR, PPV (eq. 9) and the predicted and true share of members, each (D,)."""
    negative, false_positive, missed, positive = np.moveaxis(counts.confusion, -1, 0)
    sites = negative + false_positive + missed + positive
    return {
        "ACC": ratio(positive + negative, sites),
        "F1": ratio(2 * positive, 2 * positive + false_positive + missed),
        "TPR": ratio(positive, positive + missed),
        "TNR": ratio(negative, negative + false_positive),
        "PPV": ratio(positive, positive + false_positive),
        "predicted_fraction": ratio(positive + false_positive, sites),
        "true_fraction": ratio(positive + missed, sites),
    }


def window_sums(counts: NDArray, windows: Windows) -> Values:
    """Counts by mass, (D, N_MASSES), summed over windows of log10 mass: (D, W)."""
    running = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=-1)], axis=-1)
    edges = np.array([[mass_index(low), mass_index(high)] for low, high in windows])
    return running[:, edges[:, 1]] - running[:, edges[:, 0]]


def true_positive_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of true haloes that the mask holds, by true mass (figure 6), (D, W)."""
    return ratio(window_sums(counts.found, windows), window_sums(counts.members, windows))


def false_negative_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of true haloes that the mask lacks, by true mass (figure 8, top), (D, W)."""
    return 1 - true_positive_rate(counts, windows)


def false_discovery_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of predicted haloes outside true ones, by predicted mass (eq. 10), (D, W)."""
    return ratio(window_sums(counts.wrong, windows), window_sums(counts.claimed, windows))


def voxel_offset(counts: BlockCounts, quantile: float = 0.5) -> Values:
    """Quantile of log10 of predicted over true mass of sites in both, by `OFFSET_WINDOWS` of true mass (figure 8).

    Linear inside a bin of the histogram, so exact to half a bin, 0.005 dex; (D, W).
    """
    return histogram_quantile(counts.offsets, quantile, OFFSET_STEP, -(N_OFFSETS // 2) - 0.5)


def histogram_quantile(counts: NDArray, quantile: float, step: float, first_edge: float) -> Values:
    """Quantile of histograms on the last axis; bins of `step` start at ``first_edge * step``."""
    running = np.cumsum(counts, axis=-1)
    total = running[..., -1:]
    target = quantile * total
    # beyond the last count rounding could leave the target unreached
    index = np.minimum(np.sum(running < target * (1 - 1e-12), axis=-1, keepdims=True), counts.shape[-1] - 1)
    here = np.take_along_axis(counts, index, -1)
    before = np.take_along_axis(running, index, -1) - here
    return ((first_edge + index + ratio(target - before, here)) * step)[..., 0]


def mass_function_ratio(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Number of predicted over number of simulated haloes by mass (figure 9), (D, W)."""
    return ratio(window_sums(counts.predicted, windows), window_sums(counts.simulated, windows))


def matched_share(counts: BlockCounts, large_only: bool = True, iou: float = 0.5) -> Values:
    """Share of true haloes, large or all, whose best counterpart exceeds an IoU that is a multiple of 0.01, (D,)."""
    haloes = counts.ious[:, 1] if large_only else counts.ious.sum(axis=1)
    return ratio(haloes[:, round(iou * N_IOUS) :].sum(axis=-1), haloes.sum(axis=-1))


def median_iou(counts: BlockCounts) -> Values:
    """Median best IoU of large true haloes, to half a bin of 0.01, (D,)."""
    return histogram_quantile(counts.ious[:, 1], 0.5, 1 / N_IOUS, 0)


def reliability_curve(counts: BlockCounts) -> tuple[Values, Values]:
    """Mean probability and observed share of members in ten equal bins of probability, each (D, 10)."""
    shape = (-1, N_RELIABILITY, N_PROBABILITIES // N_RELIABILITY)
    sites = counts.probable.reshape(shape).sum(axis=-1)
    return ratio(counts.probability, sites), ratio(counts.probable_members.reshape(shape).sum(axis=-1), sites)


def calibration_error(counts: BlockCounts) -> Values:
    """Largest distance of observed share and mean probability in a bin, (D,)."""
    mean, observed = reliability_curve(counts)
    return np.fmax.reduce(np.abs(observed - mean), axis=-1)


def scores_by_threshold(counts: BlockCounts) -> tuple[Values, dict[str, Values]]:
    """Scores of every semantic threshold (figure C1).

    Returns
    -------
    threshold : float64, (N_PROBABILITIES + 1,)
        From 0 to 1.
    scores : dict
        As `site_scores`, (D, N_PROBABILITIES + 1) each: members are the sites at or above the threshold.
    """

    def above(counts: NDArray) -> NDArray:
        running = np.cumsum(counts[:, ::-1], axis=-1)[:, ::-1]
        return np.concatenate([running, np.zeros((len(counts), 1))], axis=-1)

    predicted, positive = above(counts.probable), above(counts.probable_members)
    sites, members = predicted[:, :1], positive[:, :1]
    false_positive, missed = predicted - positive, members - positive
    negative = sites - positive - false_positive - missed
    # only the confusion of these counts is read by site_scores
    scanned = BlockCounts(
        **{**vars(counts), "confusion": np.stack([negative, false_positive, missed, positive], axis=-1)}
    )
    return np.linspace(0, 1, N_PROBABILITIES + 1), site_scores(scanned)
