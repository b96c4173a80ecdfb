"""Laws of the paper's slices and of haloes counted by mass: they show the numbers, at their places."""

from __future__ import annotations

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yt_protohalos.analysis import abundance, paper_figures
from yt_protohalos.analysis.abundance import HaloCounts, mean_fit, plot_abundance, plot_amplitudes
from yt_protohalos.analysis.mass_function import fof_mass_function
from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice

matplotlib.use("Agg")

LATTICE = Lattice(16, 3.125)
SITE_MASS = 6e8
EDGES = (9.0, 10.0, 11.0, 12.0)


@pytest.fixture(scope="module")
def cubes():
    """Two labellings: blocks, and the same with the first two joined and the last gone."""
    first = np.zeros(LATTICE.shape, dtype=np.int32)
    for label, start in enumerate(((0, 0, 0), (6, 0, 0), (0, 8, 0), (8, 8, 8)), 1):
        x, y, z = start
        first[x : x + 6, y : y + 6, z : z + 6] = label
    second = np.where(first == 2, 1, first)
    second[second == 4] = 0
    return first, second


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def images(figure):
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


@pytest.mark.parametrize(("axis", "plane"), [("x", 1), ("y", 9), ("z", 2)])
def test_mass_slices_show_each_samples_masses(cubes, axis, plane):
    samples = dict(zip("ab", cubes, strict=True))
    figure = drawn(paper_figures.plot_mass_slices(samples, LATTICE, SITE_MASS, [plane], axis))
    for labels, shown in zip(cubes, images(figure), strict=True):
        sizes = np.bincount(labels.ravel())
        there = np.take(labels, plane, axis="xyz".index(axis)).T
        assert np.array_equal(np.ma.getmaskarray(shown), there == 0)
        assert np.allclose(shown.filled(0), np.where(there > 0, sizes[there] * SITE_MASS, 0))


def test_rows_are_planes_and_columns_samples(cubes):
    figure = drawn(paper_figures.plot_mass_slices({"a": cubes[0], "b": cubes[1], "c": cubes[0]}, LATTICE, 1.0, [1, 9]))
    shown = images(figure)
    assert len(shown) == 6
    assert np.array_equal(shown[0].mask, cubes[0][:, :, 1].T == 0)
    assert np.array_equal(shown[4].mask, cubes[1][:, :, 9].T == 0)


def test_circles_hold_what_changed_and_nothing_is_circled_where_nothing_did(cubes):
    first, second = (paper_figures.labelled_mass(labels, 1.0)[:, :, 2] for labels in cubes)
    # both halves of the merged halo double, at the threshold itself
    assert paper_figures.changed_patches(first, second, factor=2.0) == []
    found = paper_figures.changed_patches(first, second, factor=1.9)
    assert len(found) == 1
    x, y, radius = found[0]
    changed = np.argwhere((first > 0) & (second > 0) & (first != second))
    assert len(changed) == 72
    assert (np.hypot(*(changed - (x, y)).T) <= radius).all()
    assert paper_figures.changed_patches(first, first, factor=1.01) == []
    assert paper_figures.changed_patches(second, first, factor=1.9) == found
    assert paper_figures.changed_patches(first, second, factor=1.9, min_sites=73) == []


@settings(max_examples=40, deadline=None)
@given(arrays(np.int32, (9, 9), elements=st.integers(0, 5)), st.integers(1, 3))
def test_near_regions_differ_in_colour(labels, near):
    colour = paper_figures.region_colours(labels, near)
    assert colour[0] == -1
    present = np.unique(labels[labels > 0])
    assert ((colour[present] >= 0) & (colour[present] < len(paper_figures.REGION_COLOURS))).all()
    # five labels, seven colours: the rule can always be kept
    sites = np.argwhere(labels > 0)
    label = labels[tuple(sites.T)]
    apart = np.abs(sites[:, None] - sites[None]).max(axis=-1)
    close = (apart <= near) & (label[:, None] != label[None])
    assert (colour[label][:, None] != colour[label][None])[close].all()


def test_outlines_are_the_borders_of_labels(cubes):
    figure = drawn(paper_figures.plot_lattices({"a": cubes[0][:, :, 2]}, LATTICE))
    plane = cubes[0][:, :, 2]
    lines = figure.axes[0].collections[0].get_segments()
    assert len(lines) == sum(np.count_nonzero(np.diff(plane, axis=axis)) for axis in (0, 1))
    # the border of the first with the second block, and of the third with nothing, lies between sites 5 and 6 along x
    at = 5.5 * LATTICE.spacing
    assert sum(np.allclose(np.asarray(line)[:, 0], at) for line in lines) == 12


