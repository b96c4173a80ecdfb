"""The particle mesh on a GPU, by the array operations of keras, so that it runs on that of any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import add, mul
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..fields.particle_mesh import Filter, Forces, MeshPlan
from ..models.backend import import_keras
from ..models.runtime import gpu_memory

SITES_AT_ONCE = 2**22
"""Particles whose cells are looked up together."""
BYTES_PER_CELL = 36
"""Of the largest step, the transforms: nine arrays of float32."""
BYTES_PER_SITE = 24
_LARGEST_INDEX = 2**31 - 1
_CORNERS = tuple((i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1))


def best_forces(plan: MeshPlan, n: int) -> Forces | None:
    """`DeviceMesh` if the backend of keras has a GPU with room for a box of n sites per side, or None."""
    free, cells = gpu_memory(), (plan.cells_per_site * n) ** 3
    needed = BYTES_PER_CELL * cells + BYTES_PER_SITE * n**3 + 128 * min(SITES_AT_ONCE, n**3)
    return DeviceMesh if free is not None and needed <= free and cells <= _LARGEST_INDEX else None


class DeviceMesh:
    """`ParticleMesh` of tensors on the device of the keras backend.

    The forces are those of `ProcessorMesh`, but for rounding: sums have another order, which a GPU may change from run
    to run.

    displacement, velocity : float32, (3, n, n, n), in sites; written by `finish`
    """

    def __init__(self, displacement: NDArray[np.float32], velocity: NDArray[np.float32], cells_per_site: int) -> None:
        self._ops = import_keras().ops
        self._given, self._n, self._cells = (displacement, velocity), displacement.shape[1], cells_per_site
        self._side = cells_per_site * self._n
        self._moved, self._velocity = ([self._tensor(each.ravel()) for each in given] for given in self._given)

    def drift(self, time: float) -> None:
        """Move the particles."""
        self._moved = [x + float(time) * v for x, v in zip(self._moved, self._velocity, strict=True)]

    def kick_and_drift(self, force: Filter, memory: float, gain: float, time: float) -> None:
        """Kick the particles and move them."""
        potential = self._potential(self._density(), force)
        # the potential is in cells squared, and the acceleration in sites
        factor = float(gain / self._cells)
        for axis in range(3):
            slope = self._ops.reshape(self._slope(potential, axis), (-1,))
            pull = self._ops.concatenate([self._read(slope, *slab) for slab in self._slabs()])
            self._velocity[axis] = float(memory) * self._velocity[axis] - factor * pull
        self.drift(time)

    def finish(self) -> None:
        """Write displacement and velocity into the arrays that were given."""
        for given, found in zip(self._given, (self._moved, self._velocity), strict=True):
            for axis, component in enumerate(found):
                given[axis] = self._ops.convert_to_numpy(component).reshape(given[axis].shape)

    def _tensor(self, array: NDArray[Any]) -> Any:
        return self._ops.convert_to_tensor(array)

    def _slabs(self) -> Iterator[tuple[int, int]]:
        """First and last particle of each part."""
        total = self._n**3
        for first in range(0, total, SITES_AT_ONCE):
            yield first, min(first + SITES_AT_ONCE, total)

    def _cells_around(self, first: int, last: int) -> Iterator[tuple[Any, Any]]:
        """Index in the flat mesh, and share, of the eight cells around each particle, one corner after the other."""
        ops, n, side = self._ops, self._n, self._side
        site = np.arange(first, last)
        below, share = [], []
        for axis, stride in enumerate((n * n, n, 1)):
            cells = float(self._cells) * self._moved[axis][first:last]
            whole = ops.floor(cells)
            start = self._tensor((self._cells * (site // stride % n)).astype(np.int32))
            below.append(ops.mod(start + ops.cast(whole, "int32"), side))
            share.append(cells - whole)
        for corner in _CORNERS:
            index, weight = 0, 1.0
            for axis, there in enumerate(corner):
                index = index * side + (ops.mod(below[axis] + 1, side) if there else below[axis])
                weight = weight * (share[axis] if there else 1 - share[axis])
            yield index, weight

    def _density(self) -> Any:
        """Density in units of the mean, cloud in cell, (side, side, side)."""
        ops, side = self._ops, self._side
        mesh = ops.zeros(side**3, dtype="float32")
        for slab in self._slabs():
            for index, weight in self._cells_around(*slab):
                mesh = mesh + ops.segment_sum(weight, index, num_segments=side**3)
        return ops.reshape(float(self._cells**3) * mesh, (side, side, side))

    def _potential(self, density: Any, force: Filter) -> Any:
        """Filtered potential, in cells squared."""
        ops, side = self._ops, self._side
        frequencies = fft.fftfreq(side), fft.rfftfreq(side)
        k, half_k = ((2 * np.pi * f).astype(np.float32) for f in frequencies)
        window, half_window = (force.along(f, self._cells) for f in frequencies)
        # the axis of half the frequencies comes first, because transforms of two axes are of the last two
        spectrum = tuple(ops.transpose(part, (2, 0, 1)) for part in ops.rfft(density))
        spectrum = ops.fft2(spectrum)
        squared = self._outer(half_k**2, k**2, k**2, add)
        # the mean is any number, because a constant has no slope
        squared = ops.where(squared > 0, squared, 1.0)
        factor = self._outer(-half_window, window, window, mul) / squared
        spectrum = ops.ifft2(tuple(part * factor for part in spectrum))
        return ops.irfft(tuple(ops.transpose(part, (1, 2, 0)) for part in spectrum), fft_length=side)

    def _outer(
        self, first: NDArray[np.float32], second: NDArray[np.float32], third: NDArray[np.float32],
        by: Callable[[Any, Any], Any],
    ) -> Any:  # fmt: skip
        """Each number of an axis with each of the others; by an operator, as `ops.add` takes some shapes for a bias."""
        a, b, c = (self._tensor(each) for each in (first, second, third))
        return by(by(a[:, None, None], b[None, :, None]), c[None, None, :])

    def _slope(self, potential: Any, axis: int) -> Any:
        """Difference of fourth order per cell, at the cells."""
        near, far = (self._ops.roll(potential, -step, axis) - self._ops.roll(potential, step, axis) for step in (1, 2))
        return 2 / 3 * near - 1 / 12 * far

    def _read(self, mesh: Any, first: int, last: int) -> Any:
        """Values of a flat mesh at particles, cloud in cell."""
        return sum(weight * self._ops.take(mesh, index) for index, weight in self._cells_around(first, last))
