"""From displacements and velocities on the lattice to the linear field, one axis after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, PositionsOnlyWarning, UnitsError
from ..fields.cosmology import Cosmology
from ..fields.fourier import derivative_spectrum, mean_and_rms, potential, second_order_source, to_cube, zero_nyquist
from ..fields.lattice import Cube, Lattice
from ..fields.linear_field import LinearField
from .checks import check_peak, check_reach

SPEED_OF_LIGHT = 299792.458
"""km/s."""
FARTHEST = 10.0
"""Box sides by which unwrapped positions may leave the box."""
_SAMPLE = 1_000_000
"""Sites, at least, from which medians are taken; fewer only where the lattice has fewer."""
_SAMPLED_PLANES = 16
"""Planes, at least, from which the rms of the divergence is taken."""
_LARGEST_REST = 0.5
"""Part of a displacement, in rms displacements, that its velocity may leave unexplained at any redshift."""
_LARGEST_OVER_MEDIAN = 30.0
"""Or in medians of that part, where second order is large: the largest of a smooth field is below 15."""
_SECOND_ORDER_SIDE = 256
"""Sites per side of the block in which the size of the second order is measured."""

Component = Callable[[int], tuple[Cube, Cube | None]]
"""Displacement psi = x - q (comoving Mpc/h) and peculiar velocity (km/s) along an axis, float32 (n, n, n), fresh."""


def field_from_displacements(
    displacement: Callable[[int], Cube],
    velocity: Callable[[int], Cube] | None,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
    site_offset: float,
) -> LinearField:
    """Linear field of displacements and velocities given on the lattice.

    Parameters
    ----------
    displacement : callable
        ``displacement(axis)`` gives psi = x - q along an axis in comoving Mpc/h, float32 (n, n, n), as a fresh array;
        asked for twice.
    velocity : callable, or None
        The same for the peculiar velocity in km/s; asked for once.
    lattice : Lattice
    cosmology : Cosmology
    redshift : float
    site_offset : float

    Returns
    -------
    LinearField
        delta = -div psi_1 / D(z), D(0) = 1.

    Raises
    ------
    InitialConditionsError, UnitsError
        For displacements that are not linear or not finite, and for velocities that are not theirs.
    """

    def component(axis: int) -> tuple[Cube, Cube | None]:
        speed = None if velocity is None else velocity(axis)
        if speed is not None:
            check_reach("velocities", speed, SPEED_OF_LIGHT, " km/s", "the speed of light")
        return displacement(axis), speed

    square = 0.0
    for axis in range(3):
        place = displacement(axis)
        check_reach("displacements", place, FARTHEST * lattice.box_size, " Mpc/h", f"{FARTHEST:g} box sides")
        square += _product(place, place)
        del place
    scale = float(np.sqrt(square / (3 * lattice.n_sites)))
    return field_from_components(component, scale, lattice, cosmology, redshift, site_offset)


def field_from_components(
    component: Component, scale: float, lattice: Lattice, cosmology: Cosmology, redshift: float, site_offset: float
) -> LinearField:
    """As `field_from_displacements`, for components known to be finite with the rms `scale` (Mpc/h) over all axes.

    Three cubes of float32 are held beside each other, whatever the number of axes.
    """
    growth = float(cosmology.growth_factor(redshift))
    rate, second_rate = cosmology.growth_rate(redshift), cosmology.second_growth_rate(redshift)
    checks = _Agreement(lattice, scale, rate)
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
            # plane by plane, by number: a view of a plane would keep its cube
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


class _Agreement:
    """Whether displacements are linear and their velocities belong to them, from one axis after the other.

    What is wrong is told at the end: axes differ in what they show, and one may have no displacement at all.

    Parameters
    ----------
    lattice : Lattice
    scale : float
        Rms displacement along an axis, over all axes, in Mpc/h.
    rate : float
        Growth rate f1.
    """

    def __init__(self, lattice: Lattice, scale: float, rate: float) -> None:
        self._lattice, self._scale, self._rate = lattice, scale, rate
        count = min(lattice.n, max(_SAMPLED_PLANES, _SAMPLE // lattice.n**2))
        self._planes = np.linspace(0, lattice.n, count, endpoint=False, dtype=np.int64)
        self._divergence = np.zeros((len(self._planes), lattice.n, lattice.n), dtype=np.float32)
        self._cross = self._square = self._speed = 0.0
        self._velocities = False
        self._strangers: tuple[int, float] | None = None

    def add_displacement(self, axis: int, displacement: Cube) -> None:
        """Take in a displacement (Mpc/h): its derivative along the axis, in some planes."""
        ahead = self._lattice.axis_indices(1, self._lattice.n)
        for plane, i in zip(self._divergence, self._planes, strict=True):
            here = displacement[i]
            after = displacement[ahead[i]] if axis == 0 else here[ahead] if axis == 1 else here[:, ahead]
            plane += (after - here) / np.float32(self._lattice.spacing)
        self._square += _product(displacement, displacement)

    def add_velocity(self, displacement: Cube, velocity: Cube) -> None:
        """Take in the velocity of the displacement, as u = v / (a H) in Mpc/h."""
        self._velocities = True
        self._cross += _product(displacement, velocity)
        self._speed += _product(velocity, velocity)
        if self._strangers is None:
            self._strangers = self._sites_that_stand_out(displacement, velocity)

    def _sites_that_stand_out(self, displacement: Cube, velocity: Cube) -> tuple[int, float] | None:
        """Number and worst rest (Mpc/h) of sites whose velocity is not their displacement's, up to second order.

        The second order is smooth: no site stands out.
        """
        every = max(displacement.size // _SAMPLE, 1) | 1
        places, speeds = displacement.reshape(-1)[::every], velocity.reshape(-1)[::every]
        large = np.abs(places) > self._scale / 2
        # the median, so that damaged sites have no say in what they are held against
        median = float(np.median(speeds[large] / places[large])) if np.any(large) else 0.0
        slope = np.float32(median if median > 0 else self._rate)
        typical = float(np.median(np.abs(speeds / slope - places)))
        limit = max(_LARGEST_REST * self._scale, _LARGEST_OVER_MEDIAN * typical)
        bad, worst = 0, 0.0
        # no array of rests: the largest box has no room for it
        for place, speed in zip(displacement, velocity, strict=True):
            rest = np.abs(speed / slope - place)
            bad += int(np.count_nonzero(rest > limit))
            worst = max(worst, float(rest.max()))
        return (bad, worst) if bad else None

    def judge(self, redshift: float) -> None:
        """Raise for displacements that are not linear, and for velocities that are not theirs.

        Raises
        ------
        InitialConditionsError, UnitsError
        """
        # differences of neighbours, not of Fourier modes: at most a third less, far from the limit
        _, rms = mean_and_rms(self._divergence)
        if rms == 0.0:
            raise InitialConditionsError("no particle is displaced from the lattice; give perturbed initial conditions")
        if rms > 1.0:
            raise InitialConditionsError(
                f"the displacements' divergence has an rms of {rms:.3g} at z = {redshift:g}; initial conditions are "
                "linear (below 1), later snapshots are not: give the file the run was started from"
            )
        if self._velocities:
            self._check_velocity_scale()
        if self._strangers is not None:
            bad, worst = self._strangers
            raise InitialConditionsError(
                f"{bad} of {self._lattice.n_sites} particles have a velocity that does not belong to their "
                f"displacement (up to {worst / self._scale:.3g} times the rms displacement apart); all must, to second "
                "order: the file is damaged, or its IDs are exchanged: copy or write it again"
            )

    def _check_velocity_scale(self) -> None:
        """Velocities must follow displacements with slope f1 (first order), or their unit is wrong."""
        slope = self._cross / self._square
        correlation = self._cross / np.sqrt(self._square * self._speed) if self._speed > 0 else 0.0
        if not correlation >= 0.9:
            raise InitialConditionsError(
                f"velocities and displacements correlate by {correlation:.2f}; growing-mode initial conditions on a "
                "lattice have nearly 1: a glass, a late snapshot or scrambled IDs do not"
            )
        if not 0.8 < slope / self._rate < 1.25:
            raise UnitsError(
                f"velocities are {slope / self._rate:.4g} times what the displacements need; they must be peculiar "
                "velocities a dx/dt in km/s: correct their unit (Gadget stores them divided by sqrt(a))"
            )


def first_order_displacement(
    displacement: NDArray[Any], velocity_displacement: NDArray[Any], growth_rate: float, second_growth_rate: float
) -> NDArray[Any]:
    """Separate the first-order displacement from positions and velocities.

    displacement : array, psi = x - q, Mpc/h
    velocity_displacement : same shape, u = v / (a H), Mpc/h
    growth_rate, second_growth_rate : f1 and f2 at the redshift of the file
    returns : psi_1 = (f2 psi - u) / (f2 - f1), same shape, Mpc/h
    """
    return (second_growth_rate * displacement - velocity_displacement) / (second_growth_rate - growth_rate)


def _product(one: Cube, other: Cube) -> float:
    """Sum of the products of two cubes, its planes added up in double precision."""
    return sum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True))


def _positions_only_message(field: LinearField, growth: float) -> str:
    """Say how large the second-order part of delta is, relative to delta, from (a block of) the field itself."""
    side = min(field.n, _SECOND_ORDER_SIDE)
    block = Lattice(side, side * field.spacing)
    delta = field.lattice.crop(field.delta, (0, 0, 0), block.shape)
    second = 3 / 7 * growth * second_order_source(potential(delta, block), block)
    return (
        f"no velocities: second-order displacements stay in delta, about {float(second.std() / delta.std()):.1e} of "
        "its rms; exact with velocities, so give a file that has them"
    )
