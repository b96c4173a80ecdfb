"""Laws of tiling: cores cover the box exactly, twice, and tiled evaluation equals whole evaluation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt_protohalos.exceptions import TilingError
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.segmentation.tiling import CropPlan

QUICK = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def plans(draw):
    margin = draw(st.integers(0, 10))
    output = draw(st.integers(1, 140))
    core = draw(st.integers(1, output))
    return CropPlan(draw(st.integers(1, 300)), output + 2 * margin, margin, core)


def small_plans():
    """Plans whose boxes are quick to fill, many of them smaller than the crop."""
    return st.builds(
        lambda n, margin, core, slack: CropPlan(n, core + slack + 2 * margin, margin, core),
        st.integers(1, 24),
        st.integers(0, 3),
        st.integers(2, 9),
        st.integers(0, 7),
    )


@QUICK
@given(plans())
def test_cores_of_each_lattice_tile_an_axis_with_nearly_equal_sides(plan):
    k = -(-plan.n // plan.core)
    for bounds in (plan.boundaries, plan.offset_boundaries):
        sides = np.diff(bounds)
        assert bounds.dtype == np.int64 and len(bounds) == k + 1
        assert bounds[-1] - bounds[0] == plan.n
        assert sides.min() >= 1 and sides.max() <= plan.core
        assert sides.max() - sides.min() <= 1
        assert 0 <= bounds[0] < plan.n
    assert plan.boundaries[0] == 0


@QUICK
@given(plans())
def test_lattice_b_cuts_at_the_middle_of_a_s_cores(plan):
    middles = (plan.boundaries[1:] + plan.boundaries[:-1]) / 2
    assert np.abs(plan.offset_boundaries[:-1] - middles).max() <= 0.5
    assert (plan.offset_boundaries[:-1] >= plan.boundaries[:-1]).all()
    assert (plan.offset_boundaries[:-1] < plan.boundaries[1:]).all()


@QUICK
@given(plans())
def test_octant_boundaries_are_the_union_of_both_lattices(plan):
    octants = plan.octant_boundaries
    assert octants[0] == 0 and octants[-1] == plan.n
    assert (np.diff(octants) > 0).all()
    expected = set(plan.boundaries.tolist()) | {int(x) % plan.n for x in plan.offset_boundaries}
    assert set(octants.tolist()) == expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_plans(), st.sampled_from("ab"))
def test_cores_cover_each_site_once(plan, which):
    lattice = Lattice(plan.n, 1.0)
    times = np.zeros(lattice.shape, dtype=int)
    for crop in plan.crops(which):
        times += np.bincount(_core_sites(lattice, crop), minlength=lattice.n_sites).reshape(lattice.shape)
    assert (times == 1).all()


def _core_sites(lattice, crop):
    flat = np.arange(lattice.n_sites).reshape(lattice.shape)
    return lattice.crop(flat, crop.core_start, crop.core_shape).ravel()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_plans(), st.sampled_from("ab"), st.integers(0, 2**32 - 1))
def test_crops_reassemble_exactly(plan, which, seed):
    lattice = Lattice(plan.n, 1.0)
    cube = np.random.default_rng(seed).integers(0, 1000, lattice.shape)
    pasted = np.full(lattice.shape, -1)
    for crop in plan.crops(which):
        output = lattice.crop(cube, crop.input_start, crop.input_shape)
        inner = slice(plan.context, plan.crop - plan.context)
        lattice.paste(pasted, output[inner, inner, inner][crop.output_core], crop.core_start)
    assert np.array_equal(pasted, cube)


def stencil(block, reach):
    """Stand-in network: mixes each site with those `reach` away and drops `reach` sites on each face."""
    inner = slice(reach, block.shape[0] - reach)
    result = 7 * block[inner, inner, inner]
    for axis in range(3):
        for step, weight in ((-reach, 2), (reach, 3)):
            where = [inner] * 3
            where[axis] = slice(reach + step, block.shape[0] - reach + step)
            result = result + weight * (axis + 1) * block[tuple(where)] ** 2
    return result


@settings(max_examples=40, deadline=None, derandomize=True)
@given(small_plans(), st.sampled_from("ab"), st.integers(0, 2**32 - 1))
def test_tiled_equals_whole_for_a_stencil_network(plan, which, seed):
    lattice = Lattice(plan.n, 1.0)
    cube = np.random.default_rng(seed).integers(-50, 50, lattice.shape)
    padded = lattice.crop(cube, (-plan.context,) * 3, (plan.n + 2 * plan.context,) * 3)
    whole = stencil(padded, plan.context)
    tiled = np.empty_like(whole)
    for crop in plan.crops(which):
        output = stencil(lattice.crop(cube, crop.input_start, crop.input_shape), plan.context)
        assert output.shape == crop.output_shape
        lattice.paste(tiled, output[crop.output_core], crop.core_start)
    assert np.array_equal(tiled, whole)


@QUICK
@given(small_plans())
def test_every_core_lies_within_the_output_at_the_centre_of_its_crop(plan):
    for which in ("a", "b"):
        for crop in plan.crops(which):
            for core, shape, place in zip(crop.core_start, crop.core_shape, crop.output_core, strict=True):
                assert 0 <= core < plan.n and 1 <= shape <= plan.core
                assert place.start >= 0 and place.stop <= plan.output
                assert place.stop - place.start == shape
                assert abs(place.start - (plan.output - place.stop)) <= 1
            assert np.array_equal(np.add(crop.output_start, [s.start for s in crop.output_core]), crop.core_start)


@pytest.mark.parametrize("n", [1, 2, 33, 63, 64])
def test_a_box_of_one_core_has_one_crop_a_lattice(n):
    plan = CropPlan(n)
    (a,), (b,) = plan.crops("a"), plan.crops("b")
    assert a.core_start == (0, 0, 0) and a.core_shape == b.core_shape == (n, n, n)
    assert b.core_start == (n // 2,) * 3


def test_the_paper_s_tiling():
    plan = CropPlan(256)
    assert plan.boundaries.tolist() == [0, 64, 128, 192, 256]
    assert plan.octant_boundaries.tolist() == list(range(0, 257, 32))
    crops = plan.crops("b")
    assert len(crops) == 64
    assert crops[1].core_start == (32, 32, 96)
    assert crops[1].input_start == (-8, -8, 56)
    assert crops[1].output_core == (slice(32, 96),) * 3


def test_keys_are_unique_and_order_is_reproducible():
    plan = CropPlan(100, 40, 4, 16)
    crops = plan.crops("a") + plan.crops("b")
    assert len({crop.key for crop in crops}) == len(crops) == 2 * 7**3
    assert crops[12].key == "a_00012" and crops[343].key == "b_00000"
    assert crops == plan.crops("a") + plan.crops("b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, ["n = 0", "at least 1"]),
        ({"n": 2.5}, ["n = 2.5", "integer"]),
        ({"n": True}, ["n = True", "integer"]),
        ({"n": 64, "context": -1}, ["context = -1", "at least 0"]),
        ({"n": 64, "core": 0}, ["core = 0", "at least 1"]),
        ({"n": 64, "core": 129}, ["core 129", "128", "crop of at least 145"]),
        ({"n": 64, "crop": 16, "core": 1}, ["context of 8", "crop of 16", "at most 7"]),
    ],
)
def test_plans_that_cannot_tile_are_refused(arguments, words):
    with pytest.raises(TilingError) as error:
        CropPlan(**arguments)
    assert isinstance(error.value, ValueError)
    assert all(word in str(error.value) for word in words)


def test_unknown_lattices_are_refused():
    with pytest.raises(TilingError, match="'c' does not exist; use 'a' or 'b'"):
        CropPlan(64).crops("c")
