"""Tables of scores from block counts: of one run for a model card, and of several with bootstrap errors.

A table is a dict of JSON values. A figure has ``{"value": ..., "error": ...}``, lists where there are bins, and None
where there are no data. Errors are standard deviations over bootstrap draws of spatial blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ScoringError
from . import metrics
from .block_counts import BINS, N_RELIABILITY, OFFSET_WINDOWS, BlockCounts, Windows
from .metrics import Values

Table = dict[str, Any]

MASS_EDGES = (11.0, 11.25, 11.5, 11.75, 12.0, 12.5, 13.0, 13.5, 14.0, 14.5)
"""Edges of the mass bins on a model card, log10 of Msun/h."""
RELIABILITY_BINS: Windows = tuple((i / N_RELIABILITY, (i + 1) / N_RELIABILITY) for i in range(N_RELIABILITY))
FIGURES: dict[str, Callable[[BlockCounts], Values]] = {
    "matched_share_large": metrics.matched_share,
    "matched_share_all": partial(metrics.matched_share, large_only=False),
    "median_iou_large": metrics.median_iou,
    "calibration_error": metrics.calibration_error,
}
"""Figures without bins, beside `metrics.site_scores`."""
BINNED_FIGURES: dict[str, tuple[Windows, Callable[[BlockCounts], Values]]] = {
    "TPR_at_mass": (metrics.RATE_WINDOWS, partial(metrics.true_positive_rate, windows=metrics.RATE_WINDOWS)),
    "TPR_by_mass": (BINS, metrics.true_positive_rate),
    "FNR_by_mass": (BINS, metrics.false_negative_rate),
    "FDR_by_predicted_mass": (BINS, metrics.false_discovery_rate),
    "voxel_offset_median": (OFFSET_WINDOWS, metrics.voxel_offset),
    "voxel_offset_16": (OFFSET_WINDOWS, partial(metrics.voxel_offset, quantile=0.16)),
    "voxel_offset_84": (OFFSET_WINDOWS, partial(metrics.voxel_offset, quantile=0.84)),
    "mass_function_ratio": (BINS, metrics.mass_function_ratio),
    "predicted_haloes": (BINS, lambda counts: metrics.window_sums(counts.predicted, BINS)),
    "simulated_haloes": (BINS, lambda counts: metrics.window_sums(counts.simulated, BINS)),
    "mean_probability": (RELIABILITY_BINS, lambda counts: metrics.reliability_curve(counts)[0]),
    "observed_share": (RELIABILITY_BINS, lambda counts: metrics.reliability_curve(counts)[1]),
}
"""Figures with their bins: log10 of Msun/h, or probability for the last two."""
NUMBERS = ("predicted_haloes", "simulated_haloes")
UNPRINTED = ("TPR_by_mass", "FNR_by_mass", "voxel_offset_16", "voxel_offset_84", "mean_probability", "observed_share")
DRAWS = 500
MISSING_DRAWS = 0.08
"""Largest share of bootstrap draws without data for which an error is given."""


def figures(counts: BlockCounts) -> dict[str, Values]:
    """Every figure of counts of D rows: float64, (D,) or (D, bins); NaN without data."""
    return {
        **metrics.site_scores(counts),
        **{name: figure(counts) for name, figure in FIGURES.items()},
        **{name: figure(counts) for name, (_, figure) in BINNED_FIGURES.items()},
    }


def score_table(counts: BlockCounts, edges: Sequence[float] = MASS_EDGES) -> Table:
    """Scores of one run as a model card states them.

    Parameters
    ----------
    counts : BlockCounts
    edges : sequence of float
        Edges of the mass bins, log10 of Msun/h, multiples of 0.01.

    Returns
    -------
    dict
        JSON values to four digits, None without data. Large haloes have more than 500 sites.
    """
    total, windows = counts.total(), tuple(pairwise(edges))
    site_scores = metrics.site_scores(total)
    plain = {**site_scores, **{name: figure(total) for name, figure in FIGURES.items()}}
    value = {name: _json(one)[0] for name, one in plain.items()}
    predicted, simulated = (metrics.window_sums(one, windows)[0] for one in (total.predicted, total.simulated))
    return {
        **{name: value[name] for name in site_scores},
        "matched_share_above_500_sites": value["matched_share_large"],
        "median_iou_above_500_sites": value["median_iou_large"],
        "matched_share_all": value["matched_share_all"],
        "haloes_above_500_sites": int(total.large_haloes.sum()),
        "log10_mass_edges": [float(edge) for edge in edges],
        "TPR_by_mass": _json(metrics.true_positive_rate(total, windows)[0]),
        "predicted_haloes_by_mass": None if np.isnan(predicted).all() else predicted.astype(int).tolist(),
        "true_haloes_by_mass": simulated.astype(int).tolist(),
        "largest_calibration_error": value["calibration_error"],
    }


def validation_table(runs: Sequence[BlockCounts], seed: int = 0, draws: int = DRAWS) -> Table:
    """Figures of several runs pooled, with bootstrap errors.

    Parameters
    ----------
    runs : sequence of BlockCounts
        One for each run. Their counts are summed, so a large run weighs more.
    seed, draws : int
        Seed of the numpy Generator that draws blocks, and number of bootstrap draws.

    Returns
    -------
    dict

    Raises
    ------
    ScoringError
        No run, or fewer than two draws.
    """
    return _bootstrapped([BlockCounts.pooled(runs)], len(runs), seed, draws)


def pair_table(
    forward: Sequence[BlockCounts], backward: Sequence[BlockCounts], seed: int = 0, draws: int = DRAWS
) -> Table:
    """Figures of baseline pairs as `validation_table`, the mean of both ways: each run as the prediction of the other.

    Parameters
    ----------
    forward, backward : sequence of BlockCounts
        Of each pair, and of the same pair with the two runs exchanged; `ScoringError` if their lengths differ.
    seed, draws
        As in `validation_table`.
    """
    if len(forward) != len(backward):
        raise ScoringError(f"{len(forward)} runs forward and {len(backward)} backward; give both ways of each pair")
    return _bootstrapped([BlockCounts.pooled(forward), BlockCounts.pooled(backward)], len(forward), seed, draws)


def bootstrap_weights(n_blocks: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Number of times that each draw with replacement takes each block, (draws, n_blocks)."""
    if draws < 2:
        raise ScoringError(f"{draws} bootstrap draws give no error; use at least 2, e.g. {DRAWS}")
    return np.random.default_rng(seed).multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=draws)


