"""Two stages of a long loop that run beside each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")


def overlapped(
    groups: Iterable[Sequence[Item]],
    begin: Callable[[Sequence[Item]], Sequence[Begun]],
    finish: Callable[[Item, Begun], Result],
    threads: int = 1,
) -> Iterator[tuple[Item, Result]]:
    """Yield ``(item, finish(item, begun))`` in the order of the items, where ``begin(group)`` begins all of a group.

    `finish` runs in threads of its own, `threads` items at a time, while `begin` works on the next group in the
    caller's; so the begun items of two groups are in memory at most. An error of either stage is raised where the item
    would have come, and what was not begun then never is.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="protohalos") as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for group in groups:
            begun = deque(begin(group))
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
            for item in group:
                waiting.append((item, pool.submit(finish, item, begun.popleft())))
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
