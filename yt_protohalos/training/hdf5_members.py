"""Members of haloes in HDF5 files: Gadget and AREPO groups with SUBFIND, HBT+, SOAP, SWIFT, yt, and flat lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .._utils.files import open_hdf5
from ..exceptions import FormatError
from ..initial_conditions.checks import whole_ids
from ..initial_conditions.readers.gadget_binary import numbered_files
from .members import HALOES, SUBHALOES, Listed, Members

LAYOUTS = (
    "`labels` or `halo_id` (a cube on the initial lattice), `particle_ids` and `halo_ids` (one halo per particle), "
    "`Group/GroupLen` (Gadget, AREPO), `SubhaloParticles` (HBT+), `PartType1/GroupNr_bound` or `FOFGroupIDs` (SOAP, "
    "SWIFT), or `particles/ids` (yt)"
)
DARK_MATTER = 1
"""Particle type of dark matter in the arrays by type of Gadget and AREPO, and in ``PartType1``."""
_NO_SWIFT_GROUP = 2**31 - 1


def read_hdf5_members(path: Path, kind: str, snapshot: Path | None) -> Listed:
    """IDs and haloes of `halo_catalogs.read_members` from an HDF5 file, whose layout its datasets tell."""
    with open_hdf5(path) as file:
        names, count = set(file), _file_count(file)
        by_order = f"PartType{DARK_MATTER}" in names
    if {"particle_ids", "halo_ids"} <= names:
        _own_ids(path, snapshot)
        return _flat(path, kind)
    if "SubhaloParticles" in names:
        _own_ids(path, snapshot)
        return _hbt(numbered_files(path, count), kind)
    if {"particles", "particle_number"} <= names:
        _own_ids(path, snapshot)
        return _yt(path, kind)
    if by_order:
        return _in_order_of_snapshot(numbered_files(path, count), kind, snapshot)
    if "Group" in names or count > 1:
        return _groups(numbered_files(path, count), kind, snapshot)
    raise FormatError(
        f"{path.name} holds {', '.join(sorted(names)) or 'nothing'}; a catalogue needs {LAYOUTS}: write one of these, "
        "or give the final snapshot instead"
    )


def _own_ids(path: Path, snapshot: Path | None) -> None:
    if snapshot is not None:
        raise FormatError(f"{path.name} lists particle IDs itself; give it without a snapshot")


def only_haloes(path: Path, kind: str) -> None:
    """Raise `FormatError` if subhaloes are asked of a file that has none."""
    if kind == SUBHALOES:
        raise FormatError(f"{path.name} lists one halo per particle and no subhaloes; ask for its {HALOES}")


def _flat(path: Path, kind: str) -> Listed:
    only_haloes(path, kind)
    with open_hdf5(path) as file:
        ids, groups = file["particle_ids"][()], file["halo_ids"][()]
    if ids.shape != groups.shape:
        raise FormatError(
            f"`particle_ids` of {path.name} has shape {ids.shape}, `halo_ids` {groups.shape}; give one per particle"
        )
    return whole_ids(ids, path.name), whole_ids(groups, path.name)


def _yt(path: Path, kind: str) -> Listed:
    """Members of a catalogue of yt's ``halo_catalog`` format, each listed once."""
    only_haloes(path, kind)
    with open_hdf5(path) as file:
        if "ids" not in file["particles"]:
            raise FormatError(f"{path.name} holds no member IDs, `particles/ids`; save the catalogue with its members")
        return _slices(
            whole_ids(file["particles/ids"][()], path.name), file["particle_number"][()].astype(np.int64),
            file["particle_index_start"][()].astype(np.int64), path.name,
        )  # fmt: skip


