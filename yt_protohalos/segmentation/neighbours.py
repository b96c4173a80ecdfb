"""Exact nearest neighbours of every point of an embedding, with equally distant ones in the order of their index.

A k-d tree returns ties in any order and cuts them off at the last place, so its results are put in order here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pykdtree.kdtree import KDTree

_CELLS, _SUBCELLS = 2**6, 2**14  # per axis of the embedding, and per axis of a cell
_BLOCK_ENTRIES = 2**22  # neighbours of one query, 50 MB


def nearest_points(
    points: NDArray[np.float64], n_dens: int, n_ngb: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
    """Distance to the k-th neighbour and the nearest points, for each distinct location.

    points : (N, 3), N > 0, finite
    n_dens, n_ngb : 1 to N, k and the number of nearest points; both count all points at the location itself
    returns : number of the location of each point, (N,), below U; distance to the k-th point, (U,); nearest points by
        (distance, index), (U, n_ngb)
    """
    members, first = _distinct_locations(points)
    sites = points[members[first[:-1]]]
    n_sites = len(sites)
    tree = KDTree(sites)
    radius = np.empty(n_sites)
    neighbours = np.empty((n_sites, n_ngb), dtype=np.int32)
    # one more than needed, so that ties at the last place are mostly found at once
    width = min(max(n_dens, n_ngb) + 1, n_sites)
    rows = np.arange(n_sites)
    while len(rows):
        complete = np.empty(len(rows), dtype=bool)
        step = max(1, _BLOCK_ENTRIES // width)
        for low in range(0, len(rows), step):
            block = rows[low : low + step]
            distance, index = (found.reshape(-1, width) for found in tree.query(sites[block], k=width))
            radius[block], neighbours[block], complete[low : low + step] = _in_order(
                distance, index, members, first, n_dens, n_ngb
            )
        # a tie that runs past the end of its row hides points of lower index: search those rows again, wider
        rows = rows[~complete] if width < n_sites else rows[:0]
        width = min(2 * width, n_sites)
    location = np.empty(len(points), dtype=np.int32)
    location[members] = np.repeat(np.arange(n_sites, dtype=np.int32), np.diff(first))
    return location, radius, neighbours


def _distinct_locations(points: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sort points by cell and, within a cell, by coordinates.

    returns : point indices, (N,), location after location, ascending within each; first place of each of the U
        locations in these, then N, (U + 1,)
    """
    lowest, extent = points.min(axis=0), np.ptp(points, axis=0)
    share = np.divide(points - lowest, extent, out=np.zeros_like(points), where=extent > 0)
    cell, subcell = np.divmod((share * (_CELLS * _SUBCELLS - 1)).astype(np.int64).T, _SUBCELLS)
    # near points are near in this order, so that a search reads what the one before has left in the cache
    key = np.ravel_multi_index((*cell, *subcell), (_CELLS,) * 3 + (_SUBCELLS,) * 3)
    members = np.argsort(key)
    if (np.diff(key[members]) == 0).any():
        members = np.lexsort((points[:, 2], points[:, 1], points[:, 0], key))
    moved = (np.diff(points[members], axis=0) != 0).any(axis=1)
    return members.astype(np.int32), np.concatenate([[0], np.flatnonzero(moved) + 1, [len(points)]])


@njit(cache=True, nogil=True)
def _in_order(
    distance: NDArray[Any], index: NDArray[Any], members: NDArray[Any], first: NDArray[Any], n_dens: int, n_ngb: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Turn rows of nearest locations into nearest points by (distance, index).

    Returns `radius` and `neighbours` of the rows, and for each row whether it holds all ties of its last neighbour.
    """
    n_rows, width = distance.shape
    radius = np.empty(n_rows)
    neighbours = np.empty((n_rows, n_ngb), dtype=np.int32)
    complete = np.empty(n_rows, dtype=np.bool_)
    tied = np.empty(width * n_ngb, dtype=np.int32)
    for row in range(n_rows):
        n_within = 0
        for column in range(width):
            n_within += first[index[row, column] + 1] - first[index[row, column]]
            if n_within >= n_dens:
                radius[row] = distance[row, column]
                break
        n_filled, begin = 0, 0
        while begin < width and n_filled < n_ngb:
            end, n_tied = begin, 0
            while end < width and distance[row, end] == distance[row, begin]:
                here = index[row, end]
                for m in range(first[here], min(first[here + 1], first[here] + n_ngb)):
                    tied[n_tied] = members[m]
                    n_tied += 1
                end += 1
            if end - begin > 1:
                tied[:n_tied].sort()
            n_taken = min(n_tied, n_ngb - n_filled)
            neighbours[row, n_filled : n_filled + n_taken] = tied[:n_taken]
            n_filled += n_taken
            begin = end
        complete[row] = begin < width
    return radius, neighbours, complete
