"""Instances by watershed (López-Cano et al. 2024, appendix A): contours to learn, seeds, and the flooding from them.

The pieces of the foreground between the contours that a network predicts are the seeds, one for each protohalo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..exceptions import LatticeError
from ..fields.lattice import Lattice, Triple

_FACES: tuple[Triple, ...] = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
_MAJORITY = 14
"""A site is smoothed to a member if this many of the 27 sites around and at it are members."""
_ROOM = 3  # sites around a halo's bounding box; smoothing and dilation reach fewer


def contour_sites(labels: NDArray[np.integer], lattice: Lattice) -> NDArray[np.bool_]:
    """Contours of haloes, as a contour network learns them.

    As in appendix A, spurious sites at the edges of each halo are removed and holes filled (here: the majority of the
    3 x 3 x 3 sites around each, then what is enclosed), and the halo is dilated by one site. A contour is every site of
    such a body with a face towards another one or towards none, and every site that two bodies claim. So it lies
    around a halo that stands alone, not in it, and on both sides of the surface in which two haloes touch.

    Parameters
    ----------
    labels : int, (n, n, n)
        0 outside, 1..K.
    lattice : Lattice

    Returns
    -------
    bool, (n, n, n)
        Independent of how haloes are numbered.

    Examples
    --------
    >>> from yt_protohalos.segmentation.watershed import contour_sites
    >>> labels = np.zeros((16, 16, 16), dtype=np.int32)
    >>> labels[4:12, 4:12, 4:12] = 1
    >>> contour = contour_sites(labels, ph.Lattice(16, 3.125))
    >>> bool(contour[3, 8, 8]), bool(contour[8, 8, 8])
    (True, False)
    """
    lattice.check_cube(labels, "labels")
    parts = [_smoothed(sites, lattice) for sites in _sites_by_label(labels)]
    owner = np.zeros(lattice.shape, dtype=np.int32)
    # bodies hardly meet, since a site has one majority; holes and then layers take only sites that are still free
    for kind in zip(*parts, strict=True):
        owner = np.where(owner == 0, _claims(kind, lattice), owner)
    result = owner < 0
    for face in _FACES:
        result |= (owner > 0) & (lattice.shifted(owner, face) != owner)
    return result


def _sites_by_label(labels: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Row-major sites of each label that occurs, in the order of the labels."""
    flat = labels.ravel()
    inside = np.flatnonzero(flat > 0)
    order = inside[np.argsort(flat[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(flat[order])) + 1
    return np.split(order, starts) if len(order) else []


def _smoothed(flat: NDArray[np.int64], lattice: Lattice) -> tuple[NDArray[np.int64], ...]:
    """Row-major sites of a halo's body without spurs, of the holes in it, and of the layer around it.

    The body is the halo itself where smoothing would leave nothing of it.
    """
    sites = lattice.unwrapped(lattice.sites(flat))
    start = sites.min(axis=0) - _ROOM
    halo = np.zeros(sites.max(axis=0) + _ROOM + 1 - start, dtype=bool)
    halo[tuple((sites - start).T)] = True
    body = ndimage.uniform_filter(halo.astype(np.float32), 3, mode="constant") * 27 > _MAJORITY - 0.5
    body = body if body.any() else halo
    filled = ndimage.binary_fill_holes(body)
    layers = (body, filled & ~body, ndimage.binary_dilation(filled) & ~filled)
    # unique, because a halo that spans the box overlaps its own image
    return tuple(np.unique(lattice.flat_index(np.argwhere(layer) + start)) for layer in layers)


def _claims(bodies: Sequence[NDArray[np.int64]], lattice: Lattice) -> NDArray[np.int32]:
    """Number 1..K of the body that holds each site, 0 for none and -1 for several, int32, (n, n, n)."""
    owner = np.zeros(lattice.n_sites, dtype=np.int32)
    for number, body in enumerate(bodies, start=1):
        owner[body] = np.where(owner[body] == 0, number, -1)
    return owner.reshape(lattice.shape)


def otsu_threshold(probability: NDArray[np.floating]) -> float:
    """Threshold that separates a cube into two classes of least variance (Otsu 1979).

    Parameters
    ----------
    probability : float, any shape
        Finite.

    Returns
    -------
    float
        The value itself where all are the same.

    Raises
    ------
    LatticeError
        There are no sites.

    Examples
    --------
    >>> from yt_protohalos.segmentation.watershed import otsu_threshold
    >>> 0.1 <= otsu_threshold(np.repeat([0.1, 0.9], 50)) < 0.9
    True
    """
    from skimage.filters import threshold_otsu

    if not probability.size:
        raise LatticeError("no sites were given; Otsu's threshold needs at least one")
    # flat, because scikit-image takes a last axis of three for colours
    return float(threshold_otsu(probability.ravel()))  # type: ignore[no-untyped-call]


def find_seeds(
    probability: NDArray[np.float32],
    contour: NDArray[np.float32],
    foreground_threshold: float,
    contour_threshold: float,
) -> NDArray[np.int32]:
    """Number the connected pieces of the foreground without contours.

    Parameters
    ----------
    probability, contour : float32, (m, m, m)
        Of being a member and of lying on a contour, in [0, 1].
    foreground_threshold, contour_threshold : float
        A seed's sites have a probability above the first and a contour not above the second.

    Returns
    -------
    int32, (m, m, m)
        Seeds 1..S, 0 elsewhere; sites that share a face are of one seed. Nothing wraps around.

    Examples
    --------
    >>> from yt_protohalos.segmentation.watershed import find_seeds
    >>> probability, contour = np.ones((2, 9, 9, 9), dtype=np.float32)
    >>> contour[:4] = contour[5:] = 0.0
    >>> int(find_seeds(probability, contour, 0.5, 0.5).max())
    2
    """
    inner = (probability > np.float32(foreground_threshold)) & (contour <= np.float32(contour_threshold))
    return np.asarray(ndimage.label(inner)[0], dtype=np.int32)


def flood(probability: NDArray[np.float32], seeds: NDArray[np.int32], members: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Marker-controlled watershed (Meyer 1994) of the inverted probability within the members.

    Parameters
    ----------
    probability : float32, (m, m, m)
    seeds : int32, (m, m, m)
        1..S, 0 elsewhere; those outside the members are left out.
    members : bool, (m, m, m)

    Returns
    -------
    int32, (m, m, m)
        The seed that each member is flooded from, across faces; 0 outside, and for members that no seed reaches.

    Examples
    --------
    >>> from yt_protohalos.segmentation.watershed import flood
    >>> probability, seeds = np.full((8, 8, 8), 0.9, dtype=np.float32), np.zeros((8, 8, 8), dtype=np.int32)
    >>> seeds[1, 4, 4], seeds[6, 4, 4] = 1, 2
    >>> np.bincount(flood(probability, seeds, probability > 0.5).ravel()).tolist()
    [0, 256, 256]
    """
    from skimage.segmentation import watershed

    markers = np.where(members, seeds, 0)
    if not markers.any():
        return np.zeros(members.shape, dtype=np.int32)
    flooded = watershed(-probability, markers, connectivity=1, mask=members)  # type: ignore[no-untyped-call]
    return np.asarray(flooded, dtype=np.int32)
