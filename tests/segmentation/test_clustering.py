"""Laws of the density clustering: the paper's partition, exactly, whatever the ties, the order and the threads."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt_protohalos.exceptions import ClusteringError
from yt_protohalos.segmentation.clustering import cluster_embedding

GOLDEN = Path(__file__).parents[1] / "data" / "pseudospaces.npz"
SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(max_examples=20, deadline=None, derandomize=True)


def same_partition(first, second):
    """Whether two labellings group the same points, label numbers aside."""
    pairs = np.unique(np.stack([first, second]), axis=1).shape[1]
    return pairs == len(np.unique(first)) == len(np.unique(second))


def sorted_distances(points):
    """Distances (N, N) and neighbours ordered by (distance, index)."""
    points = np.asarray(points, dtype=np.float64)
    difference = points[:, None, :] - points[None, :, :]
    distance = np.sqrt((difference**2).sum(axis=-1))
    neighbours = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(distance, neighbours, axis=1), neighbours


def reference(points, n_dens=20, n_ngb=15, persistence=4.2):
    """Appendix B with design.md 4b's corrections, as plain Python."""
    n_points = len(points)
    if n_points == 0:
        return np.empty(0, dtype=np.int32)
    distance, neighbours = sorted_distances(points)
    k = min(n_dens, n_points)
    radius = distance[:, k - 1]
    with np.errstate(divide="ignore"):
        density = 3 * k / (4 * np.pi * radius**3)
    order = np.argsort(-density, kind="stable")
    rank = np.argsort(order)
    group, parent, maximum = {}, [], []

    def root(g):
        while parent[g] != g:
            g = parent[g]
        return g

    for i in order:
        nearest = zip(neighbours[i, :n_ngb], distance[i, :n_ngb], strict=True)
        denser = [j for j, d in nearest if rank[j] < rank[i] and (radius[i] > 0 or d == 0)]
        closest = denser[: 2 if radius[i] > 0 else 1]
        if not closest:
            group[i] = len(parent)
            parent.append(len(parent))
            maximum.append(density[i])
            continue
        groups = [root(group[j]) for j in closest]
        group[i] = groups[0]
        if len(set(groups)) == 2:
            denser_group, lighter = min(groups), max(groups)
            if maximum[lighter] / density[i] <= persistence:
                parent[lighter] = denser_group
            elif rank[closest[1]] < rank[closest[0]]:
                group[i] = groups[1]
    return np.array([root(group[i]) for i in range(n_points)])


def blobs(rng, n_points, n_blobs=4, spread=2.0):
    """Gaussian blobs of different widths, float32."""
    centres = rng.normal(scale=spread, size=(n_blobs, 3))
    widths = rng.uniform(0.1, 0.6, size=n_blobs)
    which = rng.integers(0, n_blobs, n_points)
    return (centres[which] + rng.normal(size=(n_points, 3)) * widths[which, None]).astype(np.float32)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_golden_partitions_of_the_paper_s_program(case):
    with np.load(GOLDEN) as golden:
        points, expected = golden[f"points{case}"], golden[f"labels{case}"]
    labels = cluster_embedding(points)
    assert labels.dtype == np.int32
    assert labels.max() >= 1
    assert same_partition(labels, expected)


@pytest.mark.parametrize("n_points", [0, 1, 2, 3, 5, 14, 15, 16, 19, 20, 21, 22, 60])
def test_few_points_equal_the_reference(n_points):
    for seed in range(5):
        points = blobs(np.random.default_rng(seed), n_points)
        labels = cluster_embedding(points)
        assert labels.shape == (n_points,) and labels.dtype == np.int32
        assert same_partition(labels, reference(points))


def test_no_points_give_no_labels_and_one_point_one_group():
    assert cluster_embedding(np.empty((0, 3), dtype=np.float32)).shape == (0,)
    assert cluster_embedding([[0.1, 0.2, 0.3]]).tolist() == [0]


