"""Laws of stitching: a partition that knows nothing of numbering, crop order or the seam of the box."""

import itertools

import networkx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from labelled_boxes import periodic_bricks, random_lattices, same_objects

from yt_protohalos.exceptions import StitchingError
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.segmentation.labels import lowest_connected, relabel_by_size
from yt_protohalos.segmentation.stitching import stitch, stitch_lattices
from yt_protohalos.segmentation.tiling import CropPlan

SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(max_examples=25, deadline=None, derandomize=True)


def reference(a, b, boundaries, threshold=0.5):
    """Appendix D as plain Python; octants from boundary to boundary, 0 and n among them."""
    graph = networkx.Graph()
    graph.add_nodes_from(int(label) for label in np.union1d(a, b) if label)
    for corner in itertools.product(itertools.pairwise(boundaries), repeat=3):
        block = tuple(slice(*bounds) for bounds in corner)
        for l1, l2 in itertools.product(np.unique(a[block]), np.unique(b[block])):
            common = ((a[block] == l1) & (b[block] == l2)).sum()
            union = ((a[block] == l1) | (b[block] == l2)).sum()
            if l1 and l2 and common / union >= threshold:
                graph.add_edge(int(l1), int(l2))
    merged_a, merged_b = a.copy(), b.copy()
    for component in networkx.connected_components(graph):
        for label in component:
            merged_a[a == label] = min(component)
            merged_b[b == label] = min(component)
    size = {label: (merged_a == label).sum() + (merged_b == label).sum() for label in np.union1d(merged_a, merged_b)}
    result = np.empty_like(a)
    for site in np.ndindex(a.shape):
        result[site] = min(merged_a[site], merged_b[site], key=lambda label: (-size[label], label))
    return result, graph, size


def label_crops(truth, plan, which, offset, rng=None):
    """Stand-in instance network: each core's objects, numbered anew in every core."""
    lattice = Lattice(plan.n, 1.0)
    labels = np.zeros(truth.shape, dtype=np.int32)
    for crop in plan.crops(which):
        block = lattice.crop(truth, crop.core_start, crop.core_shape)
        names = np.unique(block[block > 0])
        numbers = np.arange(1, len(names) + 1) if rng is None else rng.permutation(len(names)) + 1
        if len(names):
            local = np.where(block > 0, numbers[np.searchsorted(names, block).clip(max=len(names) - 1)] + offset, 0)
            lattice.paste(labels, local, crop.core_start)
        offset += len(names)
    return labels, offset


def both_lattices(truth, plan, rng=None):
    a, offset = label_crops(truth, plan, "a", 0, rng)
    b, _ = label_crops(truth, plan, "b", offset, rng)
    return a, b


@QUICK
@given(SEEDS, st.sampled_from([(0, 3, 6), (0, 2, 4, 6), (0, 6), (0, 1, 4, 6)]), st.sampled_from([0.2, 0.5, 0.8]))
def test_random_labels_equal_the_reference(seed, boundaries, threshold):
    a, b = random_lattices(seed, 6)
    expected, graph, _ = reference(a, b, boundaries, threshold)
    result = stitch(a, b, boundaries, threshold)
    assert same_objects(result.labels, expected)
    assert set(map(frozenset, result.overlap.to_networkx().edges)) == set(map(frozenset, graph.edges))
    assert set(result.overlap.to_networkx().nodes) == set(graph.nodes)


@pytest.mark.slow
@QUICK
@given(SEEDS, st.integers(1, 40), st.integers(2, 9))
def test_objects_cut_by_cores_are_whole_again(seed, n, core):
    plan = CropPlan(n, core + 4, 1, core)
    truth = periodic_bricks(n, seed)
    a, b = both_lattices(truth, plan)
    assert same_objects(stitch(a, b, plan.octant_boundaries).labels, truth)


def test_one_brick_across_all_seams_is_one_object():
    n, plan = 16, CropPlan(16, 8, 0, 8)
    truth = Lattice(n, 1.0).shifted(np.pad(np.ones((5, 5, 5), dtype=int), (0, n - 5)), (-2, -2, -2))
    labels = stitch_lattices(*both_lattices(truth, plan), quadrant=4)
    assert np.array_equal(labels, truth)


