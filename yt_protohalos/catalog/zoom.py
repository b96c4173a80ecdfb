"""Lagrangian region of one protohalo, padded, enclosed in simple shapes, and written for a zoom."""

from __future__ import annotations

import numbers
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..exceptions import RegionError
from ..fields.lattice import Lattice
from ..fields.units import Quantity, comoving_length, parse_quantity
from ..prediction.result import Prediction
from .bounding import Ellipsoid, Hull, convex_hull, minimum_ellipsoid
from .catalog import Catalog
from .members import LatticeRegion, predicted_region, stored_region
from .zoom_files import (
    ELLIPSOID,
    HULL,
    MUSIC,
    REGION,
    SHAPES,
    genetic_lines,
    music_configuration,
    music_lines,
    write_region,
)
from .zoom_padding import padding_table

DEFAULT_PADDING = 2.0
"""Sites: the hull of a region without padding runs through the middle of its outermost cells."""

_ROUNDING = 1e-6  # sites


@dataclass(frozen=True, eq=False, repr=False)
class ZoomRegion:
    """Sites around one protohalo that a zoom must refine.

    Attributes
    ----------
    halo_id : int
    lattice : Lattice
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``.
    padding : float
        Sites within this distance of a member belong to the region; in units of the spacing.
    n_members : int
        Sites of the protohalo itself.
    sites : int64, (P, 3)
        Sites of the region in [0, n), those of the protohalo among them.
    points : float64, (P, 3)
        Their Lagrangian positions in units of the box. The first, in [0, 1), is nearest to the middle; the rest lie
        around it without a break, below 0 or above 1 where the region crosses a face of the box.
    hull : Hull
        Convex hull of the points, in units of the box.
    ellipsoid : Ellipsoid
        Ellipsoid of least volume around the points, in units of the box.
    enclosed : dict of int
        Sites of this lattice in the region itself and inside each of the two shapes: ``"region"``, ``"convex_hull"``,
        ``"ellipsoid"``.

    Examples
    --------
    >>> region = ph.zoom_region(prediction, 0, padding=0)
    >>> region.n_members == len(region.sites)
    True
    >>> region.volumes["convex_hull"] <= region.volumes["ellipsoid"]  # (Mpc/h)^3
    True
    """

    halo_id: int
    lattice: Lattice
    site_offset: float
    padding: float
    n_members: int
    sites: NDArray[np.int64]
    points: NDArray[np.float64]
    hull: Hull
    ellipsoid: Ellipsoid
    enclosed: dict[str, int]

    def __repr__(self) -> str:
        volumes = ", ".join(f"{name} {volume:.3g}" for name, volume in self.volumes.items())
        return (
            f"ZoomRegion of protohalo {self.halo_id}: {self.n_members} sites, {len(self.points)} with padding\n"
            f"  padding: {self.padding:g} sites, {self.padding * self.lattice.spacing:.3g} Mpc/h (comoving)\n"
            f"  box: {self.lattice.box_size:g} Mpc/h (comoving), {self.lattice.n}^3 sites\n"
            f"  volumes [(Mpc/h)^3]: {volumes}"
        )

    @property
    def volumes(self) -> dict[str, float]:
        """Volume of the region, its hull and its ellipsoid, (Mpc/h)^3."""
        box = self.lattice.box_size**3
        cells = len(self.points) / self.lattice.n_sites
        return {
            "region": box * cells, "convex_hull": box * self.hull.volume, "ellipsoid": box * self.ellipsoid.volume,
        }  # fmt: skip

    def particles(self, levels: int) -> dict[str, int]:
        """Particles that fill the region, its hull and its ellipsoid when each site is split in 8, `levels` times.

        The layers that MUSIC adds around the finest level are not counted.

        Raises
        ------
        RegionError
            The number of levels is negative.
        """
        if levels < 0:
            raise RegionError(f"levels {levels} is negative; give how often each site is split in 8, e.g. 1")
        cell = self.lattice.spacing**3
        return {name: round(volume / cell * 8**levels) for name, volume in self.volumes.items()}

    def sites_in(self, shape: str) -> NDArray[np.int64]:
        """Sites of the region itself or inside a shape around it, (S, 3) in [0, n).

        Parameters
        ----------
        shape : {"region", "convex_hull", "ellipsoid"}

        Raises
        ------
        RegionError
            The shape is none of these.
        """
        if shape == REGION:
            return self.sites
        if shape not in SHAPES:
            raise RegionError(f"shape {shape!r} is unknown; use one of {', '.join(SHAPES)}")
        around: Hull | Ellipsoid = self.hull if shape == HULL else self.ellipsoid
        return around.mapped(self.lattice.n, np.full(3, -self.site_offset)).integer_points() % self.lattice.n

    def write(self, path: str | os.PathLike[str], code: str = MUSIC, shape: str | None = None) -> None:
        """Write the file that a code reads, whole or not at all.

        Parameters
        ----------
        path : path
        code : {"music", "genetic", "mask"}
            ``"music"``: the ``region_point_file`` of MUSIC, x, y and z of points in units of the box: the first of
            `points`, then the vertices of the hull, a thousandth of a site further out.
            ``"genetic"``: the ``id_file`` of genetIC, the cells of its base grid from 0, row-major.
            ``"mask"``: HDF5 with ``mask``, uint8 (n, n, n), x on axis 0: 1 at sites to refine.
        shape : {"region", "convex_hull", "ellipsoid"}, optional
            Which sites genetIC and the mask get; by default the region itself. The point file is the same for both
            shapes of MUSIC, whose configuration names the shape.

        Raises
        ------
        RegionError
            The code is unknown, or does not know the shape.
        StoreError
            The file cannot be written.
        """
        write_region(self, Path(path), code, shape)

    def music_lines(self, path: str | os.PathLike[str], shape: str = HULL, levels: int | None = None) -> str:
        """Return the lines of MUSIC's configuration file that refine this region.

        Parameters
        ----------
        path : path
            Of the point file, as MUSIC shall find it.
        shape : {"convex_hull", "ellipsoid"}
            For the ellipsoid, its equation follows as a comment: it may stand instead of the file.
        levels : int, optional
            Finer levels: ``levelmin`` and ``levelmax`` are then among the lines.

        Raises
        ------
        RegionError
            The shape is neither, or the lattice does not have a power of two of sites per side.
        """
        return music_lines(self, path, shape, levels)

    def music_configuration(
        self,
        conf: str | os.PathLike[str],
        path: str | os.PathLike[str],
        shape: str = HULL,
        levels: int = 1,
    ) -> str:
        """Return MUSIC's configuration of the zoom, made from that of the box.

        It refines this region, and writes to another file than the box; all else stays.

        Parameters
        ----------
        conf : path
            The configuration that made the box.
        path : path
            Of the point file, as MUSIC shall find it.
        shape : {"convex_hull", "ellipsoid"}
        levels : int
            Finer levels.

        Raises
        ------
        FormatError
            The file is not a configuration of MUSIC.
        RegionError
            It describes another box, the shape is neither, or the lattice is not MUSIC's.
        """
        return music_configuration(self, Path(conf), path, shape, levels)

    def genetic_lines(self, path: str | os.PathLike[str], levels: int = 1, shape: str | None = None) -> str:
        """Return the lines of genetIC's parameter file that flag this region and open a grid of finer cells around it.

        Parameters
        ----------
        path : path
            Of the ID file, as genetIC shall find it.
        levels : int
            How often a cell is halved along each axis.
        shape : {"region", "convex_hull", "ellipsoid"}, optional
            As in `write`.
        """
        return genetic_lines(self, path, levels, shape)