def test_the_problem_shows_delta_beside_the_regions(cubes):
    delta = np.random.default_rng(0).normal(size=LATTICE.shape[:2]).astype(np.float16)
    figure = drawn(paper_figures.plot_problem(delta, cubes[0][:, :, 2], LATTICE, "yz"))
    shown = images(figure)
    assert np.allclose(shown[0], delta.T)
    assert np.array_equal(np.ma.getmaskarray(shown[1]), cubes[0][:, :, 2].T == 0)
    assert figure.axes[0].get_xlabel().startswith("y ")


def test_faces_of_cores_are_drawn_where_they_are_named(cubes):
    planes = {"a": cubes[0][:, :, 2], "b": cubes[1][:, :, 2]}
    figure = drawn(paper_figures.plot_lattices(planes, LATTICE, faces={"b": (0, 8)}))
    assert [len(ax.lines) for ax in figure.axes] == [0, 4]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"samples": {}}, ScoringError), ({"planes": []}, ScoringError), ({"axis": "w"}, LatticeError),
        ({"planes": [16]}, LatticeError), ({"circles": True}, ScoringError),
        ({"samples": {"a": np.zeros((4, 4, 4), dtype=int)}}, LatticeError),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(cubes, change, error):
    arguments = {"samples": {"a": cubes[0]}, "planes": [1], "axis": "z", "circles": False} | change
    with pytest.raises(error, match=r"give|use|pass"):
        paper_figures.plot_mass_slices(arguments.pop("samples"), LATTICE, SITE_MASS, **arguments)


def test_planes_of_another_lattice_are_refused(cubes):
    with pytest.raises(LatticeError, match="plane is"):
        paper_figures.plot_problem(np.zeros((4, 4)), cubes[0][:, :, 2], LATTICE)
    with pytest.raises(ScoringError, match="at least one plane"):
        paper_figures.plot_lattices({}, LATTICE)


def test_empty_slices_are_drawn():
    nothing = np.zeros(LATTICE.shape, dtype=np.int32)
    slices = paper_figures.plot_mass_slices({"a": nothing, "b": nothing}, LATTICE, SITE_MASS, [0], circles=True)
    problem = paper_figures.plot_problem(nothing[0] * 0.0, nothing[0], LATTICE)
    for figure in (slices, problem):
        assert len(images(drawn(figure))) >= 2, "a plane without protohaloes is a picture too"
        assert not any(axes.patches for axes in figure.axes), "nothing changed, so nothing is circled"


def test_counts_are_those_of_the_labels(cubes):
    volume = LATTICE.box_size**3
    counts = HaloCounts.of_labels(cubes[0], SITE_MASS, volume, EDGES)
    mass = np.log10(np.bincount(cubes[0].ravel())[1:] * SITE_MASS)
    assert np.array_equal(counts.number, np.histogram(mass, EDGES)[0])
    assert (counts.density * np.diff(EDGES) * volume).sum() == pytest.approx(4)
    # a label without sites is no halo
    gap = HaloCounts.of_labels(np.where(cubes[0] == 2, 0, cubes[0]), SITE_MASS, volume, EDGES)
    assert gap.number.sum() == 3


def test_pooled_counts_add_up(cubes):
    one = HaloCounts.of_labels(cubes[0], SITE_MASS, 10.0, EDGES)
    two = HaloCounts.of_labels(cubes[1], SITE_MASS, 30.0, EDGES)
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


def test_haloes_as_a_fit_has_them_lie_on_it():
    """The ratio panel shows 1 for counts drawn from the fit itself, whatever the width of the bins."""
    edges, volume = np.array([11.0, 11.2, 12.0, 13.5]), 1e6
    mean, _ = mean_fit(PAPER_COSMOLOGY, edges, "watson13")
    counts = HaloCounts(edges, np.rint(mean * volume * np.diff(edges)).astype(int), volume)
    figure = drawn(plot_abundance({"a": counts}, PAPER_COSMOLOGY))
    ratio = next(line for line in figure.axes[1].lines if line.get_marker() == "o").get_ydata()
    assert np.allclose(ratio, 1, atol=2e-3)


def test_amplitudes_show_predicted_over_simulated():
    simulated = HaloCounts((11, 12, 13, 14), (100, 10, 0), 1e4)
    predicted = HaloCounts((11, 12, 13, 14), (50, 12, 3), 1e4)
    low = replace(PAPER_COSMOLOGY, sigma_8=0.58)
    figure = drawn(plot_amplitudes([(PAPER_COSMOLOGY, simulated, predicted), (low, None, predicted)]))
    points = [line for line in figure.axes[1].lines if line.get_marker() in abundance.MARKERS]
    assert len(points) == 1
    assert np.allclose(points[0].get_ydata(), (0.5, 1.2))
    words = " ".join(text.get_text() for text in figure.axes[0].get_legend().get_texts())
    assert "0.83" in words and "0.58" in words


def test_nothing_to_compare_is_refused():
    with pytest.raises(ScoringError, match="at least one"):
        plot_abundance({}, PAPER_COSMOLOGY)
    with pytest.raises(ScoringError, match="at least one"):
        plot_amplitudes([])
