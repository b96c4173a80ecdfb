"""Tables of scores with bootstrap errors, pooled over runs, for a model and for the limit that nature sets.

A table is a dict of JSON values: ``{"value": ..., "error": ...}`` for each figure, lists where there are bins, None
where there are no data. Errors are standard deviations over bootstrap draws of spatial blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ScoringError
from . import metrics
from .block_counts import BINS, N_RELIABILITY, OFFSET_WINDOWS, BlockCounts, Windows

Table = dict[str, Any]

RELIABILITY_BINS: Windows = tuple((i / N_RELIABILITY, (i + 1) / N_RELIABILITY) for i in range(N_RELIABILITY))
WINDOWS: dict[str, Windows] = {
    "TPR_at_mass": metrics.RATE_WINDOWS,
    "TPR_by_mass": BINS,
    "FNR_by_mass": BINS,
    "FDR_by_predicted_mass": BINS,
    "voxel_offset_median": OFFSET_WINDOWS,
    "voxel_offset_16": OFFSET_WINDOWS,
    "voxel_offset_84": OFFSET_WINDOWS,
    "mass_function_ratio": BINS,
    "predicted_haloes": BINS,
    "simulated_haloes": BINS,
    "mean_probability": RELIABILITY_BINS,
    "observed_share": RELIABILITY_BINS,
}
"""Bins of each figure that has bins: log10 of Msun/h, or probability for the last two."""
COUNTS = ("predicted_haloes", "simulated_haloes")
UNPRINTED = ("TPR_by_mass", "FNR_by_mass", "voxel_offset_16", "voxel_offset_84", "mean_probability", "observed_share")
OF_HALOES = (
    "matched_share_large", "matched_share_all", "median_iou_large", "FDR_by_predicted_mass", "voxel_offset_median",
    "voxel_offset_16", "voxel_offset_84", "mass_function_ratio", "predicted_haloes",
)  # fmt: skip
"""Figures that need predicted haloes, not the membership of sites alone."""
DRAWS = 500
MISSING_DRAWS = 0.08


def figures(counts: BlockCounts, haloes: bool = True) -> dict[str, NDArray[np.float64]]:
    """Every figure of a counts of D rows: float64, (D,) or (D, bins); NaN without data.

    haloes : False where the prediction separates no haloes, and its labels mean nothing
    """
    mean, observed = metrics.reliability_curve(counts)
    found = {
        **metrics.site_scores(counts),
        "matched_share_large": metrics.matched_share(counts),
        "matched_share_all": metrics.matched_share(counts, large_only=False),
        "median_iou_large": metrics.median_iou(counts),
        "calibration_error": metrics.calibration_error(counts),
        "TPR_at_mass": metrics.true_positive_rate(counts, metrics.RATE_WINDOWS),
        "TPR_by_mass": metrics.true_positive_rate(counts),
        "FNR_by_mass": metrics.false_negative_rate(counts),
        "FDR_by_predicted_mass": metrics.false_discovery_rate(counts),
        "voxel_offset_median": metrics.voxel_offset(counts),
        "voxel_offset_16": metrics.voxel_offset(counts, 0.16),
        "voxel_offset_84": metrics.voxel_offset(counts, 0.84),
        "mass_function_ratio": metrics.mass_function_ratio(counts),
        "predicted_haloes": metrics.window_sums(counts.predicted, BINS),
        "simulated_haloes": metrics.window_sums(counts.simulated, BINS),
        "mean_probability": mean,
        "observed_share": observed,
    }
    return found if haloes else found | {name: np.full_like(found[name], np.nan) for name in OF_HALOES}


def validation_table(runs: Sequence[BlockCounts], seed: int = 0, draws: int = DRAWS, haloes: bool = True) -> Table:
    """Figures of several runs pooled, with bootstrap errors.

    Parameters
    ----------
    runs : sequence of BlockCounts
        One a run; their counts are summed, so a large run weighs more.
    seed : int
        Of the numpy Generator that draws blocks.
    draws : int
        Bootstrap draws.
    haloes : bool
        False for a model that separates no haloes: the figures of `OF_HALOES` are None.

    Raises
    ------
    ScoringError
        No counts, or fewer than two draws.
    """
    pooled = BlockCounts.pooled(runs)
    weights = bootstrap_weights(pooled.n_blocks, draws, seed)
    values, drawn = (figures(counts, haloes) for counts in (pooled.total(), pooled.weighted(weights)))
    return _table(values, drawn, len(runs), pooled.n_blocks)


def pair_table(
    forward: Sequence[BlockCounts], backward: Sequence[BlockCounts], seed: int = 0, draws: int = DRAWS
) -> Table:
    """Figures of baseline pairs: the mean of either run as the prediction of the other.

    forward, backward : the counts of each pair, and of the same with the two runs exchanged
    """
    if len(forward) != len(backward):
        raise ScoringError(f"{len(forward)} runs forward and {len(backward)} backward; give both ways of each pair")
    there, back = BlockCounts.pooled(forward), BlockCounts.pooled(backward)
    # one draw of blocks serves both ways
    weights = bootstrap_weights(there.n_blocks, draws, seed)
    return _table(
        _mean(figures(there.total()), figures(back.total())),
        _mean(figures(there.weighted(weights)), figures(back.weighted(weights))),
        len(forward),
        there.n_blocks,
    )


def bootstrap_weights(n_blocks: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each draw with replacement takes each block, (draws, n_blocks)."""
    if draws < 2:
        raise ScoringError(f"{draws} bootstrap draws give no error; use at least 2, e.g. {DRAWS}")
    return np.random.default_rng(seed).multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=draws)


