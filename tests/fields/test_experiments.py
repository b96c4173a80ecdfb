"""Laws of the experiments: Poisson's equation holds, perturbations add up, and a region is a part of the box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standins import SPACING, exact_clusters, make_card, make_field, make_network, make_predictor, same_partition

from yt_protohalos.exceptions import (
    CosmologyError,
    ExperimentError,
    LatticeError,
    ModelError,
    OutOfRangeError,
)
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.evolution import evolve_field
from yt_protohalos.fields.fourier import potential
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.fields.perturbations import (
    DeformedField,
    add_deformation,
    add_overdensity,
    add_tide,
    scale_amplitude,
)
from yt_protohalos.fields.region import Region, contains, overlaps
from yt_protohalos.models.channels import DENSITY_NAMES, FIELD_CHANNELS, ModelInput, network_input
from yt_protohalos.prediction import inference
from yt_protohalos.prediction.store import field_identity

N = 36
CROP = 32
QUICK = settings(max_examples=30, deadline=None, derandomize=True)
SCALES = {"delta": 1.0, "phi": 1.0}
TINY = make_field(12, seed=2)
strengths = st.floats(-1, 1).map(lambda x: round(x, 3))


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def small():
    return make_field(24, seed=2)


@pytest.fixture(scope="module")
def exact():
    """Clustering without noise, so that laws hold to the last site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "cluster_embedding", exact_clusters)
        yield


@pytest.fixture(scope="module")
def whole(exact, field):
    return make_predictor(side=CROP, min_sites=3).predict(field, progress=False)


def seen_by_network(field, start=(0, 0, 0), side=20):
    return network_input(ModelInput(field).crop(FIELD_CHANNELS, start, side), FIELD_CHANNELS, SCALES)


def laplacian(cube, spacing):
    """Second differences of the inner sites of a cube."""
    inner = (slice(1, -1),) * 3
    total = np.zeros(tuple(m - 2 for m in cube.shape))
    for axis in range(3):
        for step in (-1, 1):
            total += np.roll(cube.astype(np.float64), step, axis=axis)[inner] - cube[inner]
    return total / spacing**2


# --- uniform perturbations


@pytest.mark.parametrize("diagonal", [(0.1, 0.1, 0.1), (0, -0.5, 0.5), (0.3, -0.2, 0.7)])
@pytest.mark.parametrize("start", [(0, 0, 0), (-7, 30, 41)])
def test_a_uniform_perturbation_obeys_poissons_equation_in_every_crop(field, diagonal, start):
    perturbed = add_deformation(field, diagonal)
    extra = {name: perturbed.crop(name, start, 16) - field.crop(name, start, 16) for name in FIELD_CHANNELS}
    np.testing.assert_allclose(extra["delta"], sum(diagonal), atol=1e-5)
    np.testing.assert_allclose(laplacian(extra["phi"], field.spacing), sum(diagonal), atol=2e-3)


@pytest.mark.parametrize("strength", [-0.5, 0.5])
def test_equations_12_and_15_with_any_reference_point_are_what_a_network_sees(field, strength):
    side, q0 = 16, np.array([1.0, -4.0, 2.5])
    q = np.stack(np.indices((side,) * 3), axis=-1) * field.spacing - q0
    tensor = np.diag([0, -strength, strength])
    for perturbed, quadratic, added in (
        (add_overdensity(field, strength), strength / 6 * np.sum(q**2, axis=-1), strength),
        (add_tide(field, strength), 0.5 * np.einsum("...i,ij,...j", q, tensor, q), 0.0),
    ):
        cubes = {"delta": field.crop("delta", (0, 0, 0), side) + np.float32(added)}
        cubes["phi"] = (field.crop("phi", (0, 0, 0), side) + quadratic).astype(np.float32)
        expected = network_input(cubes, FIELD_CHANNELS, SCALES)
        np.testing.assert_allclose(seen_by_network(perturbed, side=side), expected, atol=2e-5)


@QUICK
@given(st.tuples(strengths, strengths, strengths), st.tuples(strengths, strengths, strengths))
def test_perturbations_add_up_in_any_order(first, second):
    field = TINY
    both = add_deformation(add_deformation(field, first), second)
    other = add_deformation(add_deformation(field, second), first)
    assert both.deformation == pytest.approx(np.add(first, second))
    assert both.deformation == pytest.approx(other.deformation)
    np.testing.assert_array_equal(both.delta, field.delta)


