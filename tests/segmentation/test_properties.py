"""Laws over many drawn boxes: periodicity, tilings, partitions and catalogues that know no axis, number or seam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from labelled_boxes import periodic_bricks, predicted, random_lattices, same_objects
from standins import SPACING, same_partition

from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.models.symmetry import Symmetry, spread_symmetries
from yt_protohalos.segmentation.clustering import cluster_embedding
from yt_protohalos.segmentation.labels import relabel_by_size
from yt_protohalos.segmentation.merging import merge_groups
from yt_protohalos.segmentation.stitching import stitch
from yt_protohalos.segmentation.tiling import CropPlan

SEEDS = st.integers(0, 2**32 - 1)
SYMMETRIES = st.sampled_from(spread_symmetries(48))
SITES = st.tuples(*[st.integers(-50, 50)] * 3)
FEW, MORE = settings(max_examples=20), settings(max_examples=50)


def turned_vectors(vectors: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Vectors (..., 3) as `Symmetry.apply` turns the cube they live in."""
    return vectors[..., list(symmetry.axes)] * np.where(symmetry.flips, -1, 1)


# lattice


@MORE
@given(n=st.integers(1, 9), start=SITES, shape=st.tuples(*[st.integers(1, 25)] * 3))
def test_a_crop_of_any_size_is_the_box_repeated(n, start, shape):
    lattice, cube = Lattice(n, 1.0), np.random.default_rng(n).random((n, n, n))
    block = lattice.crop(cube, start, shape)
    assert block.shape == shape
    for site in np.random.default_rng(0).integers(0, shape, (10, 3)):
        assert block[tuple(site)] == cube[tuple((site + start) % n)]


@MORE
@given(n=st.integers(1, 9), start=SITES, whole=st.data())
def test_pasting_undoes_cropping_for_every_block_up_to_the_box(n, start, whole):
    shape = whole.draw(st.tuples(*[st.integers(1, n)] * 3))
    lattice, cube = Lattice(n, 1.0), np.random.default_rng(n).random((n, n, n))
    pasted = np.full_like(cube, np.nan)
    lattice.paste(pasted, lattice.crop(cube, start, shape), start)
    kept = np.isfinite(pasted)
    assert kept.sum() == np.prod(shape)
    np.testing.assert_array_equal(pasted[kept], cube[kept])


@MORE
@given(n=st.integers(1, 9), shift=SITES, other=SITES)
def test_shifts_add_up_and_a_box_is_none(n, shift, other):
    lattice, cube = Lattice(n, 1.0), np.random.default_rng(n).random((n, n, n))
    twice = lattice.shifted(lattice.shifted(cube, shift), other)
    np.testing.assert_array_equal(twice, lattice.shifted(cube, tuple(a + b for a, b in zip(shift, other, strict=True))))
    np.testing.assert_array_equal(lattice.shifted(cube, (n, -n, 2 * n)), cube)


