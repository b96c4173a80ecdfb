"""Exact nearest neighbours of every point of a crop's embedding, in a tree of boxes over sorted points.

The points come sorted along a space-filling curve, so that runs of them are leaves and the tree is built by joining
neighbouring boxes. All points of a leaf search together, which shares the walk through the tree among them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEAF = 32
"""Points a leaf."""

_STACK = 64  # a walk down a binary tree holds one box a level


class NeighbourTree:
    """Boxes around runs of sorted points, for neighbour searches from the points themselves.

    Parameters
    ----------
    points : float64, shape (U, 3), U > 0
        Finite, in an order in which neighbours are mostly near each other (Morton's, for one); any order is right.
    """

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.n_leaves = -(-len(points) // LEAF)
        # past the last point, what is nobody's neighbour fills the last leaf
        padded = np.full((3, self.n_leaves * LEAF), np.inf)
        padded[:, : len(points)] = points.T
        self._x, self._y, self._z = padded
        self._lowest, self._highest = _boxes(self._x, self._y, self._z, self.n_leaves)

    def query(self, leaves: NDArray[np.int64], width: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """The `width` nearest points of each point of some leaves, itself included.

        Parameters
        ----------
        leaves : int64, shape (L,)
            Leaf i holds points i * LEAF to (i + 1) * LEAF - 1.
        width : int, 1 to U

        Returns
        -------
        distance : float64, shape (L * LEAF, width)
            Ascending; rows past the last point are infinite.
        index : int32, shape (L * LEAF, width)
            In any order where distances are equal; at the end of a row, any of those as far as the last.
        """
        distance = np.empty((len(leaves) * LEAF, width))
        index = np.empty((len(leaves) * LEAF, width), dtype=np.int32)
        _search_leaves(self._x, self._y, self._z, self._lowest, self._highest, leaves, distance, index)
        return distance, index


@njit(cache=True, nogil=True)
def _boxes(x: NDArray, y: NDArray, z: NDArray, n_leaves: int) -> tuple[NDArray, NDArray]:
    """Corners of the boxes, (2 P, 3) each: box i holds boxes 2 i and 2 i + 1, and P + j is leaf j."""
    n_slots = 1
    while n_slots < n_leaves:
        n_slots *= 2
    lowest = np.full((2 * n_slots, 3), np.inf)
    highest = np.full((2 * n_slots, 3), -np.inf)
    for axis, values in enumerate((x, y, z)):
        for i in range(len(values)):
            box = n_slots + i // LEAF
            if values[i] < np.inf:
                lowest[box, axis] = min(lowest[box, axis], values[i])
                highest[box, axis] = max(highest[box, axis], values[i])
    for box in range(n_slots - 1, 0, -1):
        for axis in range(3):
            lowest[box, axis] = min(lowest[2 * box, axis], lowest[2 * box + 1, axis])
            highest[box, axis] = max(highest[2 * box, axis], highest[2 * box + 1, axis])
    return lowest, highest


@njit(cache=True, nogil=True)
def _search_leaves(
    x: NDArray,
    y: NDArray,
    z: NDArray,
    lowest: NDArray,
    highest: NDArray,
    leaves: NDArray,
    distance: NDArray,
    index: NDArray,
) -> None:
    n_slots = len(lowest) // 2
    n_leaves = len(x) // LEAF
    boxes = np.empty(_STACK, dtype=np.int64)
    apart = np.empty(3 * LEAF)
    for row in range(len(leaves)):
        leaf = leaves[row]
        own = slice(leaf * LEAF, (leaf + 1) * LEAF)
        at = (x[own], y[own], z[own])
        near = distance[row * LEAF : (row + 1) * LEAF]
        found = index[row * LEAF : (row + 1) * LEAF]
        near[:] = np.inf
        found[:] = -1
        # the leaves beside it bound the search before it starts
        first, last = max(leaf - 1, 0), min(leaf + 2, n_leaves)
        run = slice(first * LEAF, last * LEAF)
        _begin(at, (x[run], y[run], z[run]), first * LEAF, near, found, apart)
        reach = _reach(at[0], near)
        boxes[0] = 1
        n_boxes = 1
        while n_boxes:
            n_boxes -= 1
            box = boxes[n_boxes]
            gap = _between(lowest, highest, n_slots + leaf, box)
            if gap > reach or gap == np.inf:  # an empty box is infinitely far
                continue
            if box >= n_slots:
                other = box - n_slots
                if not first <= other < last:
                    run = slice(other * LEAF, (other + 1) * LEAF)
                    _scan(at, (x[run], y[run], z[run]), other * LEAF, lowest[box], highest[box], near, found, apart)
                    reach = _reach(at[0], near)
                continue
            left = _between(lowest, highest, n_slots + leaf, 2 * box)
            right = _between(lowest, highest, n_slots + leaf, 2 * box + 1)
            nearer = 2 * box if left <= right else 2 * box + 1
            boxes[n_boxes] = 4 * box + 1 - nearer
            boxes[n_boxes + 1] = nearer
            n_boxes += 2
    for row in range(len(distance)):
        for column in range(distance.shape[1]):
            distance[row, column] = np.sqrt(distance[row, column])


@njit(cache=True, nogil=True)
def _begin(at: tuple, seen: tuple, start: int, near: NDArray, found: NDArray, apart: NDArray) -> None:
    """Nearest points of those of a leaf among a run of leaves, by counting for each how many are nearer."""
    # the bits of numbers that are not negative are ordered as they are, and counted faster
    key = apart.view(np.int64)
    n_seen, width = len(seen[0]), near.shape[1]
    apart[n_seen:] = np.inf
    for i in range(LEAF):
        x, y, z = at[0][i], at[1][i], at[2][i]
        if x == np.inf:
            continue
        for j in range(n_seen):
            dx, dy, dz = x - seen[0][j], y - seen[1][j], z - seen[2][j]
            apart[j] = dx * dx + dy * dy + dz * dz
        for j in range(n_seen):
            own = key[j]
            rank = 0
            for other in range(3 * LEAF):
                rank += 1 if key[other] < own else 0
            if rank >= width or apart[j] == np.inf:
                continue
            # points as far as this one that came before it
            while rank < width and near[i, rank] == apart[j]:
                rank += 1
            if rank < width:
                near[i, rank] = apart[j]
                found[i, rank] = start + j


@njit(cache=True, nogil=True)
def _between(lowest: NDArray, highest: NDArray, box: int, other: int) -> float:
    """Squared distance of two boxes; 0 where they overlap."""
    total = 0.0
    for axis in range(3):
        gap = max(lowest[other, axis] - highest[box, axis], lowest[box, axis] - highest[other, axis], 0.0)
        total += gap * gap
    return total


@njit(cache=True, nogil=True)
def _reach(x: NDArray, near: NDArray) -> float:
    """Largest squared distance that still matters to a point of the leaf."""
    reach = 0.0
    for i in range(LEAF):
        if x[i] < np.inf:
            reach = max(reach, near[i, -1])
    return reach


@njit(cache=True, nogil=True)
def _scan(
    at: tuple,
    seen: tuple,
    start: int,
    lowest: NDArray,
    highest: NDArray,
    near: NDArray,
    found: NDArray,
    apart: NDArray,
) -> None:
    """Put the points of one leaf among the nearest, by squared distance, of those of another."""
    width = near.shape[1]
    for i in range(LEAF):
        x, y, z = at[0][i], at[1][i], at[2][i]
        if x == np.inf:
            continue
        gap_x = max(lowest[0] - x, x - highest[0], 0.0)
        gap_y = max(lowest[1] - y, y - highest[1], 0.0)
        gap_z = max(lowest[2] - z, z - highest[2], 0.0)
        worst = near[i, width - 1]
        if gap_x * gap_x + gap_y * gap_y + gap_z * gap_z > worst:
            continue
        for j in range(LEAF):
            dx, dy, dz = x - seen[0][j], y - seen[1][j], z - seen[2][j]
            apart[j] = dx * dx + dy * dy + dz * dz
        for j in range(LEAF):
            value = apart[j]
            if value < worst:
                place = width - 1
                while place > 0 and near[i, place - 1] > value:
                    near[i, place] = near[i, place - 1]
                    found[i, place] = found[i, place - 1]
                    place -= 1
                near[i, place] = value
                found[i, place] = start + j
                worst = near[i, width - 1]
