"""Reconstruction of the linear field from particles, from displacements on the lattice, or from a density.

Particles give displacements and velocities, whose combination psi_1 is exact to second order; delta = -div psi_1.
Cubes are made axis by axis, so that three of float32 are held at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError, PositionsOnlyWarning, UnitsError
from ..fields.cosmology import Cosmology
from ..fields.fourier import (
    derivative_spectrum,
    mean_and_rms,
    potential,
    second_order_source,
    to_cube,
    without_nyquist,
    zero_nyquist,
)
from ..fields.lattice import Cube, Lattice
from ..fields.linear_field import LinearField
from .checks import Reach, check_peak, check_reach
from .displacement_checks import DisplacementChecks, dot_product
from .site_assignment import ParticleSites, SiteMap, axis_site, locate_sites
from .sources import ParticleSource, numbered

FEWEST_SITES = 3
"""Sites per side: a smaller lattice has only Nyquist modes, which are left out."""
SPEED_OF_LIGHT = 299792.458
"""km/s."""
FARTHEST = 10.0
"""Box sides by which unwrapped positions may leave the box."""
LARGEST_OVERDENSITY = 1e4
"""Of any linear field at any redshift."""
LARGEST_RMS = 100.0
"""At z = 0: cold dark matter reaches 25 on spacings of a parsec."""
_SECOND_ORDER_SIDE = 256
"""Sites per side of the block in which the size of the second order is measured."""

Component = Callable[[int], tuple[Cube, Cube | None]]
"""Displacement psi = x - q (comoving Mpc/h) and peculiar velocity (km/s) along an axis, new float32 (n, n, n)."""


def field_from_source(
    source: ParticleSource, box_size: float, cosmology: Cosmology, redshift: float
) -> tuple[LinearField, SiteMap]:
    """Linear field of particles that are read chunk by chunk, several times, and the map that finds their sites.

    Memory is 12 bytes per site beside one chunk if IDs count the sites, else some 21.

    source : one particle per lattice site; without velocities, delta keeps its second-order part and a
        `PositionsOnlyWarning` gives its size; masses must be equal and add up to the matter of the box
    box_size : comoving Mpc/h
    returns : delta and phi at z = 0; the site of any of the particles
    raises : `InitialConditionsError`, `LatticeError` or `UnitsError` for particles that are not linear initial
        conditions on one cubic lattice
    """
    lattice = _lattice_of(source.count, box_size)
    if not redshift > 0:
        raise InitialConditionsError(
            f"the particles are at redshift {redshift:g}; initial conditions start at z > 0, e.g. 49: give the file "
            "the run was started from"
        )
    moving, id_range = _survey(source, lattice, cosmology)
    sites = locate_sites(source, id_range, moving, lattice, cosmology, redshift)
    component = partial(_component, source, sites, moving)
    field = _field_from_components(component, sites.scale, lattice, cosmology, redshift, sites.site_offset)
    return field, sites.site_map(source)


def _survey(source: ParticleSource, lattice: Lattice, cosmology: Cosmology) -> tuple[bool, tuple[int, int] | None]:
    """Check every number of a source; returns if any particle moves, and the lowest and highest ID."""
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


def _component(source: ParticleSource, sites: ParticleSites, moving: bool, axis: int) -> tuple[Cube, Cube | None]:
    """Displacement (Mpc/h) and velocity (km/s, None where nothing moves) of every site along an axis."""
    lattice, offset = sites.lattice, sites.site_offset
    displacement = np.empty(lattice.shape, dtype=np.float32)
    velocity = np.empty(lattice.shape, dtype=np.float32) if moving else None
    names = ("positions", "velocities") if moving else ("positions",)
    for start, chunk in numbered(source, *names, *sites.names):
        flat = sites.flat(start, chunk)
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
    implied = (total / cosmology.mean_density) ** (1 / 3)
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
    _check_side(n)
    return Lattice(n, box_size)


def _check_side(n: int) -> None:
    """Raise `LatticeError` for a lattice too small to hold any perturbation."""
    if n < FEWEST_SITES:
        raise LatticeError(
            f"a lattice of {n}^3 sites has no mode below its Nyquist wavenumber; at least {FEWEST_SITES} sites per "
            "side are needed: give initial conditions of more particles or cells"
        )


def field_from_displacements(
    displacement: Callable[[int], Cube],
    velocity: Callable[[int], Cube] | None,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
    site_offset: float,
) -> LinearField:
    """Linear field, delta = -div psi_1 / D(z) with D(0) = 1, of displacements and velocities given on the lattice.

    displacement : ``displacement(axis)`` gives psi = x - q along an axis in comoving Mpc/h, float32 (n, n, n), as a new
        array; called twice
    velocity : the same for the peculiar velocity in km/s; called once
    raises : `InitialConditionsError` or `UnitsError` for displacements that are not linear or not finite, and for
        velocities that do not belong to them
    """

    def component(axis: int) -> tuple[Cube, Cube | None]:
        speed = None if velocity is None else velocity(axis)
        if speed is not None:
            check_reach("velocities", speed, SPEED_OF_LIGHT, " km/s", "the speed of light")
        return displacement(axis), speed

    square = 0.0
    for place in map(displacement, range(3)):
        check_reach("displacements", place, FARTHEST * lattice.box_size, " Mpc/h", f"{FARTHEST:g} box sides")
        square += dot_product(place, place)
        del place
    scale = float(np.sqrt(square / (3 * lattice.n_sites)))
    return _field_from_components(component, scale, lattice, cosmology, redshift, site_offset)


def _field_from_components(
    component: Component, scale: float, lattice: Lattice, cosmology: Cosmology, redshift: float, site_offset: float
) -> LinearField:
    """Linear field of finite components whose rms displacement along an axis, over all axes, is `scale` (Mpc/h)."""
    growth = float(cosmology.growth_factor(redshift))
    rate, second_rate = cosmology.growth_rate(redshift), cosmology.second_growth_rate(redshift)
    checks = DisplacementChecks(lattice, scale, rate)
    total: NDArray[np.complex64] | None = None
    positions_only = False
    for axis in range(3):
        displacement, velocity = component(axis)
        checks.add_displacement(axis, displacement)
        if velocity is None:
            positions_only = True
        else:
            velocity /= np.float32(cosmology.hubble(redshift) / (1 + redshift))
            checks.add_velocity(displacement, velocity)
            # by index: a view of a plane would keep its cube alive
            for i in range(lattice.n):
                displacement[i] = first_order_displacement(displacement[i], velocity[i], rate, second_rate)
        del velocity
        spectrum = derivative_spectrum(displacement, lattice, axis)
        del displacement
        total = spectrum if total is None else np.add(total, spectrum, out=total)
        del spectrum
    assert total is not None
    checks.judge(redshift)
    delta = to_cube(zero_nyquist(total, lattice.n), lattice.n)
    del total
    check_peak("overdensities", delta)
    delta /= np.float32(-growth)
    field = LinearField.from_density(delta, lattice.box_size, cosmology, redshift, site_offset, overwrite=True)
    if positions_only:
        warnings.warn(_positions_only_message(field, growth), PositionsOnlyWarning, stacklevel=2)
    return field


def first_order_displacement(
    displacement: NDArray[Any], velocity_displacement: NDArray[Any], growth_rate: float, second_growth_rate: float
) -> NDArray[Any]:
    """Separate the first-order displacement from positions and velocities.

    displacement : array, psi = x - q, Mpc/h
    velocity_displacement : same shape, u = v / (a H), Mpc/h
    growth_rate, second_growth_rate : f1 and f2 at the redshift of the file
    returns : psi_1 = (f2 psi - u) / (f2 - f1), same shape, Mpc/h
    """
    combined = second_growth_rate * displacement - velocity_displacement
    first_order: NDArray[Any] = combined / (second_growth_rate - growth_rate)
    return first_order


def _positions_only_message(field: LinearField, growth: float) -> str:
    """Warning with the size of the second-order part relative to delta, from (a block of) the field itself."""
    side = min(field.n, _SECOND_ORDER_SIDE)
    block = Lattice(side, side * field.spacing)
    delta = field.lattice.crop(field.delta, (0, 0, 0), block.shape)
    second = 3 / 7 * growth * second_order_source(potential(delta, block), block)
    return (
        f"no velocities: second-order displacements stay in delta, about {float(second.std() / delta.std()):.1e} of "
        "its rms; exact with velocities, so give a file that has them"
    )


def field_from_density(
    delta: NDArray[Any], box_size: float, cosmology: Cosmology, redshift: float, site_offset: float = 0.5
) -> LinearField:
    """Linear field, delta / D(z) with D(0) = 1, of a linear overdensity at the redshift of the initial conditions.

    delta : (n, n, n), linear overdensity at `redshift`, x on axis 0; its mean is removed
    box_size : comoving Mpc/h
    site_offset : site i sits at ``(i + site_offset) * spacing``; cells have their values at 0.5
    raises : `LatticeError` or `InitialConditionsError` for an array that is not a cube, NaNs, a constant field, or a
        density that is already non-linear
    """
    delta = np.asarray(delta)
    if delta.ndim != 3 or len(set(delta.shape)) != 1:
        raise LatticeError(f"density of shape {delta.shape} is not a cube; give (n, n, n) for a cubic box")
    _check_side(delta.shape[0])
    check_reach("overdensities", delta, LARGEST_OVERDENSITY, "", "in a linear field")
    _, rms = mean_and_rms(delta)
    if rms == 0.0:
        raise InitialConditionsError("the density is the same in every cell; give perturbed initial conditions")
    # a linear field with this rms has cells below -1, which no evolved density has
    if rms > 1.0 and float(delta.min()) >= -1.0:
        raise InitialConditionsError(
            f"the overdensity has an rms of {rms:.3g} and never falls below -1 at z = {redshift:g}: an evolved "
            "density; give the linear one of the initial conditions"
        )
    check_peak("overdensities", delta)
    growth = float(cosmology.growth_factor(redshift))
    if rms / growth > LARGEST_RMS:
        raise InitialConditionsError(
            f"the overdensity's rms of {rms:.3g} at z = {redshift:g} grows to {rms / growth:.3g} at z = 0; no linear "
            f"field exceeds {LARGEST_RMS:g}: correct the redshift, or give the overdensity at that redshift"
        )
    delta = without_nyquist(delta) / growth
    return LinearField.from_density(delta, box_size, cosmology, redshift, site_offset, overwrite=True)
