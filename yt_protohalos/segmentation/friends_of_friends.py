"""Friends-of-friends groups of points in a periodic box (Davis et al. 1985).

Points are sorted by cells of one linking length, so that friends lie in the same or in neighbouring cells. Time and
memory grow with the number of points alone, however they are spread. Cells along z are a row. Threads link the points
of slabs of rows; then the pairs across the borders of the slabs are linked.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..exceptions import ClusteringError
from ..fields.evolution import by_slabs, slab_edges
from .labels import relabel_by_size

Indices = NDArray[np.int32] | NDArray[np.int64]
_SHORT_INDICES = 2**31
"""Points up to which indices are int32, half the memory."""


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

    Notes
    -----
    In memory are, beside the points, at most 32 bytes per point in single precision, 44 in double, the result included.

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
    order, start = _sort_by_rows(points, float(period), side)
    parent = _link(points, order, start, side, _Metric(float(period), float(linking_length)))
    groups = np.empty(len(points), dtype=np.int64)
    _lowest_members(parent, order, np.full_like(order, len(points)), groups)
    return groups


class _Metric(NamedTuple):
    """Period and linking length, in the unit of the points."""

    period: float
    linking_length: float


class _Cells(NamedTuple):
    """Points sorted by cells. Occupied cells of row r are in three arrays: ``n_cells[r]`` from ``start[r]`` on."""

    points: NDArray[np.floating]  # (N, 3)
    parent: Indices  # (N,), of each point: itself, or a lower one of its group
    start: NDArray[np.int64]  # (side^2 + 1,), first point of each row
    n_cells: NDArray[np.int32]  # (side^2,), occupied cells of each row
    first: Indices  # (N,), first point of each cell
    z: NDArray[np.int32]  # (N,), place of each cell in its row
    whole: NDArray[np.bool_]  # (N,), all points of the cell are known to be in one group


def _sort_by_rows(points: NDArray[np.floating], period: float, side: int) -> tuple[Indices, NDArray[np.int64]]:
    """Order of the points by rows, (N,), and where each row starts in it, (side^2 + 1,)."""
    order: Indices = np.empty(len(points), np.dtype(np.int32 if len(points) < _SHORT_INDICES else np.int64))
    row = np.empty(len(points), dtype=np.int64)
    start = np.zeros(side * side + 1, dtype=np.int64)
    if len(points):
        by_slabs(_find_rows, len(points), points, period, side, row)
        _count_and_place(row, start, order)
    return order, start


def _link(
    points: NDArray[np.floating], order: Indices, start: NDArray[np.int64], side: int, metric: _Metric
) -> Indices:
    """Parents of the points in `order`, which is sorted by cells on the way; they lead to the lowest of each group."""
    n = len(points)
    cells = _Cells(
        points=np.empty((n, 3), dtype=points.dtype),
        parent=np.empty_like(order),
        start=start,
        n_cells=np.empty(side * side, dtype=np.int32),
        first=np.empty_like(order),
        z=np.empty(n, dtype=np.int32),
        whole=np.empty(n, dtype=np.bool_),
    )
    # one by one: numba 0.60 mistakes tuples of many arrays for tuples of other arrays
    plain: tuple[Any, ...] = (*metric, *cells)
    by_slabs(_fill_slab, side, points, order, side, *plain)
    by_slabs(_link_slab, side, side, *plain)
    for last in slab_edges(side)[1:]:
        _link_border(last - 1, side, *plain)
    return cells.parent


@njit(cache=True, nogil=True, inline="always")
def _cell(position: float, period: float, side: int) -> int:
    """Number of the cell along one axis of a coordinate with any period."""
    position -= period * np.floor(position / period)
    # rounding may put a point on the upper face
    number: int = int(position / period * side)
    return number if number < side else side - 1


@njit(cache=True, nogil=True)
def _find_rows(
    points: NDArray[np.floating], period: float, side: int, row: NDArray[np.int64], first: int, last: int
) -> None:
    for i in range(first, last):
        x = _cell(np.float64(points[i, 0]), period, side)
        row[i] = x * side + _cell(np.float64(points[i, 1]), period, side)


@njit(cache=True, nogil=True)
def _count_and_place(row: NDArray[np.int64], start: NDArray[np.int64], order: Indices) -> None:
    """Sort by counting."""
    for r in row:
        start[r + 1] += 1
    for r in range(1, len(start)):
        start[r] += start[r - 1]
    for i in range(len(row)):
        order[start[row[i]]] = i
        start[row[i]] += 1
    # each start is now that of the next row
    for r in range(len(start) - 1, 0, -1):
        start[r] = start[r - 1]
    start[0] = 0


@njit(cache=True, nogil=True)
def _fill_slab(
    points: NDArray[np.floating], order: Indices,
    side: int, period: float, linking_length: float, sorted_points: NDArray[np.floating],
    parent: Indices, start: NDArray[np.int64], n_cells: NDArray[np.int32], first_points: Indices, z: NDArray[np.int32],
    whole: NDArray[np.bool_], first: int, last: int,
) -> None:  # fmt: skip
    """Sort the rows of a slab by cells, and join the friends within each cell."""
    metric = _Metric(period, linking_length)
    cells = _Cells(sorted_points, parent, start, n_cells, first_points, z, whole)
    for r in range(first * side, last * side):
        low, high = cells.start[r], cells.start[r + 1]
        for i in range(low, high):
            cells.z[i] = _cell(np.float64(points[order[i], 2]), metric.period, side)
        _sort_together(cells.z[low:high], order[low:high])
        c = low - 1
        for i in range(low, high):
            cells.parent[i] = i
            for axis in range(3):
                cells.points[i, axis] = points[order[i], axis]
            # the list of cells takes the place of what was read already
            if c < low or cells.z[i] != cells.z[c]:
                c += 1
                cells.first[c], cells.z[c] = i, cells.z[i]
        cells.n_cells[r] = c + 1 - low
        for c in range(low, low + cells.n_cells[r]):
            cells.whole[c] = _join_within(cells.first[c], _end(cells, r, c), metric, cells)


@njit(cache=True, nogil=True)
def _sort_together(key: NDArray[np.int32], order: Indices) -> None:
    """Sort a row by its keys, in place (Shell 1959): rows are short, and numba takes long to compile its own sort."""
    gap = 1
    while gap < len(key) // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, len(key)):
            k, o, j = key[i], order[i], i
            while j >= gap and key[j - gap] > k:
                key[j], order[j] = key[j - gap], order[j - gap]
                j -= gap
            key[j], order[j] = k, o
        gap //= 3


@njit(cache=True, nogil=True)
def _link_slab(
    side: int, period: float, linking_length: float, sorted_points: NDArray[np.floating],
    parent: Indices, start: NDArray[np.int64], n_cells: NDArray[np.int32], first_points: Indices, z: NDArray[np.int32],
    whole: NDArray[np.bool_], first: int, last: int,
) -> None:  # fmt: skip
    """Join friends in different cells of a slab."""
    metric = _Metric(period, linking_length)
    cells = _Cells(sorted_points, parent, start, n_cells, first_points, z, whole)
    for x in range(first, last):
        for y in range(side):
            r = x * side + y
            _join_along_row(r, side, metric, cells)
            _join_rows(r, x * side + (y + 1) % side, side, metric, cells)
        if x + 1 < last:
            _link_planes(x, side, metric, cells)


@njit(cache=True, nogil=True)
def _link_border(
    x: int, side: int, period: float, linking_length: float, sorted_points: NDArray[np.floating],
    parent: Indices, start: NDArray[np.int64], n_cells: NDArray[np.int32], first_points: Indices, z: NDArray[np.int32],
    whole: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Join friends in the last plane of a slab, x, and in the first one of the next."""
    metric = _Metric(period, linking_length)
    cells = _Cells(sorted_points, parent, start, n_cells, first_points, z, whole)
    _link_planes(x, side, metric, cells)


