"""The linear overdensity and potential of a box.

Conventions: comoving Mpc/h, fields extrapolated to the redshift whose haloes are asked for (0 unless said),
laplacian(phi) = delta, psi = -grad(phi), x on axis 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError
from .cosmology import Cosmology, target_redshift
from .fourier import mean_and_rms, potential, resample
from .lattice import Cube, Lattice, Triple
from .units import Quantity, comoving_length, dimensionless

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class LinearField:
    """Linear density and potential on the Lagrangian lattice.

    Immutable: its arrays are read-only and never replaced. Every method that changes something returns a new field.

    Attributes
    ----------
    delta : float32, (n, n, n)
        Linear overdensity extrapolated to `target_redshift`, dimensionless.
    phi : float32, (n, n, n)
        Potential with laplacian(phi) = delta, in comoving (Mpc/h)^2 at `target_redshift`.
    lattice : Lattice
        Sites per side and box size.
    cosmology : Cosmology
    redshift : float
        Redshift of the initial conditions the field was measured from.
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``: 0 for cell corners, 0.5 for cell centres.
    target_redshift : float
        Redshift whose haloes the field is to predict, 0 as read; see `at_redshift`.

    Examples
    --------
    >>> delta = np.random.default_rng(1).standard_normal((32, 32, 32))
    >>> field = ph.LinearField.from_density(delta, 6.25, ph.PAPER_COSMOLOGY, redshift=49.0)
    >>> field.spacing  # Mpc/h
    0.1953125
    """

    delta: Cube
    phi: Cube
    lattice: Lattice
    cosmology: Cosmology
    redshift: float
    site_offset: float = 0.0
    target_redshift: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "redshift", dimensionless(self.redshift, "redshift"))
        object.__setattr__(self, "target_redshift", target_redshift(self.target_redshift))
        for name in ("delta", "phi"):
            cube = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            self.lattice.check_cube(cube, name)
            # extremes find what is not finite without a second cube
            if not (np.isfinite(cube.max()) and np.isfinite(cube.min())):
                bad = int(cube.size - np.count_nonzero(np.isfinite(cube)))
                raise InitialConditionsError(
                    f"{name} has {bad} sites that are NaN or infinite; a linear field is finite everywhere, "
                    "check the initial conditions"
                )
            # a view, so that the caller's own array stays writeable
            cube = cube.view()
            cube.flags.writeable = False
            object.__setattr__(self, name, cube)

    @classmethod
    def from_density(
        cls,
        delta: NDArray[Any],
        box_size: Quantity,
        cosmology: Cosmology,
        redshift: float,
        site_offset: float = 0.0,
        overwrite: bool = False,
    ) -> LinearField:
        """Make the field of a linear overdensity; phi follows from Poisson's equation.

        Parameters
        ----------
        delta : array, (n, n, n)
            Linear overdensity extrapolated to z = 0; its mean is removed.
        box_size : float or quantity
            Comoving side of the box in Mpc/h; see `fields.units`.
        cosmology : Cosmology
        redshift : float
            Redshift of the initial conditions.
        site_offset : float
            As the attribute.
        overwrite : bool
            Let a float32 `delta` become the field's own array, without a copy.

        Raises
        ------
        LatticeError, InitialConditionsError, UnitsError
            `delta` is not a cube or not finite, or a unit has another dimension.
        """
        delta = np.asarray(delta)
        if delta.ndim != 3 or len(set(delta.shape)) != 1:
            raise LatticeError(f"density of shape {delta.shape} is not a cube; give (n, n, n)")
        lattice = Lattice(delta.shape[0], comoving_length(box_size, "box_size", cosmology.h))
        own = delta if overwrite and delta.dtype == np.float32 else np.empty(lattice.shape, dtype=np.float32)
        mean = delta.mean(dtype=np.float64)
        for plane, values in zip(own, delta, strict=True):
            np.subtract(values, mean, out=plane, dtype=np.float64, casting="same_kind")
        return cls(own, potential(own, lattice), lattice, cosmology, redshift, site_offset)

    def __repr__(self) -> str:
        _, rms = mean_and_rms(self.delta[:: max(self.n // 32, 1)])
        return (
            f"{type(self).__name__} on {self.n}^3 sites\n  box size {self.box_size:g} Mpc/h, spacing {self.spacing:g} "
            f"Mpc/h\n  delta at redshift {self.target_redshift:g}, rms {rms:.3g}\n  from initial conditions at "
            f"redshift {self.redshift:g}\n  {self.cosmology}"
        )

    @property
    def n(self) -> int:
        """Sites per side."""
        return self.lattice.n

    @property
    def box_size(self) -> float:
        """Comoving box side in Mpc/h."""
        return self.lattice.box_size

    @property
    def spacing(self) -> float:
        """Comoving site spacing in Mpc/h."""
        return self.lattice.spacing

    @property
    def site_mass_msun_h(self) -> float:
        """Mass of one site in Msun/h."""
        return self.cosmology.site_mass_msun_h(self.spacing)

    def with_cubes(self, delta: Cube, phi: Cube) -> Self:
        """Same field with equal arrays that lie elsewhere, e.g. mapped from disk.

        The arrays are not validated, because that would read all of them; they must equal those of this field.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self), delta=delta, phi=phi)
        return other

    def without_cubes(self) -> Self:
        """Same field with empty arrays: small enough to send to other processes, which add the arrays there."""
        empty = np.empty((0, 0, 0), dtype=np.float32)
        return self.with_cubes(empty, empty)

    @property
    def is_mapped(self) -> bool:
        """True if delta is mapped from a file."""
        cube: Any = self.delta
        while cube is not None and not isinstance(cube, np.memmap):
            cube = getattr(cube, "base", None)
        return cube is not None

    @property
    def target_sigma_8(self) -> float:
        """Rms of delta in spheres of 8 Mpc/h that the cosmology states, at `target_redshift`: sigma_8 D(z)."""
        growth = float(self.cosmology.growth_factor(self.target_redshift)) if self.target_redshift else 1.0
        return self.cosmology.sigma_8 * growth

    @property
    def velocity_factor(self) -> float:
        """Peculiar velocity of a first-order displacement at `target_redshift`, a H f, in km/s per comoving Mpc/h."""
        cosmology, z = self.cosmology, self.target_redshift
        return cosmology.hubble(z) * cosmology.growth_rate(z) / (1 + z)

    def at_redshift(self, redshift: float) -> LinearField:
        """Rescale the field to predict the haloes of another redshift, delta(z) = delta(0) D(z) / D(0).

        The cosmology keeps its sigma_8, which is that of z = 0.

        Raises `CosmologyError` if the redshift is negative or not a finite number.
        """
        target = target_redshift(redshift)
        if target == self.target_redshift:
            return self
        now, then = self.cosmology.growth_factor([target, self.target_redshift])
        return replace(self.scaled(float(now / then)), target_redshift=target)

    def scaled(self, factor: float) -> LinearField:
        """Multiply delta and phi by a factor."""
        return replace(self, delta=self.delta * np.float32(factor), phi=self.phi * np.float32(factor))

    def crop(self, name: str, start: Triple, side: int) -> Cube:
        """Periodic crop of ``"delta"`` or ``"phi"`` for a network, float32 (side, side, side), first site `start`."""
        return self.lattice.crop(getattr(self, name), start, (side,) * 3)

    def periodic_delta(self) -> Cube:
        """Overdensity of the whole box, float32 (n, n, n); `ExperimentError` if the field is not periodic."""
        return self.delta

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes of delta and phi, computed once."""
        digest = hashlib.sha256(self.delta.data)
        digest.update(self.phi.data)
        return digest.hexdigest()

    def identity(self) -> dict[str, object]:
        """JSON values that a prediction depends on beside the arrays and the lattice."""
        return {"target_redshift": self.target_redshift} if self.target_redshift else {}

    def resampled(self, n: int) -> LinearField:
        """Resample the field to `n` sites per side, by Fourier truncation or padding."""
        lattice = Lattice(n, self.box_size)
        # cell centres stay cell centres
        shift = (self.site_offset / n - self.site_offset / self.n) * self.box_size
        delta = resample(self.delta, self.lattice, n, shift)
        phi = resample(self.phi, self.lattice, n, shift)
        return replace(self, delta=delta, phi=phi, lattice=lattice)
