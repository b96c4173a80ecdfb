"""Two stages beside each other give what they give one after the other."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence

import pytest

from yt_protohalos._utils.prefetch import run_stages


def singly(count: int) -> list[list[int]]:
    return [[i] for i in range(count)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("threads", [1, 4])
def test_results_come_in_order_and_are_those_of_a_plain_loop(size: int, threads: int) -> None:
    groups = [list(range(start, min(start + size, 7))) for start in range(0, 7, size)]
    found = list(run_stages(groups, lambda group: [i * 10 for i in group], lambda i, begun: begun + i, threads))
    assert found == [(i, 11 * i) for i in range(7)]
    assert list(run_stages([], list, lambda i, begun: begun)) == []


def test_the_second_stage_runs_while_the_first_works_on_the_next_group() -> None:
    begun = {i: threading.Event() for i in range(4)}

    def begin(group: Sequence[int]) -> list[int]:
        begun[group[0]].set()
        return list(group)

    def finish(i: int, _: int) -> bool:
        # returns only if the next item is begun before this one is finished
        return i == 3 or begun[i + 1].wait(timeout=10)

    assert [done for _, done in run_stages(singly(4), begin, finish)] == [True] * 4


def test_as_many_items_of_a_group_are_finished_at_once_as_there_are_threads() -> None:
    meeting = threading.Barrier(3)
    # none returns before three are there
    found = run_stages([[0, 1, 2], [3, 4, 5]], list, lambda i, _: meeting.wait(timeout=10) >= 0, threads=3)
    assert [done for _, done in found] == [True] * 6


@pytest.mark.parametrize("size", [1, 4])
def test_no_more_than_two_begun_groups_are_there(size: int) -> None:
    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    class Begun:
        pass

    def begin(group: Sequence[int]) -> list[Begun]:
        nonlocal most
        made = [Begun() for _ in group]
        alive.update(made)
        most = max(most, len(alive))
        return made

    groups = [list(range(start, start + size)) for start in range(0, 20, size)]
    assert len(list(run_stages(groups, begin, lambda i, _: i, threads=2))) == 20
    assert size < most <= 2 * size


@pytest.mark.parametrize("stage", ["begin", "finish"])
def test_an_error_of_either_stage_ends_the_loop_after_what_came_before_it(stage: str) -> None:
    started = []

    def fail(here: str, i: int) -> int:
        started.append((here, i))
        if here == stage and i == 2:
            raise ValueError(f"item {i}")
        return i

    found = []
    with pytest.raises(ValueError, match="item 2"):
        for item, _ in run_stages(singly(9), lambda group: [fail("begin", group[0])], lambda i, _: fail("finish", i)):
            found.append(item)
    assert found == ([0, 1] if stage == "finish" else [0])
    assert ("begin", 4) not in started
