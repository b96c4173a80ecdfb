"""Files of a zoom region in the words of each code: for MUSIC, for genetIC, and a mask of the lattice in HDF5."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from ..exceptions import RegionError, StoreError
from ..initial_conditions.readers.music import read_conf, read_setup_number

if TYPE_CHECKING:
    from .zoom import ZoomRegion

MUSIC, GENETIC, MASK = "music", "genetic", "mask"
REGION, HULL, ELLIPSOID = SHAPES = ("region", "convex_hull", "ellipsoid")
"""The padded sites themselves, and two shapes around them."""
CODE_SHAPES = {MUSIC: (HULL, ELLIPSOID), GENETIC: SHAPES, MASK: SHAPES}
"""Shapes that each code can refine, the default first."""

_MUSIC_PADDING = 8
"""Cells around each level that MUSIC's own example configuration has."""
_OUTWARD = 1e-3
"""Sites by which vertices are moved, up to twice as much."""
_EDGE = 3
"""Cells between a region of genetIC and the edge of its grid, below which genetIC warns of numerical errors."""
_REPLACED = re.compile(r"region(_\w+(\[\d\])?)?|ref_(center|extent|offset|dims)|levelmax")
_ASSIGNMENT = re.compile(r"\s*([\w\[\],()]+)\s*=")


def chosen_shape(code: str, shape: str | None) -> str:
    """Shape for a code, the code's default for None; `RegionError` if the code is unknown or cannot refine it."""
    if code not in CODE_SHAPES:
        raise RegionError(f"code {code!r} is unknown; use one of {', '.join(CODE_SHAPES)}")
    shape = CODE_SHAPES[code][0] if shape is None else shape
    if shape not in CODE_SHAPES[code]:
        raise RegionError(f"shape {shape!r} is unknown for {code}; use one of {', '.join(CODE_SHAPES[code])}")
    return shape


def write_region(region: ZoomRegion, path: Path, code: str, shape: str | None) -> None:
    """Write the file that a code reads, whole or not at all; see `ZoomRegion.write`."""
    writers: dict[str, Callable[[ZoomRegion, Path, str], None]] = {
        MUSIC: _write_points, GENETIC: _write_cells, MASK: _write_mask,
    }  # fmt: skip
    shape = chosen_shape(code, shape)
    try:
        with atomic_path(path) as partial:
            writers[code](region, partial, shape)
    except OSError as error:
        raise StoreError(f"region {path} cannot be written ({error}); give a path you may write to") from error


def _write_points(region: ZoomRegion, path: Path, shape: str) -> None:
    # single spaces and no comments: MUSIC takes every number in the file for a coordinate
    np.savetxt(path, _music_points(region), fmt="%.10f")


def _music_points(region: ZoomRegion) -> NDArray[np.float64]:
    """The first point of the region, and the vertices of its hull, (V + 1, 3), in units of the box.

    The algorithm of MUSIC loses a part of the hull where many points lie in a plane, as sites do. So vertices alone are
    written, each a little further out than it is, by another amount.
    """
    first, corners = region.points[:1], region.hull.vertices
    outward = corners - corners.mean(axis=0)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    # the same file each time
    steps = np.random.default_rng(0).uniform(1, 2, (len(corners), 1)) * _OUTWARD / region.lattice.n
    return np.concatenate([first, corners + steps * outward])


def _write_cells(region: ZoomRegion, path: Path, shape: str) -> None:
    np.savetxt(path, np.sort(region.lattice.flat_index(region.sites_in(shape))), fmt="%d")


def _write_mask(region: ZoomRegion, path: Path, shape: str) -> None:
    mask = np.zeros(region.lattice.shape, dtype=np.uint8)
    mask[tuple(region.sites_in(shape).T)] = 1
    with h5py.File(path, "w") as file:
        file.create_dataset("mask", data=mask, compression="gzip")
        file.attrs.update(
            box_size=region.lattice.box_size, box_size_unit="Mpc/h, comoving", sites_per_side=region.lattice.n,
            site_offset=region.site_offset, halo_id=region.halo_id, padding=region.padding, shape=shape,
        )  # fmt: skip


