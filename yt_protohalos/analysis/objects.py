"""One protohalo in three dimensions, and where it lies in a slice of the box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..catalog.members import predicted_region
from ..prediction.result import Prediction
from .plots import AXES, chosen_plane, draw_masses, draw_outlines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BODY_COLOUR = "#56B4E9"
MARK_COLOUR = "#D55E00"


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
    >>> from yt_protohalos.analysis.objects import plot_object
    >>> plot_object(prediction, 0).savefig("object.png")
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    lattice = prediction.lattice
    sites = lattice.sites(predicted_region(prediction, identifier).members)
    plane = chosen_plane(prediction, axis, index)
    if index is None:
        plane = int(np.bincount(sites[:, AXES.index(axis)]).argmax())
    figure = MatplotlibFigure(figsize=(11.4, 4.8), layout="constrained")
    body = figure.add_subplot(1, 2, 1, projection="3d")
    _draw_body(body, sites, prediction)
    mantissa, power = f"{prediction.label_mass[identifier + 1]:.2e}".split("e")
    mass = rf"${mantissa}\times 10^{{{int(power)}}}$ M$_\odot$"
    body.set_title(f"protohalo {identifier}: {mass}, {len(sites)} sites", fontsize="medium")
    ax = figure.add_subplot(1, 2, 2)
    draw_masses(ax, prediction, axis, plane)
    own = np.isin(np.take(prediction.labels, plane, axis=AXES.index(axis)).T, identifier + 1)
    draw_outlines(ax, own, prediction, "white", 4.5)
    draw_outlines(ax, own, prediction, MARK_COLOUR, 2.2)
    return figure


def unwrapped(sites: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Sites (N, 3) of a periodic lattice, moved by whole boxes to lie within the smallest bounding box.

    Its lower corner is in [0, n); sites beyond the upper face of the lattice have indices of n and more.
    """
    moved = np.empty(sites.shape, dtype=np.int64)
    for axis, column in enumerate(sites.T):
        occupied = np.unique(column)
        # the box begins where the widest gap ends
        gaps = np.diff(occupied, prepend=occupied[-1] - n)
        first = occupied[int(np.argmax(gaps))]
        moved[:, axis] = first + (column - first) % n
    return moved


def free_faces(sites: NDArray[np.integer]) -> NDArray[np.float64]:
    """Faces that cubes of side 1 about the sites (N, 3) do not share: their corners, (F, 4, 3), in the sites' units."""
    low = sites.min(axis=0) - 1
    filled = np.zeros(sites.max(axis=0) - low + 2, dtype=bool)
    local = sites - low
    filled[tuple(local.T)] = True
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            step = np.zeros(3, dtype=int)
            step[axis] = side
            bare = sites[~filled[tuple((local + step).T)]]
            # the other two axes in their cyclic order turn the corners to the left as seen from outside
            corners = np.empty((4, 3))
            corners[:, axis] = 0.5 * side
            corners[:, [(axis + 1) % 3, (axis + 2) % 3]] = square[::side]
            faces.append(bare[:, None, :] + corners)
    return np.concatenate(faces)


def _draw_body(ax: Any, sites: NDArray[np.integer], prediction: Prediction) -> None:
    from matplotlib.colors import LightSource
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    lattice = prediction.lattice
    faces = (free_faces(unwrapped(sites, lattice.n)) + prediction.site_offset) * lattice.spacing
    solid = Poly3DCollection(
        list(faces), facecolors=BODY_COLOUR, edgecolors=BODY_COLOUR, linewidths=0.15, shade=True,
        lightsource=LightSource(azdeg=250, altdeg=40),
    )  # fmt: skip
    ax.add_collection3d(solid)
    low, high = faces.min(axis=(0, 1)), faces.max(axis=(0, 1))
    for name, start, end in zip(AXES, low, high, strict=True):
        getattr(ax, f"set_{name}lim")(start, end)
        getattr(ax, f"set_{name}label")(f"{name} [Mpc/h]")
    ax.set_box_aspect(high - low)
    ax.view_init(elev=22, azim=-55)
    ax.locator_params(nbins=5)
