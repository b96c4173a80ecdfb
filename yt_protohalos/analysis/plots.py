"""Pictures of one prediction: slices, mass function, and a protohalo in three dimensions.

The functions ``plot_...`` return a matplotlib figure of their own, made without pyplot, so that neither a window nor
global state is involved; `draw_masses` draws into axes of a figure of yours. Lengths are comoving Mpc/h, masses Msun.
Colours are readable with colour-vision deficiencies, those of mass and probability in grey too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..catalog.members import predicted_region
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction, RegionPrediction
from .drawing import AXES, Slice, new_figure
from .mass_function import expected_mass_function, protohalo_mass_function

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

MASS_COLOURS = "viridis"
PROBABILITY_COLOURS = "cividis"
MARK_COLOUR = "#D55E00"
FIT_POINTS = 40
"""Points of the curve of a fitted mass function."""
PANEL, HEIGHT = 5.2, 4.4
"""Width and height of a slice with its colour bar, inches."""


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
    figure, (ax,) = new_figure(PANEL, HEIGHT)
    draw_masses(ax, prediction, axis, index)
    if field is not None:
        _draw_potential(ax, prediction, field, Slice.through(prediction, axis, index))
    return figure


def plot_probability(prediction: Prediction, axis: str = "z", index: int | None = None) -> Figure:
    """Slice of the membership probability with the outlines of the protohalos; of the mask if there is no probability.

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
    figure, (ax,) = new_figure(PANEL, HEIGHT)
    _draw_probability(ax, prediction, Slice.through(prediction, axis, index))
    return figure


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
    plane = Slice.through(prediction, axis, index)
    columns = 2 if field is None else 3
    figure, axes = new_figure(PANEL * columns, HEIGHT, columns=columns)
    if field is not None:
        _draw_overdensity(axes[0], prediction, field, plane)
    _draw_probability(axes[-2], prediction, plane)
    draw_masses(axes[-1], prediction, axis, plane.index)
    return figure


def plot_mass_function(prediction: Prediction, bins_per_decade: int = 5) -> Figure:
    """Comoving mass function dn / dlog10 M of the protohalos, with Poisson errors, beside a fit to simulations.

    Masses in Msun, density in (Mpc/h)^-3. Empty bins are left out. The fit is that of Watson et al. (2013) for
    friends-of-friends haloes, at the cosmology and redshift of the prediction.

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
    figure, (ax,) = new_figure(5.6, HEIGHT)
    centers, density, error = protohalo_mass_function(prediction, bins_per_decade)
    kept = density > 0
    ax.errorbar(centers[kept], density[kept], error[kept], fmt="o", color="#0072B2", capsize=2, label="predicted")
    low, high = mass_limits(prediction)
    mass = np.geomspace(low, 1.3 * high, FIT_POINTS)
    expected = expected_mass_function(prediction, np.log10(mass))
    ax.plot(mass, expected, color=MARK_COLOUR, linewidth=1.2, label="Watson et al. 2013")
    ax.axvline(low, color="0.5", linestyle="--", label=f"smallest, {prediction.min_sites} sites")
    ax.set(xscale="log", yscale="log", ylim=_density_limits(density[kept], error[kept], expected))
    ax.set_xlabel(r"Lagrangian mass $M$ [M$_\odot$]" + _halo_redshift(prediction))
    ax.set_ylabel(r"d$n$ / dlog$_{10}M$ [(Mpc/$h$)$^{-3}$]")
    # above the axes, where no point can lie
    ax.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize="small")
    return figure


def plot_object(prediction: Prediction, identifier: int, axis: str = "z", index: int | None = None) -> Figure:
    """The sites of one protohalo in 3-D, and a slice of the masses with its outline.

    Parameters
    ----------
    prediction : Prediction
    identifier : int
        As in the catalogue, from 0.
    axis : {"x", "y", "z"}
        Normal of the slice.
    index : int, optional
        Lattice plane; by default the one with most of its sites.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    CatalogError
        There is no such protohalo.
    LatticeError
        The axis or the plane does not exist.

    Examples
    --------
    >>> from yt_protohalos.analysis.plots import plot_object
    >>> plot_object(prediction, 0).savefig("object.png")
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    sites = prediction.lattice.sites(predicted_region(prediction, identifier).members)
    label = identifier + 1
    plane = Slice.through(prediction, axis, index)
    if index is None:
        plane = replace(plane, index=int(np.bincount(sites[:, AXES.index(axis)]).argmax()))
    # the axes differ in projection, which `subplots` cannot do
    figure = MatplotlibFigure(figsize=(11.4, 4.8), layout="constrained")
    body = figure.add_subplot(1, 2, 1, projection="3d")
    _draw_body(body, sites, prediction)
    mantissa, power = f"{prediction.label_mass[label]:.2e}".split("e")
    mass = rf"${mantissa}\times 10^{{{int(power)}}}$ M$_\odot$"
    body.set_title(f"protohalo {identifier}: {mass}, {len(sites)} sites", fontsize="medium")
    ax = figure.add_subplot(1, 2, 2)
    draw_masses(ax, prediction, axis, plane.index)
    own = plane.image(prediction.labels) == label
    for colour, width in (("white", 4.5), (MARK_COLOUR, 2.2)):
        plane.outline(ax, own, colors=colour, linewidths=width, capstyle="round")
    return figure


