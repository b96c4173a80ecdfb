"""Members of haloes in the files of Rockstar (``halos_0.0.bin``, ``.particles``) and AHF (``.AHF_particles``)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FormatError
from .members import HALOES, Listed, Members, parent_indices

ROCKSTAR_MAGIC = 0xFADEDACEC0C0D0D0
ROCKSTAR_TABLE = "#Halo table:"
"""First line of a ``.particles`` file of Rockstar."""
AHF_SUFFIX = ".AHF_particles"
_HEADER_SIZE = 256
_COUNTS = 64
"""Byte of the header at which the numbers of haloes and of particles stand, int64 each."""
_SCALE = 24
_NUMBER_OF_MEMBERS = {0: 168, 1: 200, 2: 200}
"""Byte of a halo at which its number of members stands, int64, by the revision of the format."""
_REVISION = 96
_AHF_DARK_MATTER = 1


def is_rockstar_binary(path: Path) -> bool:
    """True for a file that begins as the binary catalogues of Rockstar do."""
    with path.open("rb") as file:
        return file.read(8) == ROCKSTAR_MAGIC.to_bytes(8, "little")


def rockstar_scale_factor(path: Path) -> float:
    """Scale factor of a binary catalogue of Rockstar."""
    return float(np.frombuffer(path.read_bytes()[:_HEADER_SIZE], "<f4", count=1, offset=_SCALE)[0])


def read_rockstar_binary(path: Path, kind: str, parents: Path | None) -> Listed:
    """Members of a binary catalogue of Rockstar; each halo lists its own particles, without those of its subhaloes.

    parents : output of Rockstar's ``find_parents``, with the columns ID and PID, for whole haloes
    """
    chunks = [_rockstar_chunk(part) for part in _chunks(path)]
    number, sizes, ids = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
    objects = np.repeat(np.arange(len(number)), sizes)
    around = np.full(len(number), -1)
    if kind == HALOES:
        if parents is None:
            raise FormatError(
                f"{path.name} lists each halo without its subhaloes, and does not say which these are; give the table "
                "of Rockstar's find_parents too (--parents), the .particles file instead, or ask for subhaloes"
            )
        around = parent_indices(*read_hosts(parents, "PID"), number)
    return Members(ids, objects, around).of(kind, path.name)


def _rockstar_chunk(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number and size of each halo of one file, and the IDs of all members."""
    raw = path.read_bytes()
    if len(raw) < _HEADER_SIZE:
        raise FormatError(
            f"{path.name} has {len(raw)} bytes, its header {_HEADER_SIZE}; it is truncated, copy it again"
        )
    n_haloes, n_particles = (int(count) for count in np.frombuffer(raw, "<i8", count=2, offset=_COUNTS))
    revision = int(np.frombuffer(raw, "<i4", count=1, offset=_REVISION)[0])
    if revision not in _NUMBER_OF_MEMBERS:
        raise FormatError(
            f"{path.name} has revision {revision} of Rockstar's format; known are {sorted(_NUMBER_OF_MEMBERS)}: "
            "give the .particles file instead (FULL_PARTICLE_CHUNKS)"
        )
    space = len(raw) - _HEADER_SIZE - 8 * n_particles
    width = space // max(n_haloes, 1)
    at = _NUMBER_OF_MEMBERS[revision]
    if min(n_haloes, n_particles) < 0 or width * n_haloes != space or (n_haloes and width < at + 8):
        raise FormatError(
            f"{path.name} has {len(raw)} bytes, not those of its {n_haloes} haloes and {n_particles} members; it is "
            "truncated, copy it again"
        )
    haloes = np.frombuffer(raw, np.uint8, count=space, offset=_HEADER_SIZE).reshape(n_haloes, width)
    number, sizes = (np.ascontiguousarray(haloes[:, i : i + 8]).view("<i8").ravel() for i in (0, at))
    if sizes.min(initial=0) < 0 or sizes.sum() != n_particles:
        raise FormatError(
            f"the haloes of {path.name} have {sizes.sum()} members, its header {n_particles}; it is truncated or "
            "damaged, copy it again"
        )
    return number, sizes, np.frombuffer(raw, "<i8", count=n_particles, offset=_HEADER_SIZE + space)


def read_rockstar_particles(path: Path, kind: str) -> Listed:
    """Members of the ``.particles`` files of Rockstar, where each halo lists the particles of its subhaloes too."""
    ids, roots, pairs = [], [], []
    for part in _chunks(path):
        columns = _table_columns(part)
        rows = np.loadtxt(part, dtype=np.int64, usecols=columns, ndmin=2)
        particle, assigned, internal, external = rows[:, :4].T
        # the last column is the particle type, of files that have one: 0 is dark matter
        inside = (external >= 0) & (rows[:, 4] == 0 if len(columns) > 4 else True)
        ids.append(particle[inside])
        roots.append(external[inside])
        known, first = np.unique(internal[inside], return_index=True)
        printed = dict(zip(known.tolist(), external[inside][first].tolist(), strict=True))
        own = np.unique(np.stack([assigned, external])[:, inside & (assigned != internal)], axis=1)
        pairs += [(printed[a], around) for a, around in own.T.tolist() if a in printed]
    number, objects = np.unique(np.concatenate(roots), return_inverse=True)
    sizes = np.bincount(objects, minlength=len(number))
    index = {int(one): i for i, one in enumerate(number)}
    parents = np.full(len(number), -1)
    for inner, outer in pairs:
        i, j = index[inner], index[outer]
        # the largest object around it is the outermost one
        if parents[i] < 0 or sizes[j] > sizes[parents[i]]:
            parents[i] = j
    return Members(np.concatenate(ids), objects.ravel().astype(np.int64), parents).of(kind, path.name)


