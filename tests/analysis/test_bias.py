"""Laws of the bias: tracers of known bias have it within the errors, across faces, in every numbering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from colossus.cosmology import cosmology as colossus
from colossus.lss import bias as colossus_bias
from standins import make_field
from yt_fakes import FakePredictor

from yt_protohalos.analysis.bias import (
    BIAS_FITS,
    bias_fit,
    lagrangian_bias,
    lagrangian_centers,
    response_bias,
    smoothed_overdensity,
    tracer_bias,
)
from yt_protohalos.exceptions import CosmologyError, ScoringError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField

N, BOX = 64, 200.0
TRUE = {11.5: 0.5, 12.5: -0.5, 13.5: 2.0}
EDGES = (11.0, 12.0, 13.0, 14.0, 15.0)


@pytest.fixture(scope="module")
def field():
    """A box of 200 Mpc/h whose smoothed overdensity is small, so that 1 + b delta is a density for every b."""
    made = make_field(N, seed=11, spacing=BOX / N)
    rms = smoothed_overdensity(made.delta, made.lattice, 6.0).std()
    return LinearField.from_density(made.delta * 0.1 / rms, BOX, PAPER_COSMOLOGY, 49.0)


def drawn(field, bias, expected, rng):
    """Sites of tracers whose density is 1 + bias * smoothed delta, Poisson, about `expected` of them."""
    rate = 1 + bias * smoothed_overdensity(field.delta, field.lattice, 6.0).astype(np.float64)
    assert rate.min() >= 0
    counts = rng.poisson(rate * expected / rate.size)
    return np.repeat(np.argwhere(counts > -1), counts.ravel(), axis=0)


@pytest.fixture(scope="module")
def measured(field):
    """Twenty measurements of three samples of known bias."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(20):
        samples = {mass: drawn(field, bias, 4000, rng) for mass, bias in TRUE.items()}
        sites = np.concatenate(list(samples.values()))
        masses = np.concatenate([np.full(len(places), mass) for mass, places in samples.items()])
        found.append(tracer_bias(sites, masses, field, EDGES))
    return found


def test_tracers_of_known_bias_have_it(measured):
    values, errors = (np.array([getattr(one, name)[:3] for one in measured]) for name in ("value", "error"))
    truth = np.array(list(TRUE.values()))
    of_mean = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - truth) < 4 * of_mean).all()
    # one number is within two of its errors nearly always
    assert np.mean(np.abs(values - truth) < 2 * errors) > 0.85


def test_jackknife_errors_are_the_scatter_of_repeated_measurements(measured):
    values, errors = (np.array([getattr(one, name)[:3] for one in measured]) for name in ("value", "error"))
    ratio = np.median(errors, axis=0) / values.std(axis=0, ddof=1)
    assert ((ratio > 0.6) & (ratio < 1.8)).all()


def test_bins_know_their_masses_and_empty_ones_have_no_value(measured):
    one = measured[0]
    np.testing.assert_allclose(one.log10_mass[:3], list(TRUE))
    assert one.number[3] == 0 and np.isnan([one.value[3], one.error[3], one.log10_mass[3]]).all()
    assert one.variance == pytest.approx(0.01, rel=1e-3)


