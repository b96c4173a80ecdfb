"""Which lattice site each particle belongs to.

No convention is assumed: whether sites are cell corners or centres, whether IDs count from 0 or 1 and in which
axis order, is measured on the particles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cosmology import Cosmology
from ..exceptions import InitialConditionsError, LatticeError
from ..lattice import Lattice

_LARGEST_SPREAD = 0.1
"""Largest rms displacement in box sides: random sites give 0.29, linear displacements far less."""
_LEAST_COHERENCE = 0.5
"""Least mean phase coherence of q modulo the spacing: 1 on a lattice, 0 in a glass."""
_OFFSET_TOLERANCE = 0.1
"""Largest distance in spacings between a measured lattice offset and 0 or 1/2."""


@dataclass(frozen=True)
class SiteMap:
    """How particles find their Lagrangian lattice site.

    Attributes
    ----------
    lattice : Lattice
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``.
    id_base : int or None
        First particle ID where IDs count the sites; None where sites are looked up by position.
    axis_order : {"C", "F"}
        Whether IDs count z fastest ("C", row-major) or x fastest ("F").
    shift : (int, int, int)
        Sites by which the IDs' own lattice is moved in the box.
    keys, sites : arrays, shape (n^3,)
        Sorted position keys and the flat site of each, where `id_base` is None.
    """

    lattice: Lattice
    site_offset: float
    id_base: int | None = None
    axis_order: str = "C"
    shift: tuple[int, int, int] = (0, 0, 0)
    keys: NDArray[np.uint64] | None = None
    sites: NDArray[np.int64] | None = None

    def flat_from_ids(self, ids: NDArray) -> NDArray[np.int64]:
        """Flat row-major site of particle IDs, shape (N,); `LatticeError` for an ID without a site."""
        if self.id_base is None:
            raise LatticeError("the IDs of this file do not count lattice sites; look sites up by position")
        count = np.asarray(ids).astype(np.int64) - self.id_base
        if count.size and (count.min() < 0 or count.max() >= self.lattice.n_sites):
            raise LatticeError(
                f"particle ID {int(count.max() if count.max() >= self.lattice.n_sites else count.min()) + self.id_base}"
                f" lies outside {self.id_base}..{self.id_base + self.lattice.n_sites - 1}; "
                "pass particles of the type the lattice was found from"
            )
        return _flat_from_count(count, self.lattice, self.axis_order, self.shift)

    def flat_from_positions(self, positions: NDArray) -> NDArray[np.int64]:
        """Flat site of particles by the exact positions (N, 3) the map was made from, in the same units."""
        if self.keys is None or self.sites is None:
            raise LatticeError("this map finds sites by particle ID; pass IDs")
        wanted = position_keys(positions)
        at = np.minimum(np.searchsorted(self.keys, wanted), self.keys.size - 1)
        unknown = int(np.count_nonzero(self.keys[at] != wanted))
        if unknown:
            raise LatticeError(f"{unknown} positions are not the initial conditions'; pass unmoved particles")
        return self.sites[at]


def position_keys(positions: NDArray) -> NDArray[np.uint64]:
    """64-bit hash of each position (N, 3), from the exact bits of its three float64 coordinates."""
    bits = np.ascontiguousarray(positions, dtype=np.float64).view(np.uint64)
    keys = np.zeros(len(bits), dtype=np.uint64)
    for axis, multiplier in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)):
        mixed = bits[:, axis] * np.uint64(multiplier)
        keys ^= mixed ^ (mixed >> np.uint64(29 + axis))
        keys *= np.uint64(0xD6E8FEB86659FD93)
    return keys


def locate_sites(
    positions: NDArray,
    velocities: NDArray | None,
    ids: NDArray | None,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
) -> tuple[NDArray[np.int64], SiteMap]:
    """Flat site of every particle, and the map that finds it again.

    IDs are tried first, then the order of storage, then positions minus the displacement that the velocities
    imply; each is accepted only if the particles bear it out.
    """
    whole = np.arange(lattice.n_sites, dtype=np.int64)
    if ids is not None:
        count, base = _count_from_ids(np.asarray(ids), lattice)
        if count is not None:
            for order in ("C", "F"):
                found = _measured_shift(positions, count, lattice, order)
                if found is not None:
                    shift, offset = found
                    flat = _flat_from_count(count, lattice, order, shift)
                    return flat, SiteMap(lattice, offset, base, order, shift)
    for order in ("C", "F"):
        found = _measured_shift(positions, whole, lattice, order)
        if found is not None:
            shift, offset = found
            flat = _flat_from_count(whole, lattice, order, shift)
            return flat, _map_by_position(positions, flat, lattice, offset)
    flat, offset = _sites_from_positions(positions, velocities, lattice, cosmology, redshift)
    return flat, _map_by_position(positions, flat, lattice, offset)


def axis_site(flat: NDArray[np.int64], lattice: Lattice, axis: int) -> NDArray[np.int64]:
    """Site index along one axis of flat row-major indices."""
    return flat // lattice.n ** (2 - axis) % lattice.n


def _flat_from_count(
    count: NDArray[np.int64], lattice: Lattice, order: str, shift: tuple[int, int, int]
) -> NDArray[np.int64]:
    if order == "C" and shift == (0, 0, 0):
        return count
    sites = lattice.sites(count)
    if order == "F":
        sites = sites[:, ::-1]
    return lattice.flat_index(sites + np.asarray(shift, dtype=np.int64))


def _count_from_ids(ids: NDArray, lattice: Lattice) -> tuple[NDArray[np.int64] | None, int]:
    """Count 0..N-1 of each ID and the first ID, or None where IDs are unique but do not count the sites."""
    if len(ids) != lattice.n_sites:
        raise LatticeError(f"{len(ids)} IDs for {lattice.n_sites} particles; give one ID a particle")
    count = ids.astype(np.int64)
    base = int(count.min())
    count -= base
    if int(count.max()) == lattice.n_sites - 1:
        repeats = int(np.count_nonzero(np.bincount(count, minlength=lattice.n_sites) == 0))
    else:
        repeats = lattice.n_sites - len(np.unique(count))
    if repeats:
        raise InitialConditionsError(
            f"{repeats} of {lattice.n_sites} particle IDs are duplicates, so as many are missing; IDs must be unique: "
            "remake the file (64-bit IDs read as 32-bit look like this too)"
        )
    return (count, base) if int(count.max()) == lattice.n_sites - 1 else (None, base)


def _measured_shift(
    positions: NDArray, count: NDArray[np.int64], lattice: Lattice, order: str
) -> tuple[tuple[int, int, int], float] | None:
    """Whole-site shift and offset of the lattice if `count` orders its sites, else None."""
    means = np.empty(3)
    for axis in range(3):
        site = axis_site(count, lattice, axis if order == "C" else 2 - axis)
        separation = positions[:, axis] / lattice.box_size - site / lattice.n
        # the circular mean is safe where the lattice itself is moved by a good part of the box
        centre = np.angle(np.mean(np.exp(2j * np.pi * separation))) / (2 * np.pi)
        separation -= centre
        separation -= np.rint(separation)
        if separation.std() > _LARGEST_SPREAD:
            return None
        means[axis] = (centre + separation.mean()) * lattice.n
    return _split_offset(means)


def _split_offset(means: NDArray[np.float64]) -> tuple[tuple[int, int, int], float]:
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
                "for "
                "all is needed: shift the box so that the axes agree"
            )
        offset = float(fractions.mean())
    x, y, z = (int(value) for value in whole)
    return (x, y, z), offset


def _sites_from_positions(
    positions: NDArray, velocities: NDArray | None, lattice: Lattice, cosmology: Cosmology, redshift: float
) -> tuple[NDArray[np.int64], float]:
    """Sites as positions minus the displacement that velocities imply (first order)."""
    to_displacement = (1 + redshift) / cosmology.hubble(redshift) / cosmology.growth_rate(redshift)
    sites = np.empty((len(positions), 3), dtype=np.int64)
    offsets, start = np.empty(3), []
    for axis in range(3):
        start.append(positions[:, axis].astype(np.float64) / lattice.spacing)
        if velocities is not None:
            start[axis] -= velocities[:, axis] * (to_displacement / lattice.spacing)
        phase = np.mean(np.exp(2j * np.pi * start[axis]))
        if abs(phase) < _LEAST_COHERENCE:
            raise InitialConditionsError(
                f"the particles' Lagrangian positions keep a phase coherence of {abs(phase):.2f} with a {lattice.n}^3 "
                f"lattice; above {_LEAST_COHERENCE} is needed, and a glass or an evolved snapshot has 0: give initial "
                "conditions on a lattice" + ("" if velocities is not None else ", with velocities or row-major IDs")
            )
        offsets[axis] = np.angle(phase) / (2 * np.pi)
    _, offset = _split_offset(offsets)
    for axis in range(3):
        sites[:, axis] = np.rint(start[axis] - offset)
    flat = lattice.flat_index(sites)
    empty = int(np.count_nonzero(np.bincount(flat, minlength=lattice.n_sites) == 0))
    if empty:
        raise LatticeError(
            f"{empty} of {lattice.n_sites} lattice sites get no particle and others several; one each is needed: give "
            "IDs that count the sites, or initial conditions at a higher redshift"
        )
    return flat, offset


def _map_by_position(positions: NDArray, flat: NDArray[np.int64], lattice: Lattice, offset: float) -> SiteMap:
    keys = position_keys(positions)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if np.any(keys[1:] == keys[:-1]):
        raise InitialConditionsError("two particles share one position and IDs do not count sites; give such IDs")
    return SiteMap(lattice, offset, keys=keys, sites=flat[order])
