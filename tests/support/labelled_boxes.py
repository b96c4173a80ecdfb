"""Label cubes and predictions whose answers are known."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from standins import SPACING, make_card

from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.segmentation.overlap import OverlapGraph

SITE_MASS = 2e10  # haloes of 7 sites and more are in the bins


LATTICE = Lattice(24, 24.0)


def toy_labels(seed: int, level: float = 0.6) -> np.ndarray:
    """Connected regions of a smooth random field, a few to a hundred sites each."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=LATTICE.shape), 1.2, mode="wrap")
    return ndimage.label(field > level * field.std())[0].astype(np.int32)


def toy_pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two label cubes of fields that agree in part."""
    common, *own = (np.random.default_rng([seed, i]).normal(size=LATTICE.shape) for i in range(3))
    smooth = [ndimage.gaussian_filter(common + 0.4 * other, 1.2, mode="wrap") for other in own]
    first, second = (ndimage.label(cube > 0.6 * cube.std())[0].astype(np.int32) for cube in smooth)
    return first, second


def predicted(labels, spacing=SPACING, site_offset=0.0, probability=None, **card):
    labels = np.asarray(labels, dtype=np.int32)
    return Prediction(
        probability=np.where(labels > 0, 0.8, 0.2).astype(np.float32) if probability is None else probability,
        mask=labels > 0,
        labels=labels,
        lattice=Lattice(len(labels), len(labels) * spacing),
        cosmology=PAPER_COSMOLOGY,
        redshift=49.0,
        site_offset=site_offset,
        overlap=OverlapGraph.empty(),
        settings={},
        card=make_card(**card),
    )


def box_labels(n, shape, start):
    """One box of label 1, wrapped."""
    cube = np.zeros((n, n, n), dtype=np.int32)
    Lattice(n, 1.0).paste(cube, np.ones(shape, dtype=np.int32), start)
    return cube


def same_objects(first, second):
    """Whether two label cubes hold the same objects, numbers aside, and the same sites without any."""
    if not np.array_equal(first == 0, second == 0):
        return False
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1).shape[1]
    return pairs == len(np.unique(first)) == len(np.unique(second))


def random_lattices(seed, n, n_labels=4, empty=0.3):
    """Two noisy label cubes of the same blobs; no label in both."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1)
    centres = rng.integers(0, n, (n_labels, 3))
    separation = np.abs(sites[..., None, :] - centres)
    nearest = (np.minimum(separation, n - separation) ** 2).sum(axis=-1).argmin(axis=-1)
    lattices = []
    for offset in (1, n_labels + 1):
        noisy = np.where(rng.random((n, n, n)) < 0.25, rng.integers(0, n_labels, (n, n, n)), nearest)
        lattices.append(np.where(rng.random((n, n, n)) < empty, 0, noisy + offset).astype(np.int32))
    return lattices


def periodic_bricks(n, seed):
    """Irregular bricks that fill the periodic box, some across its seam; some bricks are empty."""
    rng = np.random.default_rng(seed)
    which = []
    for _ in range(3):
        cuts = np.sort(rng.choice(n, size=max(1, n // 7), replace=False))
        which.append(np.searchsorted(cuts, np.arange(n), side="right") % len(cuts))
    x, y, z = which
    bricks = (x[:, None, None] * n + y[None, :, None]) * n + z[None, None, :] + 1
    return np.where(rng.random(n**3 + 1)[bricks] < 0.3, 0, bricks)
