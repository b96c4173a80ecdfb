"""Two stages of a long loop that run beside each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")


def overlapped(
    items: Iterable[Item], begin: Callable[[Item], Begun], finish: Callable[[Item, Begun], Result]
) -> Iterator[tuple[Item, Result]]:
    """Yield ``(item, finish(item, begin(item)))`` in the order of the items.

    `finish` runs in a thread of its own, one item at a time, while `begin` works on the next item in the caller's; so
    two begun items are in memory at most. An error of either stage is raised where the item would have come, and what
    was not begun then never is.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="protohalos") as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            begun = begin(item)
            if waiting:
                done, result = waiting.popleft()
                yield done, result.result()
            waiting.append((item, pool.submit(finish, item, begun)))
            del begun
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
