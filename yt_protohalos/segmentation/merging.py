"""Join the fragments of one protohalo, in pseudo-space and by final positions. The paper has neither step.

A large protohalo may have several density maxima in the embedding. The training loss pushes centres apart, so that
groups closer than their widths are one. Friends-of-friends joins bodies whose outskirts touch at the target time.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ..exceptions import ClusteringError
from .labels import lowest_connected, map_labels, relabel_by_size

OVERDENSITY = 200.0
"""Mean density of a halo in units of the mean of the universe, which gives it a radius."""


def merge_groups(
    points: ArrayLike, labels: ArrayLike, width_ratio: float = 1.0, distance: float = 0.0
) -> NDArray[np.int32]:
    """Join groups whose centres are closer than `distance` + `width_ratio` (w_A + w_B).

    w is the rms distance of a group's points from their mean. In each round, pairs are joined in the order of their
    separation over its limit, each group at most once; then centres and widths are updated, until no pair is left.

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
    _check_limit("width_ratio", width_ratio)
    _check_limit("distance", distance)
    if len(groups) == 0:
        return np.empty(0, dtype=np.int32)
    if groups.dtype.kind not in "iu" or groups.min() < 0:
        raise ClusteringError("labels are not integers of at least 0; pass the groups of cluster_embedding")
    owner = _owners(coordinates, groups, float(width_ratio), float(distance))[groups]
    return np.unique(owner, return_inverse=True)[1].astype(np.int32)


def _check_limit(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
        raise ClusteringError(f"{name} = {value!r} is not a finite number of at least 0; 0 joins nothing")


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
        into = _joined(alive[pairs], len(count))
        gone = np.flatnonzero(into != np.arange(len(into)))
        for moment in (count, total, square):
            moment[into[gone]] += moment[gone]
        count[gone] = 0
        owner = into[owner]


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


def _joined(pairs: NDArray[np.int64], n_labels: int) -> NDArray[np.int64]:
    """Label that each label becomes when pairs are joined in their order, each label at most once."""
    into, joined = np.arange(n_labels), set[int]()
    for first, second in pairs.tolist():
        if not joined & {first, second}:
            joined |= {first, second}
            into[second] = first
    return into


def join_in_contact(labels: NDArray[np.int32], displacement: NDArray[np.floating], contact: float) -> NDArray[np.int32]:
    """Join protohaloes whose centres end closer than `contact` times the sum of their radii.

    The radius is that of a sphere of `OVERDENSITY` with the protohalo's mass. All pairs in contact are joined at once.

    Parameters
    ----------
    labels : int32, (n, n, n)
        0 outside, 1..K.
    displacement : float, (3, n, n, n)
        Final minus initial position in sites, as `EvolvedField.displacement`.
    contact : float, not negative
        0 joins nothing.

    Returns
    -------
    int32, (n, n, n)
        0 outside, 1..J by descending number of sites (ties: by first site).

    Raises
    ------
    ClusteringError
        A contact that is negative or not finite, or a displacement of other sites.

    Examples
    --------
    >>> from yt_protohalos.fields.evolution import evolve_field
    >>> from yt_protohalos.segmentation.merging import join_in_contact
    >>> joined = join_in_contact(prediction.labels, evolve_field(field).displacement, contact=0.65)
    >>> joined.max() <= prediction.labels.max()
    np.True_
    """
    _check_limit("contact", contact)
    if displacement.shape != (3, *labels.shape):
        raise ClusteringError(
            f"labels {labels.shape} and displacement {displacement.shape} do not fit; pass (3, n, n, n) of those sites"
        )
    n_labels = int(labels.max(initial=0)) + 1
    if n_labels < 3 or contact == 0:
        return relabel_by_size(labels)
    center, size = final_centers(labels, displacement, n_labels)
    pairs = _pairs_in_contact(center[1:], size[1:], float(contact), len(labels))
    return relabel_by_size(map_labels(labels, lowest_connected(1 + pairs, n_labels)))


def final_centers(
    labels: NDArray[np.int32], displacement: NDArray[np.floating], n_labels: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean final position in sites within [0, n), (n_labels, 3), and number of sites, (n_labels,), of each label."""
    first = np.full((n_labels, 3), np.nan)
    total, size = np.zeros((n_labels, 3)), np.zeros(n_labels, dtype=np.int64)
    _add_positions(labels, displacement, first, total, size)
    first[size == 0] = 0
    return (first + total / np.maximum(size, 1)[:, None]) % len(labels), size


def _pairs_in_contact(
    center: NDArray[np.float64], size: NDArray[np.int64], contact: float, n: int
) -> NDArray[np.int64]:
    """Pairs of protohaloes, (P, 2), nearer than `contact` times the sum of their radii."""
    radius = np.cbrt(3 * size / (4 * np.pi * OVERDENSITY))
    # a periodic tree searches less than half of the box, and no distance is larger
    reach = min(2 * contact * float(radius.max()), 0.49 * n)
    pairs = cKDTree(center % n, boxsize=n).query_pairs(reach, output_type="ndarray")
    apart = np.abs(center[pairs[:, 0]] - center[pairs[:, 1]])
    distance = np.linalg.norm(np.minimum(apart, n - apart), axis=1)
    return np.asarray(pairs[distance < contact * (radius[pairs[:, 0]] + radius[pairs[:, 1]])], dtype=np.int64)


@njit(cache=True, nogil=True)
def _add_positions(
    labels: NDArray[Any], displacement: NDArray[Any], first: NDArray[Any], total: NDArray[Any], size: NDArray[Any]
) -> None:
    """Add up final positions relative to that of the label's first site, by the shortest periodic image."""
    n = labels.shape[0]
    for i in range(n):
        for j in range(n):
            for k in range(n):
                label = labels[i, j, k]
                if label == 0:
                    continue
                for axis in range(3):
                    position = displacement[axis, i, j, k] + (i if axis == 0 else j if axis == 1 else k)
                    if size[label] == 0:
                        first[label, axis] = position
                    apart = position - first[label, axis]
                    total[label, axis] += apart - n * np.floor(apart / n + 0.5)
                size[label] += 1
