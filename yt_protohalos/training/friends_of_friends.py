"""Friends-of-friends haloes of final particle positions, as labels on the initial lattice."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError
from ..fields.lattice import Lattice
from ..fields.units import Quantity, comoving_length
from ..segmentation.friends_of_friends import friends_of_friends as group
from ..segmentation.labels import relabel_by_size

LINKING_LENGTH = 0.2
MIN_SITES = 155


def friends_of_friends(
    positions: NDArray[np.floating],
    lattice: Lattice,
    linking_length: Quantity = LINKING_LENGTH,
    min_sites: int = MIN_SITES,
) -> NDArray[np.int32]:
    """Label each initial site with the friends-of-friends group that its particle ends in.

    Parameters
    ----------
    positions : float, (n^3, 3)
        Final comoving positions in Mpc/h, in row-major order of the Lagrangian sites; wrapped periodically.
    lattice : Lattice
        The initial lattice.
    linking_length : float or length
        A number is in mean particle spacings (López-Cano et al. 2024, section 2.4: 0.2); a quantity is comoving.
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
    UnitsError
        If the linking length has a unit that is not one of length.
    """
    if positions.shape != (lattice.n_sites, 3):
        raise InitialConditionsError(
            f"positions have shape {positions.shape}, the lattice needs ({lattice.n_sites}, 3); give one row per site"
        )
    if not np.all(np.isfinite(positions)):
        raise InitialConditionsError("final positions hold NaN or infinite values; check the snapshot")
    length = comoving_length(linking_length, "linking_length")
    length = length * lattice.spacing if isinstance(linking_length, Real) else length
    groups = group(positions, lattice.box_size, length)
    return relabel_by_size(groups.reshape(lattice.shape) + 1, min_sites)