@pytest.mark.slow
@QUICK
@given(SEEDS, st.tuples(*[st.integers(0, 3)] * 3))
def test_periodic_shifts_by_the_lattice_step_shift_the_objects(seed, steps):
    n, core = 24, 6
    plan, lattice = CropPlan(n, 12, 2, core), Lattice(24, 1.0)
    shift = tuple(core * step for step in steps)
    truth = periodic_bricks(n, seed)
    noise = np.random.default_rng(seed).random((n, n, n)) < 0.1
    labels = []
    for field, dropped in ((truth, noise), (lattice.shifted(truth, shift), lattice.shifted(noise, shift))):
        a, b = both_lattices(field, plan)
        labels.append(stitch(a, np.where(dropped, 0, b), plan.octant_boundaries).labels)
    assert same_objects(lattice.shifted(labels[0], shift), labels[1])


@QUICK
@given(SEEDS, st.integers(0, 11))
def test_any_shift_of_labels_and_octants_shifts_the_objects(seed, step):
    lattice = Lattice(12, 1.0)
    a, b = random_lattices(seed, 12)
    boundaries = np.array([0, 3, 6, 10])
    moved = np.sort((boundaries + step) % 12)
    labels = stitch(a, b, boundaries).labels
    shifted = stitch(lattice.shifted(a, (step,) * 3), lattice.shifted(b, (step,) * 3), moved).labels
    assert same_objects(lattice.shifted(labels, (step,) * 3), shifted)


@QUICK
@given(SEEDS)
def test_partition_is_independent_of_label_numbers_and_crop_order(seed):
    a, b = random_lattices(seed, 8, n_labels=5)
    _, _, size = reference(a, b, (0, 4, 8))
    assume(len(set(size.values())) == len(size))  # equal sizes go to the lower label by definition
    labels = stitch_lattices(a, b, 4)
    rng = np.random.default_rng(seed)
    number = np.concatenate([[0], rng.permutation(np.arange(1, 30))])
    assert np.array_equal(stitch_lattices(number[a], number[b], 4), labels)
    assert np.array_equal(stitch_lattices(b, a, 4), labels)


def test_crops_numbered_in_any_order_give_the_same_objects():
    plan = CropPlan(30, 14, 2, 10)
    truth = periodic_bricks(30, 4)
    expected = stitch(*both_lattices(truth, plan), plan.octant_boundaries).labels
    for seed in range(3):
        a, b = both_lattices(truth, plan, np.random.default_rng(seed))
        assert np.array_equal(stitch(a, b, plan.octant_boundaries).labels, expected)


@QUICK
@given(SEEDS)
def test_axes_can_be_exchanged_and_reflected(seed):
    a, b = random_lattices(seed, 8)
    labels = stitch_lattices(a, b, 4)
    turned = stitch_lattices(a.transpose(2, 0, 1)[:, ::-1], b.transpose(2, 0, 1)[:, ::-1], 4)
    assert same_objects(labels.transpose(2, 0, 1)[:, ::-1], turned)


@QUICK
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.7]))
def test_mass_is_conserved(seed, empty):
    a, b = random_lattices(seed, 8, empty=empty)
    labels = stitch_lattices(a, b, 4)
    assert (labels[(a > 0) & (b > 0)] > 0).all()
    assert (labels[(a == 0) & (b == 0)] == 0).all()
    mask = (a > 0) & (b > 0)
    assert np.array_equal(stitch_lattices(a * mask, b * mask, 4) > 0, mask)


@QUICK
@given(SEEDS)
def test_networkx_finds_the_same_components(seed):
    a, b = random_lattices(seed, 9, n_labels=8)
    result = stitch(a, b, [0, 3, 6, 9], 0.4)
    found = [
        {int(x) for x in result.component[list(c)]} for c in networkx.connected_components(result.overlap.to_networkx())
    ]
    assert all(len(numbers) == 1 for numbers in found)
    kept = [number for (number,) in found if number]
    assert sorted(kept) == list(range(1, result.labels.max() + 1))


def test_components_of_many_labels_are_those_of_networkx():
    rng = np.random.default_rng(5)
    edge = np.stack([rng.integers(1, 40_000, 30_000), rng.integers(40_000, 80_000, 30_000)], axis=-1)
    lowest = lowest_connected(edge, 80_000)
    graph = networkx.Graph()
    graph.add_edges_from(edge.tolist())
    for component in networkx.connected_components(graph):
        assert set(lowest[list(component)].tolist()) == {min(component)}
    alone = np.setdiff1d(np.arange(80_000), edge)
    assert np.array_equal(lowest[alone], alone)