def test_all_sites_are_unbiased(field):
    every = np.argwhere(np.ones(field.lattice.shape))
    found = tracer_bias(every, np.full(len(every), 11.5), field, EDGES)
    assert found.value[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("blocks", [2, 3, 5])
def test_a_jackknife_of_one_per_block_is_that_of_the_formula(field, blocks):
    """Leaving a block out by hand gives the same numbers."""
    rng = np.random.default_rng(2)
    sites = rng.integers(0, N, (300, 3))
    density = smoothed_overdensity(field.delta, field.lattice, 6.0).astype(float)
    cube_block = np.arange(N) * blocks // N
    flat = (cube_block[:, None, None] * blocks + cube_block[None, :, None]) * blocks + cube_block[None, None, :]
    own, values = flat[tuple(sites.T)], density[tuple(sites.T)]
    rest = [(values[own != b], density[flat != b]) for b in range(blocks**3)]
    left = [(there.mean() - everywhere.mean()) / everywhere.var() for there, everywhere in rest]
    found = tracer_bias(sites, np.full(300, 11.5), field, EDGES, blocks=blocks)
    expected = np.sqrt((blocks**3 - 1) * np.mean((left - np.mean(left)) ** 2))
    assert found.error[0] == pytest.approx(expected, rel=1e-4)
    assert found.value[0] == pytest.approx(values.mean() / (density**2).mean(), rel=1e-4)


def test_centres_are_found_across_the_faces_of_the_box():
    lattice = Lattice(12, 6.0)
    labels = np.zeros(lattice.shape, dtype=int)
    labels[2:5, 6:9, 3:6] = 1
    labels[10, 10, 10] = 3
    for shift in ((0, 0, 0), (8, 5, 10), (-3, 4, 7)):
        centers = lagrangian_centers(lattice.shifted(labels, shift), lattice)
        away = (centers[[0, 2]] - np.array([[3, 7, 4], [10, 10, 10]]) - shift) * lattice.spacing
        np.testing.assert_allclose(lattice.minimum_image(away), 0, atol=1e-9)
        assert np.isnan(centers[1]).all() and (centers[[0, 2]] < 12).all() and (centers[[0, 2]] >= 0).all()


def test_a_prediction_and_its_labels_in_any_numbering_have_the_same_bias():
    field = make_field(24, spacing=2.0)
    prediction = FakePredictor(level=0.4).predict(field)
    edges = (11.0, 14.0, 17.0)
    one = lagrangian_bias(prediction, field, edges, smoothing=4.0)
    swapped = np.where(prediction.labels > 0, 100 - prediction.labels, 0)
    other = lagrangian_bias(swapped, field, edges, smoothing=4.0)
    assert one.number.sum() == prediction.n_protohalos > 3
    np.testing.assert_allclose(one.value, other.value)
    # these haloes are peaks of the density
    assert np.nanmin(one.value) > 0


def test_no_haloes_are_an_answer_too():
    field = make_field(24)
    found = lagrangian_bias(np.zeros(field.lattice.shape, dtype=int), field)
    assert found.number.sum() == 0 and np.isnan(found.value).all() and np.isnan(found.error).all()


def test_fits_are_those_of_colossus():
    mass = np.linspace(11, 15, 9)
    c = PAPER_COSMOLOGY
    before = colossus.current_cosmo
    try:
        colossus.setCosmology(
            "paper", flat=True, H0=100 * c.h, Om0=c.omega_m, Ob0=c.omega_b, sigma8=c.sigma_8, ns=c.n_s,
            relspecies=False, persistence="",
        )  # fmt: skip
        for fit, mdef in (("tinker10", "200m"), ("bhattacharya11", "fof")):
            expected = colossus_bias.haloBias(10**mass, 0.0, mdef, model=fit)
            np.testing.assert_allclose(bias_fit(c, mass, fit) + 1, expected, rtol=5e-3)
    finally:
        colossus.current_cosmo = before
    with pytest.raises(CosmologyError, match=", ".join(BIAS_FITS)):
        bias_fit(c, mass, "lazeyras16")


def test_the_response_to_density_is_the_bias_of_counts():
    field = make_field(32)
    sparse, dense = FakePredictor(level=1.2).predict(field), FakePredictor(level=0.8).predict(field)
    edges = (8.0, 16.0)
    value, error = response_bias(sparse, dense, 0.2, edges)
    expected = np.log(dense.n_protohalos / sparse.n_protohalos) / 0.4
    assert value[0] == pytest.approx(expected) and error[0] > 0
    assert np.isnan(response_bias(sparse, dense, 0.2, (20.0, 21.0))[0]).all()
    for wrong in (0.0, np.nan):
        with pytest.raises(ScoringError, match="not positive"):
            response_bias(sparse, dense, wrong)
    with pytest.raises(ScoringError, match="one box"):
        response_bias(sparse, replace(dense, lattice=Lattice(32, 7.0)), 0.2)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"edges": (12, 11)}, "ascend"), ({"smoothing": -1.0}, "negative"), ({"blocks": 0}, "blocks per side")],
)
def test_arguments_out_of_range_are_refused(field, change, words):
    with pytest.raises(ScoringError, match=words):
        tracer_bias(np.zeros((1, 3)), np.zeros(1), field, **change)


def test_labels_of_another_lattice_are_refused(field):
    with pytest.raises(ScoringError, match="lattice of the field"):
        lagrangian_bias(np.zeros((4, 4, 4), dtype=int), field)
