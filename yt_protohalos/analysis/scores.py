"""How well a prediction agrees with a simulation, site by site and halo by halo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import ScoringError
from .matching import match_haloes

MASS_EDGES = (11.0, 11.25, 11.5, 11.75, 12.0, 12.5, 13.0, 13.5, 14.0, 14.5)
"""Default bin edges, log10 of the halo mass in Msun/h."""


@dataclass(frozen=True)
class Confusion:
    """Counts of sites by predicted and true membership (López-Cano et al. 2024, section 3.1)."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @classmethod
    def of(cls, predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> Confusion:
        """Count over two masks of the same shape."""
        _same_shape(predicted, true)
        both = int(np.count_nonzero(predicted & true))
        n_predicted, n_true = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
        return cls(both, n_predicted - both, int(true.size) - n_predicted - n_true + both, n_true - both)

    @property
    def accuracy(self) -> float:
        """ACC, eq. 9."""
        correct = self.true_positive + self.true_negative
        return _ratio(correct, correct + self.false_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """F1 score, eq. 9."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def true_positive_rate(self) -> float:
        """TPR, the share of true members that are found."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def true_negative_rate(self) -> float:
        """TNR, the share of sites outside haloes that are left out."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def positive_predictive_value(self) -> float:
        """PPV, the share of predicted members that are true."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)


def rate_by_mass(
    predicted: NDArray[np.bool_], true_labels: NDArray[np.integer], site_mass: float, edges: ArrayLike = MASS_EDGES
) -> NDArray[np.float64]:
    """True positive rate of sites in bins of their true halo's mass (López-Cano et al. 2024, figure 6).

    predicted : bool, (n, n, n); true_labels : int, (n, n, n), 0 outside
    site_mass : mass of a site in Msun/h
    edges : bin edges, log10 of Msun/h
    returns : float64, (bins,), NaN where a bin is empty
    """
    _same_shape(predicted, true_labels)
    inside = true_labels > 0
    sizes = np.bincount(true_labels.ravel())
    mass = np.log10(sizes[true_labels[inside]] * site_mass)
    every, _ = np.histogram(mass, np.asarray(edges))
    found, _ = np.histogram(mass[predicted[inside]], np.asarray(edges))
    return np.divide(found, every, out=np.full(len(every), np.nan), where=every > 0)


def halo_counts(labels: NDArray[np.integer], site_mass: float, edges: ArrayLike = MASS_EDGES) -> NDArray[np.int64]:
    """Number of haloes in bins of log10 mass (Msun/h)."""
    sizes = np.bincount(labels.ravel())[1:]
    return np.histogram(np.log10(sizes[sizes > 0] * site_mass), np.asarray(edges))[0]


def reliability(
    probability: NDArray[np.floating], true: NDArray[np.bool_], n_bins: int = 10
) -> tuple[NDArray, NDArray, NDArray]:
    """Reliability diagram: mean predicted probability, observed frequency and sites in equal bins of probability."""
    _same_shape(probability, true)
    index = np.minimum((probability.ravel() * n_bins).astype(np.int64), n_bins - 1)
    sites = np.bincount(index, minlength=n_bins)
    safe = np.maximum(sites, 1)
    mean = np.bincount(index, weights=probability.ravel(), minlength=n_bins) / safe
    observed = np.bincount(index, weights=true.ravel(), minlength=n_bins) / safe
    return np.where(sites, mean, np.nan), np.where(sites, observed, np.nan), sites


def score_table(
    probability: NDArray[np.floating],
    mask: NDArray[np.bool_],
    labels: NDArray[np.integer] | None,
    true_labels: NDArray[np.integer],
    site_mass: float,
    edges: ArrayLike = MASS_EDGES,
) -> dict[str, Any]:
    """Every score of a prediction beside a simulation, as JSON values.

    probability, mask, labels, true_labels : (n, n, n); labels 0 outside, 1..K, or None where the model separates no
        haloes, whose scores are None then
    site_mass : Msun/h
    """
    true = true_labels > 0
    confusion = Confusion.of(mask, true)
    matches = None if labels is None else match_haloes(labels, true_labels)
    _, observed, sites = reliability(probability, true)
    centre = reliability(probability, true)[0]
    filled = sites > 0
    return {
        "ACC": round(confusion.accuracy, 4),
        "F1": round(confusion.f1, 4),
        "TPR": round(confusion.true_positive_rate, 4),
        "TNR": round(confusion.true_negative_rate, 4),
        "PPV": round(confusion.positive_predictive_value, 4),
        "predicted_fraction": round(float(mask.mean()), 4),
        "true_fraction": round(float(true.mean()), 4),
        "matched_share_above_500_sites": None if matches is None else round(matches.share(500), 4),
        "median_iou_above_500_sites": None if matches is None else round(matches.median_iou(500), 4),
        "matched_share_all": None if matches is None else round(matches.share(0), 4),
        "haloes_above_500_sites": int(np.count_nonzero(np.bincount(true_labels.ravel())[1:] > 500)),
        "log10_mass_edges": [float(edge) for edge in np.asarray(edges)],
        "TPR_by_mass": _rounded(rate_by_mass(mask, true_labels, site_mass, edges)),
        "predicted_haloes_by_mass": None if labels is None else [int(c) for c in halo_counts(labels, site_mass, edges)],
        "true_haloes_by_mass": [int(c) for c in halo_counts(true_labels, site_mass, edges)],
        "largest_calibration_error": round(float(np.max(np.abs(observed - centre)[filled])), 4),
    }


def _rounded(values: NDArray[np.floating]) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _same_shape(first: NDArray, second: NDArray) -> None:
    if first.shape != second.shape:
        raise ScoringError(f"shapes {first.shape} and {second.shape} differ; compare cubes of one lattice")
