"""Linear Lagrangian bias of protohaloes by mass, and fits to compare it with.

Source: López-Cano et al. 2024, section 4.1, eqs. 13 and 14, figure 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import CosmologyError, ScoringError
from ..fields.cosmology import Cosmology
from ..fields.fourier import to_cube, to_spectrum
from ..fields.lattice import Cube, Lattice, unwrap, wrap
from ..fields.linear_field import LinearField
from ..fields.units import Quantity, comoving_length
from ..prediction.result import Prediction
from .mass_function import checked_edges, lagrangian_radius, linear_rms
from .metrics import ratio

SMOOTHING = 6.0
"""Width of the Gaussian kernel of the paper, Mpc/h."""
BIAS_EDGES = tuple(np.linspace(11.0, 15.0, 9).tolist())
"""Default bin edges, log10 of the halo mass in Msun/h."""
BLOCKS = 3
COLLAPSE = 1.686
BIAS_FITS = {"tinker10": "SO, 200 times mean", "bhattacharya11": "FoF, peak-background split"}
"""Fits of Eulerian bias as functions of peak height alone, with their haloes: Tinker et al. 2010, eq. 6 and table 2
(friends-of-friends haloes have some 10 % less, their abstract says); Bhattacharya et al. 2011, from their mass
function. Lazeyras et al. 2016, in the paper's figure 11, give formulas only for b2 and b3 as functions of b1."""


@dataclass(frozen=True, eq=False)
class LagrangianBias:
    """Linear Lagrangian bias in bins of mass.

    Attributes
    ----------
    edges : float64, (B + 1,)
        Bin edges, log10 of Msun/h.
    log10_mass : float64, (B,)
        Mean of log10 of the mass (Msun/h) in a bin; NaN in empty ones.
    value, error : float64, (B,)
        b1L, NaN in empty bins; jackknife standard deviation, NaN where fewer than two blocks hold haloes.
    number : int64, (B,)
        Haloes in a bin.
    smoothing, variance : float
        Width of the Gaussian kernel, Mpc/h; variance of the smoothed linear overdensity, sigma^2 of eq. 14.

    Examples
    --------
    >>> bias = ph.lagrangian_bias(prediction, field, smoothing=1)
    >>> bias.number.shape == bias.value.shape == bias.error.shape
    True
    """

    edges: NDArray[np.float64]
    log10_mass: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    number: NDArray[np.int64]
    smoothing: float
    variance: float


def lagrangian_bias(
    haloes: Prediction | NDArray[np.integer],
    field: LinearField,
    edges: Sequence[float] = BIAS_EDGES,
    smoothing: Quantity = SMOOTHING,
    blocks: int = BLOCKS,
) -> LagrangianBias:
    """Bias of protohaloes from the linear overdensity at their Lagrangian centres, eq. 14.

    The box must be far larger than `smoothing`: the paper's figure 11 shows what is missing in 50 to 200 Mpc/h.

    Parameters
    ----------
    haloes : Prediction, or int array (n, n, n)
        A prediction, or the labels of a simulation: 0 outside, 1..K.
    field : LinearField
        Of the same lattice, at the redshift of the labels. For a prediction the redshift is set here.
    edges : sequence of float, (B + 1,)
        log10 of Msun/h, ascending.
    smoothing : float or quantity
        Width of the Gaussian kernel, comoving Mpc/h.
    blocks : int
        The jackknife leaves out each of ``blocks ** 3`` equal parts of the box in turn.

    Returns
    -------
    LagrangianBias

    Raises
    ------
    ScoringError
        The lattices differ, or an argument is out of its range.

    Examples
    --------
    >>> box = ph.generate_initial_conditions(32, 200, seed=1)
    >>> peaks = np.where(box.delta > 2, np.arange(1, 32**3 + 1).reshape(box.delta.shape), 0)
    >>> bias = ph.lagrangian_bias(peaks, box, edges=(13, 15), smoothing=10)
    >>> bool(bias.value[0] > 0)
    True
    """
    labels = haloes.labels if isinstance(haloes, Prediction) else haloes
    if isinstance(haloes, Prediction):
        field = field.at_redshift(haloes.target_redshift)
    if labels.shape != field.lattice.shape:
        raise ScoringError(f"labels {labels.shape} are not on the lattice of the field, {field.lattice.shape}")
    size = np.bincount(labels.ravel(), minlength=1)[1:]
    used = size > 0
    centers = lagrangian_centers(labels, field.lattice)[used]
    return tracer_bias(centers, np.log10(size[used] * field.site_mass_msun_h), field, edges, smoothing, blocks)


