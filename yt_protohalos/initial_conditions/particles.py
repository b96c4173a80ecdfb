"""From particles to the linear field, by the first-order part of their displacements from the lattice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError, UnitsError
from ..fields.cosmology import CRITICAL_DENSITY, Cosmology
from ..fields.lattice import Cube, Lattice
from ..fields.linear_field import LinearField
from .checks import Reach
from .displacements import FARTHEST, SPEED_OF_LIGHT, field_from_components
from .site_assignment import Located, SiteMap, axis_site, locate_sites
from .sources import ArraySource, ParticleSource, numbered

FEWEST_SITES = 3
"""Sites per side: below, a lattice has no mode but its Nyquist ones, which are left out."""


def field_from_particles(
    positions: NDArray[Any],
    velocities: NDArray[Any] | None,
    ids: NDArray[Any] | None,
    box_size: float,
    cosmology: Cosmology,
    redshift: float,
    masses: NDArray[Any] | float | None = None,
) -> tuple[LinearField, SiteMap]:
    """Linear field of particle initial conditions.

    Parameters
    ----------
    positions : array, (N, 3)
        Comoving Mpc/h, wrapped or not; N must be a cube.
    velocities : array, (N, 3), or None
        Peculiar velocities a dx/dt in km/s. Without them delta keeps its second-order part and a
        `PositionsOnlyWarning` says how large that is.
    ids : array, (N,), or None
        Particle IDs; used where they count the lattice sites.
    box_size : float
        Comoving Mpc/h.
    cosmology : Cosmology
    redshift : float
        Redshift of the particles.
    masses : array (N,) or float, optional
        In Msun/h; checked to be equal and to add up to the box's matter.

    Returns
    -------
    LinearField
        delta and phi at z = 0.
    SiteMap
        Finds the site of any of the particles.

    Raises
    ------
    InitialConditionsError, LatticeError, UnitsError
        For particles that are not linear initial conditions on one cubic lattice.
    """
    return field_from_source(ArraySource(positions, velocities, ids, masses), box_size, cosmology, redshift)


def field_from_source(
    source: ParticleSource, box_size: float, cosmology: Cosmology, redshift: float
) -> tuple[LinearField, SiteMap]:
    """Linear field of particles that are read chunk by chunk, several times.

    A box of IDs that count the sites needs 12 bytes per site beside one chunk; one whose sites are told by positions
    some 21. Returns and errors are those of `field_from_particles`.

    Parameters
    ----------
    source : ParticleSource
        A cube of particles, one a lattice site, with IDs, velocities and masses where it has them.
    box_size : float
        Comoving Mpc/h.
    cosmology : Cosmology
    redshift : float
        Redshift of the particles.
    """
    lattice = _lattice_of(source.count, box_size)
    if not redshift > 0:
        raise InitialConditionsError(
            f"the particles are at redshift {redshift:g}; initial conditions start at z > 0, e.g. 49: give the file "
            "the run was started from"
        )
    moving, id_range = _survey(source, lattice, cosmology)
    located = locate_sites(source, id_range, moving, lattice, cosmology, redshift)

    def component(axis: int) -> tuple[Cube, Cube | None]:
        return _component(source, located, moving, axis)

    offset = located.sites.site_offset
    field = field_from_components(component, located.scale, lattice, cosmology, redshift, offset)
    return field, located.complete(source)


def _survey(source: ParticleSource, lattice: Lattice, cosmology: Cosmology) -> tuple[bool, tuple[int, int] | None]:
    """Check every number of a source: whether any particle moves, and the lowest and highest ID."""
    reaches = {name: Reach(name) for name in ("positions", "velocities", "masses")}
    lowest, highest, lightest, mass = [], [], np.inf, 0.0
    for _, chunk in numbered(source, "positions", *sorted(source.names - {"positions"})):
        for name in reaches.keys() & chunk.keys():
            reaches[name].add(chunk[name])
        if "ids" in chunk:
            lowest.append(int(chunk["ids"].min()))
            highest.append(int(chunk["ids"].max()))
        if "masses" in chunk and reaches["masses"].bad == 0:
            lightest = min(lightest, float(chunk["masses"].min()))
            mass += float(chunk["masses"].sum(dtype=np.float64))
    reaches["positions"].check(FARTHEST * lattice.box_size, " Mpc/h", f"{FARTHEST:g} box sides")
    reaches["velocities"].check(SPEED_OF_LIGHT, " km/s", "the speed of light")
    if "masses" in source.names:
        reaches["masses"].check_finite()
        _check_masses(lightest, reaches["masses"].largest, mass, lattice, cosmology)
    return reaches["velocities"].largest > 0, (min(lowest), max(highest)) if lowest else None


def _component(source: ParticleSource, located: Located, moving: bool, axis: int) -> tuple[Cube, Cube | None]:
    """Displacement (Mpc/h) and velocity (km/s, None where nothing moves) of every site along an axis."""
    lattice, offset = located.sites.lattice, located.sites.site_offset
    displacement = np.empty(lattice.shape, dtype=np.float32)
    velocity = np.empty(lattice.shape, dtype=np.float32) if moving else None
    names = ("positions", "velocities") if moving else ("positions",)
    for start, chunk in numbered(source, *names, *located.names):
        flat = located.flat(start, chunk)
        here = (axis_site(flat, lattice, axis) + offset) * lattice.spacing
        displacement.reshape(-1)[flat] = lattice.minimum_image(chunk["positions"][:, axis] - here)
        if velocity is not None:
            velocity.reshape(-1)[flat] = chunk["velocities"][:, axis]
    return displacement, velocity


def _check_masses(low: float, high: float, total: float, lattice: Lattice, cosmology: Cosmology) -> None:
    """Raise unless particle masses (Msun/h) are equal and fill the box with its mean matter density."""
    if low <= 0:
        raise InitialConditionsError(f"smallest particle mass is {low:g} Msun/h; masses are positive, remake the file")
    if high / low > 1.001:
        raise InitialConditionsError(
            f"particle masses run from {low:.4g} to {high:.4g} Msun/h (zoom levels?); one uniform lattice has one "
            "mass: give unigrid initial conditions, or the zoom's coarse run"
        )
    implied = (total / (cosmology.omega_m * CRITICAL_DENSITY)) ** (1 / 3)
    if not 0.98 < implied / lattice.box_size < 1.02:
        raise UnitsError(
            f"the particles' mass fills {implied:.5g} Mpc/h, but the box is {lattice.box_size:.5g} Mpc/h; both must "
            "agree (wrong length unit?): open the file with yt_protohalos.load, or pass unit_base"
        )


def _lattice_of(n_particles: int, box_size: float) -> Lattice:
    n = round(n_particles ** (1 / 3))
    if n**3 != n_particles:
        near = max(n, FEWEST_SITES)
        raise LatticeError(
            f"{n_particles} particles are not a cube (nearest: {near}^3 = {near**3}); one particle per site of a cubic "
            "lattice is needed: give unigrid initial conditions of one particle type, no zoom, no bcc or fcc load"
        )
    check_side(n)
    return Lattice(n, box_size)


def check_side(n: int) -> None:
    """Raise `LatticeError` for a lattice too small to hold any perturbation."""
    if n < FEWEST_SITES:
        raise LatticeError(
            f"a lattice of {n}^3 sites has no mode below its Nyquist wavenumber; at least {FEWEST_SITES} sites per "
            "side are needed: give initial conditions of more particles or cells"
        )
