"""How the crops of a box are shared by the processes that work on it.

A team of several ranks is `surface.parallel.RankTeam`; the networks and the stitching know only what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Team(Protocol):
    """What a prediction asks of the processes that share it."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def is_root(self) -> bool:
        """Whether this process does what only one must do."""

    def share(self, items: Sequence[T]) -> Iterable[T]:
        """The items of this process; every item is one process's."""

    def value_of_root(self, make: Callable[[], T]) -> T:
        """What `make` returns on the process that does what only one must do, on every process; small values only."""

    def together(self) -> AbstractContextManager[None]:
        """Work that all processes end together: an error of one ends it for all, with its message."""


class Alone:
    """One process that does everything."""

    size = 1
    is_root = True

    def share(self, items: Sequence[T]) -> Iterable[T]:
        """All items."""
        return items

    def value_of_root(self, make: Callable[[], T]) -> T:
        """What `make` returns."""
        return make()

    def together(self) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        return nullcontext()
