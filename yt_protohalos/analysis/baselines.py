"""Simple methods without networks: a threshold, spheres, a watershed, and friends of friends in final positions.

They show what the networks add. Lengths are comoving Mpc/h, delta is the linear overdensity at z = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft, ndimage

from ..exceptions import ScoringError
from ..fields.evolution import evolve_field
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.units import Position, Quantity, comoving_length, comoving_position
from ..models.fof_card import FOF, LINKING_LENGTH, MIN_SITES
from ..prediction.fof_predictor import FriendsOfFriendsPredictor
from ..segmentation.clustering import find_root
from ..segmentation.friends_of_friends import group_sites
from ..segmentation.labels import relabel_by_size

BARRIER = 1.686
"""Linear overdensity at which a sphere has collapsed."""
SPACING = 50 / 256
SMOOTHING = 3 * SPACING
"""Gaussian width of the threshold, 3 sites of the paper's lattice."""

Cube = NDArray[np.float32]


def threshold_mask(
    delta: Cube, lattice: Lattice, fraction: float, smoothing: Quantity = SMOOTHING
) -> NDArray[np.bool_]:
    """Sites where the smoothed overdensity is highest.

    Parameters
    ----------
    delta : float32, (n, n, n)
    lattice : Lattice
    fraction : float
        Share of the sites inside, from 0 to 1; matched exactly but for equal values and rounding to whole sites.
    smoothing : float or quantity
        Gaussian width, comoving Mpc/h.

    Returns
    -------
    bool, (n, n, n)

    Raises
    ------
    ScoringError
        The fraction is outside [0, 1], or the smoothing negative.
    """
    if not 0 <= fraction <= 1:
        raise ScoringError(f"fraction {fraction} is not between 0 and 1; give the share of sites in haloes")
    smooth = smoothed(delta, lattice, smoothing)
    inside = round(fraction * lattice.n_sites)
    if inside == 0:
        return np.zeros(lattice.shape, dtype=bool)
    level = np.partition(smooth.ravel(), lattice.n_sites - inside)[lattice.n_sites - inside]
    return np.asarray(smooth >= level)


def smoothed(delta: Cube, lattice: Lattice, smoothing: Quantity) -> Cube:
    """Periodic Gaussian smoothing in real space, exactly covariant under periodic shifts, float32 (n, n, n)."""
    lattice.check_cube(delta, "delta")
    width = comoving_length(smoothing, "smoothing")
    if not width >= 0:
        raise ScoringError(f"smoothing {width} Mpc/h is negative; use 0 for none")
    cube: Cube = ndimage.gaussian_filter(delta.astype(np.float32, copy=False), width / lattice.spacing, mode="wrap")
    return cube


def excursion_set_spheres(
    delta: Cube,
    lattice: Lattice,
    radii: Position | None = None,
    barrier: float = BARRIER,
    min_sites: int = MIN_SITES,
) -> NDArray[np.int32]:
    """Spheres that have collapsed in the spherical model, the largest first.

    For each radius, from the largest, the local maxima (26 neighbours) of the top-hat smoothed delta at or above the
    barrier are taken in descending order, except those inside an earlier sphere, which keeps its sites. (Peak Patch,
    Bond & Myers 1996, without the ellipsoidal collapse and the merging of half-overlapping patches.)

    Parameters
    ----------
    delta : float32, (n, n, n)
    lattice : Lattice
    radii : array or quantities, optional
        Ladder of radii in comoving Mpc/h; by default `radius_ladder`.
    barrier : float
        Linear overdensity of collapse at z = 0.
    min_sites : int
        Spheres that keep fewer sites are removed at the end.

    Returns
    -------
    int32, (n, n, n): 0 outside, 1..K by descending size.

    Raises
    ------
    ScoringError
        A radius is not positive or exceeds half the box.
    """
    lattice.check_cube(delta, "delta")
    ladder = radius_ladder(lattice, min_sites) if radii is None else comoving_position(radii, "radii")
    if len(ladder) and not (ladder.min() > 0 and ladder.max() <= lattice.box_size / 2):
        raise ScoringError(f"radii {ladder.min()} to {ladder.max()}; use more than 0 and at most half the box, Mpc/h")
    spectrum = fft.rfftn(delta.astype(np.float32, copy=False))
    kx, ky, kz = lattice.wavenumbers()
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    labels = np.zeros(lattice.shape, dtype=np.int32)
    count = 0
    for radius in np.sort(ladder)[::-1]:
        smooth = fft.irfftn(spectrum * top_hat(k * np.float32(radius)), s=lattice.shape)
        peaks = (smooth >= barrier) & (labels == 0)
        peaks &= smooth == ndimage.maximum_filter(smooth, size=3, mode="wrap")
        centres = np.argwhere(peaks)[np.argsort(-smooth[peaks], kind="stable")]
        count = _paint(labels, centres, _ball(radius / lattice.spacing), count)
    return relabel_by_size(labels, min_sites)


def radius_ladder(lattice: Lattice, min_sites: int = MIN_SITES, ratio: float = 1.1) -> NDArray[np.float64]:
    """Ascending radii (Mpc/h) from a sphere of `min_sites` sites to a quarter of the box, a factor `ratio` apart."""
    smallest = lattice.spacing * np.cbrt(3 * min_sites / (4 * np.pi))
    steps = int(np.floor(np.log(max(lattice.box_size / 4, smallest) / smallest) / np.log(ratio)))
    return np.asarray(smallest * ratio ** np.arange(steps + 1))


