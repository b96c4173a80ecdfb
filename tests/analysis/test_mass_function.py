"""Laws of counts by mass and of the fits: every halo is counted once, and the fits are those of colossus."""

from __future__ import annotations

import numpy as np
import pytest
from colossus.cosmology import cosmology as colossus
from colossus.lss import mass_function as colossus_fits
from yt_fakes import BOX, FakePredictor, N

import yt_protohalos as ph
from yt_protohalos.analysis.mass_function import (
    FOF_FITS,
    HaloCounts,
    fof_mass_function,
    linear_rms,
    mean_fit,
    protohalo_mass_function,
)
from yt_protohalos.exceptions import CosmologyError, ScoringError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice

LATTICE = Lattice(16, 3.125)
SITE_MASS = 6e8
EDGES = (9.0, 10.0, 11.0, 12.0)


@pytest.fixture(scope="module")
def labels():
    """Four blocks of six sites per side."""
    cube = np.zeros(LATTICE.shape, dtype=np.int32)
    for label, (x, y, z) in enumerate(((0, 0, 0), (6, 0, 0), (0, 8, 0), (8, 8, 8)), 1):
        cube[x : x + 6, y : y + 6, z : z + 6] = label
    return cube


def test_counts_are_those_of_the_labels(labels):
    volume = LATTICE.box_size**3
    counts = HaloCounts.of_labels(labels, SITE_MASS, volume, EDGES)
    mass = np.log10(np.bincount(labels.ravel())[1:] * SITE_MASS)
    assert np.array_equal(counts.number, np.histogram(mass, EDGES)[0])
    assert (counts.density * np.diff(EDGES) * volume).sum() == pytest.approx(4)
    # a label without sites is no halo
    gap = HaloCounts.of_labels(np.where(labels == 2, 0, labels), SITE_MASS, volume, EDGES)
    assert gap.number.sum() == 3


def test_pooled_counts_add_up(labels):
    one = HaloCounts.of_labels(labels, SITE_MASS, 10.0, EDGES)
    two = HaloCounts.of_labels(np.where(labels == 2, 1, labels), SITE_MASS, 30.0, EDGES)
    both = HaloCounts.pooled([one, two])
    assert np.array_equal(both.number, one.number + two.number)
    assert both.volume == 40.0
    assert np.allclose(both.density, (10 * one.density + 30 * two.density) / 40)


@pytest.mark.parametrize(
    ("edges", "number", "volume"),
    [((9, 9), (1,), 1.0), ((9, 10), (1, 2), 1.0), ((9, 10), (-1,), 1.0), ((9, 10), (1,), 0.0), ((9,), (), 1.0)],
)
def test_counts_that_mean_nothing_are_refused(edges, number, volume):
    with pytest.raises(ScoringError, match="give"):
        HaloCounts(edges, number, volume)


def test_pooling_needs_boxes_with_the_same_bins():
    with pytest.raises(ScoringError, match="at least one"):
        HaloCounts.pooled([])
    with pytest.raises(ScoringError, match="bins differ"):
        HaloCounts.pooled([HaloCounts((9, 10), (1,), 1.0), HaloCounts((9, 11), (1,), 1.0)])


def test_the_mean_of_a_fit_is_its_integral_and_lies_on_the_curve():
    edges = np.array([11.0, 11.5, 12.5, 14.0])
    mean, place = mean_fit(PAPER_COSMOLOGY, edges, "watson13")
    for low, high, value, at in zip(edges, edges[1:], mean, place, strict=False):
        fine = np.linspace(low, high, 801)
        integral = np.trapezoid(fof_mass_function(PAPER_COSMOLOGY, fine, "watson13"), fine) / (high - low)
        assert value == pytest.approx(integral, rel=2e-3)
        assert low < at < high
        assert fof_mass_function(PAPER_COSMOLOGY, at, "watson13")[0] == pytest.approx(value, rel=5e-3)


def test_the_mass_function_of_a_prediction_counts_every_protohalo_once():
    prediction = FakePredictor().predict(ph.generate_initial_conditions(N, BOX, seed=11), progress=False)
    for bins in (2, 5, 9):
        mass, density, error = protohalo_mass_function(prediction, bins)
        number = density * BOX**3 / bins
        np.testing.assert_allclose(number.sum(), prediction.n_protohalos)
        np.testing.assert_allclose((error * BOX**3 / bins) ** 2, number, rtol=1e-9)
        np.testing.assert_allclose(np.diff(np.log10(mass)), 1 / bins)


@pytest.mark.parametrize("fit", FOF_FITS)
def test_fits_are_those_of_colossus(fit):
    cosmology = PAPER_COSMOLOGY
    log10_mass = np.array([11.0, 12.5, 14.0, 15.0])
    before = colossus.current_cosmo
    found = fof_mass_function(cosmology, log10_mass, fit)
    assert colossus.current_cosmo is before
    try:
        colossus.setCurrent(cosmology._colossus)
        each = colossus_fits.massFunction(10**log10_mass, 0.0, q_out="dndlnM", mdef="fof", model=fit)
    finally:
        colossus.current_cosmo = before
    np.testing.assert_allclose(found, each * np.log(10), rtol=0.01)


def test_the_rms_is_sigma_8_at_8_and_falls_with_radius():
    rms = linear_rms(PAPER_COSMOLOGY, [1.0, 8.0, 30.0])
    assert rms[1] == pytest.approx(PAPER_COSMOLOGY.sigma_8)
    assert np.all(np.diff(rms) < 0)


def test_an_unknown_fit_is_refused():
    with pytest.raises(CosmologyError, match="watson13"):
        fof_mass_function(PAPER_COSMOLOGY, 12.0, "nonesuch")