def test_the_graph_says_sizes_lattices_and_the_best_overlap():
    a, b = np.zeros((4, 4, 4), dtype=int), np.zeros((4, 4, 4), dtype=int)
    a[:3], b[:] = 1, 2  # octants of the lower half agree on all sites, of the upper on half
    graph = stitch(a, b, [0, 2, 4]).overlap.to_networkx()
    assert dict(graph.nodes(data=True)) == {
        1: {"size": 48, "lattice": "a", "label": 1}, 2: {"size": 64, "lattice": "b", "label": 1}
    }  # fmt: skip
    assert list(graph.edges(data="iou")) == [(1, 2, 1.0)]


def test_an_overlap_of_exactly_the_threshold_joins():
    a, b = np.zeros((4, 4, 4), dtype=int), np.zeros((4, 4, 4), dtype=int)
    a[:2], b[:] = 1, 2
    assert stitch(a, b, [0, 4], 0.5).overlap.to_networkx().number_of_edges() == 1
    assert stitch(a, b, [0, 4], np.nextafter(0.5, 1)).overlap.to_networkx().number_of_edges() == 0


def test_the_larger_object_wins_a_disputed_site():
    a, b = np.zeros((8, 8, 8), dtype=int), np.zeros((8, 8, 8), dtype=int)
    a[:5, :, :3], a[5:, :, :3] = 2, 3
    b[:4, :, :3], b[4:, :, :3] = 4, 1
    # 2 joins 4 (4 of 5 slabs), 3 joins 1 (3 of 4): the merged sizes are 9 and 7 slabs; slab 4 is disputed
    labels = stitch_lattices(a, b, 8)
    assert (labels[:5, :, :3] == 1).all() and (labels[5:, :, :3] == 2).all()
    assert not labels[:, :, 3:].any()


@pytest.mark.parametrize(
    ("left_a", "right_a", "left_b", "right_b", "left_wins"),
    [(1, 3, 4, 2, True), (2, 3, 4, 1, False), (5, 2, 1, 6, True), (6, 1, 2, 5, False)],
)
def test_equal_sizes_go_to_the_lower_label(left_a, right_a, left_b, right_b, left_wins):
    a, b = np.zeros((8, 8, 8), dtype=int), np.zeros((8, 8, 8), dtype=int)
    a[:5], a[5:] = left_a, right_a
    b[:3], b[3:] = left_b, right_b
    # both pairs join with IoU 3/5 to 8 slabs each; slabs 3 and 4 are disputed
    labels = stitch_lattices(a, b, 8)
    winner = labels[0, 0, 0] if left_wins else labels[7, 0, 0]
    assert labels.max() == 2
    assert (labels[3:5] == winner).all()


@pytest.mark.parametrize(
    ("slabs_a", "slabs_b", "expected"),
    [
        (2, 1, 1),  # 3 slabs of the object against 9 of background
        (4, 2, 2),  # 6 against 6: the lower label is background
        (5, 3, 5),  # 8 against 4
        (6, 2, 6),  # IoU 1/3, not joined: 6 against 4, and the 2 of the other lose to the 6
    ],
)
def test_a_site_of_one_lattice_only_is_the_larger_of_label_and_background(slabs_a, slabs_b, expected):
    a, b = np.zeros((6, 6, 6), dtype=int), np.zeros((6, 6, 6), dtype=int)
    a[:slabs_a], b[:slabs_b] = 1, 2
    labels = stitch_lattices(a, b, 6)
    assert (labels[:expected] == 1).all() and not labels[expected:].any()


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_empty_cubes_and_crops_are_ordinary_input(dtype):
    empty = np.zeros((4, 4, 4), dtype=dtype)
    result = stitch(empty, empty, [0, 2, 4])
    assert result.labels.dtype == np.int32 and not result.labels.any()
    assert result.overlap.to_networkx().number_of_nodes() == 0 and result.component.tolist() == [0]
    one = empty.copy()
    one[0, 0, 0] = 1
    assert not stitch_lattices(one, empty, 2).any()
    assert relabel_by_size(one).sum() == 1


