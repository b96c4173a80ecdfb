"""Density clustering of the instance network's embedding into protohalo labels (López-Cano et al. 2024, appendix B).

Its misprint is corrected: two groups that meet at point i merge when (lower rho_max) / rho_i <= persistence, and both
stay when the ratio is larger. Ties of density and of distance are ordered by point index, so that one input has one
partition on any number of threads.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..exceptions import ClusteringError
from .neighbours import nearest_points

_MAX_COORDINATE = 1e50  # cubes of distances stay finite in float64


def cluster_embedding(
    points: ArrayLike, n_dens: int = 20, n_ngb: int = 15, persistence: float = 4.2
) -> NDArray[np.int32]:
    """Group points of pseudo-space into the descending manifolds of persistent density maxima.

    Points are visited from the densest to the least dense (equal densities: by index). The density of a point is
    rho = 3 k / (4 pi r_k^3), eq. B1, with r_k the distance to its k-th neighbour, k = n_dens. Of its n_ngb nearest
    points, the (up to) two closest that come earlier in this order decide: none starts a group, one group takes the
    point, and two groups merge when (lower maximum) / rho <= persistence; otherwise both stay and the point joins the
    group of the denser of the two. k and n_ngb count the point itself.

    Parameters
    ----------
    points : array_like of real, shape (N, 3)
        Embedding coordinates, dimensionless, ``|x| <= 1e50``. float32 and float64 are used as they are.
    n_dens : int, at least 2
        k of the density estimate. With fewer points than k, k is the number of points.
    n_ngb : int, at least 2
        Neighbours searched for denser points.
    persistence : float, positive and finite
        Smallest ratio of maximum to saddle density at which groups stay apart, p_thresh in the paper.

    Returns
    -------
    int32, shape (N,)
        Group of each point, 0..K-1 by descending density of the group's maximum. Every point has a group;
        no points give an empty array. At least k coincident points are one maximum of infinite density.

    Raises
    ------
    ClusteringError
        Points of another shape, not real, not finite or too large, or parameters outside their range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = np.concatenate([rng.normal(centre, 0.1, (200, 3)) for centre in (0.0, 3.0)])
    >>> np.bincount(ph.cluster_embedding(points))
    array([200, 200])
    """
    _check_parameters(n_dens, n_ngb, persistence)
    coordinates = _check_points(points)
    n_points = len(coordinates)
    if n_points == 0:
        return np.empty(0, dtype=np.int32)
    n_dens, n_ngb = min(int(n_dens), n_points), min(int(n_ngb), n_points)
    location, radius, neighbours = nearest_points(coordinates, n_dens, n_ngb)
    with np.errstate(divide="ignore"):
        density = (3 * n_dens / (4 * np.pi * radius**3))[location]
    order = np.argsort(-density, kind="stable")
    return _grow_groups(order, density, location, neighbours, float(persistence))


def _check_parameters(n_dens: int, n_ngb: int, persistence: float) -> None:
    for name, value in (("n_dens", n_dens), ("n_ngb", n_ngb)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 2:
            raise ClusteringError(
                f"{name} = {value!r} is not an integer of at least 2 (it counts the point itself); the paper uses "
                "n_dens = 20 and n_ngb = 15"
            )
    valid = isinstance(persistence, numbers.Real) and not isinstance(persistence, bool)
    if not valid or not math.isfinite(persistence) or persistence <= 0:
        raise ClusteringError(
            f"persistence = {persistence!r} is not a positive finite number (a ratio of densities); the paper uses 4.2"
        )


def _check_points(points: ArrayLike) -> NDArray[np.float64]:
    """Points as float64, in which differences of float32 coordinates are exact."""
    array = np.asarray(points)
    if array.dtype.kind not in "fiu":
        raise ClusteringError(f"points have dtype {array.dtype}, but coordinates are real numbers; pass float32")
    if array.ndim != 2 or array.shape[1] != 3:
        raise ClusteringError(
            f"points have shape {array.shape}, but pseudo-space has three coordinates a point; pass shape (N, 3)"
        )
    coordinates = array.astype(np.float64)
    bad = ~(np.abs(coordinates) <= _MAX_COORDINATE).all(axis=1)
    if bad.any():
        i = int(np.argmax(bad))
        raise ClusteringError(
            f"point {i} is {array[i].tolist()} ({int(bad.sum())} such of {len(array)}), but coordinates must be finite "
            f"and at most {_MAX_COORDINATE:g} in size; check the network's weights and input, or drop these points"
        )
    return coordinates


@njit(cache=True, nogil=True)
def _grow_groups(
    order: NDArray[Any], density: NDArray[Any], location: NDArray[Any], neighbours: NDArray[Any], persistence: float
) -> NDArray[Any]:
    """Grow, join and merge groups from the densest point down; a lower group number is a denser maximum."""
    n_points = len(order)
    rank = np.empty(n_points, dtype=np.int32)
    for i in range(n_points):
        rank[order[i]] = i
    group = np.empty(n_points, dtype=np.int32)
    parent = np.empty(n_points, dtype=np.int32)
    maximum = np.empty(n_points, dtype=np.float64)
    n_groups = 0
    for i in order:
        near, far = _two_closest_denser(i, rank, neighbours[location[i]])
        if np.isinf(density[i]):
            # coincident points join the first of their own location, whatever else is near
            near = neighbours[location[i], 0] if neighbours[location[i], 0] != i else -1
            far = -1
        if near < 0:
            parent[n_groups] = n_groups
            maximum[n_groups] = density[i]
            group[i] = n_groups
            n_groups += 1
            continue
        group[i] = find_root(parent, group[near])
        if far < 0:
            continue
        other = find_root(parent, group[far])
        if other == group[i]:
            continue
        denser, lighter = min(group[i], other), max(group[i], other)
        if maximum[lighter] / density[i] <= persistence:
            parent[lighter] = denser
            group[i] = denser
        elif rank[far] < rank[near]:
            group[i] = other
    return _number_groups(group, parent, n_groups)


@njit(cache=True, nogil=True)
def _two_closest_denser(i: int, rank: NDArray[Any], candidates: NDArray[Any]) -> tuple[int, int]:
    near = -1
    for j in candidates:
        if rank[j] < rank[i]:
            if near >= 0:
                return near, j
            near = j
    return near, -1


@njit(cache=True, nogil=True)
def find_root(parent: NDArray[Any], group: int) -> int:
    """Root of a group in a union-find forest, whose paths are halved on the way."""
    while parent[group] != group:
        parent[group] = parent[parent[group]]
        group = parent[group]
    return group


@njit(cache=True, nogil=True)
def _number_groups(group: NDArray[Any], parent: NDArray[Any], n_groups: int) -> NDArray[Any]:
    number = np.full(n_groups, -1, dtype=np.int32)
    n_roots = 0
    for g in range(n_groups):
        if parent[g] == g:
            number[g] = n_roots
            n_roots += 1
    labels = np.empty(len(group), dtype=np.int32)
    for i in range(len(group)):
        labels[i] = number[find_root(parent, group[i])]
    return labels
