"""Figures of the scores of predictions, after López-Cano et al. 2024: figures 5, 6, 8, 9 and C1, and the reliability.

All but the confusion map are drawn from `BlockCounts`: those of the model with its runs pooled, and those of a baseline
pair with both directions pooled. Every function returns a matplotlib figure of its own, made without pyplot. Masses are
Msun/h. The colours are those of Okabe & Ito, readable with colour-vision deficiencies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..fields.cosmology import Cosmology
from ..fields.lattice import Lattice
from . import metrics
from .block_counts import BINS, N_OFFSETS, OFFSET_STEP, BlockCounts
from .drawing import Slice, new_figure
from .mass_function import fof_mass_function
from .score_tables import DRAWS, bootstrap_weights, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, BLUE, RED, BLACK = "#009E73", "#56B4E9", "#D55E00", "black"
DARK_BLUE, ORANGE, PURPLE, YELLOW = "#0072B2", "#E69F00", "#CC79A7", "#F0E442"
MODEL_COLOUR, PAIR_COLOUR, FIT_COLOUR = BLACK, GREEN, DARK_BLUE
OUTCOMES = (("true negative", BLUE), ("false positive", YELLOW), ("false negative", BLACK), ("true positive", GREEN))
"""Classes of the confusion map, in the order of ``2 * true + predicted``."""
METRICS = {"TPR": GREEN, "TNR": DARK_BLUE, "PPV": PURPLE, "F1": BLACK, "ACC": ORANGE}
MASS_LABEL = r"log$_{10}\,M$ [$h^{-1}$M$_\odot$]"
CENTRES = np.array([(low + high) / 2 for low, high in BINS])
"""Middle of each mass bin, log10 of Msun/h."""
WIDTH = 0.2
"""Width of a mass bin, dex."""


def plot_confusion(
    true: NDArray[np.bool_],
    probability: NDArray[np.floating],
    mask: NDArray[np.bool_],
    lattice: Lattice,
    axis: str = "z",
    index: int | None = None,
    name: str = "membership probability",
) -> Figure:
    """Slice of the true members, the probability, and the outcome of each site (figure 5); all cubes are (n, n, n).

    By default it is the middle plane of the lattice. `name` says what the probability is, as `Card.probability_name`.
    Raises `LatticeError` if a cube is not the lattice's, or the axis or plane does not exist.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    for what, cube in (("true", true), ("probability", probability), ("mask", mask)):
        lattice.check_cube(cube, what)
    # the box begins at the outer face of the first pixel
    plane = Slice(axis, lattice.n // 2 if index is None else index, lattice.n, lattice.spacing, (0.5, 0.5, 0.5))
    member, inside = plane.image(true), plane.image(mask)
    # a page wide, so that the text keeps its size in print
    figure, axes = new_figure(7.1, 3.5, columns=3, sharey=True)
    plane.show(axes[0], member, cmap=ListedColormap([BLUE, RED]), vmin=0, vmax=1)
    shown = plane.show(axes[1], plane.image(probability), cmap="cividis", vmin=0, vmax=1)
    scale = axes[1].inset_axes((0.08, -0.34, 0.84, 0.06))
    figure.colorbar(shown, cax=scale, orientation="horizontal")
    scale.tick_params(labelsize=8)
    colours = ListedColormap([colour for _, colour in OUTCOMES])
    plane.show(axes[2], 2 * member.astype(np.int8) + inside, cmap=colours, vmin=-0.5, vmax=3.5)
    below: dict[str, Any] = {
        "loc": "upper center", "bbox_to_anchor": (0.46, -0.24), "frameon": False, "fontsize": 8, "handlelength": 1,
        "columnspacing": 1, "ncols": 2,
    }  # fmt: skip
    axes[0].legend(handles=[Patch(color=RED, label="halo member"), Patch(color=BLUE, label="outside")], **below)
    axes[2].legend(handles=[Patch(color=colour, label=name) for name, colour in OUTCOMES[::-1]], **below)
    right, up = plane.axis_names
    for ax, title in zip(axes, ("simulation", name, "outcome"), strict=True):
        ax.set_title(title, fontsize=9)
        ax.set_xlabel(rf"{right} [$h^{{-1}}$Mpc]", fontsize=9)
        ax.tick_params(labelsize=8)
        # legends and inset axes are left out of the layout, so the room for them is below
        ax.set_anchor("N")
    axes[0].set_ylabel(rf"{up} [$h^{{-1}}$Mpc]", fontsize=9)
    return figure


def plot_rate_by_mass(counts: BlockCounts, pair: BlockCounts | None = None) -> Figure:
    """True positive rate by the mass of the true halo, with bootstrap errors (figure 6)."""
    figure, (ax,) = new_figure(5.8, 4.2)
    for one, colour, label in _models(counts, pair):
        value, error = _with_error(one, metrics.true_positive_rate)
        ax.errorbar(CENTRES, value, error, color=colour, marker="o", markersize=3, capsize=2, label=label)
    ax.set(ylim=(0, 1), xlabel="Simulated " + MASS_LABEL, ylabel="True positive rate")
    ax.legend(frameon=False, loc="lower right")
    return figure


def plot_voxel_masses(counts: BlockCounts, pair: BlockCounts | None = None) -> Figure:
    """Predicted against true halo mass of sites, and the rates of sites missed and of sites wrongly claimed (figure 8).

    Violins show the sites inside a halo in both: the bar spans the 16th to 84th percentile, the point is the median.
    With a pair, its violins are the right halves.
    """
    figure, (top, main) = new_figure(7.2, 7.6, rows=2, height_ratios=[1, 3], sharex=True)
    models = _models(counts, pair)
    sides = (0,) if pair is None else (-1, 1)
    for (one, colour, label), side in zip(models, sides, strict=True):
        total = one.total()
        for rate, dashes, name in (
            (metrics.false_negative_rate, "-", "FNR by simulated mass"),
            (metrics.false_discovery_rate, "--", "FDR by predicted mass"),
        ):
            top.plot(CENTRES, rate(total)[0], dashes, color=colour, label=f"{name}, {label}")
        _violins(main, total, colour, label, side)
    filled = np.flatnonzero(sum(one.total().offsets[0, : len(BINS)].sum(axis=-1) for one, *_ in models))
    limits = (BINS[0][0] - 0.1, BINS[filled[-1] if len(filled) else -1][1] + 0.1)
    main.plot(limits, limits, color="0.6", linewidth=0.8, zorder=0, label="equal")
    main.set(xlim=limits, ylim=(10.6, limits[1] + 0.6))
    main.set(xlabel="Simulated " + MASS_LABEL, ylabel="Predicted " + MASS_LABEL)
    top.set(ylim=(0, 0.75), ylabel="Rate")
    top.legend(frameon=False, fontsize="small", ncols=len(models))
    main.legend(frameon=False, loc="upper left")
    return figure


def plot_mass_functions(
    counts: BlockCounts, cosmology: Cosmology | None = None, fit: str = "watson13", redshift: float = 0.0
) -> Figure:
    """Mass functions of predicted and simulated haloes, and their ratio with bootstrap errors (figure 9).

    With a cosmology, a fit to friends-of-friends haloes is drawn too; for it see `fof_mass_function`.
    """
    figure, (main, below) = new_figure(6.0, 6.4, rows=2, height_ratios=[2.2, 1], sharex=True)
    total = counts.total()
    per_decade = total.volume[0] * WIDTH
    for by_mass, colour, marker, shift, label in (
        (total.simulated, BLACK, "o", 0.0, "simulated"),
        (total.predicted, RED, "s", 0.02, "predicted"),
    ):
        number = metrics.window_sums(by_mass, BINS)[0]
        kept = number > 0
        # symmetric Poisson bars would end at zero for a single halo
        low = np.minimum(np.sqrt(number), 0.9 * number)
        bars = np.array([low, np.sqrt(number)])[:, kept] / per_decade
        main.errorbar(CENTRES[kept] + shift, number[kept] / per_decade, bars, color=colour, marker=marker,
                      markersize=4, linestyle="none", capsize=2, label=label)  # fmt: skip
    if cosmology is not None:
        mass = np.linspace(BINS[0][0], BINS[-1][1], 100)
        main.plot(mass, fof_mass_function(cosmology, mass, fit, redshift), color=FIT_COLOUR, label=f"FoF fit, {fit}")
    value, error = _with_error(counts, metrics.mass_function_ratio)
    below.axhspan(0.85, 1.15, color="0.9", zorder=0)
    below.axhline(1, color="0.6", linewidth=0.8)
    below.errorbar(CENTRES, value, error, color=RED, marker="s", markersize=4, capsize=2)
    below.set(ylim=(0, 2), xlabel=MASS_LABEL, ylabel="predicted / simulated")
    if (total.simulated + total.predicted).any() or cosmology is not None:
        main.set_yscale("log")
    main.set_ylabel(r"d$n$ / dlog$_{10}M$ [($h^{-1}$Mpc)$^{-3}$]")
    main.legend(frameon=False)
    return figure


def plot_reliability(counts: BlockCounts) -> Figure:
    """Observed share of members against predicted probability, with the share of sites in each bin below."""
    figure, (main, below) = new_figure(4.8, 5.8, rows=2, height_ratios=[3, 1], sharex=True)
    mean, observed = metrics.reliability_curve(counts.total())
    _, error = _with_error(counts, lambda one: metrics.reliability_curve(one)[1])
    line = np.array([0.0, 1.0])
    main.fill_between(line, line - 0.05, line + 0.05, color="0.92", label="within 0.05")
    main.plot(line, line, color="0.6", linewidth=0.8)
    main.errorbar(mean[0], observed[0], error, color=MODEL_COLOUR, marker="o", markersize=4, capsize=2)
    sites = counts.total().probability_sites[0]
    edges = np.linspace(0, 1, len(sites) + 1)
    below.stairs(sites / max(sites.sum(), 1) * len(sites), edges, color=MODEL_COLOUR)
    if sites.any():
        below.set_yscale("log")
    main.set(xlim=(0, 1), ylim=(0, 1), ylabel="Observed share of members")
    below.set(xlabel="Predicted probability", ylabel="Density of sites")
    main.legend(frameon=False, loc="upper left")
    return figure


def plot_threshold_scan(counts: BlockCounts, threshold: float | None = None, pair: BlockCounts | None = None) -> Figure:
    """Scores, and the share of sites predicted inside, for every semantic threshold (figure C1).

    The threshold in use is a vertical line, the scores of a pair are dashed lines.
    """
    figure, (main, below) = new_figure(6.0, 6.4, rows=2, height_ratios=[2.2, 1], sharex=True)
    thresholds, scores = metrics.scores_by_threshold(counts.total())
    limit = None if pair is None else metrics.site_scores(pair.total())
    for name, colour in METRICS.items():
        main.plot(thresholds, scores[name][0], color=colour, label=name)
        if limit is not None:
            main.axhline(limit[name][0], color=colour, linestyle="--", linewidth=0.9)
    below.plot(thresholds, scores["predicted_fraction"][0], color=BLACK, label="predicted")
    below.axhline(scores["true_fraction"][0][0], color=BLACK, linestyle="--", linewidth=0.9, label="simulated")
    if threshold is not None:
        for ax in (main, below):
            ax.axvline(threshold, color="0.4", linestyle=":")
    main.set(xlim=(0, 1), ylim=(0.5, 1), ylabel="Score" + ("" if pair is None else " (dashed: baseline pair)"))
    below.set(ylim=(0, 1), xlabel="Semantic threshold", ylabel="Share of sites")
    # where none of the curves run
    main.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.06, 0.0))
    below.legend(frameon=False)
    return figure


