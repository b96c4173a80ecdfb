"""Stitching of the labels of two lattices of crops into one label for each protohalo of a periodic box.

Source: López-Cano et al. 2024, A&A 685, A37, appendix D (iv)-(v). Where the paper is silent:

- The size of an object is counted after its labels are joined: the sites of the box that carry one of them in lattice
  a plus those in lattice b. A site where both lattices agree counts twice. Background, 0, is an object like any other:
  its size is the number of unlabelled sites in a plus that in b.
- A site on which the lattices disagree takes the larger object; of equal ones that with the lowest crop label, which is
  0 for background. A site that one lattice alone labels therefore becomes background unless its object is larger than
  the background.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import StitchingError
from .labels import (
    Labels,
    compact,
    contingency,
    label_cube,
    label_sizes,
    lowest_connected,
    map_labels,
    numbers_by_size,
)
from .overlap import OverlapGraph

Edges = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class StitchResult:
    """Labels of a box, and the crop labels that they were made of.

    labels : (n, n, n), 0 none, 1..K by descending number of sites (ties: by first site)
    component : (largest crop label + 1,), final label of each; 0 for unused ones and objects that lost all their sites
    """

    labels: Labels
    overlap: OverlapGraph
    component: NDArray[np.int32]


def stitch_lattices(
    labels_a: ArrayLike, labels_b: ArrayLike, quadrant: int | Sequence[int] = 32, iou_threshold: float = 0.5
) -> Labels:
    """Join the labels of two lattices of crops, appendix D.

    Parameters
    ----------
    labels_a, labels_b : int, shape (n, n, n)
        Labels of the cores of either lattice, 0 = none; unique over the crops of both.
    quadrant : int or sequence of int
        Side of the octants in which overlap is measured, half a core (the paper's word is quadrant), a divisor
        of n; or the octant boundaries on an axis, as `CropPlan.octant_boundaries`.
    iou_threshold : float, in (0, 1]
        Two labels are one object if intersection / union is at least this in any octant, eq. D2.

    Returns
    -------
    int32, shape (n, n, n)
        0 none, 1..K by descending number of sites (ties: by first site).

    Raises
    ------
    StitchingError
        Cubes of other or different shapes, not integer, negative, or sharing a label; a quadrant that does not
        tile the box; a threshold outside its range.

    Examples
    --------
    >>> a, b = np.zeros((2, 64, 64, 64), dtype=np.int32)
    >>> a[20:40, 20:40, 20:40] = 1
    >>> b[21:40, 20:40, 20:40] = 2
    >>> np.bincount(ph.stitch_lattices(a, b, quadrant=32).ravel())[1:]
    array([7600])
    """
    a, b = _cubes(labels_a, labels_b)
    boundaries = _regular_boundaries(int(quadrant), len(a)) if isinstance(quadrant, numbers.Integral) else quadrant
    (a, b), _ = compact(a, b)
    return _stitched(a, b, boundaries, iou_threshold).labels


def stitch(
    labels_a: ArrayLike, labels_b: ArrayLike, octant_boundaries: ArrayLike, iou_threshold: float = 0.5
) -> StitchResult:
    """Join the labels of two lattices of crops and keep the overlap graph.

    As `stitch_lattices`, with the octant boundaries of an axis: ascending integers in [0, n]. The octants are
    periodic; without 0 or n among the boundaries one of them crosses the seam of the box.
    """
    a, b = _cubes(labels_a, labels_b)
    (a, b), old = compact(a, b)
    if old is not None:
        raise StitchingError(
            f"the largest label is {old[-1]}, too sparse for a box of {a.size} sites; number the labels consecutively"
        )
    return _stitched(a, b, octant_boundaries, iou_threshold)


def _stitched(a: Labels, b: Labels, boundaries: ArrayLike, iou_threshold: float) -> StitchResult:
    threshold = _check_threshold(iou_threshold)
    octants = _octants(boundaries, len(a))
    n_labels = int(max(a.max(), b.max())) + 1
    size_a, size_b = label_sizes(a, n_labels), label_sizes(b, n_labels)
    _check_labels_differ(size_a, size_b)
    overlap = _overlap_graph(size_a, size_b, _edges(a, b, octants, threshold))
    lowest = lowest_connected(overlap.edge, n_labels)
    labels = _settled(a, b, lowest, size_a + size_b)
    number = numbers_by_size(labels)
    # `number` ends with the largest label that is left
    component = np.append(number, np.zeros(n_labels - len(number), dtype=np.int32))[lowest]
    return StitchResult(map_labels(labels, number, out=labels), overlap.labelled(component), component)


def _cubes(labels_a: ArrayLike, labels_b: ArrayLike) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    a, b = label_cube(labels_a, "labels_a"), label_cube(labels_b, "labels_b")
    if a.shape != b.shape:
        raise StitchingError(f"labels_a is {a.shape} and labels_b {b.shape}; pass both lattices of one box")
    return a, b


def _check_threshold(iou_threshold: float) -> float:
    valid = isinstance(iou_threshold, numbers.Real) and not isinstance(iou_threshold, bool)
    if not valid or not 0 < iou_threshold <= 1:
        raise StitchingError(
            f"iou_threshold = {iou_threshold!r} is not an intersection over union in (0, 1]; the paper uses 0.5"
        )
    return float(iou_threshold)


def _check_labels_differ(size_a: NDArray[np.int64], size_b: NDArray[np.int64]) -> None:
    shared = np.flatnonzero((size_a[1:] > 0) & (size_b[1:] > 0)) + 1
    if len(shared):
        raise StitchingError(
            f"{len(shared)} labels are in both lattices, e.g. number {shared[0]}; labels are unique over the crops of "
            "both: add labels_a.max() to the labels of b"
        )


def _regular_boundaries(quadrant: int, n: int) -> list[int]:
    if quadrant < 1 or n % quadrant:
        raise StitchingError(
            f"quadrant {quadrant} does not divide the box of {n} sites per side; "
            f"pass a divisor, or the boundaries CropPlan({n}).octant_boundaries"
        )
    return list(range(0, n, quadrant))


def _octants(boundaries: ArrayLike, n: int) -> list[NDArray[np.int64]]:
    """Sites of each octant on an axis; the last octant may cross the seam of the box."""
    given = np.asarray(boundaries)
    valid = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu"
    if not valid or given[0] < 0 or given[-1] > n or (given[1:] <= given[:-1]).any():
        raise StitchingError(
            f"octant boundaries {boundaries!r} are not strictly ascending integers in [0, {n}]; "
            f"pass CropPlan({n}).octant_boundaries"
        )
    cuts = np.unique(given.astype(np.int64) % n)
    return [np.arange(low, high) % n for low, high in pairwise([*cuts, cuts[0] + n])]


def _edges(a: Labels, b: Labels, octants: list[NDArray[np.int64]], threshold: float) -> Edges:
    """Pairs of labels, (E, 2), whose IoU in some octant reaches the threshold, eq. D2, and their largest such IoU."""
    pairs, ious = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
    for axes in product(octants, repeat=3):
        octant = np.ix_(*axes)
        left, right, shared = contingency(a[octant], b[octant])
        _, of_left = np.unique(left, return_inverse=True)
        _, of_right = np.unique(right, return_inverse=True)
        size_left, size_right = np.bincount(of_left, shared)[of_left], np.bincount(of_right, shared)[of_right]
        iou = shared / (size_left + size_right - shared)
        joined = (left > 0) & (right > 0) & (iou >= threshold)
        pairs.append(np.stack([left[joined], right[joined]], axis=-1))
        ious.append(iou[joined])
    pair, iou = np.concatenate(pairs), np.concatenate(ious)
    order = np.lexsort((-iou, pair[:, 1], pair[:, 0]))
    pair, first = np.unique(pair[order], axis=0, return_index=True)
    return pair, iou[order][first]


def _overlap_graph(size_a: NDArray[np.int64], size_b: NDArray[np.int64], edges: Edges) -> OverlapGraph:
    used_a, used_b = (np.flatnonzero(size[1:]) + 1 for size in (size_a, size_b))
    return OverlapGraph(
        node=np.concatenate([used_a, used_b]).astype(np.int32),
        size=np.concatenate([size_a[used_a], size_b[used_b]]),
        in_b=np.repeat([False, True], [len(used_a), len(used_b)]),
        edge=edges[0].astype(np.int32),
        iou=edges[1],
        label=np.zeros(len(used_a) + len(used_b), dtype=np.int32),
    )


def _settled(a: Labels, b: Labels, lowest: NDArray[np.int32], size: NDArray[np.int64]) -> Labels:
    """Lowest crop label of the object at each site: of two objects the larger, of equal ones the lower."""
    total = np.zeros(len(size), dtype=np.int64)
    np.add.at(total, lowest, size)
    by_size = np.argsort(-total, kind="stable").astype(np.int32)
    rank = np.empty_like(by_size)
    rank[by_size] = np.arange(len(by_size), dtype=np.int32)
    rank = rank[lowest]
    labels = np.empty(a.shape, dtype=np.int32)
    for plane, plane_a, plane_b in zip(labels, a, b, strict=True):
        plane[:] = by_size[np.minimum(rank[plane_a], rank[plane_b])]
    return labels