@MORE
@given(n=st.integers(4, 20), seed=SEEDS, corner=SITES)
def test_a_region_of_less_than_half_a_box_is_whole_again_wherever_it_lies(n, seed, corner):
    lattice = Lattice(n, 1.0)
    region = np.random.default_rng(seed).integers(0, (n - 1) // 2, (30, 3))
    sites = (region + corner) % n
    unwrapped = lattice.unwrapped(sites)
    np.testing.assert_array_equal(unwrapped % n, sites)
    np.testing.assert_array_equal(unwrapped - unwrapped[0], region - region[0])


# tiling


@MORE
@given(n=st.integers(1, 400), core=st.integers(1, 80), slack=st.integers(0, 20), margin=st.integers(0, 8))
def test_every_octant_lies_in_one_core_of_either_lattice(n, core, slack, margin):
    plan = CropPlan(n, core + slack + 2 * margin, margin, core)
    for bounds in (plan.boundaries, plan.offset_boundaries):
        # the core that holds each site of an axis; lattice b's last wraps around
        owner = np.searchsorted(bounds, (np.arange(n) - bounds[0]) % n + bounds[0], side="right")
        for low, high in zip(plan.octant_boundaries[:-1], plan.octant_boundaries[1:], strict=True):
            assert len(set(owner[low:high])) == 1


# clustering


def exact_points(seed: int, n_points: int) -> np.ndarray:
    """Clumps whose coordinates have 12 binary digits, so that turning and moving them is exact."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (4, 3))
    return np.round((centres[rng.integers(0, 4, n_points)] + rng.normal(0, 0.5, (n_points, 3))) * 2**12) / 2**12


@FEW
@given(seed=SEEDS, n_points=st.integers(1, 250), symmetry=SYMMETRIES, step=st.tuples(*[st.integers(-64, 64)] * 3))
def test_groups_know_neither_axes_nor_origin_of_pseudo_space(seed, n_points, symmetry, step):
    points = exact_points(seed, n_points)
    labels = cluster_embedding(points, persistence=1.5)
    moved = turned_vectors(points, symmetry) + np.array(step) / 16
    np.testing.assert_array_equal(cluster_embedding(moved, persistence=1.5), labels)
    assert same_partition(merge_groups(moved, labels, 0.7) + 1, merge_groups(points, labels, 0.7) + 1)


@FEW
@given(seed=SEEDS, n_points=st.integers(1, 250))
def test_joined_groups_know_neither_the_order_of_points_nor_their_numbers(seed, n_points):
    points, rng = exact_points(seed, n_points), np.random.default_rng(seed)
    labels = cluster_embedding(points, persistence=1.05)
    joined = merge_groups(points, labels, 0.7) + 1
    order = rng.permutation(n_points)
    numbers = rng.permutation(labels.max() + 1)
    assert same_partition(merge_groups(points[order], labels[order], 0.7) + 1, joined[order])
    assert same_partition(merge_groups(points, numbers[labels], 0.7) + 1, joined)


# stitching


@pytest.mark.slow
@FEW
@given(seed=SEEDS, symmetry=SYMMETRIES, sides=st.sampled_from([(12, 5), (11, 4), (9, 9), (10, 3)]))
def test_objects_know_no_axis_of_the_box(seed, symmetry, sides):
    n, core = sides
    boundaries = CropPlan(n, core, 0, core).octant_boundaries
    a, b = random_lattices(seed, n)
    labels = stitch(a, b, boundaries).labels
    # an axis is cut alike before and after only where it is not reflected, or its cuts are
    mirrored = np.unique(n - boundaries)
    reflected = any(symmetry.flips)
    assume(not reflected or np.array_equal(mirrored, boundaries) or all(symmetry.flips))
    turned = stitch(symmetry.apply(a), symmetry.apply(b), mirrored if reflected else boundaries).labels
    assert same_objects(turned, symmetry.apply(labels))


@FEW
@given(seed=SEEDS, shift=SITES, which=st.sampled_from("ab"))
def test_objects_know_neither_the_numbers_of_one_lattice_nor_where_the_box_begins(seed, shift, which):
    n, lattice, boundaries = 12, Lattice(12, 1.0), np.array([0, 3, 6, 9, 12])
    a, b = random_lattices(seed, n)
    labels = stitch(a, b, boundaries).labels
    sizes = np.bincount(labels.ravel())
    # a site that two objects of one size dispute goes to the lower number, by definition
    assume(len(set(sizes)) == len(sizes))
    rng, top = np.random.default_rng(seed), int(max(a.max(), b.max()))
    number = np.concatenate([[0], top + 1 + rng.permutation(top)])
    relabelled = stitch(number[a], b, boundaries) if which == "a" else stitch(a, number[b], boundaries)
    assert same_objects(relabelled.labels, labels)
    step = tuple(3 * s for s in shift)
    shifted = stitch(lattice.shifted(a, step), lattice.shifted(b, step), boundaries).labels
    assert same_objects(shifted, lattice.shifted(labels, step))


# catalogue


def box_of(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels by size and the probability of every site."""
    labels = relabel_by_size(periodic_bricks(n, seed))
    return labels, np.random.default_rng(seed).random((n, n, n), dtype=np.float32)


@FEW
@given(seed=SEEDS, n=st.integers(2, 16), offset=st.sampled_from([0.0, 0.5]))
def test_catalogue_and_cubes_tell_the_same_story_to_the_site(seed, n, offset):
    labels, probability = box_of(seed, n)
    prediction = predicted(labels, site_offset=offset, probability=probability)
    catalog = protohalo_catalog(prediction)
    assert len(catalog) == labels.max() == prediction.n_protohalos
    assert catalog.n_sites.sum() == len(catalog.members) == np.count_nonzero(labels)
    np.testing.assert_array_equal(catalog.mass, catalog.n_sites * prediction.site_mass_msun)
    np.testing.assert_array_equal(catalog.mass, prediction.label_mass[1:])
    np.testing.assert_array_equal(catalog.identifier, np.arange(labels.max()))
    rebuilt = np.zeros(labels.size, dtype=int)
    for identifier in catalog.identifier:
        members = catalog.members_of(identifier)
        assert not rebuilt[members].any()
        rebuilt[members] = identifier + 1
        assert catalog.confidence[identifier] == np.float64(probability.ravel()[members].mean(dtype=np.float64))
    np.testing.assert_array_equal(rebuilt.reshape(labels.shape), labels)
    # each centre is the mean of its region made whole, for regions that have one
    lattice = prediction.lattice
    for identifier in catalog.identifier:
        whole = lattice.unwrapped(lattice.sites(catalog.members_of(identifier)))
        if np.ptp(whole, axis=0).max() < n / 2:
            apart = catalog.lagrangian_center[identifier] - (whole.mean(axis=0) + offset) * SPACING
            np.testing.assert_allclose(lattice.minimum_image(apart), 0, atol=1e-9)


SCALARS = ("mass", "n_sites", "n_pieces", "radius_200m")
CLOSE = ("confidence", "inertia", "extent", "semi_axes")
FIELD = ("velocity", "tide", "tidal_eigenvalues", "spin")


@settings(max_examples=8)
@given(seed=SEEDS, shift=SITES)
def test_a_periodic_shift_moves_the_centres_and_nothing_else(seed, shift):
    n = 12
    lattice = Lattice(n, n * SPACING)
    labels, probability = box_of(seed, n)
    delta = np.random.default_rng(seed + 1).standard_normal((n, n, n))
    here = protohalo_catalog(predicted(labels, probability=probability), linear(delta))
    moved = predicted(lattice.shifted(labels, shift), probability=lattice.shifted(probability, shift))
    there = protohalo_catalog(moved, linear(lattice.shifted(delta, shift)))
    for name in SCALARS:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    # a region as wide as the box has no centre, and what is measured about it no meaning
    whole = np.all(here.extent < lattice.box_size / 2, axis=1)
    for name in (*CLOSE, *FIELD):
        scale = np.abs(getattr(here, name)).max(initial=0)
        np.testing.assert_allclose(getattr(there, name)[whole], getattr(here, name)[whole], atol=1e-4 * scale)
    for name in ("lagrangian_center", "position"):
        apart = getattr(there, name) - getattr(here, name) - np.array(shift) * SPACING
        np.testing.assert_allclose(lattice.minimum_image(apart)[whole], 0, atol=1e-4)
    assert np.all((there.position >= 0) & (there.position < lattice.box_size))


def linear(delta: np.ndarray) -> LinearField:
    return LinearField.from_density(delta, len(delta) * SPACING, PAPER_COSMOLOGY, 49.0)


@FEW
@given(seed=SEEDS, symmetry=SYMMETRIES)
def test_turning_the_box_turns_the_catalogue_and_keeps_its_masses(seed, symmetry):
    n = 10
    labels, probability = box_of(seed, n)
    prediction = predicted(labels, site_offset=0.5, probability=probability)
    here = protohalo_catalog(prediction)
    turned = replace(
        prediction, **{k: symmetry.apply(getattr(prediction, k)) for k in ("labels", "mask", "probability")}
    )
    there = protohalo_catalog(turned)
    for name in SCALARS:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    np.testing.assert_allclose(there.confidence, here.confidence)
    whole = np.all(here.extent < prediction.lattice.box_size / 2, axis=1)
    # cell centres mirror about the middle of the box
    middle = prediction.lattice.box_size / 2
    expected = turned_vectors(here.lagrangian_center - middle, symmetry) + middle
    apart = prediction.lattice.minimum_image(there.lagrangian_center - expected)
    np.testing.assert_allclose(apart[whole], 0, atol=1e-9)
    np.testing.assert_allclose(there.semi_axes[whole], here.semi_axes[whole], atol=1e-9)
