"""The power spectrum that tests measure fields with."""

from __future__ import annotations

import numpy as np

from yt_protohalos.fields.lattice import Lattice


def power_spectrum(delta: np.ndarray, lattice: Lattice, n_bins: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Isotropic power spectrum.

    Returns
    -------
    wavenumber, power, modes : arrays
        Mean wavenumber (h/Mpc), power ((Mpc/h)^3) and number of independent modes per bin of width 2 pi / L.
    """
    spectrum = np.fft.rfftn(delta)
    kx, ky, kz = lattice.wavenumbers()
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    # the half spectrum holds each mode once, and its conjugate too where kz is 0 or the Nyquist wavenumber
    pairs = np.full(kz.shape, 2.0)
    pairs[..., 0] = 1.0
    if lattice.n % 2 == 0:
        pairs[..., -1] = 1.0
    weight = pairs * np.ones_like(k)
    power = np.abs(spectrum) ** 2 * lattice.box_size**3 / lattice.n_sites**2
    fundamental = 2 * np.pi / lattice.box_size
    bins = np.rint(k / fundamental).astype(np.int64).ravel()
    n_bins = n_bins or lattice.n // 2
    counts = np.bincount(bins, weights=weight.ravel())[1 : n_bins + 1]
    sums = np.bincount(bins, weights=(weight * power).ravel())[1 : n_bins + 1]
    ks = np.bincount(bins, weights=(weight * k).ravel())[1 : n_bins + 1]
    return ks / counts, sums / counts, counts / 2