@QUICK
@given(strengths, st.floats(0.3, 2.0))
def test_scaling_the_amplitude_scales_a_perturbation_too(delta_eps, ratio):
    field = TINY
    sigma_8 = ratio * field.cosmology.sigma_8
    scaled = scale_amplitude(add_overdensity(field, delta_eps), sigma_8)
    other = add_overdensity(scale_amplitude(field, sigma_8), ratio * delta_eps)
    assert scaled.cosmology.sigma_8 == pytest.approx(sigma_8)
    np.testing.assert_allclose(seen_by_network(scaled, side=8), seen_by_network(other, side=8), atol=1e-4)
    np.testing.assert_allclose(scaled.delta, ratio * field.delta, rtol=1e-5)


def test_the_amplitude_there_and_back_is_the_field(field):
    back = scale_amplitude(scale_amplitude(field, 0.5802), field.cosmology.sigma_8)
    np.testing.assert_allclose(back.phi, field.phi, rtol=1e-5, atol=1e-6)
    assert type(back) is LinearField


def test_a_resampled_field_keeps_its_perturbation(field):
    resampled = add_overdensity(field, 0.3).resampled(30)
    assert isinstance(resampled, DeformedField) and resampled.deformation == pytest.approx((0.1,) * 3)


def test_stores_tell_perturbed_fields_apart(field):
    plain, dense, tidal = (field_identity(f) for f in (field, add_overdensity(field, 0.5), add_tide(field, 0.5)))
    assert plain != dense and dense != tidal
    assert field_identity(add_overdensity(field, 0.0)) == plain


def test_a_prediction_says_which_perturbation_it_is_of(small):
    region = Region((2, 2, 2), 1)
    for perturbed, expected in (
        (add_tide(small, 0.5), {"deformation": [0.0, -0.5, 0.5]}),
        (add_tide(small, 0.5, within=region), {"plateau": [2.0, 2.0, 2.0, 1.0]}),
    ):
        settings = make_predictor(side=24).predict(perturbed, progress=False).settings
        assert {name: settings.get(name) for name in expected} == expected
    part = make_predictor(side=24).predict_region(add_tide(small, 0.5), region, progress=False)
    assert part.settings["deformation"] == [0.0, -0.5, 0.5]


def test_a_uniform_perturbation_cannot_be_evolved(field):
    with pytest.raises(ExperimentError, match="planck-v2"):
        evolve_field(add_tide(field, 0.1))
    channels = (*FIELD_CHANNELS, *DENSITY_NAMES)
    architecture = {**make_network("semantic").architecture, "in_channels": len(channels)}
    evolved = make_network("semantic", channels=channels, architecture=architecture)
    predictor = make_predictor(semantic=evolved)
    for run in (
        lambda: predictor.predict(add_tide(field, 0.1), progress=False),
        lambda: predictor.predict_region(add_tide(field, 0.1), Region((4, 4, 4), 2), progress=False),
    ):
        with pytest.raises(ExperimentError, match="linear field alone"):
            run()
    assert predictor.standins.calls["semantic"] == 0


@pytest.mark.parametrize("diagonal", [(0.1, 0.2), (np.nan, 0, 0), 0.3])
def test_tensors_that_are_none_are_refused(field, diagonal):
    with pytest.raises(ExperimentError, match="three finite numbers"):
        add_deformation(field, diagonal)


@pytest.mark.parametrize("sigma_8", [0, -0.8, np.nan, np.inf])
def test_amplitudes_that_are_none_are_refused(field, sigma_8):
    with pytest.raises(CosmologyError, match="not positive and finite"):
        scale_amplitude(field, sigma_8)


def test_more_matter_means_more_protohalo_sites(small):
    predictor = make_predictor(side=24)
    shares = [predictor.probability(add_overdensity(small, eps), progress=False).mean() for eps in (-0.5, 0.0, 0.5)]
    assert shares[0] < shares[1] < shares[2]