@QUICK
@given(SEEDS, st.integers(30, 400), st.integers(2, 24), st.integers(2, 24), st.sampled_from([1.0, 1.5, 4.2, 50.0]))
def test_random_points_equal_the_reference(seed, n_points, n_dens, n_ngb, persistence):
    points = blobs(np.random.default_rng(seed), n_points)
    labels = cluster_embedding(points, n_dens, n_ngb, persistence)
    assert same_partition(labels, reference(points, n_dens, n_ngb, persistence))
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


@QUICK
@given(SEEDS, st.integers(1, 250), st.integers(1, 5), st.integers(2, 24), st.integers(2, 24))
def test_ties_and_duplicates_equal_the_reference(seed, n_points, side, n_dens, n_ngb):
    points = np.random.default_rng(seed).integers(0, side + 1, size=(n_points, 3)).astype(np.float32)
    labels = cluster_embedding(points, n_dens, n_ngb, 1.5)
    assert same_partition(labels, reference(points, n_dens, n_ngb, 1.5))


@pytest.mark.parametrize("n_points", [5, 19, 20, 21, 50, 200])
def test_collinear_points_equal_the_reference(n_points):
    regular = np.arange(n_points)[:, None] * np.array([[1.0, 0.0, 0.0]])
    random = np.random.default_rng(n_points).normal(size=(n_points, 1)).astype(np.float32) * np.ones((1, 3))
    for points in (regular, random):
        assert same_partition(cluster_embedding(points, persistence=1.2), reference(points, persistence=1.2))


def test_a_tie_of_more_points_than_one_query_holds_equals_the_reference():
    shell = np.array([p for p in np.ndindex(15, 15, 15) if sum((x - 7) ** 2 for x in p) == 41], dtype=float)
    points = np.random.default_rng(0).permutation(np.concatenate([shell, np.full((1, 3), 7.0)]))
    assert len(shell) == 96
    assert same_partition(cluster_embedding(points, 4, 6, 1.1), reference(points, 4, 6, 1.1))


def test_coincident_points_are_one_maximum_of_infinite_density():
    rng = np.random.default_rng(3)
    background = rng.normal(size=(300, 3))
    first, second = np.full((40, 3), 0.25), np.full((25, 3), -0.5)
    points = np.concatenate([background, first, second]).astype(np.float32)
    for n_ngb in (15, 60):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            labels = cluster_embedding(points, n_ngb=n_ngb)
        assert len(set(labels[300:340])) == 1
        assert len(set(labels[340:])) == 1
        assert labels[300] != labels[340]
        assert same_partition(labels, reference(points, n_ngb=n_ngb))


def test_all_points_coincident_are_one_group_in_linear_time():
    assert set(cluster_embedding(np.zeros((200_000, 3), dtype=np.float32)).tolist()) == {0}


def test_groups_merge_exactly_at_the_persistence_threshold():
    # two blobs bridged by a sparse line: the saddle ratio decides, and equality merges
    rng = np.random.default_rng(5)
    bridge = np.stack([np.linspace(-2, 2, 60), np.zeros(60), np.zeros(60)], axis=1)
    points = np.concatenate([rng.normal(c, 0.3, size=(300, 3)) for c in ([-2, 0, 0], [2, 0, 0])] + [bridge])
    counts = [cluster_embedding(points, persistence=p).max() + 1 for p in (4.2, 1e6)]
    assert counts[0] >= 2 and counts[1] == 1
    # on this line the density ratios are exact powers of two
    line = np.array([0, 1, 2, 4, 6, 7, 8])[:, None] * np.array([[1.0, 0.0, 0.0]])
    # k = 3: r = 2, 1, 2, 2, 2, 1, 2, so the saddle at 4 has ratio 8
    assert cluster_embedding(line, 3, 3, 8.0).max() + 1 == 1
    assert cluster_embedding(line, 3, 3, np.nextafter(8.0, 0.0)).max() + 1 == 2


def test_group_numbers_fall_with_the_density_of_the_maximum():
    points = blobs(np.random.default_rng(11), 1500, n_blobs=6, spread=4.0)
    labels = cluster_embedding(points)
    distance, _ = sorted_distances(points)
    smallest_radius = [distance[labels == g, 19].min() for g in range(labels.max() + 1)]
    assert len(smallest_radius) > 1
    assert np.array_equal(smallest_radius, np.sort(smallest_radius))


