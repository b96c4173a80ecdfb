"""Gaussian initial conditions with second-order Lagrangian perturbation theory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY, Cosmology
from ..fields.fourier import displacement_component, potential, second_order_source
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField


def generate_initial_conditions(
    n: int,
    box_size: float,
    seed: int,
    cosmology: Cosmology = PAPER_COSMOLOGY,
    redshift: float = 49.0,
    filename: str | Path | None = None,
    wiggles: bool = True,
) -> LinearField:
    """Draw a Gaussian realisation of the linear power spectrum.

    Parameters
    ----------
    n : int
        Sites per side.
    box_size : float
        Comoving box side in Mpc/h.
    seed : int
        Seed of the white noise, which is drawn site by site in row-major order.
    cosmology : Cosmology
    redshift : float
        Redshift of the particles that `filename` holds, and of the returned field's origin.
    filename : path, optional
        Also write the particles (2LPT, lattice at cell corners, IDs from 1, row-major) as a Gadget HDF5 snapshot.
    wiggles : bool
        Eisenstein & Hu (1998) with (default) or without baryon acoustic oscillations.

    Returns
    -------
    LinearField
        delta and phi at z = 0.

    Raises
    ------
    LatticeError, CosmologyError, InitialConditionsError
        For a size, cosmology or redshift that cannot be.

    Examples
    --------
    >>> field = ph.generate_initial_conditions(32, 6.25, seed=7, filename="ics.hdf5")
    >>> field.delta.shape
    (32, 32, 32)
    """
    lattice = Lattice(n, box_size)
    if not np.isfinite(redshift) or redshift <= 0:
        raise InitialConditionsError(f"redshift {redshift} is not positive; initial conditions start at z > 0, e.g. 49")
    noise = np.random.default_rng(seed).standard_normal(lattice.shape, dtype=np.float32)
    field = LinearField.from_density(colour_noise(noise, lattice, cosmology, wiggles), box_size, cosmology, redshift)
    if filename is not None:
        from .readers.gadget_hdf5 import write_gadget_hdf5

        positions, velocities = lagrangian_particles(field, redshift)
        write_gadget_hdf5(filename, positions, velocities, field.lattice, cosmology, redshift)
    return field


def colour_noise(noise: NDArray[np.float32], lattice: Lattice, cosmology: Cosmology, wiggles: bool = True) -> NDArray:
    """Give unit white noise (n, n, n) the linear power spectrum, Nyquist planes empty; delta at z = 0, float32."""
    spectrum = fft.rfftn(noise, workers=-1)
    kx, ky, kz = lattice.wavenumbers()
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    fundamental = 2 * np.pi / lattice.box_size
    table = np.geomspace(0.5 * fundamental, 1.01 * np.sqrt(3) * np.pi / lattice.spacing, 2048)
    log_power = np.log(cosmology.linear_power(table, wiggles=wiggles))
    k[0, 0, 0] = table[0]
    amplitude = np.exp(0.5 * np.interp(np.log(k), np.log(table), log_power)) / lattice.spacing**1.5
    amplitude[0, 0, 0] = 0.0
    if lattice.n % 2 == 0:
        # a displacement cannot hold these modes, so that particles would lose them
        nyquist = lattice.n // 2
        amplitude[nyquist] = amplitude[:, nyquist] = amplitude[..., nyquist] = 0.0
    spectrum *= amplitude
    return fft.irfftn(spectrum.astype(np.complex64, copy=False), s=lattice.shape, workers=-1, overwrite_x=True)


def lagrangian_particles(
    field: LinearField, redshift: float, order: int = 2
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Particles of a linear field at a redshift, by Lagrangian perturbation theory.

    Parameters
    ----------
    field : LinearField
    redshift : float
    order : {1, 2}
        1 for Zel'dovich, 2 for 2LPT.

    Returns
    -------
    positions : float32, (n^3, 3)
        Comoving Mpc/h in [0, L), in row-major order of the sites.
    velocities : float32, (n^3, 3)
        Peculiar velocities a dx/dt in km/s.

    Notes
    -----
    psi = -D grad(phi) + D2 grad(phi2) with D2 = -3/7 D^2 Omega_m(z)^(-1/143) (Bouchet et al. 1995), D(0) = 1.
    """
    if order not in (1, 2):
        raise InitialConditionsError(f"order {order} is neither 1 nor 2; use 1 (Zel'dovich) or 2 (2LPT)")
    lattice, cosmology = field.lattice, field.cosmology
    growth = float(cosmology.growth_factor(redshift))
    to_velocity = cosmology.hubble(redshift) / (1 + redshift)  # km/s per Mpc/h: a H / h
    rate, second_rate = cosmology.growth_rate(redshift), cosmology.second_growth_rate(redshift)
    if order == 2:
        phi2 = potential(second_order_source(field.phi, lattice), lattice)
        second_growth = 3 / 7 * growth**2 * cosmology.matter_fraction(redshift) ** (-1 / 143)
    positions = np.empty((lattice.n_sites, 3), dtype=np.float32)
    velocities = np.empty_like(positions)
    axis_sites = (np.arange(lattice.n) + field.site_offset) * lattice.spacing
    for axis in range(3):
        first = growth * displacement_component(field.phi, lattice, axis)
        shift, rate_of_shift = first.copy(), rate * first
        if order == 2:
            second = second_growth * displacement_component(phi2, lattice, axis)
            shift += second
            rate_of_shift += second_rate * second
        shape = [1, 1, 1]
        shape[axis] = lattice.n
        moved = (axis_sites.reshape(shape) + shift).ravel() % lattice.box_size
        positions[:, axis] = np.where(moved.astype(np.float32) < lattice.box_size, moved, 0.0)
        velocities[:, axis] = (to_velocity * rate_of_shift).ravel()
    return positions, velocities
