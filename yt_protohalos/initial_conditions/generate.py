"""Gaussian initial conditions with Lagrangian perturbation theory of second order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY, Cosmology
from ..fields.fourier import displacement_component, potential, second_order_source, to_spectrum, zero_nyquist
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.units import Quantity, comoving_length, dimensionless

REFINEMENT = 2
"""Sites per side of the lattice that `decimated_particles` draws, in units of those it keeps."""


def generate_initial_conditions(
    n: int,
    box_size: Quantity,
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
    box_size : float or quantity
        Comoving box side in Mpc/h; see `fields.units`.
    seed : int
        Seed of the white noise, which is drawn site by site in row-major order.
    cosmology : Cosmology
    redshift : float
        Redshift of the initial conditions, and of the particles in `filename`.
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
    LatticeError, CosmologyError, InitialConditionsError, UnitsError
        A lattice, cosmology, redshift or unit that is not possible.

    Examples
    --------
    >>> field = ph.generate_initial_conditions(32, 6.25, seed=7, filename="ics.hdf5")
    >>> field.delta.shape
    (32, 32, 32)
    """
    redshift = _starting_redshift(redshift)
    lattice = Lattice(n, comoving_length(box_size, "box_size", cosmology.h))
    noise = np.random.default_rng(seed).standard_normal(lattice.shape, dtype=np.float32)
    field = _coloured(noise, lattice, cosmology, redshift, wiggles)
    if filename is not None:
        from .readers.gadget_hdf5 import write_gadget_hdf5

        positions, velocities = lagrangian_particles(field, redshift)
        write_gadget_hdf5(filename, positions, velocities, field.lattice, cosmology, redshift)
    return field


def _starting_redshift(redshift: float) -> float:
    redshift = dimensionless(redshift, "redshift")
    if not np.isfinite(redshift) or redshift <= 0:
        raise InitialConditionsError(f"redshift {redshift} is not positive; initial conditions start at z > 0, e.g. 49")
    return redshift


def _coloured(
    noise: NDArray[np.float32], lattice: Lattice, cosmology: Cosmology, redshift: float, wiggles: bool = True
) -> LinearField:
    """Field of unit white noise (n, n, n) times the square root of the linear power, zero on the Nyquist planes."""
    spectrum = to_spectrum(noise)
    kx, ky, kz = lattice.wavenumbers()
    k = np.sqrt(kx**2 + ky**2 + kz**2)
    fundamental = 2 * np.pi / lattice.box_size
    table = np.geomspace(0.5 * fundamental, 1.01 * np.sqrt(3) * np.pi / lattice.spacing, 2048)
    log_power = np.log(cosmology.linear_power(table, wiggles=wiggles))
    k[0, 0, 0] = table[0]
    amplitude = np.exp(0.5 * np.interp(np.log(k), np.log(table), log_power)) / lattice.spacing**1.5
    amplitude[0, 0, 0] = 0.0
    # displacements cannot hold the modes on the Nyquist planes
    spectrum *= zero_nyquist(amplitude, lattice.n)
    delta = _to_cube(spectrum.astype(np.complex64, copy=False), lattice.n)
    return LinearField.from_density(delta, lattice.box_size, cosmology, redshift)


def _to_cube(spectrum: NDArray[np.complexfloating], n: int) -> NDArray[Any]:
    # not fourier.to_cube: its rounding differs, and a seed must keep its field to the last bit
    cube: NDArray[Any] = fft.irfftn(spectrum, s=(n, n, n), workers=-1, overwrite_x=True)
    return cube


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
    sites = np.ix_(*((np.arange(lattice.n) + field.site_offset) * lattice.spacing,) * 3)
    for axis in range(3):
        first = growth * displacement_component(field.phi, lattice, axis)
        shift, rate_of_shift = first.copy(), rate * first
        if order == 2:
            second = second_growth * displacement_component(phi2, lattice, axis)
            shift += second
            rate_of_shift += second_rate * second
        moved = (sites[axis] + shift).ravel() % lattice.box_size
        positions[:, axis] = np.where(moved.astype(np.float32) < lattice.box_size, moved, 0.0)
        velocities[:, axis] = (to_velocity * rate_of_shift).ravel()
    return positions, velocities


def decimated_particles(
    n: int,
    box_size: Quantity,
    seed: int,
    fine_seed: int,
    cosmology: Cosmology = PAPER_COSMOLOGY,
    redshift: float = 49.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Keep every second particle per axis of initial conditions with twice the sites per side.

    Two such realisations of one seed differ only in modes above the Nyquist wavenumber of the coarse lattice. The
    agreement of their haloes is the limit of any prediction from the coarse lattice (López-Cano et al. 2024, section
    2.3).

    Parameters
    ----------
    n : int
        Particles per side that are kept.
    box_size : float or quantity
        Comoving box side in Mpc/h; see `fields.units`.
    seed : int
        Seed of the modes below the Nyquist wavenumber of the coarse lattice, as in `generate_initial_conditions`.
    fine_seed : int
        Seed of all other modes.
    cosmology : Cosmology
    redshift : float
        Redshift of the particles.

    Returns
    -------
    positions, velocities : float32, (n^3, 3)
        As `lagrangian_particles` (2LPT): comoving Mpc/h and peculiar km/s, row-major order of the coarse sites.

    Examples
    --------
    >>> from yt_protohalos.initial_conditions.generate import decimated_particles
    >>> positions, velocities = decimated_particles(16, 6.25, seed=7, fine_seed=1)
    >>> positions.shape
    (4096, 3)
    """
    redshift = _starting_redshift(redshift)
    fine = Lattice(REFINEMENT * n, comoving_length(box_size, "box_size", cosmology.h))
    field = _coloured(shared_noise(n, seed, fine_seed), fine, cosmology, redshift)
    kept = (slice(None, None, REFINEMENT),) * 3
    positions, velocities = (values.reshape(*fine.shape, 3)[kept] for values in lagrangian_particles(field, redshift))
    return positions.reshape(-1, 3), velocities.reshape(-1, 3)


def shared_noise(n: int, seed: int, fine_seed: int) -> NDArray[np.float32]:
    """Unit white noise (2n, 2n, 2n) whose modes below the Nyquist wavenumber of n sites are those of `seed`."""
    coarse = to_spectrum(np.random.default_rng(seed).standard_normal((n, n, n), dtype=np.float32))
    side = REFINEMENT * n
    # a stream of its own: the same numbers as another run's coarse noise would correlate the two
    spectrum = to_spectrum(np.random.default_rng([fine_seed, 1]).standard_normal((side,) * 3, dtype=np.float32))
    inside = (n - 1) // 2
    coarse_index = np.r_[0 : inside + 1, n - inside : n]
    fine_index = np.r_[0 : inside + 1, side - inside : side]
    last = np.arange(inside + 1)
    # white noise of unit variance has |amplitude|^2 equal to the number of sites
    spectrum[np.ix_(fine_index, fine_index, last)] = coarse[np.ix_(coarse_index, coarse_index, last)] * REFINEMENT**1.5
    return _to_cube(spectrum, side).astype(np.float32, copy=False)
