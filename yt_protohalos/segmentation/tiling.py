"""Tiling of a periodic box with crops of a network: two lattices of cores, offset by half a core.

Source: López-Cano et al. 2024, appendix D (i)-(iii); for boxes of any side by cores of nearly 64 sites per side.
"""

from __future__ import annotations

import itertools
import numbers
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..exceptions import TilingError
from ..fields.lattice import Triple

Which = Literal["a", "b"]


@dataclass(frozen=True)
class Crop:
    """One evaluation of a network: its input, the context that it drops, and the core that is kept.

    lattice, index : lattice of cores it belongs to, and place in the row-major order of these
    core_start : first site of the core, in [0, n); the core may wrap around the box
    core_shape : sites of the core per side
    input_start : first site of the input, any integers: `Lattice.crop` wraps them as often as needed
    side : sites of the input per side; the core is at its centre
    context : sites that the network drops on each face
    """

    lattice: Which
    index: int
    core_start: Triple
    core_shape: Triple
    input_start: Triple
    side: int
    context: int

    @property
    def key(self) -> str:
        """Unique name within a plan, e.g. ``"a_00012"``."""
        return f"{self.lattice}_{self.index:05d}"

    @property
    def input_shape(self) -> Triple:
        """Sites of the input per side."""
        return (self.side, self.side, self.side)

    @property
    def output_start(self) -> Triple:
        """First site of the network's output, any integers."""
        x, y, z = self.input_start
        return (x + self.context, y + self.context, z + self.context)

    @property
    def output_shape(self) -> Triple:
        """Sites of the network's output per side."""
        side = self.side - 2 * self.context
        return (side, side, side)

    @property
    def output_core(self) -> tuple[slice, slice, slice]:
        """Slices of the core in the network's output."""
        x, y, z = (
            slice(core - output, core - output + length)
            for core, output, length in zip(self.core_start, self.output_start, self.core_shape, strict=True)
        )
        return (x, y, z)


@dataclass(frozen=True)
class CropPlan:
    """Crops of fixed side whose cores tile a periodic box of `n` sites per side exactly, twice.

    Lattice "a" cuts each axis into ``ceil(n / core)`` cores of nearly equal side, the first at site 0; lattice
    "b" cuts at the midpoints of a's cores, so its last core wraps around the box. A box of at most `core` sites
    has one crop for each lattice; a box smaller than `crop` repeats inside the crop.

    Raises `TilingError` for sides that are not positive integers, and for cores larger than the network's output.

    n, crop : sites per side of the box and of the input of a network
    context : sites that the network drops on each face
    core : largest side of a core in sites; at most ``crop - 2 * context``
    """

    n: int
    crop: int = 144
    context: int = 8
    core: int = 64

    def __post_init__(self) -> None:
        for name, lowest in (("n", 1), ("crop", 1), ("context", 0), ("core", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < lowest:
                raise TilingError(
                    f"{name} = {value!r} is not an integer of at least {lowest}; give it in lattice sites"
                )
            object.__setattr__(self, name, int(value))
        if self.output < 1:
            raise TilingError(
                f"a context of {self.context} on each face leaves nothing of a crop of {self.crop}; "
                f"use a context of at most {(self.crop - 1) // 2} or a crop of at least {2 * self.context + 1}"
            )
        if self.core > self.output:
            raise TilingError(
                f"core {self.core} exceeds the network's output, {self.output} = crop {self.crop} - 2 * {self.context} "
                f"of context; use a core of at most {self.output} or a crop of at least {self.core + 2 * self.context}"
            )

    @property
    def output(self) -> int:
        """Sites of the network's output per side, ``crop - 2 * context``."""
        return self.crop - 2 * self.context

    @property
    def n_cores(self) -> int:
        """Cores an axis, ``ceil(n / core)``."""
        return -(-self.n // self.core)

    @property
    def boundaries(self) -> NDArray[np.int64]:
        """Boundaries of lattice a's cores on an axis: ``round(i n / n_cores)``, int64, shape (n_cores + 1,)."""
        i = np.arange(self.n_cores + 1, dtype=np.int64)
        return (2 * i * self.n + self.n_cores) // (2 * self.n_cores)

    @property
    def offset_boundaries(self) -> NDArray[np.int64]:
        """Boundaries of lattice b's cores on an axis, int64, (n_cores + 1,), from one in [0, n) to that plus n."""
        middles = (self.boundaries[:-1] + self.boundaries[1:]) // 2
        return np.append(middles, middles[0] + self.n)

    @property
    def octant_boundaries(self) -> NDArray[np.int64]:
        """Union of both lattices' boundaries on an axis, int64, ascending from 0 to n.

        Between them lie the octants of stitching: the largest volumes in which a core of a meets a core of b.
        """
        return np.union1d(self.boundaries, self.offset_boundaries[:-1])

    def crops(self, which: Which) -> list[Crop]:
        """Crops of one lattice, row-major by core; their cores cover each site of the box once."""
        if which not in get_args(Which):
            raise TilingError(f"lattice {which!r} does not exist; use 'a' or 'b'")
        bounds = (self.boundaries if which == "a" else self.offset_boundaries).tolist()
        cores = list(itertools.pairwise(bounds))
        return [self._crop(which, index, ranges) for index, ranges in enumerate(itertools.product(cores, cores, cores))]

    def _crop(self, which: Which, index: int, ranges: tuple[tuple[int, int], ...]) -> Crop:
        start = [low for low, _ in ranges]
        shape = [high - low for low, high in ranges]
        # rounding both halves down keeps a core of at most `output` sites inside the output
        input_start = [low + length // 2 - self.crop // 2 for low, length in zip(start, shape, strict=True)]
        return Crop(which, index, _triple(start), _triple(shape), _triple(input_start), self.crop, self.context)


def _triple(values: list[int]) -> Triple:
    x, y, z = values
    return (x, y, z)
