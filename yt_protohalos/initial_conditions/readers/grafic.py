"""grafic2 initial conditions: a folder of Fortran-record cubes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...exceptions import FormatError, InitialConditionsError, LatticeError
from ...fields.cosmology import Cosmology
from ..checks import quiet_casts

HEADER_BYTES = 44
"""nx ny nz (int32), dx x0 y0 z0 (Mpc), a, Omega_m, Omega_Lambda, H0 (float32)."""
FIELDS = ("ic_deltab", "ic_poscx", "ic_poscy", "ic_poscz", "ic_velcx", "ic_velcy", "ic_velcz")


@dataclass(frozen=True)
class GraficLayout:
    """Contents of a grafic2 folder.

    Attributes
    ----------
    n : int
        Cells per side.
    endian : {"<", ">"}
    box_size : float
        Comoving Mpc/h.
    fields : tuple of str
        Names of the files present.
    """

    folder: Path
    n: int
    endian: str
    box_size: float
    redshift: float
    cosmology: Cosmology
    fields: tuple[str, ...]

    def read(self, name: str) -> NDArray[np.float64]:
        """One field, float64, (n, n, n), x on axis 0; the file keeps x fastest, one plane of z a record."""
        path, plane = self.folder / name, self.n**2
        record = np.dtype(
            [("open", f"{self.endian}i4"), ("plane", f"{self.endian}f4", plane), ("close", f"{self.endian}i4")]
        )
        with path.open("rb") as file:
            file.seek(HEADER_BYTES + 8)
            records = np.fromfile(file, dtype=record, count=self.n)
        if len(records) != self.n or np.any(records["open"] != 4 * plane) or np.any(records["close"] != 4 * plane):
            raise FormatError(
                f"{name} has {len(records)} whole planes of {self.n}x{self.n} float32 values, its header gives "
                f"{self.n}; it is truncated or not grafic2, copy it again"
            )
        with quiet_casts():
            return records["plane"].reshape((self.n,) * 3).transpose(2, 1, 0).astype(np.float64)


def grafic_folder(path: Path) -> Path | None:
    """Folder with ``ic_deltab``: `path` itself, its parent, or its only level folder."""
    for folder in (path, path.parent):
        if path.is_dir() is (folder == path) and (folder / "ic_deltab").is_file():
            return folder
    levels = sorted(path.glob("level_*/ic_deltab")) if path.is_dir() else []
    if len(levels) > 1:
        raise InitialConditionsError(
            f"{path.name} has levels {', '.join(level.parent.name for level in levels)}, a zoom; one uniform level is "
            "needed: give unigrid initial conditions, or the coarsest level's folder"
        )
    return levels[0].parent if levels else None


def is_grafic(path: Path) -> bool:
    """Test if the path leads to one or several grafic2 levels."""
    if path.is_dir():
        return (path / "ic_deltab").is_file() or any(path.glob("level_*/ic_deltab"))
    return path.name in FIELDS and (path.parent / "ic_deltab").is_file()


def read_grafic_layout(path: Path) -> GraficLayout:
    """Read the header of ``ic_deltab``.

    Raises
    ------
    FormatError, LatticeError, InitialConditionsError
        For a header of another format, a box that is not a cube, or a nested level.
    """
    folder = grafic_folder(path)
    if folder is None:
        raise FormatError(f"{path.name} has no ic_deltab; give a grafic2 folder with the density")
    with (folder / "ic_deltab").open("rb") as file:
        raw = file.read(HEADER_BYTES + 8)
    if len(raw) < HEADER_BYTES + 8:
        raise FormatError(
            f"ic_deltab of {folder.name} has {len(raw)} bytes, its header needs {HEADER_BYTES + 8}; copy it again"
        )
    endian = next((each for each in "<>" if struct.unpack(f"{each}i", raw[:4])[0] == HEADER_BYTES), None)
    if endian is None:
        raise FormatError(f"ic_deltab of {folder.name} has no {HEADER_BYTES}-byte header record; it is not grafic2")
    shape = tuple(int(side) for side in np.frombuffer(raw, dtype=f"{endian}i4", count=3, offset=4))
    # the shortest decimals of the float32 numbers: 67.77, not 67.76999664
    decimals = [float(str(value)) for value in np.frombuffer(raw, dtype=f"{endian}f4", count=8, offset=16)]
    (spacing, *origin), (scale, omega_m, omega_lambda, hubble) = decimals[:4], decimals[4:]
    if len(set(shape)) != 1:
        raise LatticeError(
            f"the grafic2 level has {shape} cells; a cubic box needs as many on each axis: give a whole cubic box"
        )
    if not 0 < shape[0] < 2**16:
        raise FormatError(
            f"the header of ic_deltab gives {shape[0]} cells per side; 1 to 65535 are possible: it is damaged or not "
            "grafic2"
        )
    if any(not abs(value) <= 1e-3 * abs(spacing) for value in origin):
        raise InitialConditionsError(
            f"the grafic2 level starts at {tuple(round(value, 4) for value in origin)} Mpc in the box, a zoom level; a "
            "level that fills the box starts at 0: give the coarsest level's folder"
        )
    if not (0 < scale <= 1 and spacing > 0 and hubble > 1):
        raise FormatError(
            f"the header of ic_deltab gives a = {scale:g}, spacing {spacing:g} Mpc, H0 = {hubble:g}; a in (0, 1], a "
            "positive spacing and H0 in km/s/Mpc are needed: it is not grafic2"
        )
    h = round(hubble / 100, 8)
    cosmology = Cosmology(h, omega_m, omega_lambda)
    present = tuple(name for name in FIELDS if (folder / name).is_file())
    size_needed = HEADER_BYTES + 8 + shape[0] * (4 * shape[0] ** 2 + 8)
    for name in present:
        size = (folder / name).stat().st_size
        if size != size_needed:
            raise FormatError(
                f"{name} has {size} bytes, {shape[0]} planes of {shape[0]}x{shape[0]} float32 values need "
                f"{size_needed}; it is truncated or not grafic2, copy it again"
            )
    return GraficLayout(folder, shape[0], endian, shape[0] * spacing * h, round(1 / scale - 1, 6), cosmology, present)
