"""From a density cube to the linear field."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError
from ..fields.cosmology import Cosmology
from ..fields.fourier import mean_and_rms, without_nyquist
from ..fields.linear_field import LinearField
from .checks import check_peak, check_reach
from .particles import check_side

LARGEST_OVERDENSITY = 1e4
"""Of any linear field at any redshift."""
LARGEST_RMS = 100.0
"""At z = 0: cold dark matter reaches 25 on spacings of a parsec."""


def field_from_density(
    delta: NDArray[Any], box_size: float, cosmology: Cosmology, redshift: float, site_offset: float = 0.5
) -> LinearField:
    """Linear field of a linear overdensity given at the redshift of the initial conditions.

    Parameters
    ----------
    delta : array, (n, n, n)
        Linear overdensity at `redshift`, x on axis 0; its mean is removed.
    box_size : float
        Comoving Mpc/h.
    cosmology : Cosmology
    redshift : float
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``; cells have their values at 0.5.

    Returns
    -------
    LinearField
        delta / D(z), with D(0) = 1, and its potential.

    Raises
    ------
    LatticeError
        For an array that is not a cube.
    InitialConditionsError
        For NaNs, a constant field, or a density that is already non-linear.
    """
    delta = np.asarray(delta)
    if delta.ndim != 3 or len(set(delta.shape)) != 1:
        raise LatticeError(f"density of shape {delta.shape} is not a cube; give (n, n, n) for a cubic box")
    check_side(delta.shape[0])
    check_reach("overdensities", delta, LARGEST_OVERDENSITY, "", "in a linear field")
    _, rms = mean_and_rms(delta)
    if rms == 0.0:
        raise InitialConditionsError("the density is the same in every cell; give perturbed initial conditions")
    # a linear field with this rms has cells below -1, which no evolved density has
    if rms > 1.0 and float(delta.min()) >= -1.0:
        raise InitialConditionsError(
            f"the overdensity has an rms of {rms:.3g} and never falls below -1 at z = {redshift:g}: an evolved "
            "density; "
            "give the linear one of the initial conditions"
        )
    check_peak("overdensities", delta)
    growth = float(cosmology.growth_factor(redshift))
    if rms / growth > LARGEST_RMS:
        raise InitialConditionsError(
            f"the overdensity's rms of {rms:.3g} at z = {redshift:g} grows to {rms / growth:.3g} at z = 0; no linear "
            f"field exceeds {LARGEST_RMS:g}: correct the redshift, or give the overdensity at that redshift"
        )
    delta = without_nyquist(delta) / growth
    return LinearField.from_density(delta, box_size, cosmology, redshift, site_offset, overwrite=True)