def _mean(first: dict[str, NDArray], second: dict[str, NDArray]) -> dict[str, NDArray]:
    return {name: 0.5 * (first[name] + second[name]) for name in first}


def _table(values: dict[str, NDArray], draws: dict[str, NDArray], runs: int, blocks: int) -> Table:
    table: Table = {"runs": runs, "blocks": blocks}
    for name, value in values.items():
        error = spread(draws[name])
        entry: Table = {}
        if name in WINDOWS:
            entry["bins"] = [list(window) for window in WINDOWS[name]]
            entry["value"], entry["error"] = _json(value[0]), _json(error)
        else:
            (entry["value"],), (entry["error"],) = _json(value), _json(np.array([error]))
        table[name] = entry
    return table


def spread(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation over bootstrap draws, (D, ...) -> (...); draws without data are left out.

    NaN where over `MISSING_DRAWS` of the draws lack data, which is so when only one or two blocks have any: the few
    draws that remain then repeat one halo and would show no spread at all.
    """
    known = np.isfinite(draws)
    count = known.sum(axis=0)
    mean = metrics.ratio(np.where(known, draws, 0).sum(axis=0), count)
    square = np.where(known, (draws - mean) ** 2, 0).sum(axis=0)
    return np.where(count >= (1 - MISSING_DRAWS) * len(draws), np.sqrt(metrics.ratio(square, count - 1)), np.nan)


def _json(values: NDArray) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def format_table(columns: dict[str, Table]) -> str:
    """Text of several tables side by side, ``value+-error``; figures in bins get a line per bin.

    What follows from other lines (FNR) and details (percentiles, reliability) are in the tables alone.
    """
    width = max(16, *(len(name) + 2 for name in columns))
    lines = [" " * 36 + "".join(f"{name:>{width}}" for name in columns)]
    first = next(iter(columns.values()))
    for name, entry in first.items():
        if name in UNPRINTED:
            continue
        if not isinstance(entry, dict):
            lines.append(f"{name:36s}" + "".join(f"{table[name]:>{width}}" for table in columns.values()))
        elif name not in WINDOWS:
            cells = [_cell(table[name]["value"], table[name]["error"]) for table in columns.values()]
            lines.append(f"{name:36s}" + "".join(f"{cell:>{width}}" for cell in cells))
        else:
            for i, (low, high) in enumerate(entry["bins"]):
                cells = [
                    _cell(table[name]["value"][i], None if name in COUNTS else table[name]["error"][i])
                    for table in columns.values()
                ]
                if not set(cells) <= {"-", "0"}:
                    lines.append(f"{name:22s} {low:5.2f}-{high:5.2f}  " + "".join(f"{c:>{width}}" for c in cells))
    return "\n".join(lines)


def _cell(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.0f}" if value == round(value) else f"{value:.3f}"
    return text if error is None else f"{value:.3f}+-{error:.3f}"
