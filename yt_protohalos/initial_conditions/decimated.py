"""Every second particle of initial conditions of twice the resolution: what lies below the lattice of a run.

Two such runs of one seed differ in modes above the Nyquist wavenumber of the coarse lattice alone, which nothing that
reads the coarse lattice can know. How far their haloes agree is the limit of any prediction (López-Cano et al. 2024,
section 2.3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..fields.cosmology import PAPER_COSMOLOGY, Cosmology
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from .generate import colour_noise, lagrangian_particles

FACTOR = 2


def decimated_particles(
    n: int,
    box_size: float,
    seed: int,
    fine_seed: int,
    cosmology: Cosmology = PAPER_COSMOLOGY,
    redshift: float = 49.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Particles of a coarse lattice that carry the displacement and velocity of a lattice twice as fine.

    Parameters
    ----------
    n : int
        Particles per side that are kept.
    box_size : float
        Comoving box side in Mpc/h.
    seed : int
        Modes below the Nyquist wavenumber of the coarse lattice, as `generate_initial_conditions` draws them.
    fine_seed : int
        All other modes.
    cosmology : Cosmology
        Of power spectrum and growth.
    redshift : float
        Redshift of the particles.

    Returns
    -------
    positions, velocities : float32, (n^3, 3)
        As `lagrangian_particles` (2LPT): comoving Mpc/h and peculiar km/s, row-major order of the coarse sites.

    Examples
    --------
    >>> from yt_protohalos.initial_conditions.decimated import decimated_particles
    >>> positions, velocities = decimated_particles(16, 6.25, seed=7, fine_seed=1)
    >>> positions.shape
    (4096, 3)
    """
    fine = Lattice(FACTOR * n, box_size)
    noise = shared_noise(n, seed, fine_seed)
    field = LinearField.from_density(colour_noise(noise, fine, cosmology), box_size, cosmology, redshift)
    kept = (slice(None, None, FACTOR),) * 3
    positions, velocities = (
        values.reshape(*fine.shape, 3)[kept].reshape(-1, 3) for values in lagrangian_particles(field, redshift)
    )
    return np.ascontiguousarray(positions), np.ascontiguousarray(velocities)


def shared_noise(n: int, seed: int, fine_seed: int) -> NDArray[np.float32]:
    """Unit white noise (2n, 2n, 2n) whose modes below the Nyquist wavenumber of n sites are those of `seed`."""
    coarse = fft.rfftn(np.random.default_rng(seed).standard_normal((n, n, n), dtype=np.float32), workers=-1)
    side = FACTOR * n
    # a stream of its own: the same numbers as another run's coarse noise would correlate the two
    fine_noise = np.random.default_rng([fine_seed, 1]).standard_normal((side, side, side), dtype=np.float32)
    spectrum = fft.rfftn(fine_noise, workers=-1, overwrite_x=True)
    inside = (n - 1) // 2
    coarse_index = np.r_[0 : inside + 1, n - inside : n]
    fine_index = np.r_[0 : inside + 1, side - inside : side]
    last = np.arange(inside + 1)
    # white noise of unit variance has |amplitude|^2 equal to the number of sites
    spectrum[np.ix_(fine_index, fine_index, last)] = coarse[np.ix_(coarse_index, coarse_index, last)] * FACTOR**1.5
    return fft.irfftn(spectrum, s=fine_noise.shape, workers=-1, overwrite_x=True).astype(np.float32, copy=False)
