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
    """One particle type of a file or in memory."""

    @property
    def count(self) -> int:
        """Number of particles."""

    @property
    def names(self) -> frozenset[str]:
        """Available quantities: ``positions``, and any of ``velocities``, ``ids`` and ``masses``."""

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Yield the named quantities chunk by chunk, in the same order in every call.

        positions : float, (M, 3), comoving Mpc/h from the box's corner, wrapped or not
        velocities : float, (M, 3), peculiar velocities a dx/dt in km/s
        ids : int64, (M,)
        masses : float, (M,), Msun/h
        """


class ArraySource:
    """Particles in memory.

    Parameters
    ----------
    positions, velocities, ids, masses : array or None
        Shapes and units as in `ParticleSource.chunks`; `masses` may be one number.
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
            raise LatticeError(f"{len(ids)} IDs for {self.count} particles; give one ID per particle")
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
    """Yield each chunk with the number of particles before it.

    Raises `InitialConditionsError` if the chunks hold more or fewer particles than ``source.count``.
    """
    start = 0
    for chunk in source.chunks(*names):
        size = len(chunk[names[0]])
        if start + size <= source.count:
            yield start, chunk
        start += size
    if start != source.count:
        raise InitialConditionsError(
            f"{start} particles were read, but the file counts {source.count}; both must agree: the file is truncated "
            "or damaged, copy or write it again"
        )


def in_memory(source: ParticleSource) -> ArraySource:
    """All particles of a source in arrays, read one quantity after the other: 44 bytes per particle, masses 4 more.

    Positions as float64, IDs as int64, velocities and masses as float32.
    """
    types = {"positions": np.float64, "ids": np.int64}
    arrays: dict[str, NDArray[Any]] = {}
    for name in source.names:
        shape = (source.count, 3) if name in ("positions", "velocities") else (source.count,)
        arrays[name] = np.empty(shape, dtype=types.get(name, np.float32))
        for start, chunk in numbered(source, name):
            arrays[name][start : start + len(chunk[name])] = chunk[name]
    return ArraySource(arrays["positions"], arrays.get("velocities"), arrays.get("ids"), arrays.get("masses"))