def zoom_region(
    source: Prediction | Catalog | str | os.PathLike[str] | Any,
    halo_id: int,
    padding: Quantity | None = None,
    *,
    contain: float | None = None,
    confidence: float = 0.9,
    shape: str = HULL,
) -> ZoomRegion:
    """Select the Lagrangian region of one protohalo, for initial conditions that refine it.

    Parameters
    ----------
    source : Prediction, Catalog, path or yt Dataset
        A prediction, its catalogue, a catalogue as `find_protohalos` returns it, or the path of a stored catalogue, of
        a stored prediction or of a folder that ``protohalos find`` wrote.
    halo_id : int
        ``particle_identifier``, the label minus 1.
    padding : float, str or unyt_quantity, optional
        Sites within this distance of a member are refined too, across periodic faces; 0 for the members alone. A number
        or ``"2 sites"`` is in sites; a comoving length has a unit, e.g. ``"0.5 Mpc/h"`` or ``ds.quan(500, "kpccm/h")``.
        By default two sites.
    contain : float, optional
        Instead of a padding: the share of the halo's particles that shall start inside, e.g. 0.99. The padding is then
        the smallest with which that was so in simulations, which `PaddingTable` holds for the bundled models.
    confidence : float
        Share of the simulated haloes for which it was so.
    shape : {"convex_hull", "ellipsoid", "region"}
        Shape inside which that share shall start; it counts for `contain` alone.

    Returns
    -------
    ZoomRegion

    Raises
    ------
    CatalogError
        There is no such protohalo, or the source does not say which sites are its members.
    StoreError
        A file cannot be read.
    RegionError
        The padding is negative, the region reaches so far that it meets its own periodic image, or it is flat; or no
        padding was measured that holds so much of a halo.
    UnitsError
        The padding is neither a number of sites nor a length.

    Examples
    --------
    >>> region = ph.zoom_region("protohalos", 0, padding=1)
    >>> region.write("points.txt")
    >>> print(region.music_lines("points.txt").splitlines()[0])
    [setup]
    """
    found = _lattice_region(source, halo_id)
    padding = _chosen_padding(found, padding, contain, confidence, shape)
    lattice = found.lattice
    reach = _padding_in_sites(padding, found)
    members = lattice.unwrapped(lattice.sites(found.members))
    _check_extent(members, reach, lattice)
    sites = _ordered(_dilated(members, reach))
    _check_reader(sites, lattice)
    hull = convex_hull(sites)
    ellipsoid = minimum_ellipsoid(hull.vertices)
    enclosed = {REGION: len(sites), HULL: hull.count_integer_points(), ELLIPSOID: len(ellipsoid.integer_points())}
    # by whole boxes, so that the first point is in the box
    position = (sites - lattice.n * (sites[0] // lattice.n) + found.site_offset) / lattice.n
    shift = position[0] - sites[0] / lattice.n
    return ZoomRegion(
        halo_id=int(halo_id),
        lattice=lattice,
        site_offset=found.site_offset,
        padding=reach,
        n_members=len(members),
        sites=sites % lattice.n,
        points=position,
        hull=hull.mapped(1 / lattice.n, shift),
        ellipsoid=ellipsoid.mapped(1 / lattice.n, shift),
        enclosed=enclosed,
    )


def _chosen_padding(
    region: LatticeRegion, padding: Quantity | None, contain: float | None, confidence: float, shape: str
) -> Quantity:
    """The padding that is given, by default, or measured to hold a share of the halo."""
    if contain is None:
        return DEFAULT_PADDING if padding is None else padding
    if padding is not None:
        raise RegionError(f"padding {padding!r} and contain {contain!r} exclude each other; give one of them")
    table = padding_table(region.model)
    if len(region.members) < table.smallest:
        raise RegionError(
            f"the protohalo has {len(region.members)} sites, and the padding of {table.model} was measured for "
            f"{table.smallest} or more; give a padding"
        )
    return table.padding(shape, contain, confidence)


def _padding_in_sites(padding: Quantity, region: LatticeRegion) -> float:
    """Padding in units of the spacing, of a number of sites or a length."""
    if isinstance(padding, str):
        padding = parse_quantity(padding, "padding")
    if isinstance(padding, tuple) and padding[1] in ("", "sites"):
        padding = padding[0]
    in_sites = isinstance(padding, numbers.Real)
    length = comoving_length(padding, "padding", region.h)
    reach = length if in_sites else length / region.lattice.spacing
    if not np.isfinite(reach) or reach < 0:
        raise RegionError(f"padding {padding} is not a distance; give 0 or more")
    return reach


def _lattice_region(source: Any, halo_id: int) -> LatticeRegion:
    if isinstance(source, Prediction):
        return predicted_region(source, halo_id)
    if isinstance(source, Catalog):
        members = source.members_of(halo_id)
        return LatticeRegion(source.lattice, source.site_offset, members, model=source.model)
    # a yt dataset knows its file
    return stored_region(Path(getattr(source, "filename", source)), halo_id)


def _check_extent(members: NDArray[np.int64], reach: float, lattice: Lattice) -> None:
    """Raise `RegionError` for a padded region wider than the box, which would overlap its own image."""
    extent = np.ptp(members, axis=0).max() + 1 + 2 * np.floor(reach)
    if extent > lattice.n:
        raise RegionError(
            f"the region with its padding of {reach:g} sites is {extent:g} sites wide, the box {lattice.n} sites; "
            "use less padding"
        )


def _dilated(members: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
    """Sites within a distance of the members, both (N, 3) without a break."""
    margin = int(np.floor(reach + _ROUNDING))
    origin = members.min(axis=0) - margin
    outside = np.ones(np.ptp(members, axis=0) + 1 + 2 * margin, dtype=bool)
    outside[tuple((members - origin).T)] = False
    near = ndimage.distance_transform_edt(outside) <= reach + _ROUNDING
    return np.asarray(np.argwhere(near) + origin)


def _ordered(sites: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put the site nearest to the middle first: MUSIC takes the image of each point that is nearest to the first."""
    middle = (sites.min(axis=0) + sites.max(axis=0)) / 2
    first = int(np.argmin(np.sum((sites - middle) ** 2, axis=1)))
    return np.concatenate([sites[first : first + 1], np.delete(sites, first, axis=0)])


def _check_reader(sites: NDArray[np.int64], lattice: Lattice) -> None:
    farthest = np.abs(sites - sites[0]).max()
    if 2 * farthest >= lattice.n:
        raise RegionError(
            f"the region reaches {farthest} sites from its middle, half of the box or more ({lattice.n} sites): MUSIC "
            "would take the far points for those of a periodic image; use less padding or a smaller protohalo"
        )
