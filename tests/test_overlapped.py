"""Two stages beside each other give what they give one after the other."""

from __future__ import annotations

import threading

import pytest

from yt_protohalos.overlapped import overlapped


def test_results_come_in_order_and_are_those_of_a_plain_loop() -> None:
    found = list(overlapped(range(7), lambda i: i * 10, lambda i, begun: begun + i))
    assert found == [(i, 11 * i) for i in range(7)]
    assert list(overlapped([], int, lambda i, begun: begun)) == []


def test_the_second_stage_runs_while_the_first_works_on_the_next_item() -> None:
    begun = {i: threading.Event() for i in range(4)}

    def begin(i: int) -> int:
        begun[i].set()
        return i

    def finish(i: int, _: int) -> bool:
        # returns only if the next item is begun before this one is finished
        return i == 3 or begun[i + 1].wait(timeout=10)

    assert [done for _, done in overlapped(range(4), begin, finish)] == [True] * 4


def test_no_more_than_two_begun_items_wait() -> None:
    alive, most = 0, 0

    def begin(i: int) -> int:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return i

    def finish(i: int, _: int) -> int:
        nonlocal alive
        alive -= 1
        return i

    assert len(list(overlapped(range(20), begin, finish))) == 20
    assert most <= 2


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
        for item, _ in overlapped(range(9), lambda i: fail("begin", i), lambda i, _: fail("finish", i)):
            found.append(item)
    assert found == ([0, 1] if stage == "finish" else [0])
    assert ("begin", 4) not in started
