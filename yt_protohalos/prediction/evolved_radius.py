"""Radius of each protohalo in the evolved field, within which its sites are 200 times as dense as the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OVERDENSITY = 200.0
"""Mean density within the radius, in units of the mean matter density."""
LEAST_SITES = 20
"""Sites about the densest place; fewer say nothing of a density."""
_SHRINK = 0.8


def radii_200m(positions: NDArray[np.float64], n_sites: NDArray[np.int64]) -> NDArray[np.float64]:
    """Radius about the densest place of each group within which its points have 200 times the mean density, in sites.

    The densest place is the end of spheres that shrink by a fifth and move to the mean of the points inside (Power et
    al. 2003). A group that is nowhere so thin has the radius at which all its points would be that dense.

    positions : float64, (N, 3), in sites and unwrapped, so one point per site is the mean density; group after group
    n_sites : int64, (K,), points of each group
    returns : float64, (K,)
    """
    inside = [_points_in_sphere(points) for points in np.split(positions, np.cumsum(n_sites)[:-1])]
    return np.cbrt(3 * np.array(inside, dtype=np.float64) / (4 * np.pi * OVERDENSITY))


def _points_in_sphere(points: NDArray[np.float64]) -> int:
    square = np.sort(_squares(points, _densest(points)))
    # the sphere through point i holds i + 1
    thin = np.arange(1, len(square) + 1) < OVERDENSITY * 4 / 3 * np.pi * square**1.5
    thin[: LEAST_SITES - 1] = False
    return int(np.argmax(thin)) if thin.any() else len(square)


def _densest(points: NDArray[np.float64]) -> NDArray[np.float64]:
    centre = points.mean(axis=0)
    square = _squares(points, centre)
    limit = square.max()
    while len(points) > LEAST_SITES:
        limit *= _SHRINK**2
        inside = square < limit
        if np.count_nonzero(inside) < LEAST_SITES:
            break
        points = points[inside]
        centre = points.mean(axis=0)
        square = _squares(points, centre)
    return np.asarray(centre)


def _squares(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances from the centre, (N,)."""
    away = points - centre
    return np.asarray(np.einsum("ij,ij->i", away, away))
