"""The 48 symmetries of the cube, for training crops and for averaging predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError
from ..fields.lattice import Triple

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Symmetry:
    """A transposition of the three axes, then flips."""

    axes: Triple
    flips: tuple[bool, bool, bool]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Symmetry:
        """Draw one of the 48, each equally likely."""
        x, y, z = (int(a) for a in rng.permutation(3))
        first, second, third = (bool(f) for f in rng.integers(0, 2, size=3))
        return cls((x, y, z), (first, second, third))

    def apply(self, cube: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return a transposed and flipped copy of a scalar cube (n, n, n, ...); further axes stay in place."""
        return np.ascontiguousarray(np.flip(cube.transpose(*self.axes, *range(3, cube.ndim)), self._flipped))

    def turn(self, components: Sequence[NDArray[Scalar]]) -> list[NDArray[Scalar]]:
        """Turn the components of a vector, whose cubes `apply` has moved already."""
        pairs = zip(self.axes, self.flips, strict=True)
        return [np.negative(components[source]) if flip else components[source] for source, flip in pairs]

    def undo(self, cube: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the cube that `apply` turns into `cube`."""
        back = [int(a) for a in np.argsort(self.axes)]
        return np.ascontiguousarray(np.flip(cube, self._flipped).transpose(*back, *range(3, cube.ndim)))

    @property
    def _flipped(self) -> tuple[int, ...]:
        return tuple(axis for axis, flip in enumerate(self.flips) if flip)


def spread_symmetries(count: int) -> list[Symmetry]:
    """Choose the identity and `count` - 1 other symmetries, in a fixed order that mixes axes and flips early."""
    signs = (False, True)
    every = [Symmetry((a, b, c), flips) for flips in product(signs, signs, signs) for a, b, c in permutations(range(3))]
    if not 1 <= count <= len(every):
        raise ModelError(f"{count} symmetries were asked for; a cube has 1 to {len(every)}")
    # steps of 17, which is coprime to 48, visit all of them
    return [every[(17 * i) % len(every)] for i in range(count)]