def _hbt(files: Sequence[Path], kind: str) -> Listed:
    """Bound particles of the subhaloes of HBT+; a halo has those of all subhaloes in one host halo."""
    lists: list[NDArray[Any]] = []
    hosts: list[NDArray[np.int64]] = []
    for path in files:
        with open_hdf5(path) as file:
            if "Subhalos" not in file or "HostHaloId" not in (file["Subhalos"].dtype.names or ()):
                raise FormatError(f"{path.name} lacks `Subhalos` with `HostHaloId`; give a SubSnap file of HBT+")
            lists += list(file["SubhaloParticles"][()])
            hosts.append(file["Subhalos"]["HostHaloId"].astype(np.int64))
    host = np.concatenate(hosts)
    objects = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    ids = whole_ids(np.concatenate(lists) if lists else np.zeros(0, dtype=np.int64), files[0].name)
    # the first subhalo of a host stands for it; one without a host, -1, for itself
    first = {number: i for i, number in reversed(list(enumerate(host.tolist()))) if number >= 0}
    parents = np.array([first.get(number, i) for i, number in enumerate(host.tolist())], dtype=np.int64)
    parents[parents == np.arange(len(parents))] = -1
    return Members(ids, objects, parents).of(kind, files[0].name)


def _in_order_of_snapshot(files: Sequence[Path], kind: str, snapshot: Path | None) -> Listed:
    """Halo of each particle in the order of the snapshot: SOAP's membership, or a SWIFT snapshot with groups."""
    group, name = f"PartType{DARK_MATTER}", "GroupNr_bound" if kind == SUBHALOES else "FOFGroupIDs"
    halo = _joined(files, f"{group}/{name}")
    if halo is None and snapshot is not None:
        halo = _joined(_snapshot_files(snapshot), f"{group}/{name}")
    if halo is None:
        raise FormatError(
            f"{files[0].name} holds no `{group}/{name}`, which says the {kind}; give one that does, the snapshot, or "
            f"ask for {HALOES if kind == SUBHALOES else SUBHALOES}"
        )
    ids = _joined(files, f"{group}/ParticleIDs")
    if ids is None:
        ids = _snapshot_ids(snapshot, files[0].name)
    if ids.shape != halo.shape:
        raise FormatError(
            f"{files[0].name} has {len(halo)} particles, the snapshot {len(ids)}; both must list the same: give the "
            "snapshot that it was made from"
        )
    number = whole_ids(halo, files[0].name)
    return whole_ids(ids, files[0].name), np.where(number == _NO_SWIFT_GROUP, -1, number)


def _groups(files: Sequence[Path], kind: str, snapshot: Path | None) -> Listed:
    """Members of the groups or subhaloes of Gadget and AREPO.

    They follow each other in ``IDs/ID``, or else in the particles of the snapshot, which are in the order of the
    groups, by type. The subhaloes of a group follow each other from its first particle.
    """
    name = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
    ids = _joined(files, "IDs/ID")
    count = "Len" if ids is not None else "LenType"
    sizes = _of_type(_joined(files, f"Group/Group{count}"))
    if sizes is None:
        raise FormatError(
            f"{name} holds no `Group/Group{count}`{' and no `IDs/ID`' if ids is None else ''}; a catalogue needs "
            f"{LAYOUTS}: write one of these"
        )
    if ids is None:
        ids = _snapshot_ids(snapshot, name)
    elif snapshot is not None:
        _own_ids(files[0], snapshot)
    ids = whole_ids(ids, name)
    starts = _of_type(_joined(files, "Group/GroupOffset" if count == "Len" else "Group/GroupOffsetType"))
    if starts is None:
        starts = np.cumsum(sizes) - sizes
    if kind == HALOES:
        return _slices(ids, sizes, starts, name)
    parts = _of_type(_joined(files, f"Subhalo/Subhalo{count}"))
    group = _first(files, "Subhalo/SubhaloGroupNr", "Subhalo/SubhaloGrNr")
    if parts is None or group is None:
        raise FormatError(f"{name} holds no subhaloes, `Subhalo/Subhalo{count}` and `SubhaloGroupNr`; ask for {HALOES}")
    group = group.astype(np.int64)
    if parts.shape != group.shape or not np.all((group >= 0) & (group < len(sizes))) or np.any(np.diff(group) < 0):
        raise FormatError(f"the subhaloes of {name} are not in the order of its {len(sizes)} groups; write it again")
    before = np.cumsum(parts) - parts
    first = np.searchsorted(group, np.arange(len(sizes)))
    inside = before - np.append(before, parts.sum())[first][group]
    return _slices(ids, parts, starts[group] + inside, name)


