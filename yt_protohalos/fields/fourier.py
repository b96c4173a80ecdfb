"""Fourier operators on a periodic lattice: potential, displacement, derivatives and resampling.

Conventions: comoving Mpc/h, laplacian(phi) = delta, psi = -grad(phi), x on axis 0. Spectra are those of ``rfftn``, of
shape (n, n, n // 2 + 1). Operators work plane by plane where a cube of temporaries would not fit the largest boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._utils.system import available_cores
from .lattice import Cube, Lattice

Spectrum = NDArray[np.complexfloating]


def to_spectrum(cube: NDArray[Any]) -> Spectrum:
    """Half spectrum of a cube."""
    spectrum: Spectrum = fft.rfftn(cube, workers=available_cores())
    return spectrum


def to_cube(spectrum: Spectrum, n: int) -> NDArray[Any]:
    """Cube (n, n, n) of a half spectrum, which is overwritten: ``irfftn`` would hold a copy of it."""
    spectrum = fft.ifftn(spectrum, axes=(0, 1), workers=available_cores(), overwrite_x=True)
    cube: NDArray[Any] = fft.irfft(spectrum, n=n, axis=2, workers=available_cores())
    return cube


def mean_and_rms(cube: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation of a cube in double precision."""
    mean = float(cube.mean(dtype=np.float64))
    square = sum(float(np.sum((plane.astype(np.float64) - mean) ** 2)) for plane in cube)
    return mean, float(np.sqrt(square / cube.size))


def potential(delta: Cube, lattice: Lattice) -> Cube:
    """Solve laplacian(phi) = delta (López-Cano et al. 2024, eq. 8).

    delta : float32, (n, n, n), dimensionless
    returns : float32, (n, n, n), comoving (Mpc/h)^2, zero mean
    """
    lattice.check_cube(delta, "delta")
    spectrum = to_spectrum(delta.astype(np.float32, copy=False))
    kx, ky, kz = lattice.wavenumbers()
    for i, plane in enumerate(spectrum):
        k2 = (kx[i] ** 2 + ky**2 + kz**2)[0]
        if i == 0:
            k2[0, 0] = 1.0
        plane /= -k2
    spectrum[0, 0, 0] = 0.0
    return to_cube(spectrum, lattice.n)


def displacement_component(phi: Cube, lattice: Lattice, axis: int) -> Cube:
    """First-order displacement psi = -d phi / dq along one axis.

    phi : float32, (n, n, n), comoving (Mpc/h)^2
    returns : float32, (n, n, n), comoving Mpc/h, at the redshift of phi
    """
    spectrum = to_spectrum(phi)
    spectrum *= -1j * _derivative_wavenumber(lattice, axis)
    return to_cube(spectrum.astype(np.complex64, copy=False), lattice.n)


def derivative_spectrum(component: Cube, lattice: Lattice, axis: int) -> NDArray[np.complex64]:
    """Spectrum of the derivative of a cube along an axis; three of them add up to the one of a divergence."""
    spectrum = to_spectrum(component.astype(np.float32, copy=False))
    spectrum *= 1j * _derivative_wavenumber(lattice, axis)
    return spectrum.astype(np.complex64, copy=False)


def _derivative_wavenumber(lattice: Lattice, axis: int) -> NDArray[np.float32]:
    """Wavenumber along `axis`, zero on the Nyquist plane, whose derivative has no real representation."""
    k = lattice.wavenumbers()[axis].copy()
    if lattice.n % 2 == 0:
        nyquist = np.abs(np.abs(k) - np.pi / lattice.spacing) < 1e-3 * np.pi / lattice.spacing
        k[nyquist] = 0.0
    return k


def without_nyquist(cube: NDArray[Any]) -> NDArray[Any]:
    """Cube (n, n, n) without its modes on the Nyquist planes, which displacements cannot hold."""
    n = cube.shape[0]
    return cube if n % 2 else to_cube(zero_nyquist(to_spectrum(cube), n), n)


