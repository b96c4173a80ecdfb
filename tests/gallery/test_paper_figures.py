"""Laws of the paper's slices: they show the numbers at their places."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import paper_figures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.lattice import Lattice

matplotlib.use("Agg")

LATTICE = Lattice(16, 3.125)
SITE_MASS = 6e8


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
    assert ((colour[present] >= 0) & (colour[present] < len(paper_figures.LABEL_COLOURS))).all()
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
