"""Principal axes of Lagrangian regions, the tidal tensor at their scale, and the spin that it gives them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..fields.fourier import tidal_components
from ..fields.lattice import Cube, Lattice

_TIE = 1e-6
"""Sites this much further than the radius, in sites, still belong to a ball: rounding must not decide."""
_SMALLEST_RADIUS = np.sqrt(3) / 2
"""Half the diagonal of a cell, in sites: a ball of this radius holds a site wherever its centre lies."""


def second_moment(inertia: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second moment, mean of r r^T, of an inertia tensor for each unit of mass, mean of |r|^2 1 - r r^T, (K, 3, 3)."""
    half_trace = np.trace(inertia, axis1=1, axis2=2) / 2
    return np.asarray(half_trace[:, None, None] * np.eye(3) - inertia)


def principal_axes(inertia: NDArray[np.float64], spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Semi-axes a >= b >= c, (K, 3), Mpc/h, and axes, (K, 3, 3), of the homogeneous ellipsoid with each inertia tensor.

    The rows of the axes are unit vectors along a, b and c, right-handed. An axis has no sign of its own: the largest
    component of rows 0 and 2 is positive. Sites count as cubes, which adds spacing^2 / 12 to the second moment along
    each axis: a brick of sites has exactly the axis ratios of the brick, and a single site is round.

    inertia : (K, 3, 3), of points at the sites for each unit of mass, (Mpc/h)^2
    spacing : Mpc/h
    """
    moment = second_moment(inertia) + spacing**2 / 12 * np.eye(3)
    values, vectors = np.linalg.eigh(moment)
    semi_axes = np.sqrt(5 * values[:, ::-1])
    major, minor = _with_sign(vectors[:, :, 2]), _with_sign(vectors[:, :, 0])
    return semi_axes, np.stack([major, np.cross(minor, major), minor], axis=1)


def _with_sign(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (K, 3), turned round where their largest component is negative."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return vectors * np.sign(largest)


def tidal_tensors(
    phi: Cube, lattice: Lattice, center: NDArray[np.float64], n_sites: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Tidal tensor of each region at its own scale, (K, 3, 3), dimensionless; its trace is the overdensity of the ball.

    It is the mean of d^2 phi / dq_i dq_j over the sites of the ball about the centre that has the volume of the region
    (top hat of the Lagrangian radius, as Porciani, Dekel & Hoffman 2002). Takes one forward and six inverse transforms,
    and 12 bytes per site.

    phi : potential at z = 0 with laplacian(phi) = delta, comoving (Mpc/h)^2
    center : (K, 3), in sites, from site 0
    n_sites : (K,), sites of each region
    """
    radius = np.maximum(np.cbrt(3 * n_sites / (4 * np.pi)), _SMALLEST_RADIUS)
    tide = np.empty((len(n_sites), 3, 3))
    for i, j, component in tidal_components(phi, lattice):
        tide[:, i, j] = tide[:, j, i] = _ball_means(component, center, radius, np.empty(len(n_sites)))
        # before the next one is made
        del component
    return tide


@njit(cache=True, nogil=True)
def _ball_means(
    cube: NDArray[np.float32], center: NDArray[np.float64], radius: NDArray[np.float64], result: NDArray[np.float64]
) -> NDArray[np.float64]:
    n = cube.shape[0]
    for ball in range(len(radius)):
        x0, y0, z0 = center[ball]
        reach = radius[ball] + _TIE
        total, count = 0.0, 0
        for x in range(int(np.ceil(x0 - reach)), int(np.floor(x0 + reach)) + 1):
            disc = reach**2 - (x - x0) ** 2
            side = np.sqrt(max(disc, 0.0))
            for y in range(int(np.ceil(y0 - side)), int(np.floor(y0 + side)) + 1):
                half = np.sqrt(max(disc - (y - y0) ** 2, 0.0))
                for z in range(int(np.ceil(z0 - half)), int(np.floor(z0 + half)) + 1):
                    total += cube[x % n, y % n, z % n]
                    count += 1
        result[ball] = total / count
    return result


def tidal_eigenvalues(tide: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvalues, (K, 3), descending: positive along an axis that collapses, their sum is the overdensity."""
    return np.asarray(np.linalg.eigvalsh(tide)[:, ::-1], dtype=np.float64)


def tidal_torque(inertia: NDArray[np.float64], tide: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spin that the tide gives each region, for each unit of mass and of a^2 dD/dt, (K, 3), (Mpc/h)^2 (White 1984).

    It is epsilon_ijk T_jl C_lk with C the second moment, (Mpc/h)^2: the mean of r x (-T r), right-handed, first-order
    term of that of r x v with v = -a (dD/dt) grad(phi). It is zero where the two tensors have the same axes.
    """
    product = tide @ second_moment(inertia)
    antisymmetric = product - np.swapaxes(product, 1, 2)
    return np.stack([antisymmetric[:, 1, 2], antisymmetric[:, 2, 0], antisymmetric[:, 0, 1]], axis=1)
