"""Layout of Gadget-2 binary files, formats 1 and 2, found from the sizes of their blocks."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...exceptions import FormatError
from ..checks import quiet_casts

HEADER_SIZE = 256
MOST_BLOCKS = 1000
"""Records a file may have; a zero-filled one reads as billions of empty ones."""
MOST_FILES = 2**16
BLOCK_NAMES = {"POS": "Coordinates", "VEL": "Velocities", "ID": "ParticleIDs", "MASS": "Mass"}


@dataclass(frozen=True)
class GadgetHeader:
    """The 256-byte header; masses and box size in the file's own units."""

    counts: tuple[int, ...]
    masses: tuple[float, ...]
    totals: tuple[int, ...]
    time: float
    redshift: float
    files: int
    box_size: float
    omega_m: float
    omega_lambda: float
    h: float

    @property
    def particles(self) -> int:
        """Number of particles in this file."""
        return sum(self.counts)


@dataclass(frozen=True)
class GadgetLayout:
    """Positions and types of the blocks of a Gadget-2 binary file.

    Attributes
    ----------
    file_format : {1, 2}
    endian : {"<", ">"}
    offsets : dict of str to int
        First data byte of "Coordinates", "Velocities", "ParticleIDs", "Mass", as present.
    item_sizes : dict of str to int
        Bytes of one number (4 or 8) in each of these blocks; a code may write positions alone in double precision.
    """

    path: Path
    file_format: int
    endian: str
    header: GadgetHeader
    offsets: dict[str, int]
    item_sizes: dict[str, int]

    @property
    def variable_mass(self) -> tuple[int, ...]:
        """Particle types whose masses are in the Mass block."""
        header = self.header
        return tuple(i for i in range(6) if header.counts[i] and header.masses[i] == 0)

    def read_masses(self) -> np.ndarray:
        """Mass block, float64, (N,), in file units."""
        count = sum(self.header.counts[i] for i in self.variable_mass)
        with self.path.open("rb") as file:
            file.seek(self.offsets["Mass"])
            masses = np.fromfile(file, dtype=f"{self.endian}f{self.item_sizes['Mass']}", count=count)
        with quiet_casts():
            return masses.astype(np.float64)


