"""Laws of joining groups that lie within each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from yt_protohalos.exceptions import ClusteringError
from yt_protohalos.segmentation.merging import merge_groups


def balls(centres: list[float], radii: list[float], n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian balls along x, labelled in turn."""
    rng = np.random.default_rng(seed)
    points = [rng.normal((c, 0, 0), r / 3**0.5, (n, 3)) for c, r in zip(centres, radii, strict=True)]
    return np.concatenate(points).astype(np.float32), np.repeat(np.arange(len(centres)), n).astype(np.int32)


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == name).tolist()) for name in np.unique(labels)}


def plain_merge(points: np.ndarray, labels: np.ndarray, width_ratio: float, distance: float) -> np.ndarray:
    """The definition, one round of disjoint pairs at a time, over all pairs."""
    groups = {int(name): points[labels == name].astype(float) for name in np.unique(labels)}
    owner = {name: name for name in groups}
    while True:
        centre = {name: g.mean(axis=0) for name, g in groups.items()}
        width = {name: np.sqrt(np.mean(np.sum((g - centre[name]) ** 2, axis=1))) for name, g in groups.items()}
        ratios = []
        for a, b in itertools.combinations(sorted(groups), 2):
            limit = distance + width_ratio * (width[a] + width[b])
            separation = np.linalg.norm(centre[a] - centre[b])
            if separation < limit:
                ratios.append((separation / limit, a, b))
        if not ratios:
            return np.array([owner[int(name)] for name in labels])
        used: set[int] = set()
        for _, a, b in sorted(ratios):
            if a not in used and b not in used:
                used |= {a, b}
                groups[a] = np.concatenate([groups[a], groups.pop(b)])
                owner = {name: a if now == b else now for name, now in owner.items()}


def test_halves_of_a_ball_join_and_neighbours_stay_apart() -> None:
    points, ball = balls([0.0, 3.0], [0.5, 0.5])
    halves = 2 * ball + (points[:, 1] > 0)
    assert partition(merge_groups(points, halves)) == partition(ball)
    assert partition(merge_groups(points, halves, width_ratio=0.0)) == partition(halves), "no limit joins nothing"
    assert len(partition(merge_groups(points, halves, distance=4.0))) == 1


@pytest.mark.parametrize(("width_ratio", "distance"), [(1.0, 0.0), (0.7, 0.5), (0.0, 1.2), (1.3, 0.1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_partition_is_that_of_the_plain_definition(seed: int, width_ratio: float, distance: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 25, 600)
    points = (rng.uniform(-4, 4, (25, 3))[labels] + rng.normal(scale=0.4, size=(600, 3))).astype(np.float32)
    found = merge_groups(points, labels, width_ratio, distance)
    assert partition(found) == partition(plain_merge(points, labels, width_ratio, distance))
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    first = [labels[found == name].min() for name in range(found.max() + 1)]
    assert first == sorted(first), "numbered in the order of the first label that each holds"


def test_units_rotation_and_numbering_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 12, 400)
    points = rng.uniform(-2, 2, (12, 3))[labels] + rng.normal(scale=0.3, size=(400, 3))
    expected = partition(merge_groups(points, labels, 1.0))
    turned = points[:, [2, 0, 1]] * np.array([1, -1, 1]) * 7.0 + 100.0
    assert partition(merge_groups(turned, labels, 1.0)) == expected
    assert partition(merge_groups(points, rng.permutation(12)[labels], 1.0)) == expected


def test_nothing_and_single_points() -> None:
    assert merge_groups(np.empty((0, 3)), np.empty(0, dtype=np.int32)).shape == (0,)
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [5.0, 0, 0]])
    labels = np.arange(3)
    assert merge_groups(points, labels).tolist() == [0, 1, 2], "single points have no width"
    assert merge_groups(points, labels, distance=0.2).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("points", "labels", "limits", "message"),
    [
        (np.zeros((3, 2)), np.zeros(3, dtype=int), {}, r"\(3, 2\)"),
        (np.zeros((3, 3)), np.zeros(2, dtype=int), {}, "do not fit"),
        (np.zeros((3, 3)), np.array([0, -1, 0]), {}, "labels"),
        (np.zeros((3, 3)), np.zeros(3), {}, "labels"),
        (np.zeros((3, 3)), np.zeros(3, dtype=int), {"width_ratio": -1.0}, "width_ratio = -1.0"),
        (np.zeros((3, 3)), np.zeros(3, dtype=int), {"distance": float("nan")}, "distance = nan"),
    ],
)
def test_bad_input_is_refused(points: np.ndarray, labels: np.ndarray, limits: dict, message: str) -> None:
    with pytest.raises(ClusteringError, match=message):
        merge_groups(points, labels, **limits)
