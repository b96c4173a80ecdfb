"""Read the haloes of a simulation: cubes of labels, and lists of member particles as halo finders write them."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .._utils.files import open_hdf5
from ..exceptions import FormatError, ScoringError
from .hdf5_members import LAYOUTS, header, read_hdf5_members
from .members import HALOES, OBJECTS, Listed
from .rockstar_ahf import (
    AHF_SUFFIX,
    ROCKSTAR_TABLE,
    is_rockstar_binary,
    read_ahf,
    read_rockstar_binary,
    read_rockstar_particles,
    rockstar_scale_factor,
)

CUBE_NAMES = ("labels", "halo_id")
"""Datasets that hold a cube of labels, 0 or -1 outside haloes."""


def read_labels(path: Path) -> NDArray[np.int64]:
    """Read a cube of halo labels, 0 outside and 1..K, from ``labels`` or from ``halo_id`` (-1 outside).

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ScoringError
        The file has neither dataset, or both.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an HDF5 file with halo labels on the initial lattice")
    with open_hdf5(path) as file:
        found = [name for name in CUBE_NAMES if name in file]
        if len(found) != 1:
            raise ScoringError(f"{path} holds {found or 'neither'} of `labels` and `halo_id`; it needs exactly one")
        values: NDArray[np.int64] = file[found[0]][()].astype(np.int64)
    return values if found[0] == "labels" else values + 1


def holds_label_cube(path: Path) -> bool:
    """True for an HDF5 file with a dataset of `CUBE_NAMES`."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return any(name in file for name in CUBE_NAMES)


def read_members(
    path: str | Path, objects: str = HALOES, snapshot: Path | None = None, parents: Path | None = None
) -> Listed:
    """Particle IDs, int64 (N,), and the halo of each, int64 (N,) and negative outside haloes, of a halo finder's files.

    Read are HDF5 files (`hdf5_members`: flat ``particle_ids`` and ``halo_ids``, groups and subhaloes of Gadget, AREPO,
    HBT+ and SOAP, SWIFT snapshots with groups, yt's ``halo_catalog``), and files of Rockstar and AHF (`rockstar_ahf`).
    If a catalogue has several files, `path` is any of them, and the others lie beside it.

    Parameters
    ----------
    path : path
    objects : {"haloes", "subhaloes"}
        Whole haloes, each with all its subhaloes; or each particle in the smallest halo or subhalo that has it.
    snapshot : path, optional
        HDF5 snapshot of a catalogue that lists no IDs, but places in it: SUBFIND of Gadget-4 and AREPO, SOAP.
    parents : path, optional
        Table that says which halo lies in which: output of Rockstar's ``find_parents``, or ``.AHF_halos``.

    Raises
    ------
    FileNotFoundError
        A file does not exist.
    FormatError
        The file has none of these layouts, lacks what was asked for, or belongs to an incomplete set.
    InitialConditionsError
        IDs are not whole numbers, or repeat in an object.
    """
    if objects not in OBJECTS:
        raise FormatError(f"objects {objects!r} is neither of {', '.join(OBJECTS)}; use one of them")
    path = Path(path)
    for needed, what in ((path, "a halo catalogue with member IDs"), (snapshot, "its snapshot"), (parents, "hosts")):
        if needed is not None and not needed.is_file():
            raise FileNotFoundError(f"no file {needed}; give {what}")
    if h5py.is_hdf5(path):
        if parents is not None:
            raise FormatError(f"{path.name} says itself which halo lies in which; leave {parents.name} out")
        return read_hdf5_members(path, objects, snapshot)
    if snapshot is not None:
        raise FormatError(f"{path.name} lists particle IDs itself; give it without a snapshot")
    if is_rockstar_binary(path):
        return read_rockstar_binary(path, objects, parents)
    if _first_line(path) == ROCKSTAR_TABLE:
        return read_rockstar_particles(path, objects)
    if path.name.endswith(AHF_SUFFIX):
        return read_ahf(path, objects, parents)
    raise FormatError(
        f"{path.name} is not an HDF5 file, or truncated, and no file of Rockstar or AHF ({AHF_SUFFIX}); give HDF5 with "
        f"{LAYOUTS}, halos_0.0.bin or .particles of Rockstar, or {AHF_SUFFIX}"
    )


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(100).decode(errors="replace").strip()


def stated_redshift(path: Path) -> float | None:
    """Redshift that a catalogue states; None if it states none.

    Halo finders write it as attribute ``Redshift``, or as expansion factor ``Time``, of the group ``Header`` (Gadget,
    AREPO, SOAP), as ``Cosmology/ScaleFactor`` (HBT+), as ``redshift``, ``output_redshift`` or ``current_redshift`` (yt)
    of the file, in the header (Rockstar) or in the name (AHF).
    """
    if not path.is_file():
        return None
    if not h5py.is_hdf5(path):
        return _redshift_outside_hdf5(path)
    with open_hdf5(path) as file:
        attributes, own = header(file), dict(file.attrs)
        factor = file["Cosmology/ScaleFactor"][()] if "Cosmology/ScaleFactor" in file else attributes.get("Time")
    for place, name in (
        (attributes, "Redshift"), (own, "output_redshift"), (own, "redshift"), (own, "current_redshift"),
    ):  # fmt: skip
        if name in place:
            return float(np.ravel(place[name])[0])
    return None if factor is None else 1 / float(np.ravel(factor)[0]) - 1


def _redshift_outside_hdf5(path: Path) -> float | None:
    if is_rockstar_binary(path):
        return 1 / rockstar_scale_factor(path) - 1
    if path.name.endswith(AHF_SUFFIX):
        found = re.search(r"\.z(\d+\.\d+)\.", path.name)
        return float(found[1]) if found else None
    with path.open(errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                break
            if line.startswith("#a = "):
                return 1 / float(line.removeprefix("#a = ")) - 1
    return None
