"""Turn network output into probabilities, and choose the semantic threshold (López-Cano et al. 2024, appendix C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..analysis.scores import match_haloes
from ..clustering import cluster_embedding
from ..exceptions import ScoringError
from ..lattice import Triple
from ..predictor import Network
from .dataset import LabelledField, make_sample

PERSISTENCES = (1.6, 2.0, 2.5, 3.2, 4.2)
"""Persistence ratios that `tune_persistence` tries; the last is the paper's (appendix B)."""


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


def tune_persistence(
    network: Network,
    normalisation: Mapping[str, float],
    side: int,
    margin: int,
    runs: Sequence[LabelledField],
    masks: Sequence[NDArray[np.bool_]],
    starts: Sequence[Triple],
    clustering: Mapping[str, float],
    candidates: Sequence[float] = PERSISTENCES,
    min_sites: int = 500,
) -> tuple[float, dict[str, float]]:
    """Choose the persistence ratio that matches most haloes in crops of validation runs.

    Parameters
    ----------
    network : callable
        The instance network, float32 (1, side, ..., 5) -> (1, side - 2 margin, ..., 3).
    normalisation, side, margin
        Of its card.
    runs, masks : sequences
        Validation runs, and the predicted mask (n, n, n) of each.
    starts : sequence of (int, int, int)
        First sites of the crops, in every run.
    clustering : mapping
        ``n_dens`` and ``n_ngb`` of `cluster_embedding`.
    min_sites : int
        Haloes with more sites than this in the crop count.

    Returns
    -------
    persistence, shares : float, dict
        The best candidate, and the mean share of haloes matched with IoU > 0.5 of each.
    """
    shares: dict[float, list[float]] = {candidate: [] for candidate in candidates}
    for run, mask in zip(runs, masks, strict=True):
        for start in starts:
            channels, target = make_sample(run, start, side, margin, "instance", normalisation)
            x, y, z = (s + margin for s in start)
            seen = run.field.lattice.crop(mask, (x, y, z), target.shape[:3])
            points = network(channels[None])[0][seen]
            for candidate in candidates:
                found = np.zeros(seen.shape, dtype=np.int32)
                found[seen] = 1 + cluster_embedding(
                    points, int(clustering["n_dens"]), int(clustering["n_ngb"]), candidate
                )
                shares[candidate].append(match_haloes(found, target[..., 0]).share(min_sites))
    means = {candidate: float(np.nanmean(values)) for candidate, values in shares.items()}
    best = max(means, key=lambda candidate: (means[candidate], candidate))
    return best, {f"{candidate:g}": round(value, 4) for candidate, value in means.items()}
