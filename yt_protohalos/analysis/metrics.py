"""Scores from `BlockCounts`: per site, by halo mass, per halo and by probability.

Every function takes counts of D rows (`BlockCounts.total` or `BlockCounts.weighted`) and returns float64 with D on
axis 0. A value without data is NaN. Masses are log10 of Msun/h. Source: López-Cano et al. 2024, section 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .block_counts import (
    BINS,
    N_OFFSETS,
    N_PROBABILITIES,
    N_RELIABILITY,
    OFFSET_STEP,
    Array,
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
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def site_scores(counts: BlockCounts) -> dict[str, Values]:
    """ACC, F1, TPR, TNR, PPV (eq. 9) and the predicted and true share of members, each (D,)."""
    return confusion_scores(counts.confusion)


def confusion_scores(confusion: Array) -> dict[str, Values]:
    """Scores as `site_scores` of sites in the order of `BlockCounts.confusion` on the last axis."""
    negative, false_positive, missed, positive = np.moveaxis(confusion, -1, 0)
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


def window_sums(by_mass: Array, windows: Windows) -> Values:
    """Counts by mass, (D, N_MASSES), summed over windows of log10 mass: (D, W)."""
    running = np.concatenate([np.zeros((len(by_mass), 1)), np.cumsum(by_mass, axis=-1)], axis=-1)
    edges = np.array([[mass_index(low), mass_index(high)] for low, high in windows])
    return np.asarray(running[:, edges[:, 1]] - running[:, edges[:, 0]])


def true_positive_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of true haloes inside the mask, by true mass (figure 6), (D, W)."""
    return ratio(window_sums(counts.found, windows), window_sums(counts.members, windows))


def false_negative_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of true haloes outside the mask, by true mass (figure 8, top), (D, W)."""
    return 1 - true_positive_rate(counts, windows)


def false_discovery_rate(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Share of the sites of predicted haloes outside true ones, by predicted mass (eq. 10), (D, W)."""
    return ratio(window_sums(counts.wrong, windows), window_sums(counts.claimed, windows))


def voxel_offset(counts: BlockCounts, quantile: float = 0.5) -> Values:
    """Quantile of log10 of predicted over true mass of sites in both, by `OFFSET_WINDOWS` of true mass (figure 8).

    Linear inside a bin of the histogram, so exact to half a bin, 0.005 dex; (D, W).
    """
    return histogram_quantile(counts.offsets, quantile, OFFSET_STEP, -(N_OFFSETS // 2) - 0.5)


def histogram_quantile(counts: Array, quantile: float, step: float, first_edge: float) -> Values:
    """Quantile of histograms on the last axis; bins of `step` start at ``first_edge * step``."""
    running = np.cumsum(counts, axis=-1)
    target = quantile * running[..., -1:]
    # beyond the last count rounding could leave the target unreached
    index = np.minimum(np.sum(running < target * (1 - 1e-12), axis=-1, keepdims=True), counts.shape[-1] - 1)
    here = np.take_along_axis(counts, index, -1)
    before = np.take_along_axis(running, index, -1) - here
    return np.asarray(((first_edge + index + ratio(target - before, here)) * step)[..., 0])


def mass_function_ratio(counts: BlockCounts, windows: Windows = BINS) -> Values:
    """Number of predicted over number of simulated haloes by mass (figure 9), (D, W)."""
    return ratio(window_sums(counts.predicted, windows), window_sums(counts.simulated, windows))


def matched_share(counts: BlockCounts, large_only: bool = True) -> Values:
    """Share of true haloes, large or all, with a predicted counterpart of an IoU above 0.5, (D,)."""
    haloes = counts.matched[:, 1] if large_only else counts.matched.sum(axis=1)
    return ratio(haloes[:, 1], haloes.sum(axis=-1))


def median_iou(counts: BlockCounts) -> Values:
    """Median best IoU of large true haloes, (D,)."""
    order = np.argsort(counts.large_ious)
    running = np.cumsum(counts.large_haloes[:, order], axis=-1)
    half = 0.5 * counts.large_haloes.sum(axis=-1, keepdims=True)
    # without haloes the upper index points behind the last
    ious = np.append(counts.large_ious[order], np.nan)
    lower, upper = np.sum(running < half, axis=-1), np.sum(running <= half, axis=-1)
    return np.asarray(0.5 * (ious[lower] + ious[upper]))


def reliability_curve(counts: BlockCounts) -> tuple[Values, Values]:
    """Mean probability and observed share of members in ten equal bins of probability, each (D, 10)."""
    shape = (-1, N_RELIABILITY, N_PROBABILITIES // N_RELIABILITY)
    sites, members = (c.reshape(shape).sum(axis=-1) for c in (counts.probability_sites, counts.probability_members))
    return ratio(counts.probability_sum, sites), ratio(members, sites)


def calibration_error(counts: BlockCounts) -> Values:
    """Largest distance of observed share and mean probability in a bin, (D,)."""
    mean, observed = reliability_curve(counts)
    return np.asarray(np.fmax.reduce(np.abs(observed - mean), axis=-1))


def scores_by_threshold(counts: BlockCounts) -> tuple[Values, dict[str, Values]]:
    """Semantic thresholds from 0 to 1, (N_PROBABILITIES + 1,), and the scores of each (figure C1).

    As `site_scores`, (D, N_PROBABILITIES + 1) each: members are the sites at or above the threshold.
    """

    def above(by_probability: Array) -> Array:
        running = np.cumsum(by_probability[:, ::-1], axis=-1)[:, ::-1]
        return np.concatenate([running, np.zeros((len(running), 1))], axis=-1)

    predicted, positive = above(counts.probability_sites), above(counts.probability_members)
    sites, members = predicted[:, :1], positive[:, :1]
    false_positive, missed = predicted - positive, members - positive
    negative = sites - positive - false_positive - missed
    confusion = np.stack([negative, false_positive, missed, positive], axis=-1)
    return np.linspace(0, 1, N_PROBABILITIES + 1), confusion_scores(confusion)
