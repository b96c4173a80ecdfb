"""Join protohaloes that end within each other: friends-of-friends makes one halo of two whose outskirts touch.

The instance network tells apart what collapses on its own; whether two such bodies are one halo at the target time is
a question of where they end, which the approximately evolved field says well for whole protohaloes, if not for sites.
This step is ours; the paper has none.
"""

from __future__ import annotations

import math
import numbers

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..exceptions import ClusteringError
from .labels import lowest_connected, map_labels, relabel_by_size

OVERDENSITY = 200.0
"""Mean density of a halo in units of the mean of the universe, which gives it a radius."""


def join_in_contact(labels: NDArray[np.int32], displacement: NDArray[np.floating], contact: float) -> NDArray[np.int32]:
    """Join protohaloes whose centres end closer than `contact` times the sum of their radii.

    The radius is that of a sphere of `OVERDENSITY` with the protohalo's mass; whatever touches is joined at once.

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
    >>> from yt_protohalos.segmentation.contact import join_in_contact
    >>> joined = join_in_contact(prediction.labels, evolve_field(field).displacement, contact=0.65)
    >>> joined.max() <= prediction.labels.max()
    np.True_
    """
    if isinstance(contact, bool) or not isinstance(contact, numbers.Real) or not math.isfinite(contact) or contact < 0:
        raise ClusteringError(f"contact = {contact!r} is not a finite number of at least 0; 0 joins nothing")
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
    """Mean final position of each label, (n_labels, 3), in sites within [0, n), and its sites, (n_labels,)."""
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
    # a tree takes half a box at most, and nothing is farther
    reach = min(2 * contact * float(radius.max()), 0.49 * n)
    pairs = cKDTree(center % n, boxsize=n).query_pairs(reach, output_type="ndarray")
    apart = np.abs(center[pairs[:, 0]] - center[pairs[:, 1]])
    distance = np.linalg.norm(np.minimum(apart, n - apart), axis=1)
    return pairs[distance < contact * (radius[pairs[:, 0]] + radius[pairs[:, 1]])]


@njit(cache=True, nogil=True)
def _add_positions(labels: NDArray, displacement: NDArray, first: NDArray, total: NDArray, size: NDArray) -> None:
    """Sum of final positions from that of the label's first site, the short way round the box."""
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
