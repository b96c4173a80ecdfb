"""The linear overdensity and potential of a box, and the Fourier operators that connect them.

Conventions: comoving Mpc/h, fields extrapolated to the redshift whose haloes are asked for (0 unless said),
laplacian(phi) = delta, psi = -grad(phi), x on axis 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._utils.progress import Progress
from .._utils.system import available_cores
from ..exceptions import InitialConditionsError, LatticeError
from .cosmology import Cosmology
from .cosmology import target_redshift as checked_target
from .evolution import EvolvedField, evolve_field
from .lattice import Lattice, Triple

Cube = NDArray[np.float32]


@dataclass(frozen=True)
class LinearField:
    """Linear density and potential on the Lagrangian lattice.

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
    _evolved: list[EvolvedField] = field(default_factory=list, init=False, repr=False, compare=False)

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

    def evolved(self, progress: Progress = False) -> EvolvedField:
        """The field evolved approximately to its target time, computed once; see `evolution.evolve_field`."""
        if not self._evolved:
            self._evolved.append(evolve_field(self.periodic_delta(), self.lattice, progress))
        return self._evolved[0]

    def adopt(self, evolved: EvolvedField) -> None:
        """Take an evolved field computed before, e.g. arrays mapped from disk, in place of any of its own."""
        self._evolved[:] = [evolved]

    def move(self, place: Callable[[str, Cube], Cube]) -> None:
        """Let delta and phi live elsewhere: ``place(name, cube)`` returns an equal cube, e.g. mapped from disk."""
        for name in ("delta", "phi"):
            object.__setattr__(self, name, place(name, getattr(self, name)))

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
        delta = fourier_resample(self.delta, self.lattice, n, shift)
        phi = fourier_resample(self.phi, self.lattice, n, shift)
        return replace(self, delta=delta, phi=phi, lattice=lattice)


def _to_fourier(cube: NDArray) -> NDArray[np.complexfloating]:
    return fft.rfftn(cube, workers=available_cores())


def _to_real(spectrum: NDArray[np.complexfloating], shape: tuple[int, ...]) -> NDArray:
    """Cube of a spectrum, which is overwritten: irfftn would hold a copy of it."""
    spectrum = fft.ifftn(spectrum, axes=(0, 1), workers=available_cores(), overwrite_x=True)
    return fft.irfft(spectrum, n=shape[2], axis=2, workers=available_cores())


def mean_and_rms(cube: NDArray) -> tuple[float, float]:
    """Mean and standard deviation of a cube in double precision, a plane at a time."""
    mean = float(cube.mean(dtype=np.float64))
    square = sum(float(np.sum((plane.astype(np.float64) - mean) ** 2)) for plane in cube)
    return mean, float(np.sqrt(square / cube.size))


def potential(delta: Cube, lattice: Lattice) -> Cube:
    """Solve laplacian(phi) = delta on the periodic lattice.

    delta : float32, (n, n, n), dimensionless
    returns : float32, (n, n, n), comoving (Mpc/h)^2, zero mean
    Source: López-Cano et al. 2024, eq. 8.
    """
    lattice.check_cube(delta, "delta")
    spectrum = _to_fourier(delta.astype(np.float32, copy=False))
    kx, ky, kz = lattice.wavenumbers()
    for i, plane in enumerate(spectrum):
        k2 = (kx[i] ** 2 + ky**2 + kz**2)[0]
        if i == 0:
            k2[0, 0] = 1.0
        plane /= -k2
    spectrum[0, 0, 0] = 0.0
    return _to_real(spectrum, lattice.shape)


def _derivative_wavenumber(lattice: Lattice, axis: int) -> NDArray[np.float32]:
    """Wavenumber along `axis`, with the Nyquist plane zeroed: its derivative has no real representation."""
    k = lattice.wavenumbers()[axis].copy()
    if lattice.n % 2 == 0:
        nyquist = np.abs(np.abs(k) - np.pi / lattice.spacing) < 1e-3 * np.pi / lattice.spacing
        k[nyquist] = 0.0
    return k


def displacement_component(phi: Cube, lattice: Lattice, axis: int) -> Cube:
    """First-order displacement psi = -d phi / dq along one axis, (n, n, n), Mpc/h at z = 0."""
    spectrum = _to_fourier(phi)
    spectrum *= -1j * _derivative_wavenumber(lattice, axis)
    return _to_real(spectrum.astype(np.complex64, copy=False), lattice.shape)


def divergence(vector: NDArray[np.float32], lattice: Lattice) -> Cube:
    """Divergence of a displacement field.

    vector : float32, (3, n, n, n), Mpc/h
    returns : float32, (n, n, n), dimensionless
    """
    total: NDArray[np.complex64] | None = None
    for axis in range(3):
        total = add_derivative(total, vector[axis], lattice, axis)
    assert total is not None
    return _to_real(total, lattice.shape)