def test_an_empty_crop_between_others_costs_no_label():
    n, plan = 16, CropPlan(16, 8, 0, 8)
    truth = np.zeros((n, n, n), dtype=int)
    truth[1:4, 1:4, 1:4], truth[9:13, 9:13, 9:13] = 1, 2
    result = stitch(*both_lattices(truth, plan), plan.octant_boundaries)
    assert same_objects(result.labels, truth)
    assert np.bincount(result.labels.ravel()).tolist() == [n**3 - 64 - 27, 64, 27]


def test_labels_far_apart_are_the_same_labels():
    a, b = random_lattices(3, 8)
    far_a, far_b = a.astype(np.int64) * 10**12, np.where(b > 0, b.astype(np.int64) * 10**12 + 1, 0)
    assert np.array_equal(stitch_lattices(far_a, far_b, 4), stitch_lattices(a, b, 4))
    assert np.array_equal(relabel_by_size(far_a), relabel_by_size(a))
    with pytest.raises(StitchingError, match="number the labels consecutively"):
        stitch(far_a, far_b, [0, 4, 8])


@QUICK
@given(SEEDS, st.integers(0, 60))
def test_relabelling_numbers_the_rest_by_size_then_first_site(seed, min_sites):
    cube = random_lattices(seed, 6, n_labels=8)[0]
    labels = relabel_by_size(cube, min_sites)
    names, first, sizes = np.unique(cube, return_index=True, return_counts=True)
    kept = sorted(
        (-size, site, name) for name, site, size in zip(names, first, sizes, strict=True) if name and size >= min_sites
    )
    expected = np.zeros_like(cube)
    for number, (_, _, name) in enumerate(kept, start=1):
        expected[cube == name] = number
    assert np.array_equal(labels, expected)
    assert np.array_equal(relabel_by_size(labels, min_sites), labels)
    assert np.array_equal(relabel_by_size(cube), relabel_by_size(cube, 1))


def test_input_is_left_alone():
    a, b = random_lattices(5, 8)
    kept = a.copy(), b.copy()
    stitch_lattices(a, b, 4)
    relabel_by_size(a, 10)
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])
    assert np.array_equal(stitch_lattices(np.asfortranarray(a), b, 4), stitch_lattices(a, b, 4))


CUBE = np.zeros((4, 4, 4), dtype=int)


@pytest.mark.parametrize(
    ("a", "b", "options", "words"),
    [
        (CUBE.astype(float), CUBE, {}, ["labels_a", "float64", "int32"]),
        (CUBE, CUBE.astype(bool), {}, ["labels_b", "bool"]),
        (CUBE[0], CUBE, {}, ["labels_a", "(4, 4)", "(n, n, n)"]),
        (CUBE[:, :, :2], CUBE, {}, ["(4, 4, 2)"]),
        (CUBE, CUBE[:2, :2, :2], {}, ["(4, 4, 4)", "(2, 2, 2)"]),
        (CUBE - 1, CUBE, {}, ["labels_a", "-1"]),
        (CUBE + 1, CUBE + 1, {}, ["both lattices", "labels_a.max()"]),
        (CUBE, CUBE, {"quadrant": 3}, ["quadrant 3", "CropPlan(4).octant_boundaries"]),
        (CUBE, CUBE, {"quadrant": 0}, ["quadrant 0", "divisor"]),
        (CUBE, CUBE, {"quadrant": [0, 2, 6]}, ["[0, 2, 6]", "[0, 4]"]),
        (CUBE, CUBE, {"quadrant": [0, 2, 2, 4]}, ["strictly ascending"]),
        (CUBE, CUBE, {"quadrant": [-1, 2]}, ["strictly ascending"]),
        (CUBE, CUBE, {"quadrant": []}, ["strictly ascending"]),
        (CUBE, CUBE, {"quadrant": [0.0, 2.0]}, ["integers"]),
        (CUBE, CUBE, {"iou_threshold": 0}, ["iou_threshold = 0", "(0, 1]"]),
        (CUBE, CUBE, {"iou_threshold": 1.5}, ["1.5", "0.5"]),
        (CUBE, CUBE, {"iou_threshold": float("nan")}, ["nan"]),
    ],
)
def test_bad_input_is_refused(a, b, options, words):
    with pytest.raises(StitchingError) as error:
        stitch_lattices(a, b, **{"quadrant": 2, **options})
    assert isinstance(error.value, ValueError)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("min_sites", [-1, 2.5, True])
def test_bad_smallest_sizes_are_refused(min_sites):
    with pytest.raises(StitchingError, match="is not a number of sites"):
        relabel_by_size(CUBE, min_sites)
