"""Assignment of particles to lattice sites.

No convention is assumed: the offset of the sites in their cells, the first ID and the axis order of the IDs are
measured on the particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError
from ..fields.cosmology import Cosmology
from ..fields.lattice import Lattice, Triple, circular_mean
from .sources import Chunk, ParticleSource, numbered

_LARGEST_SPREAD = 0.1
"""Largest rms displacement in box sides: random sites give 0.29, linear displacements far less."""
_LEAST_COHERENCE = 0.5
"""Least mean phase coherence of q modulo the spacing: 1 on a lattice, 0 in a glass."""
_OFFSET_TOLERANCE = 0.1
"""Largest distance in spacings between a measured lattice offset and 0 or 1/2."""


@dataclass(frozen=True)
class SiteMap:
    """Map from particle IDs or positions to Lagrangian lattice sites.

    site_offset : site i is at ``(i + site_offset) * spacing``
    id_base : first particle ID where IDs count the sites; None where sites are looked up by position
    axis_order : IDs count z fastest ("C", row-major) or x fastest ("F")
    shift : sites by which the lattice that the IDs count is moved in the box
    keys, sites : (n^3,), sorted position keys and the flat site of each, where `id_base` is None
    """

    lattice: Lattice
    site_offset: float
    id_base: int | None = None
    axis_order: str = "C"
    shift: Triple = (0, 0, 0)
    keys: NDArray[np.uint64] | None = None
    sites: NDArray[np.integer] | None = None

    def holds_ids(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Test which particle IDs (N,) number a site; none if sites are looked up by position."""
        if self.id_base is None:
            return np.zeros(len(ids), dtype=bool)
        return (ids >= self.id_base) & (ids < self.id_base + self.lattice.n_sites)

    def flat_from_ids(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Flat row-major site of particle IDs, shape (N,); `LatticeError` for an ID without a site."""
        if self.id_base is None:
            raise LatticeError("the IDs of this file do not number the lattice sites; look sites up by position")
        count = np.asarray(ids).astype(np.int64) - self.id_base
        outside = np.flatnonzero((count < 0) | (count >= self.lattice.n_sites))
        if outside.size:
            raise LatticeError(
                f"particle ID {count[outside[0]] + self.id_base} lies outside {self.id_base}.."
                f"{self.id_base + self.lattice.n_sites - 1}; pass particles of the type the lattice was found from"
            )
        return _flat_from_count(count, self.lattice, self.axis_order, self.shift)

    def flat_from_positions(self, positions: NDArray[Any]) -> NDArray[np.int64]:
        """Flat site of particles at positions (N, 3), which must equal those that the map was made from."""
        if self.keys is None or self.sites is None:
            raise LatticeError("this map finds sites by particle ID; pass IDs")
        wanted = position_keys(positions)
        at = np.minimum(np.searchsorted(self.keys, wanted), self.keys.size - 1)
        unknown = int(np.count_nonzero(self.keys[at] != wanted))
        if unknown:
            raise LatticeError(f"{unknown} positions are not in the initial conditions; pass unmoved particles")
        return self.sites[at].astype(np.int64)


def position_keys(positions: NDArray[Any]) -> NDArray[np.uint64]:
    """64-bit hash of each position (N, 3), from the exact bits of its three float64 coordinates."""
    bits = np.ascontiguousarray(positions, dtype=np.float64).view(np.uint64)
    keys = np.zeros(len(bits), dtype=np.uint64)
    for axis, multiplier in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)):
        mixed = bits[:, axis] * np.uint64(multiplier)
        keys ^= mixed ^ (mixed >> np.uint64(29 + axis))
        keys *= np.uint64(0xD6E8FEB86659FD93)
    return keys


class ParticleSites:
    """Sites of all particles of a source, by ID, by the order of storage, or from a table; see `SiteMap`.

    scale : rms displacement from the sites along an axis, over all axes, Mpc/h
    table : (n^3,), flat site of each particle in the order of storage
    """

    def __init__(
        self,
        lattice: Lattice,
        site_offset: float,
        scale: float,
        id_base: int | None = None,
        order: str = "C",
        shift: Triple = (0, 0, 0),
        table: NDArray[np.integer] | None = None,
    ) -> None:
        self.lattice, self.site_offset, self.scale = lattice, site_offset, scale
        self._id_base, self._order, self._shift, self._table = id_base, order, shift, table
        self.names = () if id_base is None else ("ids",)  # needed in a chunk

    def flat(self, start: int, chunk: Chunk) -> NDArray[np.int64]:
        """Flat row-major sites, int64 (M,), of a chunk whose first particle is the `start`-th of the source."""
        stop = start + len(chunk["positions"])
        if self._table is not None:
            return self._table[start:stop].astype(np.int64)
        count = np.arange(start, stop) if self._id_base is None else chunk["ids"] - self._id_base
        return _flat_from_count(count, self.lattice, self._order, self._shift)

    def site_map(self, source: ParticleSource) -> SiteMap:
        """Map that finds the sites again. It takes over the table.

        Raises `InitialConditionsError` if it needs positions and two particles share one.
        """
        if self._id_base is not None:
            return SiteMap(self.lattice, self.site_offset, self._id_base, self._order, self._shift)
        sites = np.empty(self.lattice.n_sites, dtype=_site_type(self.lattice)) if self._table is None else self._table
        keys = np.empty(len(sites), dtype=np.uint64)
        for start, chunk in numbered(source, "positions"):
            part = slice(start, start + len(chunk["positions"]))
            sites[part], keys[part] = self.flat(start, chunk), position_keys(chunk["positions"])
        _sort_together(keys, sites)
        if np.any(keys[1:] == keys[:-1]):
            raise InitialConditionsError(
                "two particles share one position, and IDs do not number the sites; give IDs that do"
            )
        return SiteMap(self.lattice, self.site_offset, keys=keys, sites=sites)


def _sort_together(keys: NDArray[np.uint64], sites: NDArray[np.integer]) -> None:
    """Sort keys and their sites in place, bucket by bucket: `argsort` of all would take another 8 bytes per site."""
    start = _into_buckets(keys, sites)
    for first, last in pairwise(start.tolist()):
        order = np.argsort(keys[first:last])
        keys[first:last], sites[first:last] = keys[first:last][order], sites[first:last][order]


@njit(cache=True, nogil=True)
def _into_buckets(keys: NDArray[np.uint64], sites: NDArray[np.integer]) -> NDArray[np.int64]:
    """Order keys by their highest byte, in place; return the first index of each of the 256 buckets, and the end."""
    start = np.zeros(257, dtype=np.int64)
    for key in keys:
        start[(key >> np.uint64(56)) + 1] += 1
    for bucket in range(256):
        start[bucket + 1] += start[bucket]
    place = start[:-1].copy()
    for bucket in range(256):
        while place[bucket] < start[bucket + 1]:
            here = place[bucket]
            key, site = keys[here], sites[here]
            home = np.int64(key >> np.uint64(56))
            while home != bucket:
                there = place[home]
                place[home] += 1
                keys[there], key = key, keys[there]
                sites[there], site = site, sites[there]
                home = np.int64(key >> np.uint64(56))
            keys[here], sites[here] = key, site
            place[bucket] += 1
    return start


def locate_sites(
    source: ParticleSource,
    id_range: tuple[int, int] | None,
    moving: bool,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
) -> ParticleSites:
    """Find the site of every particle.

    IDs are tried first, then the order of storage, then positions minus the displacement that the velocities imply.
    Each is accepted only if the displacements from the sites are small.

    source : as many particles as `lattice` has sites, all with finite numbers
    id_range : lowest and highest ID, if there are IDs
    moving : use the velocities
    raises : `InitialConditionsError` or `LatticeError` for duplicate IDs, and for particles that are on no lattice or
        not one per site
    """
    if id_range is not None:
        base, last = id_range
        counting = last - base == lattice.n_sites - 1
        _check_unique(source, base, counting, lattice)
        found = _measured_order(source, base, lattice) if counting else None
        if found is not None:
            return found
    found = _measured_order(source, None, lattice)
    return found if found is not None else _sites_from_positions(source, moving, lattice, cosmology, redshift)


def sites_of_ids(ids: NDArray[np.int64], maps: Sequence[SiteMap]) -> NDArray[np.int64]:
    """Flat row-major site of particles by ID (N,), where each of several particle types has its own map.

    Raises `LatticeError` for an ID in no map, and for one to which two maps give different sites.
    """
    first, *others = maps
    if not others:
        return first.flat_from_ids(ids)
    found = np.full(len(ids), -1, dtype=np.int64)
    for each in maps:
        inside = np.flatnonzero(each.holds_ids(ids))
        sites = each.flat_from_ids(ids[inside])
        if np.any((found[inside] >= 0) & (found[inside] != sites)):
            raise LatticeError("two particle types share IDs but not the sites of them; give each particle its own ID")
        found[inside] = sites
    missing = np.flatnonzero(found < 0)
    if missing.size:
        raise LatticeError(f"particle ID {ids[missing[0]]} numbers no site; leave out particles that are on no lattice")
    return found


def companion_sites(source: ParticleSource, lattice_sites: SiteMap) -> SiteMap:
    """Map from the IDs of particles beside those of the lattice, such as gas, to the nearest site of each.

    Raises `LatticeError` unless there is one particle per site and the IDs count them.
    """
    lattice = lattice_sites.lattice
    found = None
    if "ids" in source.names and source.count == lattice.n_sites:
        ranges = [(int(chunk["ids"].min()), int(chunk["ids"].max())) for _, chunk in numbered(source, "ids")]
        low, high = min(first for first, _ in ranges), max(last for _, last in ranges)
        found = _measured_order(source, low, lattice) if high - low == lattice.n_sites - 1 else None
    if found is None:
        raise LatticeError(
            f"the IDs of {source.count} particles beside those of the lattice do not count its {lattice.n_sites} "
            "sites; give them consecutive IDs in the order of their lattice"
        )
    own = found.site_map(source)
    nearest = int(np.rint(own.site_offset - lattice_sites.site_offset))
    x, y, z = (each + nearest for each in own.shift)
    return replace(own, site_offset=lattice_sites.site_offset, shift=(x, y, z))


def axis_site(flat: NDArray[np.int64], lattice: Lattice, axis: int) -> NDArray[np.int64]:
    """Site index along one axis of flat row-major indices."""
    index: NDArray[np.int64] = flat // lattice.n ** (2 - axis) % lattice.n
    return index


def _flat_from_count(count: NDArray[np.int64], lattice: Lattice, order: str, shift: Triple) -> NDArray[np.int64]:
    if order == "C" and shift == (0, 0, 0):
        return count
    sites = lattice.sites(count)
    if order == "F":
        sites = sites[:, ::-1]
    return lattice.flat_index(sites + np.asarray(shift, dtype=np.int64))


def _check_unique(source: ParticleSource, base: int, counting: bool, lattice: Lattice) -> None:
    """Raise `InitialConditionsError` unless IDs are unique; IDs that do not number the sites are all held in memory."""
    if counting:
        present = np.zeros(lattice.n_sites, dtype=bool)
        for _, chunk in numbered(source, "ids"):
            present[chunk["ids"] - base] = True
        repeats = int(present.size - np.count_nonzero(present))
    else:
        ids = np.empty(lattice.n_sites, dtype=np.int64)
        for start, chunk in numbered(source, "ids"):
            ids[start : start + len(chunk["ids"])] = chunk["ids"]
        ids.sort()
        repeats = int(np.count_nonzero(ids[1:] == ids[:-1]))
    if repeats:
        raise InitialConditionsError(
            f"{repeats} of {lattice.n_sites} particle IDs are duplicates, so as many are missing; IDs must be unique: "
            "remake the file (64-bit IDs read as 32-bit look like this too)"
        )


def _measured_order(source: ParticleSource, id_base: int | None, lattice: Lattice) -> ParticleSites | None:
    """Sites from IDs, or from the order of storage without `id_base`; None if no axis order fits the positions."""
    names = () if id_base is None else ("ids",)
    for order in ("C", "F"):
        centre: NDArray[np.float64] | None = None
        total, square = np.zeros(3), np.zeros(3)
        for start, chunk in numbered(source, "positions", *names):
            storage = np.arange(start, start + len(chunk["positions"]))
            count = storage if id_base is None else chunk["ids"] - id_base
            parts = [_separation(chunk, count, lattice, axis, order) for axis in range(3)]
            if centre is None:
                # the circular mean is safe where the lattice itself is moved by a good part of the box
                centre = np.array([circular_mean(separation, 1.0) for separation in parts])
            for axis, separation in enumerate(parts):
                separation -= centre[axis]
                separation -= np.rint(separation)
                total[axis] += separation.sum()
                square[axis] += np.dot(separation, separation)
        mean = total / lattice.n_sites
        variance = np.maximum(square / lattice.n_sites - mean**2, 0.0)
        if centre is not None and np.all(np.sqrt(variance) <= _LARGEST_SPREAD):
            means = (centre + mean) * lattice.n
            shift, offset = _split_offset(means)
            apart = means - (np.asarray(shift) + offset)
            scale = lattice.spacing * float(np.sqrt(np.mean(variance * lattice.n**2 + apart**2)))
            return ParticleSites(lattice, offset, scale, id_base, order, shift)
    return None


def _separation(chunk: Chunk, count: NDArray[np.int64], lattice: Lattice, axis: int, order: str) -> NDArray[np.float64]:
    """Position minus site along an axis, in box sides."""
    site = axis_site(count, lattice, axis if order == "C" else 2 - axis)
    return np.asarray(chunk["positions"][:, axis] / lattice.box_size - site / lattice.n, dtype=np.float64)


def _split_offset(means: NDArray[np.float64]) -> tuple[Triple, float]:
    """Split the mean displacement (in spacings) of the three axes into whole sites and one offset in [0, 1)."""
    halves = np.rint(2 * means) / 2
    if np.abs(means - halves).max() < _OFFSET_TOLERANCE and len(set((halves % 1).tolist())) == 1:
        offset = float(halves[0] % 1)
        whole = np.rint(halves - offset)
    else:
        whole = np.floor(means)
        fractions = means - whole
        if np.ptp(fractions) > _OFFSET_TOLERANCE:
            raise LatticeError(
                f"the lattice is offset by {np.round(fractions, 3).tolist()} spacings on the three axes; one offset "
                "for all is needed: shift the box so that the axes agree"
            )
        offset = float(fractions.mean())
    x, y, z = (int(value) for value in whole)
    return (x, y, z), offset


def _sites_from_positions(
    source: ParticleSource, moving: bool, lattice: Lattice, cosmology: Cosmology, redshift: float
) -> ParticleSites:
    """Sites nearest to positions minus the first-order displacement that velocities imply."""
    to_displacement = (1 + redshift) / cosmology.hubble(redshift) / cosmology.growth_rate(redshift)
    names = ("positions", "velocities") if moving else ("positions",)

    def start_of(chunk: Chunk, axis: int) -> NDArray[np.float64]:
        start = chunk["positions"][:, axis].astype(np.float64) / lattice.spacing
        if moving:
            start -= chunk["velocities"][:, axis] * (to_displacement / lattice.spacing)
        return start

    phases = np.zeros(3, dtype=np.complex128)
    for _, chunk in numbered(source, *names):
        for axis in range(3):
            phases[axis] += np.sum(np.exp(2j * np.pi * start_of(chunk, axis)))
    phases /= lattice.n_sites
    for coherence in np.abs(phases):
        if coherence < _LEAST_COHERENCE:
            raise InitialConditionsError(
                f"the particles' Lagrangian positions keep a phase coherence of {coherence:.2f} with a {lattice.n}^3 "
                f"lattice; above {_LEAST_COHERENCE} is needed, and a glass or an evolved snapshot has 0: give initial "
                "conditions on a lattice" + ("" if moving else ", with velocities or row-major IDs")
            )
    _, offset = _split_offset(np.angle(phases) / (2 * np.pi))
    flat = np.empty(lattice.n_sites, dtype=_site_type(lattice))
    filled = np.zeros(lattice.n_sites, dtype=bool)
    square = 0.0
    for start, chunk in numbered(source, *names):
        sites = np.stack([np.rint(start_of(chunk, axis) - offset) for axis in range(3)], axis=-1).astype(np.int64)
        found = lattice.flat_index(sites)
        flat[start : start + len(found)] = found
        filled[found] = True
        apart = lattice.minimum_image(chunk["positions"] - (sites + offset) * lattice.spacing)
        square += float(np.sum(apart**2))
    empty = int(filled.size - np.count_nonzero(filled))
    if empty:
        raise LatticeError(
            f"{empty} of {lattice.n_sites} lattice sites get no particle and others several; one each is needed: give "
            "IDs that number the sites, or initial conditions at a higher redshift"
        )
    scale = float(np.sqrt(square / (3 * lattice.n_sites)))
    return ParticleSites(lattice, offset, scale, table=flat)


def _site_type(lattice: Lattice) -> type[np.integer]:
    """Narrowest signed integer that holds a flat site."""
    return np.int32 if lattice.n_sites < 2**31 else np.int64