def top_hat(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fourier transform of a sphere, 3 (sin x - x cos x) / x^3, for x = k R; float32."""
    safe = np.maximum(x, np.float32(1e-1)).astype(np.float64)
    window = 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3
    # the series to x^4 is exact in float32 where the closed form loses its digits
    return np.where(x < 0.1, 1 - x**2 / 10 + x**4 / 280, window).astype(np.float32)


def _ball(radius: float) -> NDArray[np.int64]:
    """Integer offsets within `radius` sites, (N, 3)."""
    reach = int(np.floor(radius))
    axis = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[(grid**2).sum(axis=1) <= radius**2])


@njit(cache=True)
def _paint(labels, centres, offsets, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Spheres at the centres that no earlier one holds, numbered from ``count + 1``; returns the last number."""
    n = len(labels)
    for centre in centres:
        if labels[centre[0], centre[1], centre[2]] != 0:
            continue
        count += 1
        for offset in offsets:
            x, y, z = (centre[0] + offset[0]) % n, (centre[1] + offset[1]) % n, (centre[2] + offset[2]) % n
            if labels[x, y, z] == 0:
                labels[x, y, z] = count
    return count


def watershed_labels(
    delta: Cube,
    lattice: Lattice,
    mask: NDArray[np.bool_],
    smoothing: Quantity = SMOOTHING / 2,
    persistence: float = 0.25,
    min_sites: int = MIN_SITES,
) -> NDArray[np.int32]:
    """Basins of the peaks of the smoothed overdensity inside a mask, on the periodic box.

    Sites are flooded from the highest. Each joins the basin of its highest neighbour (26, inside the mask); where it
    joins basins, the lower of two peaks is a marker of its own only if it rises at least `persistence` above the site,
    else the basins merge: the watershed whose markers are the h-maxima. (scikit-image's watershed has no periodic
    boundaries and would be a dependency for this alone.)

    Parameters
    ----------
    delta : float32, (n, n, n)
    lattice : Lattice
    mask : bool, (n, n, n)
        For instance of `threshold_mask`.
    smoothing : float or quantity
        Gaussian width, comoving Mpc/h.
    persistence : float
        Smallest height of a marker above its saddle, in units of the rms of the smoothed overdensity.
    min_sites : int
        Smaller basins are removed.

    Returns
    -------
    int32, (n, n, n): 0 outside, 1..K by descending size.
    """
    lattice.check_cube(mask, "mask")
    if not persistence >= 0:
        raise ScoringError(f"persistence {persistence} is negative; use 0 to keep every peak")
    smooth = smoothed(delta, lattice, smoothing)
    inside = np.flatnonzero(mask)
    order = inside[np.argsort(-smooth.ravel()[inside], kind="stable")]
    height = np.float32(persistence * smooth.std())
    labels = _flood(order, smooth.ravel(), lattice.n, height).reshape(lattice.shape)
    return relabel_by_size(labels, min_sites)


@njit(cache=True)
def _flood(order, height, n, persistence):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Basin number (1..) of each site of `order`, descending in height; 0 elsewhere."""
    basin = np.zeros(n * n * n, dtype=np.int32)
    parent = np.zeros(len(order) + 1, dtype=np.int64)
    peak = np.zeros(len(order) + 1, dtype=np.float32)
    count = 0
    near = np.empty(26, dtype=np.int64)
    for site in order:
        x, y, z = site // (n * n), site // n % n, site % n
        found = 0
        best, best_height = 0, -np.inf
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    other = ((x + dx) % n * n + (y + dy) % n) * n + (z + dz) % n
                    if basin[other] == 0:
                        continue
                    root = find_root(parent, basin[other])
                    near[found] = root
                    found += 1
                    if height[other] > best_height:
                        best, best_height = root, height[other]
        if found == 0:
            count += 1
            parent[count], peak[count], basin[site] = count, height[site], count
            continue
        highest = near[0]
        for i in range(1, found):
            if peak[near[i]] > peak[highest]:
                highest = near[i]
        for i in range(found):
            root = near[i]
            if root != highest and peak[root] - height[site] < persistence:
                parent[root] = highest
        basin[site] = find_root(parent, best)
    for site in order:
        basin[site] = find_root(parent, basin[site])
    return basin


SimpleMethod = Callable[[LinearField, float, int], tuple[NDArray[np.integer], NDArray[np.bool_] | None]]
"""Function of a field, the true share of sites in haloes and the sites of the smallest halo, that returns labels and
the mask of members, None for the sites that have a label."""


def threshold_and_watershed(
    field: LinearField, fraction: float, min_sites: int
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Labels of `watershed_labels` inside the mask of `threshold_mask`, and that mask."""
    mask = threshold_mask(field.delta, field.lattice, fraction)
    return watershed_labels(field.delta, field.lattice, mask, min_sites=min_sites), mask


def spheres(field: LinearField, fraction: float, min_sites: int) -> tuple[NDArray[np.integer], None]:
    """Labels of `excursion_set_spheres`; they do not depend on the fraction."""
    return excursion_set_spheres(field.delta, field.lattice, min_sites=min_sites), None


def evolved_groups(field: LinearField, fraction: float, min_sites: int) -> tuple[NDArray[np.integer], None]:
    """Friends-of-friends groups of the coarse evolution, `evolve_field`; the fraction is not used."""
    return group_sites(evolve_field(field).displacement, LINKING_LENGTH, min_sites), None


def fof_groups(field: LinearField, fraction: float, min_sites: int) -> tuple[NDArray[np.integer], None]:
    """Labels of `FriendsOfFriendsPredictor`; the fraction is not used."""
    return FriendsOfFriendsPredictor(min_sites=min_sites).predict(field, progress=False).labels, None


SIMPLE_METHODS: dict[str, SimpleMethod] = {
    "threshold+watershed": threshold_and_watershed,
    "spheres": spheres,
    "evolved+FoF": evolved_groups,
    FOF: fof_groups,
}
"""Methods by name. Scores per site of the first are those of the threshold alone."""
