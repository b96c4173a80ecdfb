"""Training crops: random periodic windows, transposed and flipped (López-Cano et al. 2024, section 2.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..lattice import Lattice, Triple


@dataclass(frozen=True)
class Symmetry:
    """One of the 48 symmetries of the cube: a transposition of axes, then flips."""

    axes: Triple
    flips: tuple[bool, bool, bool]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Symmetry:
        """Draw one of the 48, each equally likely."""
        x, y, z = (int(a) for a in rng.permutation(3))
        first, second, third = (bool(f) for f in rng.integers(0, 2, size=3))
        return cls((x, y, z), (first, second, third))

    def apply(self, cube: NDArray) -> NDArray:
        """Transposed and flipped copy of a cube; scalar fields only."""
        flipped = tuple(axis for axis, flip in enumerate(self.flips) if flip)
        return np.ascontiguousarray(np.flip(cube.transpose(self.axes), flipped))


def label_centres(labels: NDArray[np.int32], lattice: Lattice) -> NDArray[np.float64]:
    """Periodic mean site of each label 1..K, shape (K + 1, 3); row 0 is unused."""
    count = int(labels.max(initial=0)) + 1
    angle = 2 * np.pi * np.arange(lattice.n) / lattice.n
    centres = np.zeros((count, 3))
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = lattice.n
        sine, cosine = (
            np.bincount(labels.ravel(), weights=np.broadcast_to(f(angle).reshape(shape), labels.shape).ravel())
            for f in (np.sin, np.cos)
        )
        centres[:, axis] = np.mod(np.arctan2(sine, cosine) / (2 * np.pi), 1.0) * lattice.n
    return centres


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