def tracer_bias(
    sites: NDArray[np.floating],
    log10_mass: NDArray[np.floating],
    field: LinearField,
    edges: Sequence[float] = BIAS_EDGES,
    smoothing: Quantity = SMOOTHING,
    blocks: int = BLOCKS,
) -> LagrangianBias:
    """Measure the bias of any tracers.

    Parameters
    ----------
    sites : float, (K, 3)
        Lagrangian positions in units of the lattice spacing, site i at i.
    log10_mass : float, (K,)
        log10 of Msun/h.
    field, edges, smoothing, blocks
        As in `lagrangian_bias`.

    Returns
    -------
    LagrangianBias

    Examples
    --------
    >>> from yt_protohalos.analysis.bias import tracer_bias
    >>> sites = np.argwhere(field.delta > 2)
    >>> bias = tracer_bias(sites, np.full(len(sites), 13.5), field, edges=(13, 14), smoothing=1)
    >>> bool(bias.value[0] > 0)
    True
    """
    bounds = checked_edges(edges)
    if isinstance(blocks, bool) or int(blocks) != blocks or not 1 <= blocks <= field.n:
        raise ScoringError(f"blocks = {blocks!r} is not a number of blocks per side; use 1 to {field.n}, e.g. {BLOCKS}")
    smoothing = comoving_length(smoothing, "smoothing", field.cosmology.h)
    density = smoothed_overdensity(field.delta, field.lattice, smoothing)
    place = np.rint(sites).astype(np.int64) % field.n
    block = place * blocks // field.n @ np.array([blocks**2, blocks, 1])
    overdensity = density[tuple(place.T)].astype(np.float64)
    bins = np.digitize(log10_mass, bounds) - 1
    kept = (bins >= 0) & (bins < len(bounds) - 1)
    shape = (len(bounds) - 1, blocks**3)
    cell = np.ravel_multi_index((bins[kept], block[kept]), shape)
    number, total, mass = (
        np.bincount(cell, weights, shape[0] * shape[1]).reshape(shape)
        for weights in (None, overdensity[kept], np.asarray(log10_mass, dtype=float)[kept])
    )
    volume, first, second = (_sums_by_block(density, blocks, power) for power in (0, 1, 2))
    variance = second.sum() / volume.sum()
    counted = number.sum(axis=1)
    # leave one block out; the mean overdensity of the rest is not zero, as it is in the whole box
    mean = ratio(first.sum() - first, volume.sum() - volume)
    spread = ratio(second.sum() - second, volume.sum() - volume) - mean**2
    rest = (ratio(total.sum(axis=1, keepdims=True) - total, counted[:, None] - number) - mean) / spread
    return LagrangianBias(
        edges=bounds,
        log10_mass=ratio(mass.sum(axis=1), counted),
        value=ratio(total.sum(axis=1), counted) / variance,
        error=_jackknife_error(rest, number),
        number=counted.astype(np.int64),
        smoothing=smoothing,
        variance=float(variance),
    )


def lagrangian_centers(labels: NDArray[np.integer], lattice: Lattice) -> NDArray[np.float64]:
    """Mean site of labels 1..K across periodic faces, float64 (K, 3), in units of the spacing; NaN without sites."""
    occupied = np.flatnonzero(labels)
    owner = labels.ravel()[occupied] - 1
    count = np.bincount(owner)
    sites = unwrap(lattice.sites(occupied), lattice.n, owner)
    sums = np.stack([np.bincount(owner, along, len(count)) for along in sites.T], axis=1)
    return wrap(ratio(sums, count[:, None]), lattice.n)


def smoothed_overdensity(delta: Cube, lattice: Lattice, width: float) -> Cube:
    """Overdensity smoothed with a Gaussian kernel of a width in Mpc/h, float32 (n, n, n), zero mean."""
    if not np.isfinite(width) or width < 0:
        raise ScoringError(f"smoothing {width!r} Mpc/h is negative or not finite; the paper uses {SMOOTHING:g}")
    spectrum = to_spectrum(delta)
    spectrum[0, 0, 0] = 0.0
    for k in lattice.wavenumbers():
        spectrum *= np.exp(-0.5 * (width * k) ** 2)
    return to_cube(spectrum, lattice.n)


