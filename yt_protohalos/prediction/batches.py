"""How many crops a network takes at once, and what follows where they are too many for its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ..exceptions import OutOfMemoryError

Item = TypeVar("Item")
Result = TypeVar("Result")

_SAID = ("RESOURCE_EXHAUSTED", "OUT OF MEMORY", "FAILED TO ALLOCATE")
_NAMED = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any backend says that memory ran out, by its name or message: no backend is imported.

    tensorflow raises ResourceExhaustedError, torch OutOfMemoryError, jax XlaRuntimeError with RESOURCE_EXHAUSTED.
    """
    named = any(kind.__name__ in _NAMED for kind in type(error).__mro__)
    return named or (isinstance(error, RuntimeError) and any(word in str(error).upper() for word in _SAID))


class Batch:
    """Number of crops that a network takes at once; halved whenever they do not fit the memory.

    Parameters
    ----------
    size : int
        At first.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = max(1, int(size))

    def groups(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Consecutive items, as many as fit at the time."""
        rest = iter(items)
        while group := list(islice(rest, self.size)):
            yield group

    def run(self, work: Callable[[list[Item]], list[Result]], items: list[Item]) -> list[Result]:
        """``work(items)``, a result an item, in parts of at most `size` items.

        Raises
        ------
        OutOfMemoryError
            One item alone does not fit.
        """
        done: list[Result] = []
        while len(done) < len(items):
            part = items[len(done) : len(done) + self.size]
            try:
                done += work(part)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    said = " ".join(str(error).split())[:200]
                    raise OutOfMemoryError(
                        f"one crop does not fit the memory of the network ({type(error).__name__}: {said}); end what "
                        "else uses that memory, take a GPU with more, or run on the CPU (CUDA_VISIBLE_DEVICES=-1)"
                    ) from error
            else:
                continue
            # outside of the handler, whose error holds the frames and with them the arrays of what did not fit
            self.size = max(1, len(part) // 2)
        return done