def on_a_grid(seed, n_points):
    """Points with 12 binary digits: sums of squares, translations and rotations are exact."""
    return np.round(blobs(np.random.default_rng(seed), n_points).astype(float) * 2**12) / 2**12


@QUICK
@given(SEEDS, st.integers(1, 300), st.integers(-64, 64), st.integers(-20, 20), st.permutations([0, 1, 2]))
def test_translation_scaling_and_rotation_change_nothing(seed, n_points, step, power, axes):
    points = on_a_grid(seed, n_points)
    labels = cluster_embedding(points)
    assert np.array_equal(cluster_embedding(points + step / 16), labels)
    assert np.array_equal(cluster_embedding(points * 2.0**power), labels)
    signs = np.array([1, -1, 1])
    assert np.array_equal(cluster_embedding(points[:, axes] * signs), labels)


def without_density_ties(points, k):
    """Points whose k-th neighbour distances all differ."""
    while True:
        radius = sorted_distances(points)[0][:, k - 1]
        _, first = np.unique(radius, return_index=True)
        if len(first) == len(points):
            return points
        points = points[np.sort(first)]


@QUICK
@given(SEEDS, st.integers(60, 300), st.sampled_from([(20, 15), (6, 10)]))
def test_order_of_points_changes_nothing_without_ties(seed, n_points, numbers):
    points = without_density_ties(blobs(np.random.default_rng(seed), n_points), numbers[0])
    shuffle = np.random.default_rng(seed + 1).permutation(len(points))
    labels = cluster_embedding(points, *numbers, persistence=1.5)
    assert np.array_equal(cluster_embedding(points[shuffle], *numbers, persistence=1.5), labels[shuffle])


def test_input_is_left_alone_and_any_memory_order_will_do():
    points = blobs(np.random.default_rng(8), 500)
    kept = points.copy()
    labels = cluster_embedding(points)
    assert np.array_equal(points, kept)
    assert np.array_equal(cluster_embedding(np.asfortranarray(points)), labels)
    assert np.array_equal(cluster_embedding(points.tolist()), labels)
    points.setflags(write=False)
    assert np.array_equal(cluster_embedding(points), labels)


def test_signed_zeros_are_one_location():
    points = np.zeros((40, 3), dtype=np.float32)
    points[::2] = -0.0
    assert set(cluster_embedding(points).tolist()) == {0}


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((4, 2)), ["(4, 2)", "(N, 3)"]),
        (np.zeros(3), ["(3,)", "(N, 3)"]),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), ["point 1", "finite", "1 such of 2"]),
        (np.array([[np.inf, 0, 0]]), ["point 0", "finite"]),
        (np.full((2, 3), 1e60), ["1e+50", "2 such of 2"]),
        (np.zeros((2, 3), dtype=complex), ["complex128", "float32"]),
        (np.zeros((2, 3), dtype=bool), ["bool", "float32"]),
        ([["a", "b", "c"]], ["real numbers"]),
    ],
)
def test_bad_points_are_refused(points, words):
    with pytest.raises(ClusteringError) as error:
        cluster_embedding(points)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_dens": 1}, ["n_dens = 1", "at least 2", "20"]),
        ({"n_dens": 20.0}, ["n_dens = 20.0", "integer"]),
        ({"n_ngb": 0}, ["n_ngb = 0", "at least 2"]),
        ({"n_ngb": True}, ["n_ngb = True", "integer"]),
        ({"persistence": 0}, ["persistence = 0", "positive", "4.2"]),
        ({"persistence": float("nan")}, ["persistence = nan", "positive"]),
        ({"persistence": "4"}, ["persistence = '4'", "positive"]),
    ],
)
def test_bad_parameters_are_refused_even_without_points(parameters, words):
    for points in (np.zeros((0, 3)), np.zeros((30, 3))):
        with pytest.raises(ClusteringError) as error:
            cluster_embedding(points, **parameters)
        assert isinstance(error.value, ValueError)
        assert all(word in str(error.value) for word in words)
