"""Pictures of predictions.

Every function returns a matplotlib figure of its own, without pyplot, so that neither a window nor global state is
involved. Colours are readable with colour-vision deficiencies and in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import LatticeError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = "xyz"
MASS_COLOURS = "viridis"
PROBABILITY_COLOURS = "cividis"
OVERDENSITY_COLOURS = "RdBu_r"
OUTSIDE = "0.92"
POTENTIAL_COLOUR = "#D55E00"


def plot_masses(
    prediction: Prediction, axis: str = "z", index: int | None = None, field: LinearField | None = None
) -> Figure:
    """Slice of protohalo masses on a logarithmic colour scale; sites outside are grey.

    Parameters
    ----------
    prediction : Prediction
    axis : {"x", "y", "z"}
        Normal of the slice.
    index : int, optional
        Lattice plane; by default the one with most protohalo sites.
    field : LinearField, optional
        The field the prediction was made from: contours of its potential are drawn, dashed where it is negative.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    LatticeError
        The axis or the plane does not exist, or the field is on another lattice.

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import plot_masses
    >>> plot_masses(prediction, axis="z", index=16, field=field).savefig("masses.png")
    """
    figure = _single(prediction, axis, index, draw_masses)
    if field is not None:
        prediction.lattice.check_cube(field.phi, "phi")
        _draw_potential(figure.axes[0], field, prediction, axis, chosen_plane(prediction, axis, index))
    return figure


def plot_probability(prediction: Prediction, axis: str = "z", index: int | None = None) -> Figure:
    """Slice of the membership probability with the outlines of the protohalos.

    Parameters
    ----------
    prediction : Prediction
    axis, index
        As in `plot_masses`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    LatticeError
        The axis or the plane does not exist.

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import plot_probability
    >>> plot_probability(prediction).savefig("probability.png")
    """
    return _single(prediction, axis, index, _draw_probability)


def plot_overview(
    prediction: Prediction, field: LinearField | None = None, axis: str = "z", index: int | None = None
) -> Figure:
    """One slice of the linear overdensity (where `field` is given), the probability and the masses, side by side.

    Parameters
    ----------
    prediction : Prediction
    field : LinearField, optional
        The field the prediction was made from.
    axis, index
        As in `plot_masses`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    LatticeError
        The axis or the plane does not exist, or the field is on another lattice.

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import plot_overview
    >>> plot_overview(prediction, field).savefig("overview.png")
    """
    plane = chosen_plane(prediction, axis, index)
    panels: list[Any] = [_draw_probability, draw_masses]
    figure, axes = _figure(len(panels) + (field is not None))
    if field is not None:
        prediction.lattice.check_cube(field.delta, "delta")
        _draw_overdensity(axes[0], field, prediction, axis, plane)
    for ax, draw in zip(axes[-len(panels) :], panels, strict=True):
        draw(ax, prediction, axis, plane)
    return figure


def plot_mass_function(prediction: Prediction, bins_per_decade: int = 5) -> Figure:
    """Comoving mass function dn / dlog10 M of the protohalos, with Poisson errors; empty bins are left out.

    Masses in Msun, density in (Mpc/h)^-3.

    Parameters
    ----------
    prediction : Prediction
    bins_per_decade : int
        Bins in a factor ten of mass.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import plot_mass_function
    >>> plot_mass_function(prediction).savefig("mass_function.png")
    """
    figure, (ax,) = _figure(1, width=5.6)
    centers, density, error = mass_function(prediction, bins_per_decade)
    kept = density > 0
    ax.errorbar(centers[kept], density[kept], error[kept], fmt="o", color="#0072B2", capsize=2, label="predicted")
    smallest = prediction.card.min_sites * prediction.site_mass_msun
    ax.axvline(smallest, color="0.5", linestyle="--", label=f"smallest protohalo, {prediction.card.min_sites} sites")
    ax.set_xscale("log")
    if kept.any():
        ax.set_yscale("log")
    ax.set_xlabel(r"Lagrangian mass $M$ [M$_\odot$]" + _target(prediction))
    ax.set_ylabel(r"d$n$ / dlog$_{10}M$ [(Mpc/$h$)$^{-3}$]")
    # above the axes, where no point can lie
    ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def mass_function(
    prediction: Prediction, bins_per_decade: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Comoving number density of protohalos a decade of mass.

    Parameters
    ----------
    prediction : Prediction
    bins_per_decade : int
        Bins in a factor ten of mass.

    Returns
    -------
    mass : float64, (B,)
        Centres of the logarithmic bins, Msun, from the smallest protohalo the model keeps.
    density, error : float64, (B,)
        dn / dlog10 M and its Poisson error, (Mpc/h)^-3.

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import mass_function
    >>> mass, density, error = mass_function(prediction)
    >>> bool(np.all(np.diff(mass) > 0))
    True
    """
    masses = prediction.label_mass[1:]
    # lower by half a site, so that a protohalo of just min_sites cannot fall below the first edge by rounding
    first = np.log10((prediction.card.min_sites - 0.5) * prediction.site_mass_msun)
    last = np.log10(masses.max()) if len(masses) else first
    count = max(1, int(np.ceil((last - first) * bins_per_decade + 1e-9)))
    edges = first + np.arange(count + 1) / bins_per_decade
    number, _ = np.histogram(np.log10(masses), edges)
    volume = prediction.lattice.box_size**3 / bins_per_decade
    return 10 ** (edges[:-1] + 0.5 / bins_per_decade), number / volume, np.sqrt(number) / volume


