"""From particles to the linear field, by the first-order part of their displacements from the lattice."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ..cosmology import CRITICAL_DENSITY, Cosmology
from ..exceptions import InitialConditionsError, LatticeError, PositionsOnlyWarning, UnitsError
from ..lattice import Lattice
from ..linear_field import (
    LinearField,
    divergence,
    first_order_displacement,
    potential,
    second_order_source,
    without_nyquist,
)
from .checks import check_finite, check_peak, check_reach
from .sites import SiteMap, axis_site, locate_sites

SPEED_OF_LIGHT = 299792.458
"""km/s."""
FEWEST_SITES = 3
"""Sites a side: below, a lattice has no mode but its Nyquist ones, which are left out."""
_FARTHEST = 10.0
"""Box sides by which unwrapped positions may leave the box."""
_SAMPLE = 1_000_000
"""Displacements, at least, from which the common slope of the velocities is taken."""
_LARGEST_REST = 0.5
"""Part of a displacement, in rms displacements, that its velocity may leave unexplained at any redshift."""
_LARGEST_OVER_MEDIAN = 30.0
"""Or in medians of that part, where second order is large: the largest of a smooth field is below 15."""


def field_from_particles(
    positions: NDArray,
    velocities: NDArray | None,
    ids: NDArray | None,
    box_size: float,
    cosmology: Cosmology,
    redshift: float,
    masses: NDArray | float | None = None,
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
    lattice = _lattice_of(len(positions), box_size)
    if not redshift > 0:
        raise InitialConditionsError(
            f"the particles are at redshift {redshift:g}; initial conditions start at z > 0, e.g. 49: give the file "
            "the run was started from"
        )
    check_reach("positions", positions, _FARTHEST * box_size, " Mpc/h", f"{_FARTHEST:g} box sides")
    if velocities is not None:
        check_reach("velocities", velocities, SPEED_OF_LIGHT, " km/s", "the speed of light")
        if not np.any(velocities):
            velocities = None
    if masses is not None:
        check_masses(np.asarray(masses), lattice, cosmology)
    flat, sites = locate_sites(positions, velocities, ids, lattice, cosmology, redshift)
    displacement = np.empty((3, *lattice.shape), dtype=np.float32)
    velocity = None if velocities is None else np.empty_like(displacement)
    for axis in range(3):
        here = (axis_site(flat, lattice, axis) + sites.site_offset) * lattice.spacing
        displacement[axis].reshape(-1)[flat] = lattice.minimum_image(positions[:, axis] - here)
        if velocity is not None and velocities is not None:
            velocity[axis].reshape(-1)[flat] = velocities[:, axis]
    field = field_from_displacements(displacement, velocity, lattice, cosmology, redshift, sites.site_offset)
    return field, sites


def field_from_displacements(
    displacement: NDArray[np.float32],
    velocity: NDArray[np.float32] | None,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
    site_offset: float,
) -> LinearField:
    """Linear field of displacements and velocities given on the lattice.

    Parameters
    ----------
    displacement : float32, (3, n, n, n)
        psi = x - q in comoving Mpc/h; overwritten.
    velocity : float32, (3, n, n, n), or None
        Peculiar velocity in km/s; overwritten.
    lattice : Lattice
    cosmology : Cosmology
    redshift : float
    site_offset : float

    Returns
    -------
    LinearField
        delta = -div psi_1 / D(z), D(0) = 1.
    """
    check_reach("displacements", displacement, _FARTHEST * lattice.box_size, " Mpc/h", f"{_FARTHEST:g} box sides")
    if velocity is not None:
        check_reach("velocities", velocity, SPEED_OF_LIGHT, " km/s", "the speed of light")
    growth = float(cosmology.growth_factor(redshift))
    rms = float(divergence(displacement, lattice).std())
    if rms == 0.0:
        raise InitialConditionsError("no particle is displaced from the lattice; give perturbed initial conditions")
    if rms > 1.0:
        raise InitialConditionsError(
            f"the displacements' divergence has an rms of {rms:.3g} at z = {redshift:g}; initial conditions are linear "
            "(below 1), later snapshots are not: give the file the run was started from"
        )
    if velocity is not None:
        velocity /= np.float32(cosmology.hubble(redshift) / (1 + redshift))
        rate, second_rate = cosmology.growth_rate(redshift), cosmology.second_growth_rate(redshift)
        _check_velocity_scale(displacement, velocity, rate)
        _check_each_site(displacement, velocity, rate)
        for axis in range(3):
            displacement[axis] = first_order_displacement(displacement[axis], velocity[axis], rate, second_rate)
    delta = without_nyquist(divergence(displacement, lattice))
    check_peak("overdensities", delta)
    delta /= np.float32(-growth)
    field = LinearField.from_density(delta, lattice.box_size, cosmology, redshift, site_offset)
    if velocity is None:
        warnings.warn(_positions_only_message(field, growth), PositionsOnlyWarning, stacklevel=2)
    return field


def check_masses(masses: NDArray, lattice: Lattice, cosmology: Cosmology) -> None:
    """Raise unless particle masses (Msun/h) are equal and fill the box with its mean matter density."""
    check_finite("masses", masses)
    low, high = float(masses.min()), float(masses.max())
    if low <= 0:
        raise InitialConditionsError(f"smallest particle mass is {low:g} Msun/h; masses are positive, remake the file")
    if high / low > 1.001:
        raise InitialConditionsError(
            f"particle masses run from {low:.4g} to {high:.4g} Msun/h (zoom levels?); one uniform lattice has one "
            "mass: "
            "give unigrid initial conditions, or the zoom's coarse run"
        )
    implied = (lattice.n_sites * float(masses.mean(dtype=np.float64)) / (cosmology.omega_m * CRITICAL_DENSITY)) ** (
        1 / 3
    )
    if not 0.98 < implied / lattice.box_size < 1.02:
        raise UnitsError(
            f"the particles' mass fills {implied:.5g} Mpc/h, but the box is {lattice.box_size:.5g} Mpc/h; both must "
            "agree "
            "(wrong length unit?): open the file with yt_protohalos.load, or pass unit_base"
        )


def _lattice_of(n_particles: int, box_size: float) -> Lattice:
    n = round(n_particles ** (1 / 3))
    if n**3 != n_particles:
        near = max(n, FEWEST_SITES)
        raise LatticeError(
            f"{n_particles} particles are not a cube (nearest: {near}^3 = {near**3}); one particle a site of a cubic "
            "lattice is needed: give unigrid initial conditions of one particle type, no zoom, no bcc or fcc load"
        )
    check_side(n)
    return Lattice(n, box_size)


def check_side(n: int) -> None:
    """Raise `LatticeError` for a lattice too small to hold any perturbation."""
    if n < FEWEST_SITES:
        raise LatticeError(
            f"a lattice of {n}^3 sites has no mode below its Nyquist wavenumber; at least {FEWEST_SITES} sites a side "
            "are needed: give initial conditions of more particles or cells"
        )


def _check_each_site(displacement: NDArray, velocity_displacement: NDArray, rate: float) -> None:
    """Each velocity must belong to its displacement, up to the second order, which is smooth: no site stands out."""
    scale = float(np.sqrt(np.vdot(displacement, displacement) / displacement.size))
    every = max(displacement.size // _SAMPLE, 1)
    places, speeds = displacement.reshape(-1)[::every], velocity_displacement.reshape(-1)[::every]
    large = np.abs(places) > scale / 2
    # the median, so that damaged sites have no say in what they are held against
    slope = float(np.median(speeds[large] / places[large])) if np.any(large) else rate
    for axis in range(3):
        rest = np.abs(velocity_displacement[axis] / np.float32(slope) - displacement[axis])
        limit = max(_LARGEST_REST * scale, _LARGEST_OVER_MEDIAN * float(np.median(rest)))
        bad = int(np.count_nonzero(rest > limit))
        if bad:
            raise InitialConditionsError(
                f"{bad} of {rest.size} particles have a velocity that does not belong to their displacement (up to "
                f"{float(rest.max()) / scale:.3g} times the rms displacement apart); all must, to second order: the "
                "file is damaged, or its IDs are exchanged: copy or write it again"
            )


def _check_velocity_scale(displacement: NDArray, velocity_displacement: NDArray, rate: float) -> None:
    """Velocities must follow displacements with slope f1 (first order), or their unit is wrong."""
    cross = float(np.vdot(displacement, velocity_displacement))
    square = float(np.vdot(displacement, displacement))
    speed = float(np.vdot(velocity_displacement, velocity_displacement))
    slope = cross / square
    correlation = cross / np.sqrt(square * speed) if speed > 0 else 0.0
    if not correlation >= 0.9:
        raise InitialConditionsError(
            f"velocities and displacements correlate by {correlation:.2f}; growing-mode initial conditions on a "
            "lattice "
            "have nearly 1: a glass, a late snapshot or scrambled IDs do not"
        )
    if not 0.8 < slope / rate < 1.25:
        raise UnitsError(
            f"velocities are {slope / rate:.4g} times what the displacements need; they must be peculiar velocities "
            "a dx/dt in km/s: correct their unit (Gadget stores them divided by sqrt(a))"
        )


def _positions_only_message(field: LinearField, growth: float) -> str:
    """Say how large the second-order part of delta is, relative to delta, from the field itself."""
    second = 3 / 7 * growth * second_order_source(potential(field.delta, field.lattice), field.lattice)
    share = float(second.std() / field.delta.std())
    return (
        f"no velocities: second-order displacements stay in delta, about {share:.1e} of its rms; "
        "exact with velocities, so give a file that has them"
    )
