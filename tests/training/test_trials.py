"""The rule by which settings are chosen: good numbers of haloes among those that match nearly the most."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from yt_protohalos.training.trials import Trials

N_HALOES, SITES = 100, 600


@pytest.fixture
def trials() -> Trials:
    """Four candidates of 95, 93, 92 and 50 matched haloes of 100, with ever better numbers of haloes."""
    run = SimpleNamespace(labels=np.repeat(np.arange(1, N_HALOES + 1), SITES))
    trials = Trials([run], 500)  # type: ignore[list-item]
    for candidate, (matched, found) in enumerate(((95, 80), (93, 90), (92, 99), (50, 100))):
        trials.matched[candidate] = matched
        trials.found[candidate].append(np.full(found, SITES))
    return trials


def test_the_mass_function_decides_within_a_standard_error_of_the_best_share(trials: Trials) -> None:
    candidates = [{"setting": float(i)} for i in range(4)]
    # sqrt(0.95 * 0.05 / 100) = 0.0218: 0.93 is nearly the best, 0.92 is not
    assert trials.nearly_best(4).tolist() == [True, True, False, False]
    chosen, table = trials.judge(candidates)
    assert chosen == 1
    assert [one["share"] for one in table] == [0.95, 0.93, 0.92, 0.5]
    assert [one["mass_function_error"] for one in table] == [0.2, 0.1, 0.01, 0.0]


def test_what_is_not_allowed_is_not_chosen_while_something_is(trials: Trials) -> None:
    candidates = [{"setting": float(i)} for i in range(4)]
    assert trials.judge(candidates, np.array([True, False, True, True]))[0] == 0
    assert trials.judge(candidates, np.array([False, False, True, True]))[0] == 1


def test_equal_candidates_leave_the_first(trials: Trials) -> None:
    trials.matched[0], trials.found[0] = trials.matched[1], trials.found[1]
    trials.matched[2] = 50
    assert trials.judge([{"setting": float(i)} for i in range(4)])[0] == 0