def music_lines(region: ZoomRegion, path: str | os.PathLike[str], shape: str, levels: int | None) -> str:
    """Lines of MUSIC's configuration; see `ZoomRegion.music_lines`."""
    return "\n".join(["[setup]", *_setup_lines(region, path, chosen_shape(MUSIC, shape), levels)])


def _setup_lines(region: ZoomRegion, path: str | os.PathLike[str], shape: str, levels: int | None) -> list[str]:
    lines = []
    if levels is not None:
        coarse = _level(region)
        lines = [f"levelmin          = {coarse}", f"levelmax          = {coarse + levels}"]
    lines += [f"region            = {shape}", f"region_point_file = {os.fspath(path)}"]
    if shape == ELLIPSOID:
        lines.append("# or, without the file:")
        for i, row in enumerate(region.ellipsoid.matrix):
            lines.append(f"# region_ellipsoid_matrix[{i}] = {', '.join(f'{value:.8g}' for value in row)}")
        center = np.mod(region.ellipsoid.center, 1.0)
        lines.append(f"# region_ellipsoid_center    = {', '.join(f'{value:.8g}' for value in center)}")
    return lines


def _level(region: ZoomRegion) -> int:
    level = region.lattice.n.bit_length() - 1
    if 2**level != region.lattice.n:
        raise RegionError(
            f"the lattice has {region.lattice.n} sites per side, which is no power of two: MUSIC did not make it; use "
            f"code {GENETIC!r} or {MASK!r}"
        )
    return level


def music_configuration(region: ZoomRegion, conf: Path, path: str | os.PathLike[str], shape: str, levels: int) -> str:
    """Text of the configuration of a zoom; see `ZoomRegion.music_configuration`."""
    shape, level = chosen_shape(MUSIC, shape), _level(region)
    box_size = read_conf(conf).box_size
    for name, stated, ours in (
        ("boxlength", box_size, region.lattice.box_size), ("levelmin", read_setup_number(conf, "levelmin"), level),
    ):  # fmt: skip
        if stated is None or not np.isclose(float(stated), ours, rtol=1e-4):  # type: ignore[arg-type]
            raise RegionError(
                f"{conf.name} has {name} = {stated}, the region {ours:g}; give the .conf that made the box"
            )
    new = _setup_lines(region, path, shape, levels)[1:]
    if read_setup_number(conf, "padding") is None:
        new.append(f"padding           = {_MUSIC_PADDING}")
    lines, section = [], ""
    for line in conf.read_text(errors="replace").splitlines():
        if line.lstrip().startswith("["):
            section = line.strip().strip("[]").strip().lower()
        assigned = _ASSIGNMENT.match(line)
        key = assigned[1] if assigned else ""
        if section == "setup" and _REPLACED.fullmatch(key):
            continue
        if section == "output" and key == "filename":
            line = _zoomed(line)
        lines.append(line)
        if section == "setup" and line.lstrip().startswith("["):
            lines += new
    return "\n".join(lines) + "\n"


def _zoomed(line: str) -> str:
    """The line with the name of the output, changed so that the zoom does not replace the box."""
    before, _, value = line.partition("=")
    name, mark, comment = value.strip().partition("#")
    path = Path(name.strip())
    return f"{before}= {path.with_name(f'{path.stem}_zoom{path.suffix}')}" + (f"  {mark}{comment}" if mark else "")


def genetic_lines(region: ZoomRegion, path: str | os.PathLike[str], levels: int, shape: str | None) -> str:
    """Lines of genetIC's parameter file; see `ZoomRegion.genetic_lines`."""
    n = region.lattice.n
    sites = region.lattice.unwrapped(region.sites_in(chosen_shape(GENETIC, shape)))
    needed = int(np.ptp(sites, axis=0).max()) + 1 + 2 * _EDGE
    factor = max(each for each in range(1, n + 1) if n % each == 0 and (n // each >= needed or each == 1))
    return f"id_file {os.fspath(path)}\nzoom_grid {factor} {n // factor * 2**levels}"