@njit(cache=True, nogil=True)
def _link_planes(x: int, side: int, metric: _Metric, cells: _Cells) -> None:
    """Join friends in a plane of cells and the next plane, across the faces too."""
    for y in range(side):
        for dy in range(-1, 2):
            _join_rows(x * side + y, (x + 1) % side * side + (y + dy) % side, side, metric, cells)


@njit(cache=True, nogil=True)
def _join_along_row(r: int, side: int, metric: _Metric, cells: _Cells) -> None:
    low = cells.start[r]
    last = low + cells.n_cells[r] - 1
    for c in range(low, last):
        if cells.z[c + 1] == cells.z[c] + 1:
            _join(r, c, r, c + 1, metric, cells)
    if last > low and cells.z[low] == 0 and cells.z[last] == side - 1:
        _join(r, low, r, last, metric, cells)


@njit(cache=True, nogil=True)
def _join_rows(r: int, q: int, side: int, metric: _Metric, cells: _Cells) -> None:
    """Join friends in two rows that touch."""
    low, high = cells.start[q], cells.start[q] + cells.n_cells[q]
    if low == high:
        return
    near = low
    for c in range(cells.start[r], cells.start[r] + cells.n_cells[r]):
        z = cells.z[c]
        while near < high and cells.z[near] < z - 1:
            near += 1
        o = near
        while o < high and cells.z[o] <= z + 1:
            _join(r, c, q, o, metric, cells)
            o += 1
        if z == 0 and cells.z[high - 1] == side - 1:
            _join(r, c, q, high - 1, metric, cells)
        if z == side - 1 and cells.z[low] == 0:
            _join(r, c, q, low, metric, cells)


