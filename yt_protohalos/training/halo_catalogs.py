"""Read HDF5 files with the haloes of a simulation: cubes of labels, and lists of member particles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .._utils.files import open_hdf5
from ..exceptions import FormatError, ScoringError
from ..initial_conditions.checks import whole_ids
from ..initial_conditions.readers.gadget_binary import numbered_files

CUBE_NAMES = ("labels", "halo_id")
"""Datasets that hold a cube of labels, 0 or -1 outside haloes."""
_LAYOUTS = (
    "`labels` or `halo_id` (a cube on the initial lattice), `particle_ids` and `halo_ids` (one halo per particle), or "
    "`Group/GroupLen` and `IDs/ID` (member IDs in the order of the groups)"
)


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


def read_members(path: str | Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Particle IDs, int64 (N,), and the group of each, int64 (N,) and negative outside haloes, of an HDF5 catalogue.

    Two layouts are read: flat ``particle_ids`` and ``halo_ids`` (any integers; negative outside haloes), and that of
    Gadget and AREPO. There ``IDs/ID`` lists the members of group after group, ``Group/GroupLen`` counts the members of
    each, and ``Group/GroupOffset``, if present, says where they start. If the header counts several files, `path` is
    any of them, and the others lie beside it: ``NAME.0.hdf5``, ``NAME.1.hdf5`` and so on.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    FormatError
        The file is not HDF5, has none of these layouts, or belongs to an incomplete set.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an HDF5 halo catalogue with member IDs")
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path.name} is not an HDF5 file, or truncated; give one with {_LAYOUTS}")
    with open_hdf5(path) as file:
        if "particle_ids" in file and "halo_ids" in file:
            ids, groups = file["particle_ids"][()], file["halo_ids"][()]
            if ids.shape != groups.shape:
                raise FormatError(
                    f"`particle_ids` of {path.name} has shape {ids.shape}, `halo_ids` {groups.shape}; give one halo "
                    "per particle"
                )
            return whole_ids(ids, path.name), whole_ids(groups, path.name)
        count = _file_count(file)
        found = sorted(f"{name}/*" if isinstance(item, h5py.Group) else name for name, item in file.items())
        if count == 1 and not ("Group/GroupLen" in file and "IDs/ID" in file):
            raise FormatError(
                f"{path.name} holds {', '.join(found) or 'nothing'}; a catalogue needs {_LAYOUTS}: write one of these, "
                "or give the final snapshot instead"
            )
    return _members_in_group_order(numbered_files(path, count))


def _file_count(file: h5py.File) -> int:
    """Number of files of the set that a catalogue belongs to, from its header."""
    name, value = Path(file.filename).name, _header(file).get("NumFiles", 1)
    try:
        count = int(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"`NumFiles` of {name} is {value!r}; it counts the files of the catalogue: write it again"
        ) from error
    if count < 1:
        raise FormatError(f"{name} says it is one of {count} files; write it again")
    return count


def _header(file: h5py.File) -> dict[str, Any]:
    return dict(file["Header"].attrs) if "Header" in file else {}


def _members_in_group_order(files: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members of the groups of a catalogue, whose arrays continue from one file to the next."""
    name = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
    parts: dict[str, list[NDArray[Any]]] = {"IDs/ID": [], "Group/GroupLen": [], "Group/GroupOffset": []}
    for path in files:
        with open_hdf5(path) as file:
            for key, arrays in parts.items():
                # a file of a set may have no group, or no member
                if key in file:
                    arrays.append(file[key][()])
    joined = {key: np.concatenate(arrays) for key, arrays in parts.items() if arrays}
    if "IDs/ID" not in joined or "Group/GroupLen" not in joined:
        raise FormatError(f"{name} holds neither `IDs/ID` nor groups; a catalogue needs {_LAYOUTS}: write one of these")
    ids = whole_ids(joined["IDs/ID"], name)
    sizes = joined["Group/GroupLen"].astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    offsets = joined.get("Group/GroupOffset", starts).astype(np.int64)
    if sizes.ndim != 1 or offsets.shape != sizes.shape or min(sizes.min(initial=0), offsets.min(initial=0)) < 0:
        raise FormatError(
            f"`Group/GroupLen` and offsets of {name} are not one count from 0 per group; write them again"
        )
    needed = int((offsets + sizes).max(initial=0))
    if needed > len(ids):
        raise FormatError(
            f"the groups of {name} reach to member {needed}, but `IDs/ID` holds {len(ids)}; both must agree: it is "
            "truncated, write it again"
        )
    members = np.arange(int(sizes.sum())) + np.repeat(offsets - starts, sizes)
    return ids[members], np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


def stated_redshift(path: Path) -> float | None:
    """Redshift that an HDF5 catalogue states; None if it states none or is not HDF5.

    Halo finders write it as attribute ``Redshift``, or as expansion factor ``Time``, of the group ``Header`` (Gadget,
    AREPO), or as ``redshift`` or ``output_redshift`` of the file.
    """
    if not path.is_file() or not h5py.is_hdf5(path):
        return None
    with open_hdf5(path) as file:
        header, own = _header(file), dict(file.attrs)
    for place, name in ((header, "Redshift"), (own, "output_redshift"), (own, "redshift")):
        if name in place:
            return float(np.ravel(place[name])[0])
    return 1 / float(np.ravel(header["Time"])[0]) - 1 if "Time" in header else None
