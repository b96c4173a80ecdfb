"""Laws of the neighbour search: the nearest points exactly, whatever their number, order and arrangement."""

import numpy as np
import pytest

from yt_protohalos.segmentation import neighbours
from yt_protohalos.segmentation.neighbours import nearest_points


def arrangements():
    random = np.random.default_rng(3)
    lattice = np.stack(np.meshgrid(*(np.arange(7.0),) * 3), axis=-1).reshape(-1, 3)
    return {
        "one point": np.zeros((1, 3)),
        "a few": random.normal(size=(31, 3)),
        "uniform": random.random((500, 3)),
        "clumps of very different density": np.concatenate(
            [random.normal(size=(300, 3)) * scale + place for scale, place in ((1e-6, 0), (1e-2, 1), (3, 0))]
        ),
        "a line": np.outer(np.arange(400.0), [1, 0, 0]),
        "a lattice, full of ties": lattice,
        "the same places many times": np.repeat(random.random((20, 3)), 9, axis=0),
        "far from the origin": 1e50 * random.random((200, 3)),
    }


@pytest.mark.parametrize("name", arrangements())
@pytest.mark.parametrize("count", [1, 5, 21, 500])
def test_neighbours_are_those_of_all_pairs(name, count):
    points = arrangements()[name]
    count = min(count, len(points))
    location, radius, nearest = nearest_points(points, count, count)
    every = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    np.testing.assert_allclose(radius[location], np.sort(every, axis=1)[:, count - 1], rtol=1e-15)
    assert np.array_equal(nearest[location], np.argsort(every, axis=1, kind="stable")[:, :count])
    assert len(radius) == len(np.unique(points, axis=0)) == location.max() + 1


def test_the_order_of_the_points_changes_no_distance():
    random = np.random.default_rng(7)
    points = random.normal(size=(400, 3))
    order = random.permutation(len(points))
    first, radius, _ = nearest_points(points, 12, 3)
    second, other, _ = nearest_points(points[order], 12, 3)
    assert np.array_equal(radius[first][order], other[second])


def test_a_tie_of_more_points_than_one_query_holds_is_ordered_by_index():
    shell = np.array([p for p in np.ndindex(15, 15, 15) if sum((x - 7) ** 2 for x in p) == 41], dtype=float)
    points = np.random.default_rng(0).permutation(np.concatenate([shell, np.full((1, 3), 7.0)]))
    assert len(shell) == 96
    centre = np.flatnonzero((points == 7.0).all(axis=1))[0]
    location, _, nearest = nearest_points(points, 4, 6)
    assert nearest[location[centre]].tolist() == [centre, *[i for i in range(len(points)) if i != centre][:5]]


def test_query_blocks_change_nothing(monkeypatch):
    points = np.random.default_rng(2).normal(size=(3000, 3))
    points[::7] = np.round(points[::7] * 4) / 4
    whole = nearest_points(points, 20, 15)
    for block in (5000, 977):
        monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", block)
        for one, other in zip(nearest_points(points, 20, 15), whole, strict=True):
            assert np.array_equal(one, other)
