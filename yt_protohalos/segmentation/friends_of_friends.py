"""Friends-of-friends groups of points in a periodic box (Davis et al. 1985).

Points are sorted by cells of one linking length, so that friends lie in the same or in neighbouring cells. Time and
memory grow with the number of points alone, however they are spread.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..exceptions import ClusteringError
from .labels import relabel_by_size


def group_sites(displacement: NDArray[np.float32], linking_length: float, min_sites: int) -> NDArray[np.int32]:
    """Label the sites whose final positions are friends of friends.

    Parameters
    ----------
    displacement : float32, (3, n, n, n)
        Final minus initial position, in sites.
    linking_length : float
        In sites.
    min_sites : int
        Smaller groups are left out.

    Returns
    -------
    int32, (n, n, n)
        0 outside groups, 1..K by descending size.

    Raises
    ------
    ClusteringError
        As `friends_of_friends`.

    Examples
    --------
    >>> from yt_protohalos.fields.particle_mesh import final_positions
    >>> from yt_protohalos.segmentation.friends_of_friends import group_sites
    >>> labels = group_sites(final_positions(field)[0], linking_length=0.25, min_sites=20)
    >>> labels.shape
    (32, 32, 32)
    """
    n = displacement.shape[-1]
    groups = friends_of_friends(final_points(displacement), float(n), linking_length)
    groups += 1
    return relabel_by_size(groups.reshape(n, n, n), min_sites)


def final_points(displacement: NDArray[np.float32]) -> NDArray[np.float32]:
    """Final positions of the sites in row-major order, (n^3, 3), in sites, from a displacement (3, n, n, n)."""
    points = np.indices(displacement.shape[1:], dtype=np.float32)
    points += displacement
    return points.reshape(3, -1).T


def friends_of_friends(points: NDArray[np.floating], period: float, linking_length: float) -> NDArray[np.int64]:
    """Link all points closer to each other than the linking length.

    Parameters
    ----------
    points : float, (N, 3)
        Positions; any period.
    period : float
        Side of the box, in the unit of the points.
    linking_length : float
        In the same unit; at most a third of the period.

    Returns
    -------
    int64, (N,)
        Group of each point: the lowest index of its points.

    Raises
    ------
    ClusteringError
        The points are not (N, 3) finite numbers, or the linking length is not between 0 and a third of the period.

    Examples
    --------
    >>> from yt_protohalos.segmentation.friends_of_friends import friends_of_friends
    >>> points = np.array([[0.1, 1, 1], [9.9, 1, 1], [5, 5, 5]])
    >>> friends_of_friends(points, period=10.0, linking_length=0.3)
    array([0, 0, 2])
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ClusteringError(f"points of shape {points.shape} are not rows of three finite numbers; pass (N, 3)")
    if not 0 < linking_length <= period / 3:
        raise ClusteringError(
            f"linking length {linking_length} is not between 0 and a third of the period {period}; use e.g. 0.2 mean "
            "separations"
        )
    # cells may be larger than needed, so that the table of their rows does not outgrow the points
    side = min(int(period / linking_length), max(3, isqrt(4 * len(points))))
    wrapped = np.empty((len(points), 3), dtype=np.float64)
    key = np.empty(len(points), dtype=np.int64)
    _assign_cells(points, float(period), side, wrapped, key)
    order = np.argsort(key, kind="stable")
    key, wrapped = key[order], wrapped[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    cell = key[first]
    row = np.searchsorted(cell, np.arange(side * side + 1, dtype=np.int64) * side)
    parent = np.arange(len(points), dtype=np.int64)
    _link(wrapped, cell, np.append(first, len(points)), row, side, float(period), float(linking_length), parent)
    groups = np.empty_like(parent)
    lowest = np.full(len(points), len(points), dtype=np.int64)
    _lowest_members(parent, order, lowest, groups)
    return groups


@njit(cache=True, nogil=True)
def _assign_cells(
    points: NDArray[np.floating], period: float, side: int, wrapped: NDArray[np.float64], key: NDArray[np.int64]
) -> None:
    """Wrap the points into the box and number their cells in row-major order."""
    for i in range(len(points)):
        number = 0
        for axis in range(3):
            position = points[i, axis] - period * np.floor(points[i, axis] / period)
            wrapped[i, axis] = position
            # rounding may put a point on the upper face
            number = number * side + min(int(position / period * side), side - 1)
        key[i] = number


@njit(cache=True, nogil=True)
def _link(
    points: NDArray[np.float64], cell: NDArray[np.int64], first: NDArray[np.int64], row: NDArray[np.int64],
    side: int, period: float, linking_length: float, parent: NDArray[np.int64],
) -> None:  # fmt: skip
    """Join friends within each cell and with the half of its 26 neighbours that come after it, across the faces too."""
    for c in range(len(cell)):
        x, y, z = cell[c] // (side * side), cell[c] // side % side, cell[c] % side
        _join(points, first[c], first[c + 1], first[c], first[c + 1], period, linking_length, parent)
        for dx, dy in ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1)):
            r = (x + dx) % side * side + (y + dy) % side
            for dz in range(1 if dx == 0 and dy == 0 else -1, 2):
                wanted = r * side + (z + dz) % side
                o = row[r] + np.searchsorted(cell[row[r] : row[r + 1]], wanted)
                if o < row[r + 1] and cell[o] == wanted:
                    _join(points, first[c], first[c + 1], first[o], first[o + 1], period, linking_length, parent)


@njit(cache=True, nogil=True)
def _join(
    points: NDArray[np.float64], low: int, high: int, other_low: int, other_high: int,
    period: float, linking_length: float, parent: NDArray[np.int64],
) -> None:  # fmt: skip
    """Join the friends of two cells, which may be the same."""
    both_whole = _is_one_group(parent, low, high) and _is_one_group(parent, other_low, other_high)
    if both_whole and _root(parent, low) == _root(parent, other_low):
        return
    for i in range(low, high):
        for j in range(max(other_low, i + 1) if low == other_low else other_low, other_high):
            square = 0.0
            for axis in range(3):
                step = abs(points[i, axis] - points[j, axis])
                step = min(step, period - step)
                square += step * step
            if square <= linking_length * linking_length:
                a, b = _root(parent, i), _root(parent, j)
                parent[max(a, b)] = min(a, b)
                if both_whole:
                    return


@njit(cache=True, nogil=True)
def _is_one_group(parent: NDArray[np.int64], low: int, high: int) -> bool:
    i = low + 1
    while i < high and _root(parent, i) == _root(parent, low):
        i += 1
    return i >= high


@njit(cache=True, nogil=True)
def _root(parent: NDArray[np.int64], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _lowest_members(
    parent: NDArray[np.int64], order: NDArray[np.int64], lowest: NDArray[np.int64], groups: NDArray[np.int64]
) -> None:
    """Give each point, in the caller's order, the lowest index of its group."""
    for i in range(len(parent)):
        root = _root(parent, i)
        lowest[root] = min(lowest[root], order[i])
    for i in range(len(parent)):
        groups[order[i]] = lowest[_root(parent, i)]