def response_bias(
    sparse: Prediction, dense: Prediction, delta_eps: float, edges: Sequence[float] = BIAS_EDGES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bias from the response of the number of haloes to a large-scale overdensity, eq. 13 by a central difference.

    Parameters
    ----------
    sparse, dense : Prediction
        Of one box with uniform overdensities -delta_eps and delta_eps, see `add_overdensity`.
    delta_eps : float
        Linear overdensity at z = 0.
    edges : sequence of float, (B + 1,)
        log10 of Msun/h.

    Returns
    -------
    value, error : float64, (B,)
        NaN where either bin is empty. The error is an upper bound: it is that of independent counts, and both have the
        same phases.

    Raises
    ------
    ScoringError
        The lattices differ, or delta_eps is not positive.

    Examples
    --------
    >>> from yt_protohalos.analysis.bias import response_bias
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v2")
    >>> sparse, dense = (predictor.predict(ph.add_overdensity(field, d)) for d in (-0.2, 0.2))
    >>> value, error = response_bias(sparse, dense, 0.2, edges=(10, 12, 14))
    """
    if sparse.lattice != dense.lattice:
        raise ScoringError(f"predictions are on {sparse.lattice} and {dense.lattice}; compare those of one box")
    if not np.isfinite(delta_eps) or delta_eps <= 0:
        raise ScoringError(f"delta_eps = {delta_eps!r} is not positive; give the overdensity of `dense`")
    low, high = (
        np.histogram(np.log10(one.label_mass[1:] * one.cosmology.h), np.asarray(edges))[0].astype(float)
        for one in (sparse, dense)
    )
    empty = (low == 0) | (high == 0)
    low, high = np.where(empty, np.nan, low), np.where(empty, np.nan, high)
    # d ln n, which holds for responses that are not small too
    return np.log(high / low) / (2 * delta_eps), np.sqrt(1 / low + 1 / high) / (2 * delta_eps)


def bias_fit(cosmology: Cosmology, log10_mass: ArrayLike, fit: str = "tinker10") -> NDArray[np.float64]:
    """Linear Lagrangian bias b1 - 1 of haloes at z = 0 from a fit to simulations.

    Parameters
    ----------
    cosmology : Cosmology
    log10_mass : array, (N,)
        log10 of Msun/h.
    fit : str
        Key of `BIAS_FITS`.

    Returns
    -------
    float64, (N,)

    Raises
    ------
    CosmologyError
        The fit is unknown.

    Examples
    --------
    >>> from yt_protohalos.analysis.bias import bias_fit
    >>> heavy, light = bias_fit(ph.PAPER_COSMOLOGY, [14.5, 12.0])
    >>> bool(heavy > light)
    True
    """
    if fit not in BIAS_FITS:
        raise CosmologyError(f"no bias fit {fit!r}; use one of {', '.join(BIAS_FITS)}")
    height = COLLAPSE / linear_rms(cosmology, lagrangian_radius(cosmology, log10_mass))
    if fit == "bhattacharya11":
        from colossus.lss import bias

        return np.asarray(bias.modelBhattacharya11(height, 0.0)) - 1
    # colossus would read its global cosmology here
    y = np.log10(200.0)
    damped = np.exp(-((4 / y) ** 4))
    rise, power = 1 + 0.24 * y * damped, 0.44 * y - 0.88
    shift = 0.019 + 0.107 * y + 0.19 * damped
    fraction = height**power / (height**power + COLLAPSE**power)
    return np.asarray(-rise * fraction + 0.183 * height**1.5 + shift * height**2.4)


def _sums_by_block(density: Cube, blocks: int, power: int) -> NDArray[np.float64]:
    """Sum of a power of the density over the sites of each block, (blocks^3,)."""
    first = -(-np.arange(blocks) * len(density) // blocks)  # site of each block
    sums = density.astype(np.float64) ** power
    for axis in range(3):
        sums = np.add.reduceat(sums, first, axis=axis)
    return sums.ravel()


def _jackknife_error(rest: NDArray[np.float64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation from values without one block each, (B, blocks); NaN unless two blocks hold haloes."""
    error = np.sqrt(rest.shape[1] - 1) * rest.std(axis=1)
    return np.where((number > 0).sum(axis=1) > 1, error, np.nan)
