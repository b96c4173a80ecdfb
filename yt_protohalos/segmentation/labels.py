"""Label cubes: integers, 0 for none and 1..K for K objects.

Functions read a cube in parts, so that they need little memory beside the cube and their result.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..exceptions import StitchingError

Labels = NDArray[np.int32]

_PART = 2**15  # sites read at a time


def label_sizes(labels: NDArray[np.integer], n_labels: int = 0) -> NDArray[np.int64]:
    """Number of sites of each label, int64, (largest label + 1,) or at least (n_labels,); entry 0 is outside all."""
    sizes = np.zeros(max(int(labels.max(initial=0)) + 1, n_labels), dtype=np.int64)
    for part in _parts(labels):
        # a count of one part by bincount is as long as its largest label, which may be that of the last site
        np.add.at(sizes, part.astype(np.intp, copy=False), 1)
    return sizes


def relabel_by_size(labels: ArrayLike, min_sites: int = 0) -> Labels:
    """Number labels 1..K by descending number of sites (ties: by first site), without those below `min_sites`.

    Raises `StitchingError` unless labels are a cube of integers of at least 0, and `min_sites` is one too.
    """
    if isinstance(min_sites, bool) or not isinstance(min_sites, numbers.Integral) or min_sites < 0:
        raise StitchingError(f"min_sites = {min_sites!r} is not a number of sites; use an integer of at least 0")
    (cube,), _ = compact(label_cube(labels, "labels"))
    return map_labels(cube, numbers_by_size(cube, int(min_sites)))


def numbers_by_size(labels: Labels, min_sites: int = 0) -> NDArray[np.int32]:
    """New number of each label for `relabel_by_size`, int32, (largest label + 1,); 0 for labels that go."""
    size = label_sizes(labels)
    first = np.zeros(len(size), dtype=np.int64)
    stop = labels.size
    for part in reversed(list(_parts(labels))):
        # of sites assigned to one label the last one stays, which is the first of the cube in this order
        first[part[::-1]] = np.arange(stop - 1, stop - len(part) - 1, -1)
        stop -= len(part)
    size[0] = 0
    kept = np.flatnonzero((size > 0) & (size >= min_sites))
    kept = kept[np.lexsort((first[kept], -size[kept]))]
    number = np.zeros(len(size), dtype=np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    return number


def map_labels(labels: NDArray[np.integer], new: NDArray[np.int32], out: Labels | None = None) -> Labels:
    """``new[labels]`` as int32; `out` may be `labels` itself, which is then changed in place."""
    result = np.empty(labels.shape, dtype=np.int32) if out is None else out
    for part, new_part in zip(_parts(labels), _parts(result), strict=True):
        new_part[:] = new[part]
    return result


def label_map(old: NDArray[np.integer], new: NDArray[np.integer], n_labels: int = 0) -> NDArray[np.int64]:
    """New label of each old one, for cubes of which one is the other with labels renamed, joined or removed.

    returns : int64, (largest old label + 1,) or at least (n_labels,); 0 for labels that do not occur
    """
    table = np.zeros(max(int(old.max(initial=0)) + 1, n_labels), dtype=np.int64)
    for old_part, new_part in zip(_parts(old), _parts(new), strict=True):
        table[old_part] = new_part
    return table


def contingency(*labellings: NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
    """Number of sites that the labels of two or more labellings have in common; 0 is a label like any other.

    returns : int64, (P,) each, the combinations that occur, ascending, an array per labelling; then their sites
    """
    shape = tuple(int(labels.max(initial=0)) + 1 for labels in labellings)
    codes, counts = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for parts in zip(*map(_parts, labellings), strict=True):
        code = np.atleast_1d(np.ravel_multi_index(parts, shape))
        # neighbouring sites mostly share their labels: runs of them are sorted, not sites
        start = np.concatenate([[0], np.flatnonzero(code[1:] != code[:-1]) + 1])
        found, sites = _summed(code[start], np.diff(start, append=len(code)))
        codes.append(found)
        counts.append(sites)
    distinct, sites = _summed(np.concatenate(codes), np.concatenate(counts))
    return (*(labels.astype(np.int64) for labels in np.unravel_index(distinct, shape)), sites)


def _summed(code: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct codes, ascending, and the sum of the counts of each."""
    distinct, place = np.unique(code, return_inverse=True)
    # sums below 2^53 are exact in float64
    return distinct, np.bincount(place, weights=count, minlength=len(distinct)).astype(np.int64)


