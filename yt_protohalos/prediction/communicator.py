"""The processes that share the crops of a box.

`yt_interface.mpi.MPICommunicator` is that of several ranks; the networks and the stitching know only what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Communicator(Protocol):
    """Operations that a prediction needs of the processes that share it."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def is_root(self) -> bool:
        """True on rank 0."""

    def share(self, items: Sequence[T]) -> Iterable[T]:
        """Items of this process; every item belongs to one process."""

    def broadcast(self, make: Callable[[], T]) -> T:
        """Run `make` on rank 0 and broadcast its result, which must be small."""

    def barrier(self) -> AbstractContextManager[None]:
        """Wait for all processes at the end of a block; an error of one is raised on all."""


class SerialCommunicator:
    """A single process."""

    size = 1
    is_root = True

    def share(self, items: Sequence[T]) -> Iterable[T]:
        """All items."""
        return items

    def broadcast(self, make: Callable[[], T]) -> T:
        """Result of `make`."""
        return make()

    def barrier(self) -> AbstractContextManager[None]:
        """Context that does nothing."""
        return nullcontext()


SERIAL: Communicator = SerialCommunicator()
