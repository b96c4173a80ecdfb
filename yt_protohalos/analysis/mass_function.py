"""Haloes counted by mass, and fits to the mass function of friends-of-friends haloes for comparison.

The coefficients of the fits come from colossus, the rms from `Cosmology`: colossus' global cosmology is unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import CosmologyError, ScoringError
from ..fields.cosmology import Cosmology
from ..prediction.result import Prediction

FOF_FITS = ("watson13", "warren06", "angulo12", "jenkins01")
"""Fits to FoF haloes that depend on the rms alone: Watson et al. 2013, Warren et al. 2006, Angulo et al. 2012, Jenkins
et al. 2001. (The fit of Ondaro-Mallea et al. 2022 in the paper's figure 9 is not among them.)"""
EDGES = tuple(np.round(np.arange(11.0, 15.01, 0.25), 2).tolist())
"""Default bin edges of `HaloCounts`, log10 of Msun/h."""
_STEPS = 20
"""Steps in a bin for the integral of a fit."""


def linear_rms(cosmology: Cosmology, radius: ArrayLike) -> NDArray[np.float64]:
    """Rms of the linear overdensity at z = 0 in top-hat spheres of comoving radius (Mpc/h), infinite volume."""
    radius = np.atleast_1d(np.asarray(radius, dtype=float))
    log_k = np.linspace(np.log(1e-4), np.log(2e3), 4096)
    k = np.exp(log_k)
    power = k**3 * cosmology.linear_power(k)

    def variance(r: NDArray[np.float64]) -> NDArray[np.float64]:
        x = k * r[:, None]
        window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
        # the closed form loses its digits where spheres are small against the wave
        window = np.where(x < 1e-2, 1 - x**2 / 10, window)
        return np.asarray(np.trapezoid(power * window**2, log_k, axis=-1))

    return cosmology.sigma_8 * np.sqrt(variance(radius) / variance(np.array([8.0])))


def lagrangian_radius(cosmology: Cosmology, log10_mass: ArrayLike) -> NDArray[np.float64]:
    """Comoving radius (Mpc/h) of a sphere of mean density with log10 of the mass in Msun/h."""
    mass = 10 ** np.asarray(log10_mass, dtype=float)
    return np.asarray(np.cbrt(3 * mass / (4 * np.pi * cosmology.mean_density)))


def checked_edges(edges: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Bin edges, log10 of Msun/h; `ScoringError` unless there are two or more that ascend."""
    bounds = np.asarray(edges, dtype=float)
    if bounds.ndim != 1 or len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        raise ScoringError(f"edges {edges!r} do not ascend; give log10 masses in Msun/h")
    return bounds


def fof_mass_function(
    cosmology: Cosmology, log10_mass: ArrayLike, fit: str = "watson13", redshift: float = 0.0
) -> NDArray[np.float64]:
    """Comoving dn / dlog10 M of friends-of-friends haloes (linking length 0.2).

    Parameters
    ----------
    cosmology : Cosmology
    log10_mass : array, (N,)
        log10 of Msun/h.
    fit : str
        One of `FOF_FITS`; every redshift has the same function of the rms.
    redshift : float

    Returns
    -------
    float64, (N,)
        (Mpc/h)^-3 per decade.

    Raises
    ------
    CosmologyError
        The fit is unknown.
    """
    if fit not in FOF_FITS:
        raise CosmologyError(f"no mass function fit {fit!r}; use one of {', '.join(FOF_FITS)}")
    from colossus.lss import mass_function

    functions = {
        "watson13": lambda sigma: mass_function.modelWatson13(sigma, 0.0, "fof"),
        "warren06": mass_function.modelWarren06,
        "angulo12": mass_function.modelAngulo12,
        "jenkins01": mass_function.modelJenkins01,
    }
    log10_mass = np.atleast_1d(np.asarray(log10_mass, dtype=float))
    step = 0.01
    log_growth = np.log(cosmology.growth_factor(redshift))

    def log_rms(log10: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(linear_rms(cosmology, lagrangian_radius(cosmology, log10))) + log_growth

    # dln(1/sigma) / dlog10 M
    slope = -(log_rms(log10_mass + step) - log_rms(log10_mass - step)) / (2 * step)
    multiplicity = np.asarray(functions[fit](np.exp(log_rms(log10_mass))))
    return np.asarray(multiplicity * cosmology.mean_density / 10**log10_mass * slope)


@dataclass(frozen=True, eq=False)
class HaloCounts:
    """Haloes in bins of mass.

    Attributes
    ----------
    edges : float64, (B + 1,)
        log10 of Msun/h, ascending.
    number : int64, (B,)
    volume : float
        Comoving volume they were counted in, (Mpc/h)^3.
    """

    edges: NDArray[np.float64]
    number: NDArray[np.int64]
    volume: float

    def __post_init__(self) -> None:
        edges, number = checked_edges(self.edges), np.asarray(self.number)
        if number.shape != (len(edges) - 1,) or (number < 0).any():
            raise ScoringError(f"{number.shape} numbers for {len(edges) - 1} bins; give one each, none negative")
        if not np.isfinite(self.volume) or self.volume <= 0:
            raise ScoringError(f"volume {self.volume!r} (Mpc/h)^3 is not positive; give that of all boxes together")
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "number", number)

    @classmethod
    def of_labels(
        cls, labels: NDArray[np.integer], site_mass_msun_h: float, volume: float, edges: Sequence[float] = EDGES
    ) -> HaloCounts:
        """Count the haloes of a label cube, 1..K, 0 outside, by mass."""
        size = np.bincount(labels.ravel(), minlength=1)[1:]
        # by half a site, so that a halo right at an edge is not lost to rounding
        number, _ = np.histogram(np.log10((size[size > 0] + 0.5) * site_mass_msun_h), np.asarray(edges))
        return cls(np.asarray(edges, dtype=float), number, volume)

    @classmethod
    def pooled(cls, counts: Iterable[HaloCounts]) -> HaloCounts:
        """Counts of several boxes together; `ScoringError` without any, or if the bins differ."""
        every = list(counts)
        if not every:
            raise ScoringError("no counts to pool; give those of at least one box")
        if any(not np.array_equal(one.edges, every[0].edges) for one in every):
            raise ScoringError("the bins differ between the boxes; count all in the same")
        number = np.sum([one.number for one in every], axis=0)
        return cls(every[0].edges, number, sum(one.volume for one in every))

    @property
    def density(self) -> NDArray[np.float64]:
        """Number density per decade of mass, (Mpc/h)^-3, (B,)."""
        return self.number / (self.volume * np.diff(self.edges))

    @property
    def relative_error(self) -> NDArray[np.float64]:
        """Poisson error over the value, NaN in empty bins, (B,)."""
        return 1 / np.sqrt(np.where(self.number > 0, self.number, np.nan))


def mean_fit(cosmology: Cosmology, edges: ArrayLike, fit: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of a fit over bins, and the log10 mass where the fit has that value, float64 (B,) each.

    See `fof_mass_function` for units and fits.
    """
    return _mean_fit(cosmology, tuple(np.asarray(edges, dtype=float).tolist()), fit)


@lru_cache(maxsize=32)
def _mean_fit(
    cosmology: Cosmology, bounds: tuple[float, ...], fit: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges = np.array(bounds)
    width = np.diff(edges)
    inside = edges[:-1, None] + width[:, None] * (np.arange(_STEPS) + 0.5) / _STEPS
    value = fof_mass_function(cosmology, inside.ravel(), fit).reshape(inside.shape)
    mean = value.mean(axis=1)
    # the fits fall with mass
    return mean, np.array([np.interp(-m, -v, x) for m, v, x in zip(mean, value, inside, strict=True)])


def expected_mass_function(prediction: Prediction, log10_mass: ArrayLike, fit: str = "watson13") -> NDArray[np.float64]:
    """Comoving number density per decade of mass that a fit expects for the cosmology and redshift of a prediction.

    Parameters
    ----------
    prediction : Prediction
    log10_mass : array, (N,)
        log10 of Msun, not of Msun/h.
    fit : str
        One of `FOF_FITS`. A fit is for an infinite volume: a small box has fewer massive haloes.

    Returns
    -------
    float64, (N,)
        dn / dlog10 M, (Mpc/h)^-3.

    Raises
    ------
    CosmologyError
        The fit is unknown.

    Examples
    --------
    >>> from yt_protohalos.analysis.mass_function import expected_mass_function
    >>> expected_mass_function(prediction, [12, 13]).shape
    (2,)
    """
    log10_msun_h = np.asarray(log10_mass, dtype=float) + np.log10(prediction.cosmology.h)
    return fof_mass_function(prediction.cosmology, log10_msun_h, fit, prediction.target_redshift)


def protohalo_mass_function(
    prediction: Prediction, bins_per_decade: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Comoving number density of protohalos per decade of mass.

    Parameters
    ----------
    prediction : Prediction
    bins_per_decade : int

    Returns
    -------
    mass : float64, (B,)
        Centres of the logarithmic bins, Msun, from the smallest protohalo that is kept.
    density, error : float64, (B,)
        dn / dlog10 M and its Poisson error, (Mpc/h)^-3.

    Examples
    --------
    >>> from yt_protohalos.analysis.mass_function import protohalo_mass_function
    >>> mass, density, error = protohalo_mass_function(prediction)
    >>> bool(np.all(np.diff(mass) > 0))
    True
    """
    masses = prediction.label_mass[1:]
    # lower by half a site, so that a protohalo of just min_sites cannot fall below the first edge by rounding
    first = np.log10((prediction.min_sites - 0.5) * prediction.site_mass_msun)
    last = np.log10(masses.max()) if len(masses) else first
    count = max(1, int(np.ceil((last - first) * bins_per_decade + 1e-9)))
    edges = first + np.arange(count + 1) / bins_per_decade
    number, _ = np.histogram(np.log10(masses), edges)
    volume = prediction.lattice.box_size**3 / bins_per_decade
    return 10 ** (edges[:-1] + 0.5 / bins_per_decade), number / volume, np.sqrt(number) / volume
