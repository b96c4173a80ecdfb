"""Halo mass functions of friends-of-friends haloes from fits, for comparison.

The fits are functions of the rms of the linear density alone; colossus holds their coefficients, and the rms comes from
`Cosmology`, so that colossus' global cosmology stays untouched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import CosmologyError
from ..fields.cosmology import Cosmology

FOF_FITS = ("watson13", "warren06", "angulo12", "jenkins01")
"""Fits to FoF haloes that depend on the rms alone: Watson et al. 2013, Warren et al. 2006, Angulo et al. 2012, Jenkins
et al. 2001. (The fit of Ondaro-Mallea et al. 2022 in the paper's figure 9 is not among them.)"""


def linear_rms(cosmology: Cosmology, radius: ArrayLike) -> NDArray[np.float64]:
    """Rms of the linear overdensity at z = 0 in top-hat spheres of comoving radius (Mpc/h), infinite volume.

    Normalised to sigma_8 at 8 Mpc/h by the same integral.
    """
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
        One of `FOF_FITS`: of the rms alone, hence the same for every redshift.
    redshift : float
        At which the rms is taken.

    Returns
    -------
    float64, (N,), in (Mpc/h)^-3 a decade.

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
        radius = np.cbrt(3 * 10**log10 / (4 * np.pi * cosmology.mean_density))
        return np.log(linear_rms(cosmology, radius)) + log_growth

    # dln(1/sigma) / dlog10 M
    slope = -(log_rms(log10_mass + step) - log_rms(log10_mass - step)) / (2 * step)
    return np.asarray(functions[fit](np.exp(log_rms(log10_mass)))) * cosmology.mean_density / 10**log10_mass * slope
