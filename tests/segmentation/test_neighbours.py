"""Laws of the neighbour search: the nearest points exactly, whatever their number, order and arrangement."""

import numpy as np
import pytest

from yt_protohalos.segmentation.neighbours import LEAF, NeighbourTree


def arrangements():
    random = np.random.default_rng(3)
    lattice = np.stack(np.meshgrid(*(np.arange(7.0),) * 3), axis=-1).reshape(-1, 3)
    return {
        "one point": np.zeros((1, 3)),
        "fewer than a leaf": random.normal(size=(LEAF - 1, 3)),
        "one leaf": random.normal(size=(LEAF, 3)),
        "one more than a leaf": random.normal(size=(LEAF + 1, 3)),
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
@pytest.mark.parametrize("width", [1, 5, 21, 500])
def test_distances_are_those_of_all_pairs(name, width):
    points = arrangements()[name]
    width = min(width, len(points))
    tree = NeighbourTree(points)
    distance, index = tree.query(np.arange(tree.n_leaves), width)
    every = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=-1))
    assert np.array_equal(distance[: len(points)], np.sort(every, axis=1)[:, :width])
    assert np.isinf(distance[len(points) :]).all()
    assert np.array_equal(np.take_along_axis(every, index[: len(points)], axis=1), distance[: len(points)])
    assert all(len(set(row)) == width for row in index[: len(points)].tolist())


def test_a_leaf_alone_finds_what_it_finds_among_all():
    points = np.random.default_rng(5).normal(size=(300, 3))
    tree = NeighbourTree(points)
    distance, index = tree.query(np.arange(tree.n_leaves), 8)
    for leaf in (0, 4, tree.n_leaves - 1):
        rows = slice(leaf * LEAF, (leaf + 1) * LEAF)
        alone = tree.query(np.array([leaf]), 8)
        assert np.array_equal(alone[0], distance[rows])
        assert np.array_equal(alone[1], index[rows])


def test_the_order_of_the_points_changes_no_distance():
    random = np.random.default_rng(7)
    points = random.normal(size=(400, 3))
    order = random.permutation(len(points))
    first, second = NeighbourTree(points), NeighbourTree(points[order])
    sorted_first = first.query(np.arange(first.n_leaves), 12)[0][: len(points)]
    sorted_second = second.query(np.arange(second.n_leaves), 12)[0][: len(points)]
    assert np.array_equal(sorted_first[order], sorted_second)
