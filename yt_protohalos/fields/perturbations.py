"""Experiments on the initial conditions: large-scale density, large-scale tides, and the amplitude of all fluctuations.

Source: López-Cano et al. 2024, section 4. A large-scale perturbation adds ``T_ij (q - q0)_i (q - q0)_j / 2`` to phi and
``tr T`` to delta. There are two ways to add it to a periodic box:

**uniform** (without `within`)
    The perturbation is added to every crop. A network sees phi without its mean and gradient, so that q0 does not
    matter (eq. 12). This is not periodic and cannot be evolved, so it needs a model that uses the linear field alone,
    for example ``planck-v2``.
**plateau** (`within` a `Region`)
    The perturbation is the same inside the region and compensated outside, so that the field stays periodic. Any model
    can predict the part of the region that has its context inside too, see `needed_context`. To first order the inside
    equals that of the uniform one; later it responds to the compensation, as a real overdensity to its surroundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..exceptions import CosmologyError, ExperimentError
from .lattice import Cube, Lattice, Triple
from .linear_field import LinearField
from .region import Region, separation

Diagonal = tuple[float, float, float]
LARGEST_PLATEAU = 2 / 3
"""Largest side of a plateau in units of the box: beyond it the compensation exceeds three times the perturbation."""
_TRANSITION = 0.25
"""Width of a plateau's edge in units of what is left of the half box."""


@dataclass(frozen=True, repr=False)
class DeformedField(LinearField):
    """A linear field with a large-scale perturbation.

    Delta, phi and catalogue positions are those of the periodic part: the uniform part would move all by ``-T q``.

    Attributes
    ----------
    deformation : tuple of float, (3,)
        Diagonal of T at z = 0, of the uniform perturbation that `crop` adds.
    plateau : Region or None
        Region in which a perturbation held by delta and phi is uniform.

    Examples
    --------
    >>> denser = ph.add_overdensity(field, 0.3)
    >>> denser.periodic_delta()
    Traceback (most recent call last):
    yt_protohalos.exceptions.ExperimentError: a uniform large-scale perturbation ... is not periodic...
    """

    deformation: Diagonal = (0.0, 0.0, 0.0)
    plateau: Region | None = None

    def crop(self, name: str, start: Triple, side: int) -> Cube:
        """Crop of delta or phi with the uniform perturbation, q0 at the crop's centre."""
        block = super().crop(name, start, side)
        if not any(self.deformation):
            return block
        if name == "delta":
            return block + np.float32(sum(self.deformation))
        square = 0.5 * ((np.arange(side) - 0.5 * (side - 1)) * self.spacing) ** 2
        x, y, z = ((trace * square).astype(np.float32) for trace in self.deformation)
        return block + x[:, None, None] + y[None, :, None] + z[None, None, :]

    def periodic_delta(self) -> Cube:
        """Overdensity of the whole box; `ExperimentError` if a uniform perturbation has been added."""
        if any(self.deformation):
            raise ExperimentError(
                f"a uniform large-scale perturbation {self.deformation} is not periodic, so the field cannot be "
                "evolved; use a model that sees the linear field alone, e.g. 'planck-v2', or add the perturbation "
                "`within` a region"
            )
        return self.delta

    def scaled(self, factor: float) -> DeformedField:
        """Multiply the field and its perturbation by a factor."""
        x, y, z = (factor * value for value in self.deformation)
        return replace(
            self, delta=self.delta * np.float32(factor), phi=self.phi * np.float32(factor), deformation=(x, y, z)
        )

    def identity(self) -> dict[str, object]:
        """JSON values that a prediction depends on, with the uniform perturbation and the plateau."""
        uniform = {"deformation": list(self.deformation)} if any(self.deformation) else {}
        plateau = {"plateau": [*self.plateau.center, self.plateau.side]} if self.plateau is not None else {}
        return {**super().identity(), **uniform, **plateau}


def add_overdensity(field: LinearField, delta_eps: float, within: Region | None = None) -> DeformedField:
    """Add a large-scale overdensity, eqs. 11 and 12; see `add_deformation` for the region and the errors.

    Parameters
    ----------
    field : LinearField
    delta_eps : float
        Linear overdensity at z = 0, the paper's -0.5 to 0.5: delta + delta_eps, phi + delta_eps (q - q0)^2 / 6.
    within : Region, optional

    Returns
    -------
    DeformedField

    Examples
    --------
    >>> denser = ph.add_overdensity(field, 0.3)
    >>> round(float(np.mean(denser.crop("delta", (0, 0, 0), 32))), 3)
    0.3
    """
    return add_deformation(field, (delta_eps / 3,) * 3, within)