def _table_columns(path: Path) -> list[int]:
    """Columns of particle ID, assigned, internal and external halo, and of the particle type if there is one."""
    wanted = ["particle_id", "assigned_internal_haloid", "internal_haloid", "external_haloid"]
    with path.open() as file:
        for line in file:
            names = line.lstrip("#").split()
            if not line.startswith("#"):
                break
            if set(wanted) <= set(names):
                return [names.index(name) for name in [*wanted, *(["type"] if "type" in names else [])]]
    raise FormatError(f"{path.name} names no columns {', '.join(wanted)}; give a .particles file of Rockstar")


def _chunks(path: Path) -> list[Path]:
    """Every file of a catalogue of Rockstar, ``halos_SNAP.CHUNK.bin``, from any one of them."""
    match = re.fullmatch(r"(.*\.)(\d+)(\.\w+)", path.name)
    if match is None:
        return [path]
    found = {}
    for other in path.parent.iterdir():
        if (same := re.fullmatch(rf"{re.escape(match[1])}(\d+){re.escape(match[3])}", other.name)) is not None:
            found[int(same[1])] = other
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        raise FormatError(
            f"{len(missing)} files beside {path.name} are missing ({match[1]}{missing[0]}{match[3]}, ...)"
        )
    return [found[number] for number in sorted(found)]


def read_ahf(path: Path, kind: str, parents: Path | None) -> Listed:
    """Members of the ``.AHF_particles`` file of AHF, where a halo lists the particles of its subhaloes too.

    parents : the ``.AHF_halos`` file, by default the one beside it
    """
    numbers: list[int] = []
    ids, objects = [], []
    values, width = _whole_numbers(path)
    at = 0
    # files of several processes, one after the other, begin with a count each
    while at < len(values):
        n_haloes, at = int(values[at]), at + 1
        for _ in range(n_haloes):
            size, number = (int(value) for value in values[at : at + 2]) if at + 2 <= len(values) else (-1, 0)
            end = at + 2 + width * size
            if size < 0 or end > len(values):
                raise FormatError(
                    f"halo {len(numbers)} of {path.name} reaches past the end of the file; write it again"
                )
            rows = values[at + 2 : end].reshape(size, width)
            members = rows[:, 0] if width == 1 else rows[rows[:, 1] == _AHF_DARK_MATTER, 0]
            ids.append(members)
            objects.append(np.full(len(members), len(numbers)))
            numbers.append(number)
            at = end
    if not numbers:
        raise FormatError(f"{path.name} lists no haloes; give one that does")
    around = np.full(len(numbers), -1)
    if kind == HALOES:
        hosts = parents or path.with_name(path.name.removesuffix(AHF_SUFFIX) + ".AHF_halos")
        if not hosts.is_file():
            raise FormatError(
                f"{path.name} does not say which halo lies in which; put {hosts.name} beside it, or give it (--parents)"
            )
        around = parent_indices(*read_hosts(hosts, "hostHalo"), np.array(numbers))
    return Members(np.concatenate(ids), np.concatenate(objects), around).of(kind, path.name)


def _whole_numbers(path: Path) -> tuple[NDArray[np.int64], int]:
    """All numbers of a file of AHF, and how many there are in the line of a particle."""
    with path.open() as file:
        head = [file.readline().split() for _ in range(3)]
    widths = [len(line) for line in head]
    if widths[:2] != [1, 2] or widths[2] not in (1, 2):
        raise FormatError(
            f"{path.name} begins with lines of {widths} numbers; {AHF_SUFFIX} has the number of haloes, then its "
            "size and ID, and a line with ID and type for each particle"
        )
    try:
        with warnings.catch_warnings():
            # older versions of numpy only warn of text that is no number
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromfile(path, dtype=np.int64, sep=" "), widths[2]
    except (ValueError, DeprecationWarning) as error:
        raise FormatError(f"{path.name} holds something else than whole numbers ({error}); write it again") from error


def read_hosts(path: Path, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of haloes, and of the host of each, from the columns ``ID`` and `column` of a text table.

    Raises `FormatError` for a file whose first line does not name both, and `FileNotFoundError`.
    """
    with path.open() as file:
        # AHF numbers its columns: ID(1)
        names = [re.sub(r"\(\d+\)$", "", name) for name in file.readline().lstrip("#").split()]
    if not {"ID", column} <= set(names):
        raise FormatError(f"the first line of {path.name} names no columns ID and {column}; give the table with hosts")
    table: NDArray[Any] = np.loadtxt(
        path, dtype=np.int64, comments="#", usecols=[names.index("ID"), names.index(column)], ndmin=2
    )
    return table[:, 0], table[:, 1]
