"""Two stages of a long loop that run at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")


def run_stages(
    groups: Iterable[Sequence[Item]],
    begin: Callable[[Sequence[Item]], Sequence[Begun]],
    finish: Callable[[Item, Begun], Result],
    threads: int = 1,
) -> Iterator[tuple[Item, Result]]:
    """Yield ``(item, finish(item, begun))`` in the order of the items.

    ``begin(group)`` runs in the calling thread and returns one value per item of the group. `finish` runs in `threads`
    other threads while `begin` works on the next group, so that at most two groups are in memory. An error of either
    stage is raised at its item's place, and later groups are not begun.
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
