"""Checks of displacements and velocities on the lattice: linear, of the growing mode, and in the right units."""

from __future__ import annotations

import numpy as np

from ..exceptions import InitialConditionsError, UnitsError
from ..fields.fourier import mean_and_rms
from ..fields.lattice import Cube, Lattice

_SAMPLE = 1_000_000
"""Smallest number of sites from which medians are taken, unless the lattice has fewer."""
_SAMPLED_PLANES = 16
"""Smallest number of planes from which the rms of the divergence is taken."""
_LARGEST_REST = 0.5
"""Largest difference of displacement and velocity, in rms displacements."""
_LARGEST_OVER_MEDIAN = 30.0
"""Or in medians of that difference, where second order is large: a smooth field stays below 15."""


class DisplacementChecks:
    """Checks that displacements are linear and that velocities belong to them, fed axis by axis.

    Errors are raised at the end, when all axes are known: one axis may have no displacement at all.

    `scale` is the rms displacement along an axis, over all axes, in Mpc/h, and `rate` the growth rate f1.
    """

    def __init__(self, lattice: Lattice, scale: float, rate: float) -> None:
        self._lattice, self._scale, self._rate = lattice, scale, rate
        count = min(lattice.n, max(_SAMPLED_PLANES, _SAMPLE // lattice.n**2))
        self._planes = np.linspace(0, lattice.n, count, endpoint=False, dtype=np.int64)
        self._divergence = np.zeros((len(self._planes), lattice.n, lattice.n), dtype=np.float32)
        self._cross = self._square = self._speed = 0.0
        self._velocities = False
        self._outliers: tuple[int, float] | None = None

    def add_displacement(self, axis: int, displacement: Cube) -> None:
        """Add a displacement (Mpc/h): sums, and its derivative along the axis in some planes."""
        ahead = self._lattice.axis_indices(1, self._lattice.n)
        for plane, i in zip(self._divergence, self._planes, strict=True):
            here = displacement[i]
            after = displacement[ahead[i]] if axis == 0 else here[ahead] if axis == 1 else here[:, ahead]
            plane += (after - here) / np.float32(self._lattice.spacing)
        self._square += dot_product(displacement, displacement)

    def add_velocity(self, displacement: Cube, velocity: Cube) -> None:
        """Add the velocity of the displacement, as u = v / (a H) in Mpc/h."""
        self._velocities = True
        self._cross += dot_product(displacement, velocity)
        self._speed += dot_product(velocity, velocity)
        if self._outliers is None:
            self._outliers = self._outlying_sites(displacement, velocity)

    def _outlying_sites(self, displacement: Cube, velocity: Cube) -> tuple[int, float] | None:
        """Number of sites whose velocity differs from their displacement's, and the largest difference (Mpc/h).

        Second order makes velocities differ too, but smoothly.
        """
        every = max(displacement.size // _SAMPLE, 1) | 1
        places, speeds = displacement.reshape(-1)[::every], velocity.reshape(-1)[::every]
        large = np.abs(places) > self._scale / 2
        # the median does not depend on damaged sites
        median = float(np.median(speeds[large] / places[large])) if np.any(large) else 0.0
        slope = np.float32(median if median > 0 else self._rate)
        typical = float(np.median(np.abs(speeds / slope - places)))
        limit = max(_LARGEST_REST * self._scale, _LARGEST_OVER_MEDIAN * typical)
        bad, worst = 0, 0.0
        # plane by plane: a cube of differences would not fit the largest boxes
        for place, speed in zip(displacement, velocity, strict=True):
            rest = np.abs(speed / slope - place)
            bad += int(np.count_nonzero(rest > limit))
            worst = max(worst, float(rest.max()))
        return (bad, worst) if bad else None

    def judge(self, redshift: float) -> None:
        """Raise `InitialConditionsError` or `UnitsError` unless all is linear and velocities fit displacements."""
        # differences of neighbours are up to a third below the derivative, still far from the limit
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
        if self._outliers is not None:
            bad, worst = self._outliers
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


def dot_product(one: Cube, other: Cube) -> float:
    """Sum of the products of two cubes, its planes added up in double precision."""
    return sum(float(np.vdot(a, b)) for a, b in zip(one, other, strict=True))
