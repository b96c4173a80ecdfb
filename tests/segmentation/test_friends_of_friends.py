"""Friends of friends: the groups that all pairs give, whatever the order and the place of the points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from yt_protohalos.exceptions import ClusteringError
from yt_protohalos.fields import evolution
from yt_protohalos.segmentation import friends_of_friends as module
from yt_protohalos.segmentation.friends_of_friends import friends_of_friends

PERIOD = 10.0


def by_all_pairs(points: np.ndarray, period: float, linking_length: float) -> np.ndarray:
    step = np.abs(points[:, None] - points[None]) % period
    step = np.minimum(step, period - step)
    near = (step**2).sum(axis=-1) <= linking_length**2
    _, component = connected_components(coo_array(near), directed=False)
    lowest = np.full(component.max() + 1, len(points))
    np.minimum.at(lowest, component, np.arange(len(points)))
    return lowest[component]


def clumps(seed: int, n: int = 600) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.random((12, 3)) * PERIOD
    # half in clumps, some of which cross the faces, half anywhere, also outside of the box
    near = centres[rng.integers(12, size=n // 2)] + rng.normal(0, 0.3, (n // 2, 3))
    return np.concatenate([near, rng.uniform(-PERIOD, 2 * PERIOD, (n // 2, 3))])


@pytest.mark.parametrize("linking_length", [0.05, 0.3, 1.0, PERIOD / 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_are_those_of_all_pairs(linking_length, dtype):
    points = clumps(1).astype(dtype)
    expected = by_all_pairs(points.astype(np.float64), PERIOD, linking_length)
    assert np.array_equal(friends_of_friends(points, PERIOD, linking_length), expected)


def test_groups_follow_a_shift_and_a_new_order():
    points = clumps(2)
    groups = friends_of_friends(points, PERIOD, 0.3)
    moved = friends_of_friends((points + np.array([3.3, 7.1, 9.9])) % PERIOD, PERIOD, 0.3)
    assert np.array_equal(moved, groups)
    order = np.random.default_rng(3).permutation(len(points))
    # the pairs of points that share a group are the same
    shuffled = friends_of_friends(points[order], PERIOD, 0.3)
    assert np.array_equal(shuffled[:, None] == shuffled, groups[order][:, None] == groups[order])


@pytest.mark.parametrize("cores", [1, 2, 5, 64])
@pytest.mark.parametrize("linking_length", [0.3, 1.0, PERIOD / 3])
def test_groups_do_not_depend_on_the_cores(cores, linking_length, monkeypatch):
    monkeypatch.setattr(evolution, "available_cores", lambda: cores)
    # slabs of one plane of cells too: the longest length has three planes
    points = clumps(4)
    assert np.array_equal(
        friends_of_friends(points, PERIOD, linking_length), by_all_pairs(points, PERIOD, linking_length)
    )


def test_dense_cells_and_rows_give_the_groups_of_all_pairs():
    rng = np.random.default_rng(5)
    # tens of points in a cell, hundreds in a row, and some cells with more than one group
    points = np.concatenate([rng.normal(PERIOD, 0.12, (900, 3)), rng.normal(5, 0.6, (600, 3))])
    for linking_length in (0.02, 0.15, 0.4):
        groups = friends_of_friends(points, PERIOD, linking_length)
        assert np.array_equal(groups, by_all_pairs(points, PERIOD, linking_length))


def test_points_may_be_many_periods_away():
    points = clumps(6) % PERIOD
    away = points + PERIOD * np.random.default_rng(7).integers(-5, 6, points.shape)
    assert np.array_equal(friends_of_friends(away, PERIOD, 0.3), friends_of_friends(points, PERIOD, 0.3))


@pytest.mark.slow
def test_boxes_beyond_an_int32_are_grouped_alike(monkeypatch):
    points = clumps(8)
    expected = friends_of_friends(points, PERIOD, 0.3)
    monkeypatch.setattr(module, "_SHORT_INDICES", 0)
    assert np.array_equal(friends_of_friends(points, PERIOD, 0.3), expected)


def test_a_chain_across_a_face_is_one_group_until_the_length_is_too_short():
    points = np.array([[x % PERIOD, 5.0, 5.0] for x in np.arange(9.0, 11.01, 0.25)])
    assert not friends_of_friends(points, PERIOD, 0.26).any()
    assert np.array_equal(friends_of_friends(points, PERIOD, 0.24), np.arange(len(points)))


@pytest.mark.parametrize("n", [0, 1])
def test_few_points(n):
    assert np.array_equal(friends_of_friends(np.zeros((n, 3)), PERIOD, 1.0), np.arange(n))


@pytest.mark.parametrize("linking_length", [0.0, -1.0, 4.0, np.nan])
def test_a_linking_length_that_cannot_be_is_refused(linking_length):
    with pytest.raises(ClusteringError, match="third of the period"):
        friends_of_friends(np.zeros((3, 3)), PERIOD, linking_length)


def test_points_that_are_not_finite_rows_are_refused():
    for points in (np.zeros((3, 2)), np.array([[0, 0, np.inf]])):
        with pytest.raises(ClusteringError, match="three finite numbers"):
            friends_of_friends(points, PERIOD, 1.0)
