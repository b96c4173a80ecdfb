"""Figures of experiments, after López-Cano et al. 2024, figures 10 to 12.

Every function returns a matplotlib figure of its own, made without pyplot; colours are those of Okabe & Ito.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from paper_figures import OUTSIDE, PAGE

from yt_protohalos.analysis.bias import BIAS_FITS, LagrangianBias, bias_fit
from yt_protohalos.analysis.drawing import Slice, fullest_plane, new_figure
from yt_protohalos.exceptions import ScoringError
from yt_protohalos.fields.cosmology import Cosmology
from yt_protohalos.prediction.result import LabelledSites

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("black", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
FIT_STYLES = ("-", "--")
MASS_LABEL = r"log$_{10}\,M$ [$h^{-1}$M$_\odot$]"


def plot_responses(predictions: Mapping[str, LabelledSites], axis: str = "x", index: int | None = None) -> Figure:
    """The same slice of several predictions of the same sites, protohalo masses in one colour scale (figures 10, 12).

    Parameters
    ----------
    predictions : mapping
        Title and `Prediction` or `RegionPrediction` of each panel, from left to right.
    axis : {"x", "y", "z"}
        Normal of the slice.
    index : int, optional
        Plane of the cubes; by default the one with most protohalo sites in the middle panel.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ScoringError
        There is no prediction, or the sites differ.
    LatticeError
        The axis or the plane does not exist.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    shown = list(predictions.values())
    if not shown:
        raise ScoringError("there is no prediction to draw; give at least one")
    first = shown[0]
    for other in shown[1:]:
        same_place = getattr(other, "start", None) == getattr(first, "start", None)
        if other.lattice != first.lattice or other.labels.shape != first.labels.shape or not same_place:
            raise ScoringError("the predictions are not of the same sites; draw those of one box or region")
    if index is None:
        index = fullest_plane(shown[len(shown) // 2].labels, axis)
    plane = Slice.through(first, axis, index)
    masses = np.concatenate([one.label_mass[1:] for one in shown])
    norm = LogNorm(masses.min(), max(masses.max(), 1.01 * masses.min())) if len(masses) else LogNorm(1, 10)
    right, up = plane.axis_names
    # at most a page wide, so that the text keeps its size in print
    panel = min(4.1, (PAGE - 0.4) / len(shown))
    figure, axes = new_figure(panel * len(shown) + 0.4, panel + 1.3, columns=len(shown), sharey=True)
    for ax, (title, one) in zip(axes, predictions.items(), strict=True):
        drawn = plane.show(ax, np.ma.masked_equal(plane.image(one.mass), 0), norm=norm, cmap="viridis")
        ax.set_facecolor(OUTSIDE)
        plane.outline(ax, plane.image(one.labels), colors="black", linewidths=0.3)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(rf"{right} [$h^{{-1}}$Mpc]", fontsize=9)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel(rf"{up} [$h^{{-1}}$Mpc]", fontsize=9)
    every = LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))
    bar = figure.colorbar(
        drawn, ax=list(axes), location="bottom", aspect=40, shrink=0.8, ticks=LogLocator(subs=(1, 2, 5)), format=every
    )
    bar.set_label(r"Protohalo mass [M$_\odot$]", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.minorticks_off()
    return figure


def plot_bias(
    measured: Mapping[str, LagrangianBias],
    cosmology: Cosmology | None = None,
    fits: Sequence[str] = ("tinker10", "bhattacharya11"),
) -> Figure:
    """Linear Lagrangian bias by mass with jackknife errors (figure 11).

    Parameters
    ----------
    measured : mapping
        Name in the legend and `LagrangianBias` of each sample, e.g. predicted and simulated, or boxes of several sizes.
    cosmology : Cosmology, optional
        Draw the fits too, see `bias.bias_fit`.
    fits : sequence of str
        Of `bias.BIAS_FITS`; the legend says of which haloes.

    Returns
    -------
    matplotlib Figure
    """
    figure, (ax,) = new_figure(5.8, 4.3)
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    low, high = [], []
    for i, (name, one) in enumerate(measured.items()):
        kept = one.number > 0
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": "o", "markersize": 4, "capsize": 2}
        # shifted a little, so that error bars of the samples do not hide each other
        mass = one.log10_mass[kept] + 0.02 * i
        ax.errorbar(mass, one.value[kept], np.nan_to_num(one.error[kept]), label=name, linestyle=":", **style)
        low.append(one.edges[0])
        high.append(one.edges[-1])
    if cosmology is not None:
        mass = np.linspace(min(low, default=11.0), max(high, default=15.0), 100)
        for fit, dashes in zip(fits, FIT_STYLES * len(fits), strict=False):
            ax.plot(mass, bias_fit(cosmology, mass, fit), dashes, color="0.5", label=f"{fit} ({BIAS_FITS[fit]})")
    ax.set_xlabel(MASS_LABEL)
    ax.set_ylabel(r"$b_{1\mathrm{L}}$")
    if measured or cosmology is not None:
        ax.legend(frameon=False, loc="upper left")
    return figure