# --- plateaus


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("diagonal", [(0.1, 0.1, 0.1), (0, -0.5, 0.5)])
@pytest.mark.parametrize("start", [(10, 12, 9), (-9, 30, 40)])
def test_a_plateau_is_periodic_and_uniform_inside(offset, diagonal, start):
    n, side = 48, 24
    field = replace(make_field(n), site_offset=offset)
    region = Region.of_sites(field.lattice, start, side, offset)
    flat = add_deformation(field, diagonal, within=region)
    delta, phi = flat.delta - field.delta, flat.phi - field.phi
    assert abs(delta.mean(dtype=np.float64)) < 1e-6
    np.testing.assert_allclose(potential(delta, field.lattice), phi - phi.mean(), atol=1e-4)
    inside = field.lattice.crop(delta, start, (side,) * 3)
    np.testing.assert_allclose(inside, sum(diagonal), atol=1e-5)
    assert np.abs(delta).max() <= 3 * np.abs(diagonal).sum()
    # the networks see the same as with a uniform perturbation
    uniform = add_deformation(field, diagonal)
    np.testing.assert_allclose(seen_by_network(flat, start, side), seen_by_network(uniform, start, side), atol=1e-3)
    assert flat.periodic_delta() is flat.delta


def test_matter_in_a_plateau_moves_along_the_axes_of_its_tensor():
    """The evolved field holds the perturbation: sites move by -T (q - q0), nearly."""
    empty = LinearField.from_density(np.zeros((48,) * 3), 48 * SPACING, PAPER_COSMOLOGY, 49.0)
    moved = evolve_field(add_tide(empty, 0.2, within=Region.of_sites(empty.lattice, (8, 8, 8), 32))).displacement
    from_middle = np.arange(16, 32) - 23.5
    for axis, trace in enumerate((0.0, -0.2, 0.2)):
        profile = np.moveaxis(moved[axis], axis, 0)[16:32, 22:26, 22:26].mean(axis=(1, 2))
        slope = profile @ from_middle / (from_middle @ from_middle)
        assert slope == pytest.approx(-trace, rel=0.15, abs=1e-6)


def test_plateaus_too_large_or_beside_another_are_refused(field):
    with pytest.raises(ExperimentError, match="two thirds of the box"):
        add_overdensity(field, 0.1, within=Region((0, 0, 0), 0.7 * field.box_size))
    first = add_overdensity(field, 0.1, within=Region((1, 1, 1), 3))
    with pytest.raises(ExperimentError, match="already"):
        add_tide(first, 0.1, within=Region((1, 1, 1), 2))
    assert add_tide(first, 0.1, within=Region((1, 1, 1), 3)).plateau == first.plateau


def test_a_region_is_predicted_only_where_the_plateau_holds_its_context(exact):
    """With all that the networks see inside it, the region is that of the uniform perturbation."""
    field = make_field(96)
    predictor = make_predictor(min_sites=1, side=24)
    region = Region.of_sites(field.lattice, (48, 48, 48), 12)
    needed = predictor.needed_context(field, region)
    wide = add_overdensity(field, 0.6, within=needed)
    found = predictor.predict_region(wide, region, progress=False)
    uniform = predictor.predict_region(add_overdensity(field, 0.6), region, progress=False)
    np.testing.assert_allclose(found.probability, uniform.probability, atol=1e-5)
    assert same_partition(found.labels, uniform.labels)
    narrow = add_overdensity(field, 0.6, within=Region(needed.center, needed.side - 2 * SPACING))
    with pytest.raises(ExperimentError, match="needed_context"):
        predictor.predict_region(narrow, region, progress=False)


# --- regions


@QUICK
@given(
    st.integers(1, 40), st.tuples(*[st.integers(-60, 60)] * 3), st.sampled_from([0.0, 0.5]), st.integers(0, 2**32 - 1)
)
def test_regions_of_sites_and_back(n, start, offset, seed):
    lattice = Lattice(40, float(np.random.default_rng(seed).uniform(1, 100)))
    region = Region.of_sites(lattice, start, n, offset)
    assert region.sites(lattice, offset) == (start, n)


