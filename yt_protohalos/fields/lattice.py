"""The cubic, periodic lattice on which initial conditions are sampled.

All periodicity of the package lives here: crops, pastes and shifts wrap through `Lattice`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import LatticeError
from .units import Position, Quantity, comoving_length, comoving_position

Triple = tuple[int, int, int]
Cube = NDArray[np.float32]


@dataclass(frozen=True)
class Lattice:
    """A cubic periodic lattice of Lagrangian sites.

    Attributes
    ----------
    n : int
        Sites per side.
    box_size : float
        Comoving side of the box in Mpc/h; may be given as a quantity, see `fields.units`.

    Raises
    ------
    LatticeError, UnitsError
        A number of sites or a box size that is not positive and finite, or no length.

    Examples
    --------
    >>> lattice = ph.Lattice(32, 6.25)
    >>> lattice.spacing  # Mpc/h
    0.1953125
    >>> lattice.minimum_image(6.0)
    np.float64(-0.25)
    """

    n: int
    box_size: float

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or int(self.n) != self.n or self.n < 1:
            raise LatticeError(f"lattice side {self.n!r} is not a positive integer; give the number of sites per side")
        box_size = comoving_length(self.box_size, "box_size")
        if not np.isfinite(box_size) or box_size <= 0:
            raise LatticeError(f"box size {box_size!r} Mpc/h is not positive and finite; give the comoving side")
        object.__setattr__(self, "n", int(self.n))
        object.__setattr__(self, "box_size", box_size)

    @property
    def spacing(self) -> float:
        """Comoving distance of neighbouring sites in Mpc/h."""
        return self.box_size / self.n

    @property
    def shape(self) -> Triple:
        """Shape of a cube with one value per site."""
        return (self.n, self.n, self.n)

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.n**3

    def check_cube(self, cube: NDArray[Any], name: str = "cube") -> None:
        """Raise `LatticeError` unless the first three axes of `cube` are this lattice's."""
        if cube.shape[:3] != self.shape:
            raise LatticeError(
                f"{name} has shape {cube.shape}, but the lattice is {self.shape}; pass one value per site"
            )

    def axis_indices(self, start: int, length: int) -> NDArray[np.int64]:
        """Site indices ``start .. start + length - 1`` on one axis, wrapped as often as needed."""
        return np.arange(start, start + length, dtype=np.int64) % self.n

    def _pieces(self, start: Triple, shape: Sequence[int]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Slices of a block, and of the cube where they lie, in one period each: much faster than lists of indices."""
        axes = [self._runs(first, length) for first, length in zip(start, shape, strict=True)]
        for runs in product(*axes):
            yield tuple(inside for inside, _ in runs), tuple(there for _, there in runs)

    def _runs(self, start: int, length: int) -> list[tuple[slice, slice]]:
        """Slices of a range of sites on one axis that do not cross the face of the box, and where they lie in it."""
        runs, done = [], 0
        while done < length:
            first = (start + done) % self.n
            step = min(length - done, self.n - first)
            runs.append((slice(done, done + step), slice(first, first + step)))
            done += step
        return runs

    def crop(self, cube: NDArray[Any], start: Triple, shape: Triple) -> NDArray[Any]:
        """Copy a periodic block.

        Parameters
        ----------
        cube : array, (n, n, n, ...)
        start : tuple of int
            First site of the block, any integers.
        shape : tuple of int
            Sites of the block per side; may exceed `n`, the box then repeats.

        Returns
        -------
        array, ``shape + cube.shape[3:]``
        """
        self.check_cube(cube)
        block = np.empty((*shape, *cube.shape[3:]), cube.dtype)
        for inside, there in self._pieces(start, shape):
            block[inside] = cube[there]
        return block

    def paste(self, cube: NDArray[Any], block: NDArray[Any], start: Triple) -> None:
        """Write a block into `cube` in place, wrapped; `LatticeError` if the block is larger than the box."""
        self.check_cube(cube)
        if max(block.shape[:3]) > self.n:
            raise LatticeError(f"block {block.shape[:3]} exceeds the lattice side {self.n}; paste at most one period")
        for inside, there in self._pieces(start, block.shape[:3]):
            cube[there] = block[inside]

    def shifted(self, cube: NDArray[Any], shift: Triple) -> NDArray[Any]:
        """Cube whose value at site ``i + shift`` is the old one at ``i``."""
        self.check_cube(cube)
        return np.roll(cube, shift, axis=(0, 1, 2))

    def flat_index(self, sites: NDArray[np.integer]) -> NDArray[np.int64]:
        """Row-major index of integer sites, shape (N, 3) -> (N,), wrapped."""
        i = np.asarray(sites, dtype=np.int64) % self.n
        return (i[..., 0] * self.n + i[..., 1]) * self.n + i[..., 2]

    def sites(self, flat: NDArray[np.integer]) -> NDArray[np.int64]:
        """Integer sites of row-major indices, shape (N,) -> (N, 3)."""
        flat = np.asarray(flat, dtype=np.int64)
        return np.stack([flat // self.n**2, flat // self.n % self.n, flat % self.n], axis=-1)

    def nearest_site(self, positions: Position, offset: float = 0.0) -> NDArray[np.int64]:
        """Nearest site of positions (N, 3) in Mpc/h or quantities; site i sits at ``(i + offset) * spacing``."""
        sites: NDArray[Any] = np.rint(comoving_position(positions, "positions") / self.spacing - offset)
        index: NDArray[np.int64] = sites.astype(np.int64) % self.n
        return index

    def minimum_image(self, separation: Position | Quantity) -> NDArray[Any]:
        """Shortest periodic image of separations in Mpc/h or quantities, in [-L/2, L/2)."""
        distance: NDArray[Any] = comoving_position(separation, "separation")
        image: NDArray[Any] = distance - self.box_size * np.floor(distance / self.box_size + 0.5)
        return image

    def unwrapped(self, sites: NDArray[np.integer]) -> NDArray[np.int64]:
        """Sites of one region, (N, 3), each moved by whole boxes next to the others; see `unwrap`."""
        return unwrap(np.asarray(sites), self.n).astype(np.int64)

    def wavenumbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Broadcastable kx, ky, kz in h/Mpc, float32, in the order of ``rfftn``."""
        full = (2 * np.pi * np.fft.fftfreq(self.n, d=self.spacing)).astype(np.float32)
        half = (2 * np.pi * np.fft.rfftfreq(self.n, d=self.spacing)).astype(np.float32)
        return full[:, None, None], full[None, :, None], half[None, None, :]


def wrap(values: NDArray[Any], period: float) -> NDArray[Any]:
    """Periodic coordinates of any shape in [0, period)."""
    # twice, because the remainder of a tiny negative number rounds up to the period itself
    wrapped: NDArray[Any] = np.mod(np.mod(values, period), period)
    return wrapped


def circular_mean(
    values: NDArray[Any], period: float, group: NDArray[np.integer] | None = None, n_groups: int = 0
) -> NDArray[np.float64]:
    """Mean direction of periodic coordinates.

    Parameters
    ----------
    values : array, (N,) or (N, 3)
        Coordinates in the unit of `period`.
    period : float
    group : integers, (N,), optional
        Group of each row, from 0; all rows are one group by default.
    n_groups : int
        Number of groups at least; those without rows have the mean 0.

    Returns
    -------
    float64, () or (3,), with groups (K,) or (K, 3)
        In [-period / 2, period / 2].
    """
    angle = 2 * np.pi * values / period
    if group is None:
        sine, cosine = np.sin(angle).mean(axis=0), np.cos(angle).mean(axis=0)
    else:
        columns = angle.T if angle.ndim > 1 else angle[None]
        sine, cosine = (
            np.stack([np.bincount(group, part(column), n_groups) for column in columns], axis=-1)
            for part in (np.sin, np.cos)
        )
        sine, cosine = (part.reshape(-1, *angle.shape[1:]) for part in (sine, cosine))
    return np.asarray(np.arctan2(sine, cosine) * period / (2 * np.pi))


def unwrap(values: NDArray[Any], period: float, group: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
    """Periodic coordinates, each moved by whole periods to lie within half a period of its group's circular mean.

    Means, extents and moments of a group that crosses the faces of the box are those of these coordinates. For the
    parameters see `circular_mean`.
    """
    mean = circular_mean(values, period, group)
    return values - period * np.rint((values - (mean if group is None else mean[group])) / period)


def nearest_sites(lattice: Lattice, other: Lattice, site_offset: float) -> tuple[NDArray[np.int64], ...]:
    """Open index mesh of the site of `other` nearest to each site of `lattice`, both with the same site offset."""
    positions = (np.arange(lattice.n) + site_offset) * lattice.spacing
    return np.ix_(*(other.nearest_site(positions, site_offset),) * 3)