@njit(cache=True, nogil=True, inline="always")
def _end(cells: _Cells, r: int, c: int) -> int:
    """First point after cell c of row r."""
    end: int = cells.first[c + 1] if c + 1 < cells.start[r] + cells.n_cells[r] else cells.start[r + 1]
    return end


@njit(cache=True, nogil=True)
def _join_within(low: int, high: int, metric: _Metric, cells: _Cells) -> bool:
    """Join the friends in one cell, whose points are their own parents; return whether it becomes one group."""
    groups = high - low
    for i in range(low, high):
        for j in range(i + 1, high):
            if _are_friends(i, j, metric, cells.points) and _unite(i, j, cells.parent):
                groups -= 1
                if groups == 1:
                    return True
    return groups == 1


@njit(cache=True, nogil=True)
def _join(r: int, c: int, q: int, o: int, metric: _Metric, cells: _Cells) -> None:
    """Join the friends in cell c of row r and cell o of row q."""
    low, high, other_low, other_high = cells.first[c], _end(cells, r, c), cells.first[o], _end(cells, q, o)
    whole, other_whole = cells.whole[c], cells.whole[o]
    if other_whole and not whole:
        low, high, other_low, other_high = other_low, other_high, low, high
        whole, other_whole = True, False
    for j in range(other_low, other_high):
        if whole and _root(cells.parent, j) == _root(cells.parent, low):
            if other_whole:
                return
            continue
        for i in range(low, high):
            if _are_friends(i, j, metric, cells.points):
                _unite(i, j, cells.parent)
                if other_whole:
                    return
                if whole:
                    break


@njit(cache=True, nogil=True, inline="always")
def _are_friends(i: int, j: int, metric: _Metric, points: NDArray[np.floating]) -> bool:
    square = 0.0
    for axis in range(3):
        step = abs(np.float64(points[i, axis]) - np.float64(points[j, axis]))
        if step > 0.5 * metric.period:
            step = abs(step - metric.period * np.floor(step / metric.period + 0.5))
        square += step * step
    return square <= metric.linking_length * metric.linking_length


@njit(cache=True, nogil=True)
def _unite(i: int, j: int, parent: Indices) -> bool:
    """Make two points one group; return whether they were two."""
    a, b = _root(parent, i), _root(parent, j)
    parent[max(a, b)] = min(a, b)
    return a != b


@njit(cache=True, nogil=True)
def _root(parent: Indices, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _lowest_members(parent: Indices, order: Indices, lowest: Indices, groups: NDArray[np.int64]) -> None:
    """Give each point, in the caller's order, the lowest index of its group."""
    for i in range(len(parent)):
        # parents are lower points, whose own parents are roots by now
        root = parent[parent[i]]
        parent[i] = root
        lowest[root] = min(lowest[root], order[i])
    for i in range(len(parent)):
        groups[order[i]] = lowest[parent[i]]
