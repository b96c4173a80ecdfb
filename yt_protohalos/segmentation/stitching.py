"""Stitching of two lattices of crop labels into one label a protohalo, for the whole periodic box.

Source: López-Cano et al. 2024, A&A 685, A37, appendix D (iv)-(v), with design choices where it is silent:

- Size of a label: after components are merged, the sites of the box that carry it in lattice a plus those that
  carry it in lattice b (a site where both agree counts twice). Background, 0, is a label like any other here:
  its size is the number of unlabelled sites in a plus that in b.
- A site on which the lattices disagree takes the larger label; equal sizes: the lower label, where a component
  goes by its lowest crop label and background by 0. This holds for label against label and for label against
  background, so a site that one lattice alone labels falls to background unless its label has more sites
  than background.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..exceptions import StitchingError
from .labels import Labels, compact, label_cube, label_sizes, lowest_connected, map_labels, numbers_by_size
from .overlap import OverlapGraph

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class Stitched:
    """Stitched labels and how they came about.

    Attributes
    ----------
    labels : int32, shape (n, n, n)
        0 none, 1..K by descending number of sites (ties: by first site).
    overlap : OverlapGraph
        Crop labels and which of the two lattices are the same object; ``iou`` is in [threshold, 1].
    component : int32, shape (largest crop label + 1,)
        Final label of each crop label; 0 for numbers not in use and for objects that lost all their sites.
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
    if isinstance(quadrant, numbers.Integral):
        quadrant = _regular_boundaries(int(quadrant), len(a))
    (a, b), _ = compact(a, b)
    return _stitch_dense(a, b, quadrant, iou_threshold).labels


def stitch(
    labels_a: ArrayLike, labels_b: ArrayLike, octant_boundaries: ArrayLike, iou_threshold: float = 0.5
) -> Stitched:
    """Join the labels of two lattices of crops and keep the overlap graph.

    As `stitch_lattices`, with the octant boundaries of an axis: ascending integers in [0, n]. The octants are
    periodic; without 0 or n among the boundaries one of them crosses the seam of the box.
    """
    a, b = _cubes(labels_a, labels_b)
    (a, b), names = compact(a, b)
    if names is not None:
        raise StitchingError(
            f"the largest label is {names[-1]}, too sparse for a box of {a.size} sites; number the labels consecutively"
        )
    return _stitch_dense(a, b, octant_boundaries, iou_threshold)


def _stitch_dense(a: Labels, b: Labels, boundaries: ArrayLike, iou_threshold: float) -> Stitched:
    threshold = _check_threshold(iou_threshold)
    sites, starts = _octant_ranges(boundaries, len(a))
    n_labels = int(max(a.max(), b.max())) + 1
    size_a, size_b = label_sizes(a, n_labels), label_sizes(b, n_labels)
    _refuse_shared_labels(size_a, size_b)
    edges = _strongest(_octant_edges(a, b, sites, starts, n_labels, threshold))
    overlap = _overlap_graph(size_a, size_b, edges)
    lowest = lowest_connected(overlap.edge, n_labels)
    size = np.bincount(lowest, weights=size_a + size_b, minlength=n_labels).astype(np.int64)
    labels = _settle(a.ravel(), b.ravel(), lowest, size).reshape(a.shape)
    number = numbers_by_size(labels)
    component = np.zeros(n_labels, dtype=np.int32)
    component[: len(number)] = number
    final = component[lowest]
    return Stitched(map_labels(labels, number, out=labels), overlap.labelled(final), final)


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


def _regular_boundaries(quadrant: int, n: int) -> list[int]:
    if quadrant < 1 or n % quadrant:
        raise StitchingError(
            f"quadrant {quadrant} does not divide the box of {n} sites per side; "
            f"pass a divisor, or the boundaries CropPlan({n}).octant_boundaries"
        )
    return list(range(0, n, quadrant))


