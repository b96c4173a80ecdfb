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
from .cosmology import Cosmology
from .cosmology import target_redshift as checked_target
from .fourier import potential, resample
from .lattice import Cube, Lattice, Triple

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
        delta: NDArray,
        box_size: float,
        cosmology: Cosmology,
        redshift: float,
        site_offset: float = 0.0,
        overwrite: bool = False,
    ) -> LinearField:
        """Field of a z = 0 linear overdensity (n, n, n); its mean is removed, phi follows from Poisson's equation.

        With `overwrite` a float32 `delta` becomes the field's own, and no copy is made.
        """
        delta = np.asarray(delta)
        if delta.ndim != 3 or len(set(delta.shape)) != 1:
            raise LatticeError(f"density of shape {delta.shape} is not a cube; give (n, n, n)")
        lattice = Lattice(delta.shape[0], box_size)
        own = delta if overwrite and delta.dtype == np.float32 else np.empty(lattice.shape, dtype=np.float32)
        mean = delta.mean(dtype=np.float64)
        for plane, values in zip(own, delta, strict=True):
            np.subtract(values, mean, out=plane, dtype=np.float64, casting="same_kind")
        return cls(own, potential(own, lattice), lattice, cosmology, float(redshift), site_offset)

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
        """Whether delta is mapped from a file."""
        cube: Any = self.delta
        while cube is not None and not isinstance(cube, np.memmap):
            cube = getattr(cube, "base", None)
        return cube is not None

    @property
    def target_sigma_8(self) -> float:
        """Rms of delta in spheres of 8 Mpc/h that the cosmology states, at `target_redshift`: sigma_8 D(z)."""
        growth = float(self.cosmology.growth_factor(self.target_redshift)) if self.target_redshift else 1.0
        return self.cosmology.sigma_8 * growth

    def at_redshift(self, redshift: float) -> LinearField:
        """The field that predicts the haloes of another redshift, delta(z) = delta(0) D(z) / D(0).

        The cosmology stays as it is, sigma_8 that of z = 0 too.

        Parameters
        ----------
        redshift : float
            Target, 0 or larger; the field itself where that is its own.

        Raises
        ------
        CosmologyError
            The redshift is negative or not a finite number.
        """
        target = checked_target(redshift)
        if target == self.target_redshift:
            return self
        now, then = self.cosmology.growth_factor([target, self.target_redshift])
        return replace(self.scaled(float(now / then)), target_redshift=target)

    def scaled(self, factor: float) -> LinearField:
        """The field with delta and phi times a factor, and all else as it is."""
        return replace(self, delta=self.delta * np.float32(factor), phi=self.phi * np.float32(factor))

    def crop(self, name: str, start: Triple, side: int) -> Cube:
        """Crop of ``"delta"`` or ``"phi"`` as a network is to see it, float32 (side, side, side), from any site on."""
        return self.lattice.crop(getattr(self, name), start, (side,) * 3)

    def periodic_delta(self) -> Cube:
        """All of the overdensity, float32 (n, n, n), for what needs it periodic; a field that is not refuses."""
        return self.delta

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the bytes of delta and phi, computed once: neither ever changes."""
        digest = hashlib.sha256(self.delta.data)
        digest.update(self.phi.data)
        return digest.hexdigest()

    def identity(self) -> dict[str, object]:
        """What a prediction depends on beside the arrays and the lattice, JSON values."""
        return {"target_redshift": self.target_redshift} if self.target_redshift else {}

    def resampled(self, n: int) -> LinearField:
        """Same field on a lattice of `n` sites per side, by Fourier truncation or padding."""
        lattice = Lattice(n, self.box_size)
        # the sites keep their places in the box: a cell-centre lattice stays one
        shift = (self.site_offset / n - self.site_offset / self.n) * self.box_size
        delta = resample(self.delta, self.lattice, n, shift)
        phi = resample(self.phi, self.lattice, n, shift)
        return replace(self, delta=delta, phi=phi, lattice=lattice)