def add_derivative(
    total: NDArray[np.complex64] | None, component: Cube, lattice: Lattice, axis: int
) -> NDArray[np.complex64]:
    """Spectrum of a divergence, one component after the other.

    total : complex64, (n, n, n // 2 + 1), overwritten; None before the first component
    component : float32, (n, n, n), Mpc/h
    returns : `total` with the spectrum of the component's derivative along its axis
    """
    spectrum = _to_fourier(component.astype(np.float32, copy=False))
    spectrum *= 1j * _derivative_wavenumber(lattice, axis)
    if total is None:
        return spectrum.astype(np.complex64, copy=False)
    total += spectrum
    return total


def cube_without_nyquist(spectrum: NDArray[np.complexfloating], n: int) -> NDArray:
    """Cube (n, n, n) of a half spectrum, which is overwritten, without its modes on the Nyquist planes.

    Displacements cannot hold those modes, nor did the training.
    """
    if n % 2 == 0:
        spectrum[n // 2] = spectrum[:, n // 2] = spectrum[..., n // 2] = 0
    return _to_real(spectrum, (n, n, n))


def without_nyquist(cube: NDArray) -> NDArray:
    """Cube (n, n, n) without its modes on the Nyquist planes; see `cube_without_nyquist`."""
    n = cube.shape[0]
    return cube if n % 2 else cube_without_nyquist(_to_fourier(cube), n)


def second_order_source(phi: Cube, lattice: Lattice) -> Cube:
    """Source of the second-order potential, sum_{i<j} phi_ii phi_jj - phi_ij^2 (e.g. Bouchet et al. 1995).

    With laplacian(phi2) = source, the second-order displacement is D2 grad(phi2), D2 = -3/7 D^2 (nearly).
    """
    spectrum = _to_fourier(phi)
    # phi_xx phi_yy + (phi_xx + phi_yy) phi_zz: two diagonal cubes at a time
    total = _second_derivative(spectrum, lattice, 0, 0)
    other = _second_derivative(spectrum, lattice, 1, 1)
    source = total * other
    total += other
    del other
    total *= _second_derivative(spectrum, lattice, 2, 2)
    source += total
    del total
    for i, j in ((0, 1), (0, 2), (1, 2)):
        mixed = _second_derivative(spectrum, lattice, i, j)
        mixed *= mixed
        source -= mixed
        del mixed
    return source


def tidal_components(phi: Cube, lattice: Lattice) -> Iterator[tuple[int, int, Cube]]:
    """Second derivatives of the potential, one at a time, for memory holds one cube rather than six.

    phi : float32, (n, n, n), comoving (Mpc/h)^2
    yields : i, j with i <= j, and d^2 phi / dq_i dq_j, float32, (n, n, n), dimensionless; the diagonal adds up to delta
    """
    spectrum = _to_fourier(phi)
    for i in range(3):
        for j in range(i, 3):
            yield i, j, _second_derivative(spectrum, lattice, i, j)


def _second_derivative(spectrum: NDArray[np.complexfloating], lattice: Lattice, i: int, j: int) -> Cube:
    if i == j:
        return _to_real(spectrum * -(lattice.wavenumbers()[i] ** 2), lattice.shape)
    factor = _derivative_wavenumber(lattice, i) * _derivative_wavenumber(lattice, j)
    return _to_real(spectrum * -factor, lattice.shape)


def first_order_displacement(
    displacement: NDArray, velocity_displacement: NDArray, growth_rate: float, second_growth_rate: float
) -> NDArray:
    """Separate the first-order displacement from positions and velocities.

    displacement : (..., 3) or (3, ...), psi = x - q, Mpc/h
    velocity_displacement : same shape, u = v / (a H), Mpc/h
    growth_rate, second_growth_rate : f1 and f2 at the redshift of the file
    returns : psi_1 = (f2 psi - u) / (f2 - f1), same shape, Mpc/h
    """
    return (second_growth_rate * displacement - velocity_displacement) / (second_growth_rate - growth_rate)


def fourier_resample(cube: Cube, lattice: Lattice, n: int, shift: float = 0.0) -> Cube:
    """Resample a periodic cube to `n` sites per side by truncating or padding its spectrum.

    cube : float32, (m, m, m)
    shift : distance in Mpc/h by which the new site 0 lies after the old one, on each axis
    returns : float32, (n, n, n)
    """
    m = lattice.n
    if n == m and shift == 0.0:
        return cube
    spectrum = _to_fourier(cube)
    # modes at and beyond the smaller Nyquist wavenumber are dropped, so that the result stays real
    half = (min(n, m) - 1) // 2
    kept = np.arange(-half, half + 1)
    along = kept[kept >= 0]
    phase = np.exp(2j * np.pi * kept * shift / lattice.box_size).astype(np.complex64)
    large = np.zeros((n, n, n // 2 + 1), dtype=np.complex64)
    # plane by plane, for each step on all modes would be another cube
    for i, k in enumerate(kept):
        plane = spectrum[k % m][np.ix_(kept % m, along)]
        if shift:
            plane = plane * phase[i] * phase[:, None] * phase[kept >= 0][None, :]
        large[k % n][np.ix_(kept % n, along)] = plane * (n / m) ** 3
    del spectrum
    return _to_real(large, (n, n, n))