def chosen_plane(prediction: Prediction, axis: str, index: int | None) -> int:
    """Plane to draw: the one asked for, else the one with most protohalo sites."""
    if axis not in AXES or len(axis) != 1:
        raise LatticeError(f"axis {axis!r} is unknown; use x, y or z")
    number = AXES.index(axis)
    n = prediction.lattice.n
    if index is None:
        others = tuple(i for i in range(3) if i != number)
        return int(np.argmax(np.count_nonzero(prediction.labels, axis=others)))
    if not 0 <= index < n:
        raise LatticeError(f"plane {index} is outside the lattice; use 0 to {n - 1}")
    return int(index)


def _single(prediction: Prediction, axis: str, index: int | None, draw: Any) -> Figure:
    plane = chosen_plane(prediction, axis, index)
    figure, (ax,) = _figure(1)
    draw(ax, prediction, axis, plane)
    return figure


def _figure(panels: int, width: float = 5.2) -> tuple[Figure, NDArray]:
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width * panels, 4.4), layout="constrained")
    return figure, figure.subplots(1, panels, squeeze=False)[0]


def _plane(cube: NDArray, axis: str, plane: int) -> NDArray:
    """Slice with the first remaining axis along x of the picture."""
    return np.take(cube, plane, axis=AXES.index(axis)).T


def _draw(ax: Axes, image: NDArray, prediction: Prediction, axis: str, plane: int, label: str, **style: Any) -> None:
    """Draw a slice whose pixels are centred on the sites, with a colour bar."""
    lattice = prediction.lattice
    start = (prediction.site_offset - 0.5) * lattice.spacing
    extent = (start, start + lattice.box_size) * 2
    drawn = ax.imshow(image, origin="lower", extent=extent, interpolation="nearest", **style)
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.9)
    first, second = (name for name in AXES if name != axis)
    ax.set_xlabel(f"{first} [Mpc/h]")
    ax.set_ylabel(f"{second} [Mpc/h]")
    title = f"{axis} = {(plane + prediction.site_offset) * lattice.spacing:.2f} Mpc/h"
    ax.set_title(title + _target(prediction), fontsize="medium")


def _target(prediction: Prediction) -> str:
    """What a label says of the redshift of the haloes; nothing at 0."""
    redshift = prediction.target_redshift
    return f", haloes at redshift {redshift:g}" if redshift else ""


def draw_masses(ax: Axes, prediction: Prediction, axis: str, plane: int) -> None:
    """Draw what `plot_masses` shows into axes; the plane exists."""
    from matplotlib.colors import LogNorm

    image = _plane(prediction.labels, axis, plane)
    masses = prediction.label_mass
    smallest = prediction.card.min_sites * prediction.site_mass_msun
    norm = LogNorm(vmin=smallest, vmax=max(10 * smallest, masses.max()))
    shown = np.ma.masked_less_equal(masses[image], 0.0)
    ax.set_facecolor(OUTSIDE)
    label = r"Protohalo mass [M$_\odot$]"
    _draw(ax, shown, prediction, axis, plane, label, cmap=MASS_COLOURS, norm=norm)
    draw_outlines(ax, image, prediction)


def _draw_probability(ax: Axes, prediction: Prediction, axis: str, plane: int) -> None:
    image = _plane(prediction.probability, axis, plane)
    label = "Membership probability"
    _draw(ax, image, prediction, axis, plane, label, cmap=PROBABILITY_COLOURS, vmin=0.0, vmax=1.0)
    draw_outlines(ax, _plane(prediction.labels, axis, plane), prediction)


def _draw_overdensity(ax: Axes, field: LinearField, prediction: Prediction, axis: str, plane: int) -> None:
    image = _plane(field.delta, axis, plane)
    limit = 3 * float(field.delta.std()) or 1.0
    label = f"Linear overdensity (z = {field.target_redshift:g})"
    _draw(ax, image, prediction, axis, plane, label, cmap=OVERDENSITY_COLOURS, vmin=-limit, vmax=limit)


def _draw_potential(ax: Axes, field: LinearField, prediction: Prediction, axis: str, plane: int) -> None:
    """Contours of the potential through the sites' centres, with the step between them above the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    image = _plane(field.phi, axis, plane)
    if not float(np.ptp(image)):
        return
    levels = MaxNLocator(8).tick_values(float(image.min()), float(image.max()))
    places = (np.arange(prediction.lattice.n) + prediction.site_offset) * prediction.lattice.spacing
    ax.contour(places, places, image, levels=levels, colors=POTENTIAL_COLOUR, linewidths=1.0)
    step = f"potential, every {levels[1] - levels[0]:g} (Mpc/h)$^2$ (dashed: negative)"
    line = Line2D([], [], color=POTENTIAL_COLOUR, linewidth=1.0, label=step)
    ax.legend(handles=[line], frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize="small")


def draw_outlines(ax: Axes, labels: NDArray, prediction: Prediction, colour: str = "black", width: float = 0.5) -> None:
    """Lines between neighbouring sites of different labels in a slice, (n, n)."""
    from matplotlib.collections import LineCollection

    spacing = prediction.lattice.spacing
    start = (prediction.site_offset - 0.5) * spacing
    rows, columns = np.nonzero(labels[:, 1:] != labels[:, :-1])
    vertical = np.stack([np.stack([columns + 1, rows], 1), np.stack([columns + 1, rows + 1], 1)], 1)
    rows, columns = np.nonzero(labels[1:] != labels[:-1])
    horizontal = np.stack([np.stack([columns, rows + 1], 1), np.stack([columns + 1, rows + 1], 1)], 1)
    segments = start + spacing * np.concatenate([vertical, horizontal])
    ax.add_collection(LineCollection(list(segments), colors=colour, linewidths=width, capstyle="round"))
