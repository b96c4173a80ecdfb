"""Errors of the columns of a catalogue beside a simulation, as one figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from paper_figures import PAGE

from yt_protohalos.analysis.drawing import new_figure
from yt_protohalos.exceptions import ScoringError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MASS_LABEL = r"log$_{10}\,M$ [$h^{-1}$M$_\odot$]"
FEWEST = 5
"""Bins of fewer haloes, or protohaloes, are left out."""
BLACK, ORANGE, BLUE, GREEN = "black", "#D55E00", "#0072B2", "#009E73"
"""Of Okabe & Ito."""
Tables = Mapping[str, Mapping[str, Sequence[Any]]]


def plot_catalog_errors(tables: Tables) -> Figure:
    """Errors of positions, velocities, spins and shapes by mass, and the reliability of the confidence.

    Parameters
    ----------
    tables : mapping
        ``by_mass``, ``by_mass_true_members``, ``shapes`` and ``by_confidence``, as ``protohalos validate --catalog -o``
        writes them under ``catalog`` (`catalog_scores.errors_by_mass`, `catalog_scores.shapes_by_mass`,
        `catalog_scores.confidence_table`). Bins of fewer than `FEWEST` haloes are left out.

    Raises
    ------
    ScoringError
        No bin is full enough.
    """
    if max(tables["by_mass"]["haloes"], default=0) < FEWEST:
        raise ScoringError(f"no bin has {FEWEST} matched haloes; draw a larger box or several")
    figure, axes = new_figure(PAGE, 5.0, rows=2, columns=3)
    panels: tuple[Callable[[Axes, Tables], None], ...] = (_positions, _velocities, _spins, _ratios, _tides, _confidence)
    for ax, draw in zip(axes, panels, strict=True):
        draw(ax, tables)
        ax.tick_params(labelsize=8)
        ax.xaxis.label.set_size(9)
        ax.yaxis.label.set_size(9)
        # where the panels have room
        ax.legend(frameon=False, fontsize=8, loc="lower right" if draw is _confidence else "upper right")
    for ax in axes[:5]:
        ax.set_xlabel(MASS_LABEL)
    return figure


def _columns(table: Mapping[str, Sequence[Any]], *names: str) -> tuple[NDArray[np.float64], ...]:
    """Middle of each bin that is full enough, then the named columns there; unknown values are NaN."""
    number = np.array(table["haloes"])
    kept = number >= FEWEST
    # the last bin is open in practice; its middle is placed as if it were as wide as the others
    low, high = np.array(table["low"]), np.array(table["high"])
    middle = low + 0.5 * np.minimum(high - low, np.median(high - low))
    return middle[kept], *(np.array(table[name], dtype=float)[kept] for name in names)


def _band(ax: Axes, tables: Tables, name: str) -> float:
    """Median and 16 to 84 % of an error, and the median with the true members; returns the top of the band."""
    x, median, low, high = _columns(tables["by_mass"], *(f"{name}_{part}" for part in ("median", "16", "84")))
    ax.fill_between(x, low, high, color=ORANGE, alpha=0.25, linewidth=0)
    ax.plot(x, median, "o-", color=ORANGE, ms=4, label="median, 16-84 %")
    x, median = _columns(tables["by_mass_true_members"], f"{name}_median")
    ax.plot(x, median, "s:", color=BLUE, ms=3.5, label="true members")
    return float(high.max(initial=0.0))


def _positions(ax: Axes, tables: Tables) -> None:
    top = _band(ax, tables, "distance")
    # the legend stands above the band
    ax.set_ylim(0, 1.45 * top)
    ax.set_ylabel(r"position error [$h^{-1}$Mpc]")


def _velocities(ax: Axes, tables: Tables) -> None:
    _band(ax, tables, "velocity")
    x, speed = _columns(tables["by_mass"], "speed_rms")
    ax.plot(x, speed, "--", color=BLACK, linewidth=1.2, label="rms speed")
    ax.set_yscale("log")
    ax.set_ylim(top=40 * np.nanmax(speed) if np.isfinite(speed).any() else None)
    ax.set_ylabel("velocity error [km/s]")


def _spins(ax: Axes, tables: Tables) -> None:
    for table, style, colour, label in (
        ("by_mass", "o-", ORANGE, "predicted"),
        ("by_mass_true_members", "s:", BLUE, "true members"),
    ):
        x, cosine = _columns(tables[table], "spin_cosine_mean")
        ax.plot(x, cosine, style, color=colour, ms=4, label=label)
    ax.axhline(0, color=BLACK, linestyle="--", linewidth=1.2, label="random")
    ax.set_ylim(-0.1, 1.25)
    ax.set_ylabel("mean cosine of the spins")


def _differences(ax: Axes, tables: Tables, columns: Mapping[str, str]) -> None:
    """Mean of predicted minus simulated with its scatter, for columns and their names in the legend."""
    for i, ((name, label), colour) in enumerate(zip(columns.items(), (ORANGE, BLUE, GREEN), strict=False)):
        x, offset, scatter = _columns(tables["shapes"], f"{name}_offset", f"{name}_scatter")
        # side by side, so that the bars can be told apart
        ax.errorbar(x + 0.06 * (i - 1), offset, scatter, fmt="os^"[i], color=colour, ms=4, capsize=2, label=label)
    ax.axhline(0, color=BLACK, linestyle="--", linewidth=1.2)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.45 * (high - low))


def _ratios(ax: Axes, tables: Tables) -> None:
    _differences(ax, tables, {"b_a": "$b/a$", "c_a": "$c/a$"})
    ax.set_ylabel("axis ratio, predicted - true")


def _tides(ax: Axes, tables: Tables) -> None:
    _differences(ax, tables, {f"lambda_{i}": rf"$\lambda_{i}$" for i in (1, 2, 3)})
    ax.set_ylabel(r"tidal $\lambda_i$, predicted - true")


def _confidence(ax: Axes, tables: Tables) -> None:
    table = tables["by_confidence"]
    kept = np.array(table["protohaloes"]) >= FEWEST
    x, purity, found = (np.array(table[name], dtype=float)[kept] for name in ("confidence", "purity", "found"))
    edges = (min(0.6, x.min(initial=1.0)), 1.0)
    ax.plot(edges, edges, "--", color=BLACK, linewidth=1.2, label="reliable")
    ax.plot(x, purity, "o-", color=ORANGE, ms=4, label="in haloes")
    ax.plot(x, found, "s:", color=BLUE, ms=4, label="IoU > 0.5")
    ax.set_xlabel("confidence [probability]")
    ax.set_ylabel("share in the simulation")