def _models(counts: BlockCounts, pair: BlockCounts | None) -> list[tuple[BlockCounts, str, str]]:
    pairs = [] if pair is None else [(pair, PAIR_COLOUR, "baseline pair")]
    return [(counts, MODEL_COLOUR, "model"), *pairs]


def _with_error(counts: BlockCounts, figure: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value and bootstrap error of a function of block counts; zero error where too few draws have data."""
    draws = figure(counts.weighted(bootstrap_weights(counts.n_blocks, DRAWS, 0)))
    return figure(counts.total())[0], np.nan_to_num(spread(draws))


def _violins(ax: Axes, total: BlockCounts, colour: str, label: str, side: int) -> None:
    """Distributions as shapes around the bin centres: whole (side 0), left (-1) or right (1) halves."""
    offset = (np.arange(N_OFFSETS) - N_OFFSETS // 2) * OFFSET_STEP
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 4) ** 2)
    middle, low, high = (metrics.voxel_offset(total, quantile)[0] for quantile in (0.5, 0.16, 0.84))
    for i, centre in enumerate(CENTRES):
        counts = total.offsets[0, i]
        if not counts.any():
            continue
        # smoothed by 0.04 dex, for haloes of one mass would be a spike
        density = np.convolve(counts, kernel, mode="same")
        kept = density > 1e-3 * density.max()
        width = 0.45 * WIDTH * density[kept] / density.max()
        shown = centre + offset[kept]
        left, right = (centre - width * (side <= 0), centre + width * (side >= 0))
        ax.fill_betweenx(shown, left, right, color=colour, alpha=0.35, linewidth=0.5)
        at = centre + 0.12 * WIDTH * side
        ax.plot([at, at], centre + np.array([low[i], high[i]]), color=colour, linewidth=1.2)
        ax.plot(at, centre + middle[i], "o", color=colour, markersize=4)
    ax.plot([], [], "o-", color=colour, label=label)