def spread(draws: Values) -> Values:
    """Standard deviation over bootstrap draws, (D, ...) -> (...); draws without data are left out.

    NaN where over `MISSING_DRAWS` of the draws lack data, which is so when only one or two blocks have any: the few
    draws that remain then repeat one halo and would show no spread at all.
    """
    known = np.isfinite(draws)
    count = known.sum(axis=0)
    mean = metrics.ratio(np.where(known, draws, 0).sum(axis=0), count)
    square = np.where(known, (draws - mean) ** 2, 0).sum(axis=0)
    return np.where(count >= (1 - MISSING_DRAWS) * len(draws), np.sqrt(metrics.ratio(square, count - 1)), np.nan)


def _bootstrapped(ways: Sequence[BlockCounts], runs: int, seed: int, draws: int) -> Table:
    """Table of the mean over several counts of the same blocks; one draw of blocks serves all of them."""
    weights = bootstrap_weights(ways[0].n_blocks, draws, seed)
    values, drawn = [figures(way.total()) for way in ways], [figures(way.weighted(weights)) for way in ways]
    table: Table = {"runs": runs, "blocks": ways[0].n_blocks}
    for name in values[0]:
        value = np.mean([one[name] for one in values], axis=0)
        error = spread(np.mean([one[name] for one in drawn], axis=0))
        if name in BINNED_FIGURES:
            bins = [list(window) for window in BINNED_FIGURES[name][0]]
            table[name] = {"bins": bins, "value": _json(value[0]), "error": _json(error)}
        else:
            table[name] = {"value": _json(value)[0], "error": _json(error[None])[0]}
    return table


def _json(values: Values) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def format_table(columns: dict[str, Table]) -> str:
    """Print tables side by side, by the heads of their columns: ``value+-error``, a line for each figure and bin.

    The figures in `UNPRINTED` are left out.
    """
    width = max(16, *(len(name) + 2 for name in columns))

    def line(head: str, cells: Sequence[Any]) -> str:
        return f"{head:36s}" + "".join(f"{cell:>{width}}" for cell in cells)

    tables = list(columns.values())
    lines = [line("", list(columns)), *(line(name, [table[name] for table in tables]) for name in ("runs", "blocks"))]
    for name in tables[0]:
        if name in UNPRINTED or name in ("runs", "blocks"):
            continue
        entries = [table[name] for table in tables]
        if name not in BINNED_FIGURES:
            lines.append(line(name, [_cell(entry["value"], entry["error"]) for entry in entries]))
            continue
        for i, (low, high) in enumerate(entries[0]["bins"]):
            cells = [_cell(entry["value"][i], None if name in NUMBERS else entry["error"][i]) for entry in entries]
            if not set(cells) <= {"-", "0"}:
                lines.append(line(f"{name:22s} {low:5.2f}-{high:5.2f}", cells))
    return "\n".join(lines)


def _cell(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    if error is not None:
        return f"{value:.3f}+-{error:.3f}"
    return f"{value:.0f}" if value == round(value) else f"{value:.3f}"
