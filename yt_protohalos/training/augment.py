"""Labels in training crops: where haloes are, and which periodic image of them a crop shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..fields.lattice import Lattice, Triple, circular_mean, wrap


def label_centres(labels: NDArray[np.int32], lattice: Lattice) -> NDArray[np.float64]:
    """Periodic mean site of each label 1..K, shape (K + 1, 3); row 0 is unused."""
    inside = np.flatnonzero(labels)
    count = int(labels.max(initial=0)) + 1
    return wrap(circular_mean(lattice.sites(inside), lattice.n, labels.ravel()[inside], count), lattice.n)


def attribute_sites(labels: NDArray[np.int32], lattice: Lattice, reach: float) -> NDArray[np.int32]:
    """Give each site outside haloes the label of the nearest halo site at most `reach` sites away, periodically.

    A semantic network fills the gaps of haloes and rounds their faces, so a sixth of the sites it finds belong to no
    halo; nearly all of them touch one, and this says which.

    labels : int32, (n, n, n), 0 outside
    returns : int32, (n, n, n), 0 farther out
    """
    if not labels.any():
        return labels.copy()
    width = min(int(np.ceil(reach)), lattice.n)
    padded = np.pad(labels, width, mode="wrap")
    distance, nearest = distance_transform_edt(padded == 0, return_indices=True)
    inner = (slice(width, width + lattice.n),) * 3
    return np.where(distance <= reach, padded[tuple(nearest)], 0)[inner].astype(np.int32)


def split_images(
    block: NDArray[np.int32], start: Triple, centres: NDArray[np.float64], lattice: Lattice, min_sites: int = 1
) -> NDArray[np.int32]:
    """Give each periodic image of a halo its own label in a crop.

    Parameters
    ----------
    block : int32, (m, m, m)
        Labels of a periodic crop, 0 outside.
    start : tuple of int
        First site of the crop.
    centres : float, (K + 1, 3)
        From `label_centres`.
    lattice : Lattice
    min_sites : int
        Instances with fewer sites in the crop become 0.

    Returns
    -------
    int32, (m, m, m)
        Labels 1..J of the instances.
    """
    inside = np.nonzero(block)
    names = block[inside].astype(np.int64)
    key = names
    for axis in range(3):
        position = inside[axis] + start[axis]
        offset = np.mod(position - centres[names, axis] + 0.5 * lattice.n, lattice.n) - 0.5 * lattice.n
        image = np.rint((position - offset - centres[names, axis]) / lattice.n).astype(np.int64)
        key = key * 64 + (image + 32)
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    kept = counts >= min_sites
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    result = np.zeros_like(block)
    result[inside] = number[inverse]
    return result
