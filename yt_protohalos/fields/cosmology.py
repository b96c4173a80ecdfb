"""Background, growth and linear power of a matter-plus-Lambda cosmology, a thin layer over colossus.

Radiation is left out (``relspecies=False``), as MUSIC, N-GenIC and Gadget do: D(0)/D(49) = 39.161 for the
paper's cosmology.
"""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..exceptions import CosmologyError
from .units import Quantity, comoving_length, without_unit

CRITICAL_DENSITY = 2.77536627e11
"""Critical density today in h^2 Msun / Mpc^3."""


@dataclass(frozen=True)
class Cosmology:
    """Flat or curved matter-plus-Lambda cosmology.

    Attributes
    ----------
    h : float
        Hubble constant in 100 km/s/Mpc.
    omega_m, omega_lambda, omega_b : float
        Density parameters today: all matter, cosmological constant, baryons.
    sigma_8 : float
        Linear rms overdensity in 8 Mpc/h spheres at z = 0.
    n_s : float
        Spectral index.

    Examples
    --------
    >>> cosmology = ph.Cosmology(h=0.6777, omega_m=0.307112, omega_lambda=0.692888)
    >>> cosmology == ph.PAPER_COSMOLOGY
    True
    >>> round(float(1 / cosmology.growth_factor(49)), 2)
    39.16
    """

    h: float
    omega_m: float
    omega_lambda: float
    omega_b: float = 0.048252
    sigma_8: float = 0.8288
    n_s: float = 0.9611

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, numbers.Real) or (isinstance(value, np.ndarray) and not value.ndim)
            size: Any = abs(value) if number else np.inf
            if not size < 1e300:
                raise CosmologyError(f"{name} = {value} is not finite; give the value the file was made with")
        for name in ("h", "omega_m", "sigma_8"):
            if getattr(self, name) <= 0:
                raise CosmologyError(f"{name} = {getattr(self, name)} is not positive; give the value of the run")
        if self.h > 2:
            raise CosmologyError(f"h = {self.h} is not in units of 100 km/s/Mpc; divide by 100")

    @cached_property
    def _colossus(self) -> Any:
        from colossus.cosmology import cosmology as colossus

        return colossus.Cosmology(
            name="yt_protohalos", flat=False, H0=100 * self.h, Om0=self.omega_m, Ode0=self.omega_lambda,
            Ob0=self.omega_b, sigma8=self.sigma_8, ns=self.n_s, relspecies=False, persistence="",
        )  # fmt: skip

    def growth_factor(self, redshift: ArrayLike) -> NDArray[np.float64]:
        """Linear growth factor D(z), normalised to D(0) = 1."""
        z = _checked_redshift(redshift)
        return np.asarray(self._colossus.growthFactorUnnormalized(z)) / self._growth_today

    @cached_property
    def _growth_today(self) -> float:
        return float(self._colossus.growthFactorUnnormalized(0.0))

    def matter_fraction(self, redshift: float) -> float:
        """Matter density over critical density, Omega_m(z)."""
        z = float(_checked_redshift(redshift))
        return float(self.omega_m * (1 + z) ** 3 / expansion_squared(self, z))

    def growth_rate(self, redshift: float) -> float:
        """First-order growth rate f1 = dlnD/dlna.

        Differentiates D = 5/2 Omega_m E(a) int da' / (a' E)^3 (Heath 1977), the integral that colossus evaluates.
        """
        z = float(_checked_redshift(redshift))
        a = 1 / (1 + z)
        expansion = np.sqrt(expansion_squared(self, z))
        curvature = 1 - self.omega_m - self.omega_lambda
        slope = -(1.5 * self.omega_m / a**3 + curvature / a**2) / expansion**2
        growth = float(self._colossus.growthFactorUnnormalized(z))
        return float(slope + 2.5 * self.omega_m / (a**2 * expansion**2 * growth))

    def second_growth_rate(self, redshift: float) -> float:
        """Second-order growth rate f2 = dlnD2/dlna = 2 Omega_m(z)^(6/11) (Bouchet et al. 1995)."""
        return float(2 * self.matter_fraction(redshift) ** (6 / 11))

    def hubble(self, redshift: float) -> float:
        """Hubble rate H(z) = 100 E(z) in km/s per proper Mpc/h."""
        return 100 * float(np.sqrt(expansion_squared(self, float(_checked_redshift(redshift)))))

    def linear_power(self, wavenumber: ArrayLike, wiggles: bool = True) -> NDArray[np.float64]:
        """Linear power at z = 0 in (Mpc/h)^3, Eisenstein & Hu (1998), for wavenumbers in h/Mpc."""
        model = "eisenstein98" if wiggles else "eisenstein98_zb"
        return np.asarray(self._colossus.matterPowerSpectrum(np.asarray(wavenumber, dtype=float), z=0.0, model=model))

    @property
    def mean_density(self) -> float:
        """Comoving mean matter density in (Msun/h) / (Mpc/h)^3."""
        return self.omega_m * CRITICAL_DENSITY

    def site_mass_msun_h(self, spacing: Quantity) -> float:
        """Mass of one lattice site in Msun/h, for a comoving spacing in Mpc/h or a quantity."""
        return self.mean_density * comoving_length(spacing, "spacing", self.h) ** 3


def expansion_squared(cosmology: Cosmology, redshift: Any) -> Any:
    """Squared expansion rate E(z)^2 = H(z)^2 / H(0)^2 at one or more redshifts, plain numbers."""
    curvature = 1 - cosmology.omega_m - cosmology.omega_lambda
    return cosmology.omega_m * (1 + redshift) ** 3 + curvature * (1 + redshift) ** 2 + cosmology.omega_lambda


def target_redshift(redshift: float) -> float:
    """Redshift at which haloes are predicted, as a float.

    Raises `CosmologyError` if it is no number, negative or not finite, and `UnitsError` if it has a unit.
    """
    redshift = without_unit(redshift, "redshift")
    if isinstance(redshift, bool) or not isinstance(redshift, int | float | np.number):
        raise CosmologyError(f"redshift {redshift!r} is no number; give the redshift of the haloes, e.g. 0.5")
    return float(_checked_redshift(float(redshift)))


def _checked_redshift(redshift: ArrayLike) -> NDArray[np.float64]:
    z = np.asarray(without_unit(redshift, "redshift"), dtype=float)
    if not np.all(np.isfinite(z)) or np.any(z < 0):
        raise CosmologyError(f"redshift {redshift!r} is negative or not finite; give z >= 0")
    return z


PAPER_COSMOLOGY = Cosmology(
    h=0.6777, omega_m=0.307112, omega_lambda=0.692888, omega_b=0.048252, sigma_8=0.8288, n_s=0.9611
)
"""Planck cosmology of López-Cano et al. 2024, section 2.4."""