@QUICK
@given(st.tuples(*[st.integers(-9, 9)] * 4), st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
def test_overlaps_and_contains_are_those_of_the_sites(corners, length, other_length, n):
    lattice = Lattice(8, 1.0)
    length, other_length = min(length, lattice.n), min(other_length, lattice.n)
    first = {tuple(s) for s in sites_of(lattice, (corners[0], corners[1], 0), length)}
    second = {tuple(s) for s in sites_of(lattice, (corners[2], corners[3], 0), other_length)}
    a, b = (corners[0], corners[1], 0), (corners[2], corners[3], 0)
    assert overlaps(lattice, a, (length,) * 3, b, (other_length,) * 3) == bool(first & second)
    assert contains(lattice, a, length, b, (other_length,) * 3) == (second <= first)


def sites_of(lattice, start, n):
    return (np.stack(np.indices((n,) * 3), axis=-1).reshape(-1, 3) + start) % lattice.n


@pytest.mark.parametrize(("center", "side"), [((1, 2), 3), ((1, 2, np.nan), 3), ((1, 2, 3), 0), ((1, 2, 3), np.inf)])
def test_regions_that_are_none_are_refused(center, side):
    with pytest.raises(LatticeError):
        Region(center, side)


def test_regions_outside_the_lattice_are_refused(field):
    for side in (0.3 * SPACING, 1.1 * field.box_size):
        with pytest.raises(LatticeError, match="sites per side"):
            make_predictor().predict_region(field, Region((0, 0, 0), side), progress=False)


@pytest.mark.parametrize(("start", "n"), [((0, 0, 0), 24), ((-7, 20, 13), 22), ((5, 5, 5), 8)])
def test_a_region_is_that_of_the_whole_box(exact, whole, field, start, n):
    """Protohaloes that do not touch the border are the box's, site by site, and so is the probability everywhere."""
    region = Region.of_sites(field.lattice, start, n)
    part = make_predictor(side=CROP, min_sites=3).predict_region(field, region, progress=False)
    shape = (n, n, n)
    np.testing.assert_array_equal(part.probability, field.lattice.crop(whole.probability, start, shape))
    np.testing.assert_array_equal(part.mask, field.lattice.crop(whole.mask, start, shape))
    labels = field.lattice.crop(whole.labels, start, shape)
    border = np.ones(shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    away = np.where(np.isin(labels, np.unique(labels[border])), 0, labels)
    complete = np.concatenate([[False], ~part.touches_border])[part.labels]
    assert same_partition(np.where(complete, part.labels, 0), away)
    assert n == 8 or len(np.unique(away)) > 2
    assert part.touches_border.any()


def test_the_whole_box_as_a_region_is_the_prediction(small):
    """Nothing is cut, so nothing may differ."""
    prediction = make_predictor(side=24).predict(small, progress=False)
    part = make_predictor(side=24).predict_region(small, Region.of_sites(small.lattice, (0, 0, 0), 24), progress=False)
    np.testing.assert_array_equal(part.labels, prediction.labels)
    np.testing.assert_array_equal(part.label_mass, prediction.label_mass)
    assert prediction.n_protohalos > 3 and not part.touches_border.any()


def test_a_small_region_takes_few_crops(field):
    predictor = make_predictor(side=24)
    predictor.predict_region(field, Region.of_sites(field.lattice, (2, 2, 2), 8), progress=False)
    # one core of lattice a and eight of lattice b
    assert predictor.standins.calls["instance"] <= 9


def test_regions_obey_the_limits_of_the_model(small):
    region = Region((2, 2, 2), 1)
    with pytest.raises(OutOfRangeError, match="sigma_8"):
        make_predictor().predict_region(scale_amplitude(small, 1.077), region, progress=False)
    make_predictor(side=24).predict_region(scale_amplitude(small, 1.077), region, progress=False, on_range="allow")
    alone = make_predictor()
    alone.card = make_card(instance=None)
    with pytest.raises(ModelError, match="separates no haloes"):
        alone.predict_region(small, region, progress=False)


def test_a_region_of_another_spacing_is_on_the_models_lattice(small):
    coarse = small.resampled(20)
    with pytest.warns(match="resampled from 20 to 24"):
        part = make_predictor(side=24).predict_region(coarse, Region((2, 2, 2), 10 * SPACING), progress=False)
    assert part.n == 10 and part.lattice.n == 24