def is_gadget_binary(path: Path) -> bool:
    """Test if the file starts like a Gadget-2 binary of format 1 or 2."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8:
        return False
    marks = {struct.unpack(f"{endian}i", start[:4])[0] for endian in "<>"}
    return HEADER_SIZE in marks or (8 in marks and start[4:8] == b"HEAD")


def read_layout(path: Path) -> GadgetLayout:
    """Walk the records of one file.

    Raises
    ------
    FormatError
        For a file that is empty, truncated, or whose blocks do not fit its particle counts.
    """
    size = path.stat().st_size
    if size < HEADER_SIZE + 8:
        raise FormatError(f"{path.name} has {size} bytes, a Gadget header alone has {HEADER_SIZE + 8}; copy it again")
    with path.open("rb") as file:
        mark = file.read(4)
        endian = "<" if struct.unpack("<i", mark)[0] in (HEADER_SIZE, 8) else ">"
        file_format = 2 if struct.unpack(f"{endian}i", mark)[0] == 8 else 1
        file.seek(16 if file_format == 2 else 0)
        header = _read_header(file.read(HEADER_SIZE + 8)[4:-4], endian)
        if header.particles == 0:
            raise FormatError(f"{path.name} holds no particles; give initial conditions with at least one")
        blocks = _walk(file, size, endian, file_format, path.name)
    variable = sum(count for count, mass in zip(header.counts, header.masses, strict=True) if mass == 0)
    if file_format == 2:
        found = {BLOCK_NAMES[name]: (start, length) for name, start, length in blocks if name in BLOCK_NAMES}
        if "Velocities" not in found:
            _check_no_vectors([block for block in blocks if block[0] not in BLOCK_NAMES], header.particles, path.name)
    else:
        found = _name_blocks(blocks, header.particles, variable, path.name)
    return _assemble(path, file_format, endian, header, found)


def numbered_files(path: Path, count: int) -> list[Path]:
    """Every file of a set of `count`, in order, from any one of them: NAME.0, NAME.1.hdf5, ...

    Raises `FormatError` for a name without a number and for missing files.
    """
    if count <= 1:
        return [path]
    if count > MOST_FILES:
        raise FormatError(f"the header of {path.name} counts {count} files; at most {MOST_FILES} can be: it is damaged")
    suffix = path.suffix if path.suffix in (".hdf5", ".h5") else ""
    match = re.fullmatch(r"(.*?)\d+", path.name.removesuffix(suffix))
    if match is None:
        raise FormatError(
            f"the header of {path.name} counts {count} files, but its name has no number; name them NAME.0, NAME.1, ..."
        )
    names = [path.with_name(f"{match[1]}{i}{suffix}") for i in range(count)]
    missing = [name.name for name in names if not name.is_file()]
    if missing:
        raise FormatError(f"{len(missing)} of {count} files are missing ({missing[0]}, ...); put them in one folder")
    return names


def _read_header(raw: bytes, endian: str) -> GadgetHeader:
    if len(raw) < HEADER_SIZE:
        raise FormatError(f"the header has {len(raw)} of {HEADER_SIZE} bytes; the file is truncated, copy it again")
    values = struct.unpack_from(f"{endian}6i6d2d2i6I2i4d2i6I", raw)
    counts, masses, (time, redshift) = values[0:6], values[6:12], values[12:14]
    totals, files = values[16:22], values[23]
    box_size, omega_m, omega_lambda, h = values[24:28]
    high = values[30:36]
    if min(counts) < 0:
        raise FormatError(
            f"the header counts {min(counts)} particles of a type; the file is not Gadget-2, or corrupted"
        )
    # several writers leave the high words undefined, so they count only where they can be meant
    whole = tuple(low + (word << 32 if word < 2**16 else 0) for low, word in zip(totals, high, strict=True))
    if files <= 1:
        whole = counts
    return GadgetHeader(counts, masses, whole, time, redshift, max(files, 1), box_size, omega_m, omega_lambda, h)


def _walk(file: BinaryIO, size: int, endian: str, file_format: int, name: str) -> list[tuple[str, int, int]]:
    """(name, first byte, bytes) of each record after the header; names are empty in format 1."""
    blocks: list[tuple[str, int, int]] = []
    position, block_name = file.tell(), ""
    while position + 8 <= size:
        file.seek(position)
        (length,) = struct.unpack(f"{endian}I", file.read(4))
        if position + 8 + length > size:
            raise FormatError(
                f"{name} ends {position + 8 + length - size} bytes early in its block {len(blocks) + 1}; "
                "it is truncated, copy it again"
            )
        if len(blocks) >= MOST_BLOCKS:
            raise FormatError(
                f"{name} has over {MOST_BLOCKS} blocks; a Gadget file has some ten: it is damaged or zero-filled, "
                "copy it again"
            )
        if file_format == 2 and not block_name and length == 8:
            block_name = file.read(4).decode("ascii", "replace").strip()
        else:
            blocks.append((block_name, position + 4, length))
            block_name = ""
        file.seek(position + 4 + length)
        (closing,) = struct.unpack(f"{endian}I", file.read(4))
        if closing != length:
            raise FormatError(
                f"block {len(blocks)} of {name} opens with {length} bytes and closes with {closing}; both must "
                "agree: the file is corrupted or holds blocks over 4 GiB, split it over several files"
            )
        position += length + 8
    return blocks


def _assemble(
    path: Path, file_format: int, endian: str, header: GadgetHeader, found: dict[str, tuple[int, int]]
) -> GadgetLayout:
    particles = header.particles
    if "Coordinates" not in found:
        raise FormatError(f"{path.name} has no positions for its {particles} particles; it is truncated, copy it again")
    sizes = {}
    for name, what, each in (
        ("Coordinates", "positions", 3),
        ("Velocities", "velocities", 3),
        ("ParticleIDs", "IDs", 1),
    ):
        if name in found:
            sizes[name] = _item_size(what, found[name][1], each * particles, path)
    offsets = {name: found[name][0] for name in sizes}
    layout = GadgetLayout(path, file_format, endian, header, offsets, sizes)
    if layout.variable_mass:
        count = sum(header.counts[i] for i in layout.variable_mass)
        if "Mass" not in found or found["Mass"][1] not in (4 * count, 8 * count):
            raise FormatError(
                f"{path.name} has no mass table entry for particle types {list(layout.variable_mass)} and no mass "
                f"block of {4 * count} or {8 * count} bytes; one of them is needed, write the file again"
            )
        offsets["Mass"], sizes["Mass"] = found["Mass"][0], found["Mass"][1] // count
    return layout


def _name_blocks(
    blocks: list[tuple[str, int, int]], particles: int, variable: int, name: str
) -> dict[str, tuple[int, int]]:
    """Name the blocks of format 1, which have no names, by their sizes: positions before velocities, IDs before masses.

    `variable` is the number of particles with masses of their own. Blocks after the IDs are other quantities of a
    snapshot, such as accelerations, but only if velocities come before them.
    """
    found: dict[str, tuple[int, int]] = {}
    vectors, whole, masses = ((4 * n, 8 * n) for n in (3 * particles, particles, variable))
    for number, (_, start, length) in enumerate(blocks, 1):
        if length in vectors and "Velocities" not in found:
            found["Velocities" if "Coordinates" in found else "Coordinates"] = start, length
        elif length in whole and "ParticleIDs" not in found:
            found["ParticleIDs"] = start, length
        elif variable and length in masses and "Mass" not in found:
            found["Mass"] = start, length
        elif not {"Velocities", "ParticleIDs"} <= set(found):
            raise FormatError(
                f"block {number} of {name} has {length} bytes, which for {particles} particles are neither positions, "
                "velocities, IDs nor masses of 4 or 8 bytes a number; these blocks come first: write the file again, "
                "or in format 2, which names its blocks"
            )
    return found


def _check_no_vectors(blocks: list[tuple[str, int, int]], particles: int, file_name: str) -> None:
    """Raise `FormatError` where a file without velocities holds another vector: it may be them, by another name."""
    for block_name, _, length in blocks:
        if length in (12 * particles, 24 * particles):
            raise FormatError(
                f"{file_name} has no block VEL, but a block {block_name!r} of three numbers per particle; if these are "
                "the velocities, rename the block: without them the linear field is less exact"
            )


def _item_size(what: str, size: int, count: int, path: Path) -> int:
    if size not in (4 * count, 8 * count):
        raise FormatError(
            f"{path.name} has {size} bytes of {what} for {count} numbers; 4 or 8 bytes each are needed: "
            "the file is truncated or not Gadget-2"
        )
    return size // count
