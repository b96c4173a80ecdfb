"""A cubic part of a periodic box, in comoving Mpc/h and in lattice sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..exceptions import LatticeError
from .lattice import Lattice, Triple
from .units import comoving_length, comoving_position


@dataclass(frozen=True)
class Region:
    """A cube with faces along the axes; it may cross the seam of a periodic box.

    Attributes
    ----------
    center : tuple of float, (3,)
        Comoving Mpc/h; center and side may be given as quantities, see `fields.units`.
    side : float
        Comoving Mpc/h.

    Raises
    ------
    LatticeError, UnitsError
        A centre that is not three finite lengths, or a side that is not a positive and finite one.

    Examples
    --------
    >>> region = ph.Region((3.125, 3.125, 3.125), side=3.125)
    >>> region.sites(field.lattice)
    ((8, 8, 8), 16)
    """

    center: tuple[float, float, float]
    side: float

    def __post_init__(self) -> None:
        center, side = comoving_position(self.center, "center"), comoving_length(self.side, "side")
        if center.shape != (3,) or not np.isfinite(center).all():
            raise LatticeError(f"centre {self.center!r} is not three finite numbers; give (x, y, z) in comoving Mpc/h")
        if not np.isfinite(side) or side <= 0:
            raise LatticeError(f"region side {side!r} Mpc/h is not positive and finite; give the comoving side")
        object.__setattr__(self, "center", tuple(float(x) for x in center))
        object.__setattr__(self, "side", side)

    @classmethod
    def of_sites(cls, lattice: Lattice, start: Sequence[int], n: int, site_offset: float = 0.0) -> Region:
        """Region of the cells of `n` sites per side, `start` the first of them; the inverse of `sites`."""
        center = [(low + site_offset - 0.5 + 0.5 * n) * lattice.spacing for low in start]
        return cls(cast(tuple[float, float, float], tuple(center)), n * lattice.spacing)

    def sites(self, lattice: Lattice, site_offset: float = 0.0) -> tuple[Triple, int]:
        """First site, which may be outside 0..n-1, and sites per side of the nearest cube of whole cells.

        Raises
        ------
        LatticeError
            The region is smaller than half a cell or larger than the box.
        """
        n = round(self.side / lattice.spacing)
        if not 1 <= n <= lattice.n:
            raise LatticeError(
                f"region of {self.side:g} Mpc/h is {n} sites per side; use {lattice.spacing:g} to "
                f"{lattice.box_size:g} Mpc/h, one site to the whole box"
            )
        corner = np.asarray(self.center) / lattice.spacing - 0.5 * n + 0.5 - site_offset
        x, y, z = (int(low) for low in np.rint(corner))
        return (x, y, z), n


def overlaps(lattice: Lattice, start: Triple, shape: Triple, other: Triple, other_shape: Triple) -> bool:
    """Test if two periodic blocks of sites, neither longer than the box, have a site in common."""
    return all(
        (b - a) % lattice.n < length or (a - b) % lattice.n < other_length
        for a, length, b, other_length in zip(start, shape, other, other_shape, strict=True)
    )


def contains(lattice: Lattice, start: Triple, n: int, block: Triple, shape: Triple) -> bool:
    """Test if a periodic cube of `n` sites per side holds all of a block of sites."""
    if n >= lattice.n:
        return True
    return all((b - a) % lattice.n + length <= n for a, b, length in zip(start, block, shape, strict=True))


def separation(
    lattice: Lattice, center: tuple[float, float, float], site_offset: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance of the sites from the nearest image of a point along each axis, Mpc/h in [-L/2, L/2), broadcastable."""
    position = (np.arange(lattice.n) + site_offset) * lattice.spacing
    x, y, z = (lattice.minimum_image(position - middle) for middle in center)
    return x[:, None, None], y[None, :, None], z[None, None, :]