def add_tide(field: LinearField, lambda_z: float, within: Region | None = None) -> DeformedField:
    """Add a large-scale tidal field, eqs. 15 and 16; see `add_deformation` for the region and the errors.

    Parameters
    ----------
    field : LinearField
    lambda_z : float
        Eigenvalue along z at z = 0, the paper's -0.5 to 0.5; that along y is its negative. Positive values let matter
        fall in along z. Delta is not changed; with `within` it is not changed inside the plateau.
    within : Region, optional

    Returns
    -------
    DeformedField

    Examples
    --------
    >>> ph.add_tide(field, 0.3).deformation
    (0.0, -0.3, 0.3)
    """
    return add_deformation(field, (0.0, -lambda_z, lambda_z), within)


def add_deformation(field: LinearField, diagonal: Sequence[float], within: Region | None = None) -> DeformedField:
    """Add a large-scale perturbation with the axes of the box.

    Parameters
    ----------
    field : LinearField
    diagonal : sequence of float, (3,)
        Diagonal of the tensor T at z = 0: delta + tr T, phi + (q - q0)^T T (q - q0) / 2.
    within : Region, optional
        Region of a plateau; uniform everywhere by default.

    Returns
    -------
    DeformedField
        Perturbations added one after the other sum up.

    Raises
    ------
    ExperimentError
        Numbers that are not finite, a plateau too large for the box, or a second plateau elsewhere.

    Examples
    --------
    >>> from yt_protohalos.fields.perturbations import add_deformation
    >>> add_deformation(ph.add_tide(field, 0.25), (0.5, 0, 0)).deformation
    (0.5, -0.25, 0.25)
    """
    values = np.asarray(diagonal, dtype=float)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise ExperimentError(f"deformation {diagonal!r} is not three finite numbers; give the diagonal of the tensor")
    before = _deformed(field)
    if within is None:
        x, y, z = (float(old + new) for old, new in zip(before.deformation, values, strict=True))
        return replace(before, deformation=(x, y, z))
    if before.plateau not in (None, within):
        raise ExperimentError(f"the field has a perturbation within {before.plateau} already; add this within the same")
    box = field.lattice.box_size
    if within.side > LARGEST_PLATEAU * box:
        raise ExperimentError(
            f"a plateau of {within.side:.4g} Mpc/h is more than two thirds of the box, {box:.4g} Mpc/h; "
            f"use a box of at least {within.side / LARGEST_PLATEAU:.4g} Mpc/h, a smaller region, or a uniform "
            "perturbation and a model that sees the linear field alone"
        )
    delta, phi = before.delta.copy(), before.phi.copy()
    for trace, distance in zip(values, separation(field.lattice, within.center, field.site_offset), strict=True):
        profile, bowl = _plateau(np.abs(distance.ravel()), 0.5 * within.side, field.lattice)
        delta += (trace * profile).astype(np.float32).reshape(distance.shape)
        phi += (trace * bowl).astype(np.float32).reshape(distance.shape)
    return replace(before, delta=delta, phi=phi, plateau=within)


def scale_amplitude(field: LinearField, sigma_8: float) -> LinearField:
    """Change sigma_8: scale every fluctuation, and a perturbation added before, by one factor (section 4.3).

    Prediction raises an error for amplitudes outside a model's training; ``on_range="warn"`` extrapolates as the paper.

    Parameters
    ----------
    field : LinearField
    sigma_8 : float
        New value; the old one is that of the field's cosmology.

    Returns
    -------
    LinearField

    Raises
    ------
    CosmologyError
        Either amplitude is not positive and finite.

    Examples
    --------
    >>> weaker = ph.scale_amplitude(field, 0.7)
    >>> round(float(weaker.delta.std() / field.delta.std()), 3)  # from 0.8288
    0.845
    """
    old = field.cosmology.sigma_8
    for value in (old, sigma_8):
        if not np.isfinite(value) or value <= 0:
            raise CosmologyError(f"sigma_8 = {value!r} is not positive and finite; give the amplitude at z = 0")
    return replace(field.scaled(sigma_8 / old), cosmology=replace(field.cosmology, sigma_8=float(sigma_8)))


def _deformed(field: LinearField) -> DeformedField:
    if isinstance(field, DeformedField):
        return field
    return DeformedField(**{f.name: getattr(field, f.name) for f in dataclass_fields(LinearField) if f.init})


def _plateau(
    distance: NDArray[np.float64], half: float, lattice: Lattice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Periodic profile of zero mean along one axis, 1 up to a distance `half`, and its potential, (Mpc/h)^2."""
    width = _TRANSITION * (0.5 * lattice.box_size - half)
    falling = np.clip((distance - half) / width, 0, 1)
    window = 0.5 * (1 + np.cos(np.pi * falling))
    window = (window - window.mean()) / (1 - window.mean())
    k = 2 * np.pi * np.fft.rfftfreq(lattice.n, d=lattice.spacing)
    spectrum = fft.rfft(window)
    spectrum[1:] /= -(k[1:] ** 2)
    return window, fft.irfft(spectrum, n=lattice.n)
