"""Laws of the validation figures: they show the numbers of the counts, and no global state is involved."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from labelled_boxes import LATTICE, SITE_MASS, toy_pair
from matplotlib.figure import Figure

from yt_protohalos.analysis import metrics
from yt_protohalos.analysis import score_figures as figures
from yt_protohalos.analysis.block_counts import count_box
from yt_protohalos.analysis.mass_function import fof_mass_function
from yt_protohalos.exceptions import LatticeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def cubes():
    labels, true = toy_pair()
    probability = np.clip(0.6 * (labels > 0) + 0.4 * np.random.default_rng(1).random(labels.shape), 0, 1)
    return labels, true, probability


@pytest.fixture(scope="module")
def counts(cubes):
    labels, true, probability = cubes
    return count_box(labels, true, LATTICE, SITE_MASS, probability=probability)


@pytest.fixture(scope="module")
def empty():
    nothing = np.zeros(LATTICE.shape, dtype=np.int32)
    return count_box(nothing, nothing, LATTICE, SITE_MASS, probability=nothing * 0.0)


def drawn(figure) -> Figure:
    """The figure after it has been rendered."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_the_confusion_map_shows_the_class_of_every_site(cubes):
    labels, true, probability = cubes
    for axis, index in (("x", 3), ("y", 0), ("z", LATTICE.n - 1)):
        figure = drawn(figures.plot_confusion(true > 0, probability, labels > 0, LATTICE, axis, index))
        shown = figure.axes[2].images[0].get_array().T
        number = "xyz".index(axis)
        inside, member = (np.take(cube > 0, index, axis=number) for cube in (labels, true))
        for value, (name, _) in enumerate(figures.OUTCOMES):
            right = {"true": inside == member, "fals": inside != member}[name[:4]]
            assert np.array_equal(shown == value, right & (inside == ("positive" in name)))


def test_unknown_planes_are_refused(cubes):
    labels, true, probability = cubes
    for axis, index in (("w", 0), ("x", LATTICE.n), ("xy", 0)):
        with pytest.raises(LatticeError, match=r"use (x, y or z|0 to)"):
            figures.plot_confusion(true > 0, probability, labels > 0, LATTICE, axis, index)


def test_rates_are_drawn_with_the_values_of_the_counts(counts):
    figure = drawn(figures.plot_rate_by_mass(counts, counts))
    value = metrics.true_positive_rate(counts.total())[0]
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(value)]
    assert len(lines) >= 2
    assert np.array_equal(lines[0].get_ydata(), value, equal_nan=True)


def test_violins_have_a_median_for_every_bin_with_sites(counts):
    total = counts.total()
    bins = int(np.count_nonzero(total.offsets[0, : len(figures.CENTRES)].sum(axis=-1)))
    one, two = (drawn(figures.plot_voxel_masses(counts, pair)) for pair in (None, counts))
    assert len(one.axes[1].collections) == bins
    assert len(two.axes[1].collections) == 2 * bins
    medians = metrics.voxel_offset(total)[0][: len(figures.CENTRES)]
    points = [line for line in one.axes[1].lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 1]
    np.testing.assert_allclose([p.get_ydata()[0] for p in points], (figures.CENTRES + medians)[np.isfinite(medians)])


def test_mass_functions_count_haloes_per_volume_and_decade(counts):
    figure = drawn(figures.plot_mass_functions(counts, PAPER_COSMOLOGY))
    main = figure.axes[0]
    number = metrics.window_sums(counts.total().simulated, figures.BINS)[0]
    simulated = main.lines[0].get_ydata()
    np.testing.assert_allclose(simulated, number[number > 0] / (0.2 * LATTICE.box_size**3))
    fit = next(line for line in main.lines if "fit" in str(line.get_label()))
    np.testing.assert_allclose(fit.get_ydata(), fof_mass_function(PAPER_COSMOLOGY, fit.get_xdata()))


def test_reliability_and_threshold_figures_show_the_curves(counts):
    figure = drawn(figures.plot_reliability(counts))
    mean, observed = metrics.reliability_curve(counts.total())
    points = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 10)
    np.testing.assert_array_equal(points.get_xdata(), mean[0])
    np.testing.assert_array_equal(points.get_ydata(), observed[0])
    scan = drawn(figures.plot_threshold_scan(counts, 0.5, counts))
    _, scores = metrics.scores_by_threshold(counts.total())
    curves = {line.get_label(): line.get_ydata() for line in scan.axes[0].lines}
    for name in figures.METRICS:
        assert np.array_equal(curves[name], scores[name][0], equal_nan=True)


def test_a_box_without_haloes_can_be_drawn(empty):
    for figure in (
        figures.plot_rate_by_mass(empty, empty), figures.plot_voxel_masses(empty), figures.plot_reliability(empty),
        figures.plot_mass_functions(empty), figures.plot_threshold_scan(empty),
    ):  # fmt: skip
        assert drawn(figure).axes


def test_no_figure_needs_pyplot():
    code = (
        "import sys; from yt_protohalos.analysis.drawing import new_figure; new_figure(4, 4, columns=2); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
