"""From a density cube to the linear field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..cosmology import Cosmology
from ..exceptions import InitialConditionsError, LatticeError
from ..linear_field import LinearField, without_nyquist
from .particles import check_finite


def field_from_density(
    delta: NDArray, box_size: float, cosmology: Cosmology, redshift: float, site_offset: float = 0.5
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
    if delta.ndim != 3 or len(set(delta.shape)) != 1 or delta.shape[0] < 2:
        raise LatticeError(f"density of shape {delta.shape} is not a cube; give (n, n, n) for a cubic box")
    check_finite("densities", delta)
    rms = float(delta.std(dtype=np.float64))
    if rms == 0.0:
        raise InitialConditionsError("the density is the same in every cell; give perturbed initial conditions")
    # a linear field with this rms has cells below -1, which no evolved density has
    if rms > 1.0 and float(delta.min()) >= -1.0:
        raise InitialConditionsError(
            f"the overdensity has an rms of {rms:.3g} and never falls below -1 at z = {redshift:g}: an evolved "
            "density; "
            "give the linear one of the initial conditions"
        )
    growth = float(cosmology.growth_factor(redshift))
    return LinearField.from_density(without_nyquist(delta) / growth, box_size, cosmology, redshift, site_offset)