def _of_type(counts: NDArray[Any] | None) -> NDArray[np.int64] | None:
    """Counts of dark matter, (K,), from an array (K,) or one with a column for each particle type."""
    if counts is None:
        return None
    return (counts[:, DARK_MATTER] if counts.ndim == 2 and counts.shape[1] > DARK_MATTER else counts).astype(np.int64)


def _slices(ids: NDArray[np.int64], sizes: NDArray[np.int64], starts: NDArray[np.int64], name: str) -> Listed:
    """IDs and halo of the members of haloes 0..K-1, which are `sizes` IDs from `starts`."""
    if sizes.ndim != 1 or starts.shape != sizes.shape or min(sizes.min(initial=0), starts.min(initial=0)) < 0:
        raise FormatError(
            f"numbers of members and offsets of {name} are not one count from 0 per group; write it again"
        )
    needed = int((starts + sizes).max(initial=0))
    if needed > len(ids):
        raise FormatError(
            f"the groups of {name} reach to member {needed}, but its list of IDs holds {len(ids)}; they must agree: "
            "give the files of one output, written whole"
        )
    before = np.cumsum(sizes) - sizes
    members = np.arange(int(sizes.sum())) + np.repeat(starts - before, sizes)
    return ids[members], np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


def _joined(files: Sequence[Path], key: str) -> NDArray[Any] | None:
    """Array that goes on from one file to the next; None if no file has it, as files without a group leave it out."""
    parts = []
    for path in files:
        with open_hdf5(path) as file:
            if key in file:
                parts.append(file[key][()])
    return np.concatenate(parts) if parts else None


def _first(files: Sequence[Path], *keys: str) -> NDArray[Any] | None:
    return next((found for key in keys if (found := _joined(files, key)) is not None), None)


def _snapshot_ids(snapshot: Path | None, name: str) -> NDArray[Any]:
    """Dark-matter IDs of a snapshot, in the order in which it stores them."""
    if snapshot is None:
        raise FormatError(
            f"{name} lists no particle IDs, but places among the particles of the snapshot; give that snapshot too, as "
            "HDF5 (--snapshot)"
        )
    ids = _joined(_snapshot_files(snapshot), f"PartType{DARK_MATTER}/ParticleIDs")
    if ids is None:
        raise FormatError(f"{snapshot.name} holds no `PartType{DARK_MATTER}/ParticleIDs`; give a snapshot that does")
    return ids


def _snapshot_files(snapshot: Path) -> list[Path]:
    if not h5py.is_hdf5(snapshot):
        raise FormatError(f"{snapshot.name} is not an HDF5 file; a catalogue of places needs the snapshot as HDF5")
    with open_hdf5(snapshot) as file:
        count = _file_count(file)
    return numbered_files(snapshot, count)


def _file_count(file: h5py.File) -> int:
    """Number of files of the set that a file belongs to, by its header."""
    attributes = header(file)
    stated: list[tuple[str, Any]] = [
        (name, attributes[name]) for name in ("NumFiles", "NumFilesPerSnapshot") if name in attributes
    ]
    if "NumberOfFiles" in file:
        stated.append(("NumberOfFiles", file["NumberOfFiles"][()]))
    if not stated:
        return 1
    (key, value), name = stated[0], Path(file.filename).name
    try:
        count = int(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"`{key}` of {name} is {value!r}; it counts the files of the catalogue: write it again"
        ) from error
    if count < 1:
        raise FormatError(f"{name} says it is one of {count} files; write it again")
    return count


def header(file: h5py.File) -> dict[str, Any]:
    """Attributes of the group ``Header``; none without it."""
    return dict(file["Header"].attrs) if "Header" in file else {}