def draw_masses(
    ax: Axes,
    prediction: Prediction | RegionPrediction,
    axis: str = "z",
    index: int | None = None,
    norm: Normalize | None = None,
) -> None:
    """Draw a slice of protohalo masses, Msun, into axes; sites outside are grey.

    Parameters
    ----------
    ax : matplotlib Axes
    prediction : Prediction or RegionPrediction
    axis, index
        As in `plot_masses`; for a region, the plane counts from its first.
    norm : matplotlib Normalize, optional
        Colour scale in Msun, e.g. for several predictions; by default logarithmic, over `mass_limits`.

    Raises
    ------
    LatticeError
        The axis or the plane does not exist.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from yt_protohalos.analysis.plots import draw_masses
    >>> draw_masses(Figure().subplots(), prediction, axis="x")
    """
    from matplotlib.colors import LogNorm

    plane = Slice.through(prediction, axis, index)
    shown = np.ma.masked_less_equal(prediction.label_mass[plane.image(prediction.labels)], 0.0)
    ax.set_facecolor("0.92")
    norm = norm or LogNorm(*mass_limits(prediction))
    _draw(ax, shown, prediction, plane, r"Protohalo mass [M$_\odot$]", cmap=MASS_COLOURS, norm=norm)


def mass_limits(prediction: Prediction | RegionPrediction) -> tuple[float, float]:
    """Limits of the colour scale of masses, Msun: the smallest mass that the model keeps, and at least ten times it."""
    smallest = prediction.min_sites * prediction.site_mass_msun
    return smallest, max(10 * smallest, float(prediction.label_mass.max()))


def _density_limits(density: NDArray[Any], error: NDArray[Any], expected: NDArray[Any]) -> tuple[float, float]:
    """Limits of a logarithmic axis that hold number densities, their errors and most of a fit, (Mpc/h)^-3."""
    low = float(np.min([*(0.5 * density), np.median(expected)]))
    return 0.5 * low, 2 * float(np.max([*(density + error), expected.max()]))


def _halo_redshift(prediction: Prediction | RegionPrediction) -> str:
    """Words for a label that name the redshift of the haloes; none at 0."""
    redshift = prediction.target_redshift
    return f", haloes at redshift {redshift:g}" if redshift else ""


def _draw(
    ax: Axes,
    image: NDArray[Any],
    prediction: Prediction | RegionPrediction,
    plane: Slice,
    label: str,
    outlines: bool = True,
    **style: Any,
) -> None:
    """Draw an image of a plane with its colour bar, titles, units, and the outlines of the protohalos."""
    ax.figure.colorbar(plane.show(ax, image, **style), ax=ax, label=label, shrink=0.9)
    right, up = plane.axis_names
    ax.set(xlabel=f"{right} [Mpc/h]", ylabel=f"{up} [Mpc/h]")
    ax.set_title(f"{plane.axis} = {plane.position:.2f} Mpc/h{_halo_redshift(prediction)}", fontsize="medium")
    if outlines:
        plane.outline(ax, plane.image(prediction.labels), colors="black", linewidths=0.5, capstyle="round")


