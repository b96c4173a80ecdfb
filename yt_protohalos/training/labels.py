"""Haloes of a final snapshot, as labels on the initial lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._utils.system import silent_descriptor
from ..exceptions import InitialConditionsError
from ..fields.lattice import Lattice

LINKING_LENGTH = 0.2
MIN_SITES = 155


def friends_of_friends(
    positions: NDArray[np.floating],
    lattice: Lattice,
    linking_length: float = LINKING_LENGTH,
    min_sites: int = MIN_SITES,
) -> NDArray[np.int32]:
    """Friends-of-friends groups of final positions, labelled on the initial lattice.

    Parameters
    ----------
    positions : float, (n^3, 3)
        Final comoving positions in Mpc/h, in row-major order of the Lagrangian sites; wrapped periodically.
    lattice : Lattice
        The initial lattice.
    linking_length : float
        In units of the mean particle spacing (López-Cano et al. 2024, section 2.4: 0.2).
    min_sites : int
        Smaller groups are left out (the paper: 155 particles).

    Returns
    -------
    int32, (n, n, n)
        0 outside haloes, 1..K by descending size (equal sizes: by first site).

    Raises
    ------
    InitialConditionsError
        If the positions are not one finite triple per site.
    """
    if positions.shape != (lattice.n_sites, 3):
        raise InitialConditionsError(
            f"positions have shape {positions.shape}, the lattice needs ({lattice.n_sites}, 3); give one row per site"
        )
    if not np.all(np.isfinite(positions)):
        raise InitialConditionsError("final positions hold NaN or infinite values; check the snapshot")
    from yt_astro_analysis.halo_analysis.halo_finding.fof.EnzoFOF import RunFOF

    unit = np.mod(np.asarray(positions, dtype=np.float64) / lattice.box_size, 1.0)
    with silent_descriptor(1):
        groups = RunFOF(*(np.ascontiguousarray(unit[:, axis]) for axis in range(3)), linking_length / lattice.n)
    return rank_by_size(np.asarray(groups).astype(np.int64), min_sites).reshape(lattice.shape)


def rank_by_size(groups: NDArray[np.int64], min_sites: int = 1) -> NDArray[np.int32]:
    """Renumber groups (-1 outside) to 1..K by descending size, dropping those under `min_sites`; 0 outside."""
    flat = groups.ravel()
    inside = flat >= 0
    names, first, inverse, sizes = np.unique(flat[inside], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    order = order[sizes[order] >= min_sites]
    number = np.zeros(len(names), dtype=np.int32)
    number[order] = np.arange(1, len(order) + 1)
    labels = np.zeros(flat.shape, dtype=np.int32)
    labels[inside] = number[inverse]
    return labels.reshape(groups.shape)
