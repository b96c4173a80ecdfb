"""Laws of the figures of experiments: slices show the masses, and the bias is drawn with its fits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from experiment_figures import plot_bias, plot_responses
from standins import SPACING, make_field, make_predictor

from yt_protohalos.analysis.bias import LagrangianBias
from yt_protohalos.analysis.matching import compare
from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.perturbations import add_overdensity
from yt_protohalos.fields.region import Region


@pytest.fixture(scope="module")
def small():
    return make_field(24, seed=2)


def test_the_figure_shows_the_masses_of_a_slice_of_each_prediction(small):
    region = Region.of_sites(small.lattice, (3, 5, 7), 10)
    parts = {eps: make_predictor(side=24).predict_region(add_overdensity(small, eps), region, progress=False)
             for eps in (-0.5, 0.5)}  # fmt: skip
    for axis in "xyz":
        figure = plot_responses({str(eps): part for eps, part in parts.items()}, axis, 4)
        figure.savefig(io.BytesIO(), format="png", dpi=40)
        for ax, part in zip(figure.axes, parts.values(), strict=False):
            image = np.take(part.mass, 4, axis="xyz".index(axis)).T
            np.testing.assert_array_equal(ax.images[0].get_array().filled(0), image)
    left = (5 - 0.5) * SPACING
    assert figure.axes[0].images[0].get_extent()[2] == pytest.approx(left)


def test_figures_of_other_sites_or_planes_are_refused(small):
    near, far = (
        make_predictor(side=24).predict_region(small, Region.of_sites(small.lattice, (i, i, i), 6), progress=False)
        for i in (3, 9)
    )
    with pytest.raises(ScoringError, match="same sites"):
        plot_responses({"near": near, "far": far})
    with pytest.raises(ScoringError, match="one region"):
        compare(near, far)
    with pytest.raises(ScoringError, match="at least one"):
        plot_responses({})
    for axis, index in (("w", None), ("x", 6)):
        with pytest.raises(LatticeError):
            plot_responses({"near": near}, axis, index)


def test_the_bias_is_drawn_and_the_legend_says_which_haloes_the_fits_are_of():
    value = np.array([-0.5, 0.1, 2.0, np.nan])
    number = np.array([90, 40, 8, 0])
    edges, mass = np.array([11.0, 12.0, 13.0, 14.0, 15.0]), np.array([11.4, 12.4, 13.3, np.nan])
    one = LagrangianBias(edges, mass, value, np.full(4, 0.2), number, 6.0, 0.3)
    figure = plot_bias({"tracers": one, "again": one}, PAPER_COSMOLOGY)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    drawn_lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(drawn_lines[0].get_ydata(), value[:3])
    words = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any("FoF" in word for word in words) and any("SO" in word for word in words)
    assert plot_bias({}).axes