def _draw_probability(ax: Axes, prediction: Prediction, plane: Slice) -> None:
    image = plane.image(prediction.probability)
    name = prediction.card.probability_name.capitalize()
    _draw(ax, image, prediction, plane, name, cmap=PROBABILITY_COLOURS, vmin=0.0, vmax=1.0)


def _draw_overdensity(ax: Axes, prediction: Prediction, field: LinearField, plane: Slice) -> None:
    prediction.lattice.check_cube(field.delta, "delta")
    limit = 3 * float(field.delta.std()) or 1.0
    label = f"Linear overdensity (z = {field.target_redshift:g})"
    image = plane.image(field.delta)
    _draw(ax, image, prediction, plane, label, outlines=False, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _draw_potential(ax: Axes, prediction: Prediction, field: LinearField, plane: Slice) -> None:
    """Contours of the potential through the centres of the sites; a legend below names the step between them."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    lattice = prediction.lattice
    lattice.check_cube(field.phi, "phi")
    image = plane.image(field.phi)
    if not float(np.ptp(image)):
        return
    levels = MaxNLocator(8).tick_values(float(image.min()), float(image.max()))
    places = (np.arange(lattice.n) + prediction.site_offset) * lattice.spacing
    ax.contour(places, places, image, levels=levels, colors=MARK_COLOUR, linewidths=1.0)
    step = f"potential, every {levels[1] - levels[0]:g} (Mpc/h)$^2$ (dashed: negative)"
    line = Line2D([], [], color=MARK_COLOUR, linewidth=1.0, label=step)
    ax.legend(handles=[line], frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize="small")


def _draw_body(ax: Any, sites: NDArray[np.integer], prediction: Prediction) -> None:
    from matplotlib.colors import LightSource
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    lattice = prediction.lattice
    faces = (free_faces(unwrapped(sites, lattice.n)) + prediction.site_offset) * lattice.spacing
    style = {"facecolors": "#56B4E9", "edgecolors": "#56B4E9", "linewidths": 0.15}
    light = LightSource(azdeg=250, altdeg=40)
    ax.add_collection3d(Poly3DCollection(list(faces), shade=True, lightsource=light, **style))
    low, high = faces.min(axis=(0, 1)), faces.max(axis=(0, 1))
    for name, start, end in zip(AXES, low, high, strict=True):
        ax.set(**{f"{name}lim": (start, end), f"{name}label": f"{name} [Mpc/h]"})
    ax.set_box_aspect(high - low)
    ax.view_init(elev=22, azim=-55)
    ax.locator_params(nbins=5)


def unwrapped(sites: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Sites (N, 3) of a periodic lattice, moved by whole boxes into the smallest bounding box.

    Its lower corner is in [0, n); sites beyond the upper face of the lattice have indices of n and more.
    """
    moved = np.empty(sites.shape, dtype=np.int64)
    for axis, column in enumerate(sites.T):
        occupied = np.unique(column)
        # the box begins where the widest gap ends
        first = occupied[np.argmax(np.diff(occupied, prepend=occupied[-1] - n))]
        moved[:, axis] = first + (column - first) % n
    return moved


def free_faces(sites: NDArray[np.integer]) -> NDArray[np.float64]:
    """Faces that cubes of side 1 about the sites (N, 3) do not share: their corners, (F, 4, 3), in the sites' units."""
    low = sites.min(axis=0) - 1
    filled = np.zeros(sites.max(axis=0) - low + 2, dtype=bool)
    filled[tuple((sites - low).T)] = True
    square = 0.5 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            neighbour = sites - low + side * np.eye(3, dtype=int)[axis]
            bare = sites[~filled[tuple(neighbour.T)]]
            # the other two axes in their cyclic order turn the corners to the left as seen from outside
            corners = np.roll(np.insert(square[::side], 0, 0.5 * side, axis=1), axis, axis=1)
            faces.append(bare[:, None, :] + corners)
    return np.concatenate(faces)
