"""Particles that are read chunk by chunk and as often as needed, so that no box has to fit in memory with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError, LatticeError

CHUNK = 2**19
"""Largest number of particles per chunk: temporaries stay in the tens of MB."""

Chunk = dict[str, NDArray[Any]]


class ParticleSource(Protocol):
    """One particle type of a file or of memory.

    Attributes
    ----------
    count : int
        Number of particles.
    names : frozenset of str
        Which of ``positions``, ``velocities``, ``ids`` and ``masses`` there are; positions always.
    """

    @property
    def count(self) -> int:
        """Number of particles."""

    @property
    def names(self) -> frozenset[str]:
        """Quantities there are."""

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Quantities of one chunk of particles after the other, in the same order every time.

        positions : float, (M, 3), comoving Mpc/h from the box's corner, wrapped or not
        velocities : float, (M, 3), peculiar velocities a dx/dt in km/s
        ids : int64, (M,)
        masses : float, (M,), Msun/h
        """


class ArraySource:
    """Particles in memory.

    Parameters
    ----------
    positions : array, (N, 3)
    velocities : array, (N, 3), or None
    ids : array, (N,), or None
    masses : array, (N,) or scalar, or None
    chunk : int
        Largest number of particles per chunk.
    """

    def __init__(
        self,
        positions: NDArray[Any],
        velocities: NDArray[Any] | None = None,
        ids: NDArray[Any] | None = None,
        masses: NDArray[Any] | float | None = None,
        chunk: int = CHUNK,
    ) -> None:
        self.count = len(positions)
        if ids is not None and len(ids) != self.count:
            raise LatticeError(f"{len(ids)} IDs for {self.count} particles; give one ID a particle")
        given = {"positions": positions, "velocities": velocities, "ids": ids}
        self._arrays = {name: np.asarray(values) for name, values in given.items() if values is not None}
        if masses is not None:
            self._arrays["masses"] = np.broadcast_to(np.asarray(masses), (self.count,))
        self.names = frozenset(self._arrays)
        self._chunk = chunk

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Views of the arrays, IDs as int64; see `ParticleSource.chunks`."""
        for start in range(0, self.count, self._chunk):
            part = {name: self._arrays[name][start : start + self._chunk] for name in names}
            if "ids" in part:
                part["ids"] = part["ids"].astype(np.int64, copy=False)
            yield part


def numbered(source: ParticleSource, *names: str) -> Iterator[tuple[int, Chunk]]:
    """Chunks with the place of their first particle in the order of storage.

    Raises
    ------
    InitialConditionsError
        Where the chunks hold more or fewer particles than the source counts.
    """
    start = 0
    for chunk in source.chunks(*names):
        size = len(chunk[names[0]])
        if start + size <= source.count:
            yield start, chunk
        start += size
    if start != source.count:
        raise InitialConditionsError(
            f"{start} particles were read where {source.count} are counted; both must agree: the file is truncated or "
            "damaged, copy or write it again"
        )


def in_memory(source: ParticleSource) -> ArraySource:
    """All particles of a source in arrays, read one quantity after the other: 44 bytes per particle, masses 4 more.

    Positions as float64, IDs as int64, velocities and masses as float32.
    """
    shapes = {"positions": (source.count, 3), "velocities": (source.count, 3)}
    types = {"positions": np.float64, "ids": np.int64}
    arrays: dict[str, NDArray[Any]] = {}
    for name in source.names:
        arrays[name] = np.empty(shapes.get(name, (source.count,)), dtype=types.get(name, np.float32))
        for start, chunk in numbered(source, name):
            arrays[name][start : start + len(chunk[name])] = chunk[name]
    return ArraySource(arrays["positions"], arrays.get("velocities"), arrays.get("ids"), arrays.get("masses"))
