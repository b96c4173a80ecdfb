"""Join groups of pseudo-space that lie within each other: fragments of one protohalo.

Where the network is unsure, a large protohalo stays wider than the pull margin and has several density maxima that the
persistence ratio of appendix B takes for haloes; a ratio high enough to join them joins small neighbours too. The loss
itself says which is which: it contracts an instance and pushes the centres of two apart, so that groups whose centres
are no farther apart than their widths are one. This step is ours; the paper has none.
"""

from __future__ import annotations

import math
import numbers

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ..exceptions import ClusteringError


def merge_groups(
    points: ArrayLike, labels: ArrayLike, width_ratio: float = 1.0, distance: float = 0.0
) -> NDArray[np.int32]:
    """Join groups whose centres are closer than `distance` + `width_ratio` (w_A + w_B).

    w is the rms distance of a group's points from their mean. The pair with the smallest ratio of separation to limit
    is joined first, disjoint pairs at a time; centres and widths follow, until no pair is left.

    Parameters
    ----------
    points : array_like of real, shape (N, 3)
        Embedding coordinates, dimensionless.
    labels : array_like of int, shape (N,)
        Groups 0..K-1, as `cluster_embedding` gives them.
    width_ratio : float, not negative
        Of the limit to the widths, dimensionless.
    distance : float, not negative
        In units of pseudo-space.

    Returns
    -------
    int32, shape (N,)
        Groups 0..J-1 in the order of the first label that each holds.

    Raises
    ------
    ClusteringError
        Shapes that do not fit, negative labels, or limits that are negative or not finite.

    Examples
    --------
    >>> from yt_protohalos.segmentation.merging import merge_groups
    >>> points = [[0, 0, 0], [0.2, 0, 0], [0.3, 0, 0], [5, 0, 0]]
    >>> merge_groups(points, [0, 0, 1, 2], distance=0.5)
    array([0, 0, 0, 1], dtype=int32)
    """
    coordinates, groups = np.asarray(points, dtype=np.float64), np.asarray(labels)
    if coordinates.ndim != 2 or coordinates.shape[1:] != (3,) or groups.shape != coordinates.shape[:1]:
        raise ClusteringError(
            f"points {coordinates.shape} and labels {groups.shape} do not fit; pass (N, 3) coordinates and N labels"
        )
    for name, value in (("width_ratio", width_ratio), ("distance", distance)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
            raise ClusteringError(f"{name} = {value!r} is not a finite number of at least 0; 0 merges nothing")
    if len(groups) == 0:
        return np.empty(0, dtype=np.int32)
    if groups.dtype.kind not in "iu" or groups.min() < 0:
        raise ClusteringError("labels are not integers of at least 0; pass the groups of cluster_embedding")
    owner = _owners(coordinates, groups, float(width_ratio), float(distance))
    used = np.unique(owner[groups])
    return np.searchsorted(used, owner[groups]).astype(np.int32)


def _owners(
    coordinates: NDArray[np.float64], groups: NDArray[np.integer], width_ratio: float, distance: float
) -> NDArray[np.int64]:
    """Lowest label of the joined group of each label."""
    count = np.bincount(groups).astype(np.float64)
    # moments about the common mean keep their precision wherever the embedding lies
    shifted = coordinates - coordinates.mean(axis=0)
    total = np.stack([np.bincount(groups, weights=shifted[:, axis]) for axis in range(3)], axis=-1)
    square = np.bincount(groups, weights=np.sum(shifted**2, axis=1))
    owner = np.arange(len(count))
    while True:
        alive = np.flatnonzero(count > 0)
        centre = total[alive] / count[alive, None]
        width = np.sqrt(np.maximum(square[alive] / count[alive] - np.sum(centre**2, axis=1), 0.0))
        pairs = _close_pairs(centre, width, width_ratio, distance)
        if not len(pairs):
            return owner
        _join(alive[pairs], count, total, square, owner)


def _close_pairs(
    centre: NDArray[np.float64], width: NDArray[np.float64], width_ratio: float, distance: float
) -> NDArray[np.int64]:
    """Pairs within their limit, the closest in units of it first."""
    largest = distance + 2 * width_ratio * float(width.max())
    pairs = cKDTree(centre).query_pairs(largest, output_type="ndarray")
    limit = distance + width_ratio * (width[pairs[:, 0]] + width[pairs[:, 1]])
    separation = np.linalg.norm(centre[pairs[:, 0]] - centre[pairs[:, 1]], axis=1)
    close = separation < limit
    pairs, ratio = np.sort(pairs[close], axis=1), separation[close] / limit[close]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0], ratio))].astype(np.int64)


@njit(cache=True, nogil=True)
def _join(pairs: NDArray, count: NDArray, total: NDArray, square: NDArray, owner: NDArray) -> None:
    """Join pairs in their order, each group once a round, and add up their moments."""
    joined = np.zeros(len(count), dtype=np.bool_)
    into = np.arange(len(count))
    for row in range(len(pairs)):
        first, second = pairs[row, 0], pairs[row, 1]
        if joined[first] or joined[second]:
            continue
        joined[first] = joined[second] = True
        count[first] += count[second]
        square[first] += square[second]
        for axis in range(3):
            total[first, axis] += total[second, axis]
        count[second] = 0
        into[second] = first
    for label in range(len(owner)):
        owner[label] = into[owner[label]]
