"""Slices of Lagrangian regions, after López-Cano et al. 2024, figures 1, 3, 7 and D1.

Every function returns a matplotlib figure of its own, made without pyplot and at most a page wide, so that its text
keeps its size in print. Colours are readable with colour-vision deficiencies. Planes are indexed [right, up]:
``cube[:, :, k]`` has x to the right and y upwards. Lengths are comoving Mpc/h, masses Msun/h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from yt_protohalos.analysis.drawing import LABEL_COLOURS, Slice, new_figure
from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.lattice import Lattice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = 7.1
"""Width of the text of a printed page, inches."""
OUTSIDE = "0.92"
MASS_LABEL = r"halo mass $M$ [$h^{-1}$M$_\odot$]"
NEAR = 3
"""Regions at most this many sites apart get different colours."""
CHANGE = 2.0
"""Factor in mass from which a patch counts as changed."""
SMALLEST_PATCH = 25
"""Sites in the plane of the smallest patch that is circled."""


def plot_problem(
    delta: NDArray[np.floating], labels: NDArray[np.integer], lattice: Lattice, axes: str = "xy"
) -> Figure:
    """The prediction problem: a plane of the overdensity, and the regions that become haloes (figure 1).

    Parameters
    ----------
    delta : float, (n, n)
        Plane of the linear overdensity at z = 0.
    labels : int, (n, n)
        Same plane of halo labels, 0 outside. Colours tell neighbours apart and mean nothing else.
    lattice : Lattice
    axes : str
        Names of the axes to the right and up.

    Raises
    ------
    LatticeError
        A plane is not the lattice's.
    """
    figure, (left, right) = new_figure(PAGE, 4.5, columns=2, sharey=True)
    image = _checked(delta, lattice, "delta")
    limit = 3 * float(image.std()) or 1.0
    drawn = _whole_plane(lattice).show(left, image.T, cmap="RdBu_r", vmin=-limit, vmax=limit)
    scale = left.inset_axes((0.08, -0.22, 0.84, 0.04))
    figure.colorbar(drawn, cax=scale, orientation="horizontal", extend="both")
    scale.tick_params(labelsize=8)
    left.set_title(r"linear overdensity $\delta$ at $z = 0$", fontsize=9)
    draw_regions(right, _checked(labels, lattice, "labels"), lattice)
    right.set_title("regions that become haloes", fontsize=9)
    _label_axes([left, right], axes)
    for ax in (left, right):
        # inset axes are left out of the layout, so the room for the scale is below
        ax.set_anchor("N")
    return figure


def plot_lattices(
    planes: Mapping[str, NDArray[np.integer]],
    lattice: Lattice,
    axes: str = "xy",
    faces: Mapping[str, Sequence[int]] | None = None,
) -> Figure:
    """The same plane of several labellings, e.g. of both lattices of crops and after stitching (figure D1).

    Parameters
    ----------
    planes : mapping
        Title and int (n, n) labels, 0 none, of each panel.
    lattice, axes
        As in `plot_problem`.
    faces : mapping, optional
        First site of each core along an axis, for the titles of panels that have cores.

    Raises
    ------
    ScoringError
        There is no plane.
    LatticeError
        A plane is not the lattice's.
    """
    if not planes:
        raise ScoringError("there are no labels to draw; give at least one plane")
    width = PAGE if len(planes) > 1 else PAGE / 2
    figure, panels = new_figure(width, width / len(planes) + 0.55, columns=len(planes), sharey=True)
    for ax, (title, labels) in zip(panels, planes.items(), strict=True):
        draw_regions(ax, _checked(labels, lattice, title), lattice)
        for site in (faces or {}).get(title, ()):
            for line in (ax.axvline, ax.axhline):
                line((site - 0.5) * lattice.spacing, color="0.35", linestyle="--", linewidth=0.8)
        ax.set_title(title, fontsize=9)
    _label_axes(panels, axes)
    return figure


def plot_mass_slices(
    samples: Mapping[str, NDArray[np.integer]],
    lattice: Lattice,
    site_mass_msun_h: float,
    planes: Sequence[int],
    axis: str = "z",
    circles: bool = False,
) -> Figure:
    """Planes of halo masses, with a column for each sample and a row for each plane (figures 3 and 7).

    Parameters
    ----------
    samples : mapping
        Title and int (n, n, n) labels, 0 outside, of each column.
    lattice : Lattice
    site_mass_msun_h : float
        Mass of a lattice site, Msun/h.
    planes : sequence of int
        Lattice planes.
    axis : {"x", "y", "z"}
        Their normal.
    circles : bool
        Circle the patches that `changed_patches` finds between the first two samples.

    Raises
    ------
    LatticeError
        A cube is not the lattice's, or an axis or a plane does not exist.
    ScoringError
        There is nothing to draw, or a single sample is to have circles.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Circle

    if not samples or not len(planes):
        raise ScoringError("there is nothing to draw; give at least one sample and one plane")
    if circles and len(samples) < 2:
        raise ScoringError("circles show the differences of two samples; give two, or circles=False")
    for title, labels in samples.items():
        lattice.check_cube(labels, title)
    slices = [Slice(axis, plane, lattice.n, lattice.spacing) for plane in planes]
    masses = {title: labelled_mass(labels, site_mass_msun_h) for title, labels in samples.items()}
    inside = np.concatenate([mass[mass > 0] for mass in masses.values()])
    low, high = (inside.min(), inside.max()) if len(inside) else (site_mass_msun_h, site_mass_msun_h)
    norm = LogNorm(low, max(high, 1.01 * low))
    columns, side = len(samples), min(PAGE / len(samples), 3.3)
    height = (side - 0.25) * len(planes) + 0.9
    figure, panels = new_figure(side * columns, height, len(planes), columns, sharex=True, sharey=True)
    rows = panels.reshape(len(planes), columns)
    for row, plane in zip(rows, slices, strict=True):
        shown = [plane.image(mass) for mass in masses.values()]
        found = changed_patches(shown[0].T, shown[1].T) if circles else []
        for ax, (title, labels), image in zip(row, samples.items(), shown, strict=True):
            ax.set_facecolor(OUTSIDE)
            drawn = plane.show(ax, np.ma.masked_equal(image, 0), cmap="viridis", norm=norm)
            plane.outline(ax, plane.image(labels), colors="black", linewidths=0.3)
            for x, y, radius in found:
                at = (x * lattice.spacing, y * lattice.spacing)
                ax.add_patch(Circle(at, radius * lattice.spacing, fill=False, color="#D55E00", linewidth=1.6))
            # a circle at a face must not widen the axes
            ax.set(xlim=plane.extent[:2], ylim=plane.extent[2:])
            if ax in rows[0]:
                ax.set_title(title, fontsize=9)
        row[-1].text(1.02, 0.5, f"{axis} = {plane.position:.2f} $h^{{-1}}$Mpc", rotation=270, fontsize=8, va="center",
                     transform=row[-1].transAxes)  # fmt: skip
    right, up = slices[0].axis_names
    _label_axes(rows[-1], right + up)
    for ax in rows[:-1, 0]:
        ax.set_ylabel(rf"{up} [$h^{{-1}}$Mpc]", fontsize=9)
    bar = figure.colorbar(drawn, ax=list(panels), location="bottom", aspect=40, shrink=0.8)
    bar.set_label(MASS_LABEL, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def labelled_mass(labels: NDArray[np.integer], site_mass_msun_h: float) -> NDArray[np.float32]:
    """Mass of the halo that each site belongs to, 0 outside, of the shape of the labels; Msun/h."""
    mass = (np.bincount(labels.ravel()) * site_mass_msun_h).astype(np.float32)
    mass[0] = 0
    return mass[labels]


def changed_patches(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    factor: float = CHANGE,
    min_sites: int = SMALLEST_PATCH,
) -> list[tuple[float, float, float]]:
    """Circles around the parts of a plane whose mass differs between two simulations, the largest part first.

    Parameters
    ----------
    first, second : float, (n, n)
        Mass of the halo that each site belongs to, 0 outside; only sites inside haloes of both can have changed.
    factor : float
        Factor in mass, in either direction, from which a site has changed.
    min_sites : int
        Sites of the smallest connected patch that is circled.

    Returns
    -------
    list of (float, float, float)
        Centre (right, up) and radius of each circle, in sites.
    """
    both = (first > 0) & (second > 0)
    ratio = np.zeros(first.shape)
    np.log(np.divide(second, first, out=np.ones(first.shape), where=both), out=ratio)
    patches, count = ndimage.label(np.abs(ratio) > np.log(factor))
    size = np.bincount(patches.ravel(), minlength=count + 1)
    circles = []
    for patch in 1 + np.argsort(-size[1:], kind="stable"):
        if size[patch] < min_sites:
            break
        sites = np.argwhere(patches == patch)
        centre = 0.5 * (sites.min(axis=0) + sites.max(axis=0))
        radius = np.sqrt(((sites - centre) ** 2).sum(axis=1).max()) + 1.5
        circles.append((float(centre[0]), float(centre[1]), float(radius)))
    return circles


def draw_regions(ax: Axes, labels: NDArray[np.integer], lattice: Lattice) -> None:
    """Draw a plane of labels in colours that differ between neighbours; 0 stays white."""
    from matplotlib.colors import ListedColormap

    colour = region_colours(labels)[labels]
    shown, plane = np.ma.masked_less(colour, 0).T, _whole_plane(lattice)
    colours = ListedColormap(list(LABEL_COLOURS))
    plane.show(ax, shown, cmap=colours, vmin=-0.5, vmax=len(LABEL_COLOURS) - 0.5)
    plane.outline(ax, labels.T, colors="black", linewidths=0.5)


def region_colours(labels: NDArray[np.integer], near: int = NEAR) -> NDArray[np.int64]:
    """Number of a colour for each label of a plane, (K + 1,), -1 for label 0.

    Labels of which two sites are at most `near` sites apart along both axes differ in colour, wherever the number of
    colours allows it: the largest choose first, each the colour that is used least.
    """
    size = np.bincount(labels.ravel(), minlength=1)
    neighbours: dict[int, set[int]] = {int(label): set() for label in np.flatnonzero(size)}
    n, m = labels.shape
    for dx in range(near + 1):
        for dy in range(-near, near + 1):
            low, high = max(0, -dy), min(m, m - dy)
            a, b = labels[: n - dx, low:high].ravel(), labels[dx:, low + dy : high + dy].ravel()
            differ = (a != b) & (a > 0) & (b > 0)
            for one, other in np.unique(np.stack([a[differ], b[differ]], axis=1), axis=0).tolist():
                neighbours[one].add(other)
                neighbours[other].add(one)
    colour = np.full(len(size), -1, dtype=np.int64)
    used = np.zeros(len(LABEL_COLOURS), dtype=np.int64)
    for label in np.argsort(-size, kind="stable"):
        if label == 0 or not size[label]:
            continue
        taken = {int(colour[other]) for other in neighbours[int(label)]}
        free = [c for c in range(len(LABEL_COLOURS)) if c not in taken] or list(range(len(LABEL_COLOURS)))
        colour[label] = min(free, key=lambda c: int(used[c]))
        used[colour[label]] += 1
    return colour


def _whole_plane(lattice: Lattice) -> Slice:
    return Slice("z", 0, lattice.n, lattice.spacing)


def _checked(plane: NDArray, lattice: Lattice, name: str) -> NDArray:
    if plane.shape != lattice.shape[:2]:
        raise LatticeError(f"{name} has shape {plane.shape}, but a plane is {lattice.shape[:2]}; pass cube[:, :, k]")
    return plane.astype(np.float32) if plane.dtype.kind == "f" else plane


def _label_axes(panels: Sequence[Axes] | NDArray, axes: str) -> None:
    for ax in panels:
        ax.set_xlabel(rf"{axes[0]} [$h^{{-1}}$Mpc]", fontsize=9)
        for shared in ax.figure.axes:
            shared.tick_params(labelsize=8)
    panels[0].set_ylabel(rf"{axes[1]} [$h^{{-1}}$Mpc]", fontsize=9)
