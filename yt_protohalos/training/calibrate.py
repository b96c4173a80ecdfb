"""Turn network output into probabilities, and choose the semantic threshold (López-Cano et al. 2024, appendix C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..exceptions import ScoringError


def fit_calibration(raw: NDArray[np.float32], true: NDArray[np.bool_], n_bins: int = 4000) -> dict[str, float]:
    """Fit logit(p) = slope logit(raw) + intercept by maximum likelihood (Platt scaling).

    The balanced cross-entropy shifts the odds by beta / (1 - beta); the intercept undoes that and what is left.

    Parameters
    ----------
    raw : float32, any shape
        Output of the semantic network on validation runs.
    true : bool, same shape
        Membership in the simulation.

    Returns
    -------
    dict
        ``slope`` and ``intercept``.

    Raises
    ------
    ScoringError
        If the shapes differ or one class is missing.
    """
    if raw.shape != true.shape:
        raise ScoringError(f"shapes {raw.shape} and {true.shape} differ; pass output and truth of the same sites")
    if true.all() or not true.any():
        raise ScoringError("the validation runs have only one class; calibration needs sites in and outside haloes")
    clipped = np.clip(raw.astype(np.float64).ravel(), 1e-6, 1 - 1e-6)
    logit = np.log(clipped) - np.log1p(-clipped)
    index = np.rint((logit - logit.min()) / max(np.ptp(logit), 1e-9) * (n_bins - 1)).astype(np.int64)
    sites = np.bincount(index, minlength=n_bins)
    inside = np.bincount(index, weights=true.ravel(), minlength=n_bins)
    centre = np.bincount(index, weights=logit, minlength=n_bins) / np.maximum(sites, 1)

    def loss(parameters: NDArray) -> float:
        shifted = parameters[0] * centre + parameters[1]
        return float(np.sum(sites * np.logaddexp(0, shifted) - inside * shifted) / raw.size)

    best = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10})
    return {"slope": float(best.x[0]), "intercept": float(best.x[1])}


def choose_threshold(probability: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Threshold at which the predicted share of members equals the true one on validation runs (appendix C)."""
    if probability.shape != true.shape:
        raise ScoringError(f"shapes {probability.shape} and {true.shape} differ; pass the same sites")
    return float(np.quantile(probability, 1.0 - float(np.mean(true))))