def lowest_connected(pairs: NDArray[np.integer], n_labels: int) -> NDArray[np.int32]:
    """Lowest label that pairs, (P, 2), connect with each label, (n_labels,); itself where it is in no pair."""
    links = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n_labels, n_labels))
    n_components, component = connected_components(links, directed=False)
    lowest = np.full(n_components, n_labels, dtype=np.int32)
    np.minimum.at(lowest, component, np.arange(n_labels, dtype=np.int32))
    return np.asarray(lowest[component], dtype=np.int32)


def count_pieces(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Number of separate pieces of each label, across periodic faces; sites are connected that share a face.

    labels : int, (n, n, n), 0 none, 1..K
    returns : int64, (K,)
    """
    from skimage.measure import label

    owner, pairs = [np.zeros(1, dtype=np.int64)], [np.empty((0, 2), dtype=np.int64)]
    n_pieces = 1
    first, last = None, None
    thickness = max(1, _PART // len(labels) ** 2) if len(labels) else 1
    for low in range(0, len(labels), thickness):
        slab = labels[low : low + thickness]
        piece = label(slab, background=0, connectivity=1)  # type: ignore[no-untyped-call]
        owner.append(label_map(piece, slab)[1:])
        piece[piece > 0] += n_pieces - 1
        n_pieces += len(owner[-1])
        pairs.append(_touching((slab[:, 0], piece[:, 0]), (slab[:, -1], piece[:, -1])))
        pairs.append(_touching((slab[:, :, 0], piece[:, :, 0]), (slab[:, :, -1], piece[:, :, -1])))
        first = first or (slab[0], piece[0].copy())
        if last:
            pairs.append(_touching(last, (slab[0], piece[0])))
        last = slab[-1], piece[-1]
    if first and last:
        pairs.append(_touching(last, first))
    pieces = np.unique(lowest_connected(np.concatenate(pairs), n_pieces)[1:])
    return np.bincount(np.concatenate(owner)[pieces], minlength=int(labels.max(initial=0)) + 1)[1:]


def _touching(first: tuple[NDArray[Any], NDArray[Any]], second: tuple[NDArray[Any], NDArray[Any]]) -> NDArray[np.int64]:
    """Pairs of pieces, (P, 2), with equal labels on two planes that face each other, each (labels, pieces)."""
    same = (first[0] == second[0]) & (first[0] > 0)
    return np.stack(contingency(first[1][same], second[1][same])[:2], axis=-1)


def touches_faces(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Find the labels 1..K with sites on a face of the cube, bool, (K,)."""
    found = np.zeros(int(labels.max(initial=0)) + 1, dtype=bool)
    for axis in range(3):
        for face in (0, -1):
            found[labels.take(face, axis)] = True
    return found[1:]


def label_cube(labels: ArrayLike, name: str) -> NDArray[np.integer]:
    """Return labels as an array; raise `StitchingError` unless they are a cube of integers of at least 0."""
    cube = np.asarray(labels)
    if cube.dtype.kind not in "iu":
        raise StitchingError(f"{name} has dtype {cube.dtype}, but labels are integers; pass int32")
    if cube.ndim != 3 or len(set(cube.shape)) != 1 or cube.size == 0:
        raise StitchingError(f"{name} has shape {cube.shape}, but the box is a cube; pass shape (n, n, n)")
    if cube.min() < 0:
        raise StitchingError(f"{name} holds {cube.min()}, but labels are 0 for none or positive; add 1 to ids with -1")
    return cube


def compact(*cubes: NDArray[np.integer]) -> tuple[list[Labels], NDArray[np.integer] | None]:
    """Cubes as int32; labels too large for tables are numbered anew, and the old ones are returned too, ascending."""
    largest = max(int(cube.max()) for cube in cubes)
    if largest <= min(2 * cubes[0].size + 2**20, np.iinfo(np.int32).max - 1):
        return [np.ascontiguousarray(cube, dtype=np.int32) for cube in cubes], None
    old = np.unique(np.concatenate([[0], *(np.unique(cube) for cube in cubes)]))
    return [np.searchsorted(old, cube).astype(np.int32) for cube in cubes], old


def _parts(cube: NDArray[np.integer]) -> Iterator[NDArray[Any]]:
    """Consecutive parts of the sites in row-major order; views where the cube is contiguous."""
    flat = cube.reshape(-1)
    return (flat[low : low + _PART] for low in range(0, flat.size, _PART))