def zero_nyquist(spectrum: Spectrum, n: int) -> Spectrum:
    """Half spectrum of a cube of side `n`, with its Nyquist planes set to zero in place."""
    if n % 2 == 0:
        spectrum[n // 2] = spectrum[:, n // 2] = spectrum[..., n // 2] = 0
    return spectrum


def second_order_source(phi: Cube, lattice: Lattice) -> Cube:
    """Source of the second-order potential, sum_{i<j} phi_ii phi_jj - phi_ij^2 (e.g. Bouchet et al. 1995).

    With laplacian(phi2) = source, the second-order displacement is D2 grad(phi2), D2 = -3/7 D^2 (nearly).
    """
    spectrum = to_spectrum(phi)
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
    """Second derivatives of the potential, one at a time, so that memory holds one cube rather than six.

    phi : float32, (n, n, n), comoving (Mpc/h)^2
    yields : i, j with i <= j, and d^2 phi / dq_i dq_j, float32, (n, n, n), dimensionless; the diagonal adds up to delta
    """
    spectrum = to_spectrum(phi)
    for i in range(3):
        for j in range(i, 3):
            yield i, j, _second_derivative(spectrum, lattice, i, j)


def _second_derivative(spectrum: Spectrum, lattice: Lattice, i: int, j: int) -> Cube:
    if i == j:
        return to_cube(spectrum * -(lattice.wavenumbers()[i] ** 2), lattice.n)
    factor = _derivative_wavenumber(lattice, i) * _derivative_wavenumber(lattice, j)
    return to_cube(spectrum * -factor, lattice.n)


def resample(cube: Cube, lattice: Lattice, n: int, shift: float = 0.0) -> Cube:
    """Resample a periodic cube to `n` sites per side by truncating or padding its spectrum.

    cube : float32, (m, m, m)
    shift : distance in Mpc/h by which the new site 0 lies after the old one, on each axis
    returns : float32, (n, n, n)
    """
    m = lattice.n
    if n == m and shift == 0.0:
        return cube
    spectrum = to_spectrum(cube)
    # modes at and beyond the smaller Nyquist wavenumber are dropped, so that the result stays real
    half = (min(n, m) - 1) // 2
    kept = np.arange(-half, half + 1)
    along = kept[kept >= 0]
    phase = np.exp(2j * np.pi * kept * shift / lattice.box_size).astype(np.complex64)
    large = np.zeros((n, n, n // 2 + 1), dtype=np.complex64)
    for i, k in enumerate(kept):
        plane = spectrum[k % m][np.ix_(kept % m, along)]
        if shift:
            plane = plane * phase[i] * phase[:, None] * phase[kept >= 0][None, :]
        large[k % n][np.ix_(kept % n, along)] = plane * (n / m) ** 3
    del spectrum
    return to_cube(large, n)


def rms_by_side(cube: Cube) -> NDArray[np.float64]:
    """Root mean square of a periodic cube, its mean included, on each lattice that `resample` reduces it to.

    cube : float32, (n, n, n)
    returns : (n + 1,), by sites per side; 0 for 0
    """
    n = len(cube)
    spectrum = to_spectrum(cube)
    wave = np.minimum(np.arange(n), n - np.arange(n))
    along = np.arange(n // 2 + 1)
    # modes of the half spectrum stand for their conjugates too
    weight = np.where((along == 0) | (2 * along == n), 1.0, 2.0)
    shell = np.maximum(wave[:, None], along)
    power = np.zeros(n // 2 + 1)
    for k, plane in zip(wave, spectrum, strict=True):
        squares = (plane.real.astype(np.float64) ** 2 + plane.imag.astype(np.float64) ** 2) * weight
        power += np.bincount(np.maximum(shell, k).ravel(), squares.ravel(), minlength=len(power))
    total = np.cumsum(power) / float(n) ** 6
    largest = np.maximum(np.arange(n + 1) - 1, 0) // 2
    rms: NDArray[np.float64] = np.sqrt(total[largest])
    # nothing is dropped on the lattice of the cube
    rms[0], rms[n] = 0.0, np.sqrt(total[-1])
    return rms
