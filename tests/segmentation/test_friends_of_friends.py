"""Friends of friends: the groups that all pairs give, whatever the order and the place of the points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from yt_protohalos.exceptions import ClusteringError
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