def _octant_ranges(boundaries: ArrayLike, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sites of an axis, octant after octant from the first boundary on, and where each octant begins in them."""
    given = np.asarray(boundaries)
    valid = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu"
    if not valid or given[0] < 0 or given[-1] > n or (given[1:] <= given[:-1]).any():
        raise StitchingError(
            f"octant boundaries {boundaries!r} are not strictly ascending integers in [0, {n}]; "
            f"pass CropPlan({n}).octant_boundaries"
        )
    cuts = np.unique(given.astype(np.int64) % n)
    return (cuts[0] + np.arange(n)) % n, np.append(cuts - cuts[0], n)


def _refuse_shared_labels(size_a: NDArray[np.int64], size_b: NDArray[np.int64]) -> None:
    shared = np.flatnonzero((size_a[1:] > 0) & (size_b[1:] > 0)) + 1
    if len(shared):
        raise StitchingError(
            f"{len(shared)} labels are in both lattices, e.g. number {shared[0]}; labels are unique over the crops of "
            "both: add labels_a.max() to the labels of b"
        )


@njit(cache=True, nogil=True)
def _octant_edges(
    a: NDArray, b: NDArray, sites: NDArray, starts: NDArray, n_labels: int, threshold: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Labels (l1, l2) whose IoU in some octant reaches the threshold, eq. D2, with that IoU; pairs may repeat."""
    widest = np.max(starts[1:] - starts[:-1])
    # sites of an octant as (number of its a label, of its b label); numbers are local to the octant, 0 = none
    local_a = np.zeros(n_labels, dtype=np.int32)
    local_b = np.zeros(n_labels, dtype=np.int32)
    site_a = np.empty(widest**3, dtype=np.int32)
    site_b = np.empty(widest**3, dtype=np.int32)
    from_a = np.empty(1024, dtype=np.int64)
    to_b = np.empty(1024, dtype=np.int64)
    iou = np.empty(1024, dtype=np.float64)
    n_edges = 0
    n_octants = len(starts) - 1
    for octant in range(n_octants**3):
        i, j, k = octant // n_octants**2, octant // n_octants % n_octants, octant % n_octants
        xs, ys, zs = (
            sites[starts[i] : starts[i + 1]],
            sites[starts[j] : starts[j + 1]],
            sites[starts[k] : starts[k + 1]],
        )
        labels_a = _number_locally(a, xs, ys, zs, local_a, site_a)
        labels_b = _number_locally(b, xs, ys, zs, local_b, site_b)
        n_sites = len(xs) * len(ys) * len(zs)
        size_a = np.bincount(site_a[:n_sites], minlength=len(labels_a))
        size_b = np.bincount(site_b[:n_sites], minlength=len(labels_b))
        left, right, common = _common_sites(site_a[:n_sites], site_b[:n_sites], size_a, len(labels_b))
        for e in range(len(left)):
            ratio = common[e] / (size_a[left[e]] + size_b[right[e]] - common[e])
            if ratio >= threshold:
                if n_edges == len(iou):
                    from_a = np.concatenate((from_a, from_a))
                    to_b = np.concatenate((to_b, to_b))
                    iou = np.concatenate((iou, iou))
                from_a[n_edges], to_b[n_edges], iou[n_edges] = labels_a[left[e]], labels_b[right[e]], ratio
                n_edges += 1
    return from_a[:n_edges], to_b[:n_edges], iou[:n_edges]


@njit(cache=True, nogil=True)
def _number_locally(
    cube: NDArray, xs: NDArray, ys: NDArray, zs: NDArray, local: NDArray, numbers_out: NDArray
) -> NDArray:
    """Number an octant's labels 1.. in order of appearance; returns number -> label, leaves `local` zero."""
    labels = np.zeros(len(xs) * len(ys) * len(zs) + 1, dtype=np.int32)
    n_labels, site = 1, 0
    for x in xs:
        for y in ys:
            for z in zs:
                label = cube[x, y, z]
                if label > 0 and local[label] == 0:
                    local[label] = n_labels
                    labels[n_labels] = label
                    n_labels += 1
                numbers_out[site] = local[label]
                site += 1
    for number in range(n_labels):
        local[labels[number]] = 0
    return labels[:n_labels]


@njit(cache=True, nogil=True)
def _common_sites(site_a: NDArray, site_b: NDArray, size_a: NDArray, n_b: int) -> tuple[NDArray, NDArray, NDArray]:
    """Pairs of local labels that share sites, and how many; linear in sites (a counting sort by a's label)."""
    begin = np.zeros(len(size_a) + 1, dtype=np.int64)
    begin[1:] = np.cumsum(size_a)
    filled = begin[:-1].copy()
    sorted_b = np.empty(len(site_b), dtype=np.int32)
    for s in range(len(site_a)):
        sorted_b[filled[site_a[s]]] = site_b[s]
        filled[site_a[s]] += 1
    left = np.empty(len(site_a), dtype=np.int32)
    right = np.empty(len(site_a), dtype=np.int32)
    common = np.empty(len(site_a), dtype=np.int64)
    slot = np.full(n_b, -1, dtype=np.int64)
    n_pairs = 0
    for label in range(1, len(size_a)):
        first_pair = n_pairs
        for other in sorted_b[begin[label] : begin[label + 1]]:
            if other == 0:
                continue
            if slot[other] < first_pair:
                slot[other] = n_pairs
                left[n_pairs], right[n_pairs], common[n_pairs] = label, other, 0
                n_pairs += 1
            common[slot[other]] += 1
    return left[:n_pairs], right[:n_pairs], common[:n_pairs]


def _strongest(edges: Edges) -> Edges:
    """One edge a pair of labels, with the largest IoU, ordered by pair."""
    from_a, to_b, iou = edges
    order = np.lexsort((-iou, to_b, from_a))
    from_a, to_b, iou = from_a[order], to_b[order], iou[order]
    first = np.ones(len(iou), dtype=bool)
    first[1:] = (np.diff(from_a) != 0) | (np.diff(to_b) != 0)
    return from_a[first], to_b[first], iou[first]


def _overlap_graph(size_a: NDArray[np.int64], size_b: NDArray[np.int64], edges: Edges) -> OverlapGraph:
    used_a, used_b = (np.flatnonzero(size[1:]) + 1 for size in (size_a, size_b))
    return OverlapGraph(
        node=np.concatenate([used_a, used_b]).astype(np.int32),
        size=np.concatenate([size_a[used_a], size_b[used_b]]),
        in_b=np.repeat([False, True], [len(used_a), len(used_b)]),
        edge=np.stack(edges[:2], axis=-1).astype(np.int32),
        iou=edges[2],
        label=np.zeros(len(used_a) + len(used_b), dtype=np.int32),
    )


@njit(cache=True, nogil=True)
def _settle(a: NDArray, b: NDArray, lowest: NDArray, size: NDArray) -> NDArray:
    """Label of each site where the lattices agree, and the larger one (equal: the lower) where they do not."""
    labels = np.empty(len(a), dtype=np.int32)
    for site in range(len(a)):
        first, second = lowest[a[site]], lowest[b[site]]
        low, high = min(first, second), max(first, second)
        labels[site] = high if size[high] > size[low] else low
    return labels
