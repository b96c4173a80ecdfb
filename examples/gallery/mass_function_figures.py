"""Haloes counted by mass in boxes of any size, beside fits: figures 9 and 13 of López-Cano et al. 2024.

A fit falls by a factor of several within a wide bin, so counts are compared with its integral over the bin, and a point
is drawn at the mass where the fit equals its own mean over the bin (Lafferty & Wyatt 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from yt_protohalos.analysis.drawing import new_figure
from yt_protohalos.analysis.mass_function import HaloCounts, fof_mass_function, mean_fit
from yt_protohalos.exceptions import ScoringError
from yt_protohalos.fields.cosmology import Cosmology

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("black", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARKERS = "os^Dv<"
FIT_STYLES = ("-", "--", ":")
MASS_LABEL = r"log$_{10}\,M$ [$h^{-1}$M$_\odot$]"
DENSITY_LABEL = r"d$n$ / dlog$_{10}M$ [($h^{-1}$Mpc)$^{-3}$]"


def plot_abundance(
    samples: Mapping[str, HaloCounts], cosmology: Cosmology, fits: Sequence[str] = ("watson13", "angulo12")
) -> Figure:
    """Mass functions of several samples of haloes beside fits, and their ratios to the first fit (figure 9).

    Parameters
    ----------
    samples : mapping
        Name in the legend and counts; empty bins are left out. Errors are Poisson's.
    cosmology : Cosmology
    fits : sequence of str
        Names in `FOF_FITS`.

    Raises
    ------
    ScoringError
        There is no sample or no fit.
    """
    if not samples or not fits:
        raise ScoringError("there is nothing to compare; give at least one sample and one fit")
    figure, (top, below) = new_figure(5.6, 5.6, rows=2, height_ratios=[2.2, 1], sharex=True)
    low = min(one.edges[0] for one in samples.values())
    high = max(one.edges[1:][one.number > 0].max(initial=low + 1) for one in samples.values())
    mass = np.linspace(low, high, 120)
    first = fof_mass_function(cosmology, mass, fits[0])
    for fit, dashes in zip(fits, FIT_STYLES * len(fits), strict=False):
        value = fof_mass_function(cosmology, mass, fit)
        top.plot(mass, value, dashes, color="0.5", linewidth=1.1, label=f"fit to FoF haloes, {fit}")
        below.plot(mass, value / first, dashes, color="0.5", linewidth=1.1)
    for i, (name, counts) in enumerate(samples.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "fmt": MARKERS[i % len(MARKERS)], "label": name}
        draw_counts(top, below, counts, cosmology, fits[0], 0.015 * i, **style)
    top.set_yscale("log")
    below.set_ylim(0, 2)
    top.set_ylabel(DENSITY_LABEL)
    below.set_ylabel(f"ratio to {fits[0]}")
    below.set_xlabel(MASS_LABEL)
    top.legend(frameon=False, fontsize=8)
    return figure


def plot_amplitudes(
    samples: Sequence[tuple[Cosmology, HaloCounts | None, HaloCounts]], fit: str = "watson13"
) -> Figure:
    """Mass functions for several sigma_8, and the ratio of predicted to simulated haloes (figure 13).

    Parameters
    ----------
    samples : sequence of (Cosmology, HaloCounts or None, HaloCounts)
        Cosmology, simulated and predicted haloes of each amplitude, in the same bins.
    fit : str
        A name in `FOF_FITS`.

    Raises
    ------
    ScoringError
        There is no amplitude.
    """
    if not samples:
        raise ScoringError("there is no amplitude to draw; give at least one")
    figure, (top, below) = new_figure(5.6, 5.8, rows=2, height_ratios=[2.2, 1], sharex=True)
    below.axhspan(0.85, 1.15, color="0.93", zorder=0)
    below.axhline(1, color="0.6", linewidth=0.8)
    order = (2, 0, 1, 3, 4, 5)
    for i, (cosmology, simulated, predicted) in enumerate(samples):
        colour, marker = COLOURS[order[i % 6]], MARKERS[i % 6]
        mass = np.linspace(predicted.edges[0], predicted.edges[-1], 120)
        name = rf"$\sigma_8$ = {cosmology.sigma_8:.2f}"
        top.plot(mass, fof_mass_function(cosmology, mass, fit), color=colour, linewidth=1.1)
        style: dict[str, Any] = {"color": colour, "fmt": marker}
        if simulated is not None:
            draw_counts(top, None, simulated, cosmology, fit, -0.012, mfc="white", **style)
        draw_counts(top, None, predicted, cosmology, fit, 0.012, label=name, **style)
        if simulated is not None:
            kept = (simulated.number > 0) & (predicted.number > 0)
            ratio = predicted.number[kept] / simulated.number[kept]
            centre = 0.5 * (predicted.edges[1:] + predicted.edges[:-1])[kept] + 0.02 * (i - 1)
            # both have the same phases, so the scatter of one of them is an upper bound
            error = ratio * simulated.relative_error[kept]
            below.errorbar(centre, ratio, error, ms=4, capsize=2, linewidth=1, **style)
    top.plot([], [], "o", color="0.4", label="predicted")
    top.plot([], [], "o", color="0.4", mfc="white", label="simulated")
    top.plot([], [], "-", color="0.4", linewidth=1.1, label=f"fit to FoF haloes, {fit}")
    top.set_yscale("log")
    below.set_ylim(0, 2)
    top.set_ylabel(DENSITY_LABEL)
    below.set_ylabel("predicted / simulated")
    below.set_xlabel(MASS_LABEL)
    top.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def draw_counts(
    top: Axes, below: Axes | None, counts: HaloCounts, cosmology: Cosmology, fit: str, shift: float, **style: Any
) -> None:
    """Points of a sample, moved by `shift` dex, and its ratio to a fit on a second pair of axes."""
    mean, place = mean_fit(cosmology, counts.edges, fit)
    kept = counts.number > 0
    density, error = counts.density[kept], counts.relative_error[kept]
    # symmetric Poisson bars would end at zero for a single halo
    bars = np.array([np.minimum(error, 0.9), error])
    shared: dict[str, Any] = {"ms": 4, "capsize": 2, "linewidth": 1, **style}
    top.errorbar(place[kept] + shift, density, density * bars, **shared)
    if below is not None:
        ratio = density / mean[kept]
        below.errorbar(place[kept] + shift, ratio, ratio * bars, **shared)
