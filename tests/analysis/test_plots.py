"""Laws of the pictures: they show the numbers of the prediction, at its places."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from yt_fakes import BOX, FakePredictor, N

import yt_protohalos as ph
from yt_protohalos.analysis import pictures, plots
from yt_protohalos.analysis.drawing import Slice, fullest_plane
from yt_protohalos.analysis.mass_function import fof_mass_function
from yt_protohalos.exceptions import LatticeError
from yt_protohalos.models.fof_card import FriendsOfFriendsCard

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def field():
    return ph.generate_initial_conditions(N, BOX, seed=11)


@pytest.fixture(scope="module")
def prediction(field):
    return FakePredictor().predict(field, progress=False)


@pytest.fixture(scope="module")
def empty(field):
    return FakePredictor(level=20.0).predict(field, progress=False)


def image_of(figure, number=0):
    return [ax for ax in figure.axes if ax.images][number].images[0]


def pixels(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    stream.seek(0)
    return matplotlib.image.imread(stream)


@pytest.mark.parametrize(("axis", "index"), [("x", 3), ("y", 0), ("z", N - 1)])
def test_slices_show_the_cube_with_their_first_axis_to_the_right(prediction, axis, index):
    number = "xyz".index(axis)
    masses = image_of(plots.plot_masses(prediction, axis, index)).get_array()
    np.testing.assert_allclose(np.ma.filled(masses, 0.0).T, np.take(prediction.mass, index, axis=number), rtol=1e-6)
    shown = image_of(plots.plot_probability(prediction, axis, index)).get_array()
    assert np.array_equal(shown.T, np.take(prediction.probability, index, axis=number))


def test_pixels_are_centred_on_the_sites(prediction):
    left, right, bottom, top = image_of(plots.plot_masses(prediction)).get_extent()
    spacing = BOX / N
    np.testing.assert_allclose([left, bottom], (prediction.site_offset - 0.5) * spacing)
    np.testing.assert_allclose([right - left, top - bottom], BOX)


@pytest.mark.parametrize("draw", [plots.plot_masses, plots.plot_probability, plots.plot_overview])
def test_slices_end_at_the_faces_of_the_box(prediction, field, draw):
    """Neither outlines nor contours widen the axes beyond the pixels, which are one box wide."""
    arguments = {} if draw is plots.plot_probability else {"field": field}
    for ax in draw(prediction, **arguments).axes:
        if ax.images:
            np.testing.assert_allclose([*ax.get_xlim(), *ax.get_ylim()], ax.images[0].get_extent())
            np.testing.assert_allclose(np.ptp(ax.get_xlim()), BOX)


@pytest.mark.parametrize("redshift", [0.0, 1.0])
def test_the_mass_function_is_drawn_beside_a_fit_for_its_redshift(prediction, empty, redshift):
    for drawn in (prediction, empty):
        ax = plots.plot_mass_function(replace(drawn, target_redshift=redshift)).axes[0]
        (curve,) = [line for line in ax.get_lines() if "Watson" in str(line.get_label())]
        mass, density = curve.get_data()
        h = drawn.cosmology.h
        expected = fof_mass_function(drawn.cosmology, np.log10(mass * h), redshift=redshift)
        np.testing.assert_allclose(density, expected, rtol=1e-6)
        low, high = ax.get_ylim()
        assert low < np.median(density) < density.max() < high


def test_a_region_is_drawn_where_it_lies_in_the_box(prediction):
    start, side, spacing = (4, 5, 6), 10, BOX / N
    labels = prediction.labels[tuple(slice(first, first + side) for first in start)]
    region = SimpleNamespace(
        labels=labels, start=start, lattice=prediction.lattice, site_offset=prediction.site_offset
    )  # fmt: skip
    whole, part = Slice.through(prediction, "y", 7), Slice.through(region, "y", 2)
    assert part.position == pytest.approx(whole.position)
    left, right, bottom, top = part.extent
    np.testing.assert_allclose([left - whole.extent[0], bottom - whole.extent[2]], [4 * spacing, 6 * spacing])
    np.testing.assert_allclose([right - left, top - bottom], side * spacing)
    assert np.array_equal(part.image(labels), whole.image(prediction.labels)[6:16, 4:14])


def test_several_predictions_can_share_a_scale(prediction):
    norm = matplotlib.colors.LogNorm(1e9, 1e15)
    axes = Figure().subplots(1, 2)
    for ax in axes:
        plots.draw_masses(ax, prediction, "x", 3, norm)
    assert all(ax.images[0].norm is norm for ax in axes)


def test_masses_have_a_logarithmic_scale_that_holds_all_of_them(prediction):
    norm = image_of(plots.plot_masses(prediction)).norm
    assert isinstance(norm, matplotlib.colors.LogNorm)
    assert norm.vmin <= prediction.label_mass[1:].min() * (1 + 1e-9)
    assert norm.vmax >= prediction.label_mass.max()


def test_the_default_plane_has_most_protohalo_sites(prediction):
    for number, axis in enumerate("xyz"):
        counts = [np.count_nonzero(np.take(prediction.labels, i, axis=number)) for i in range(N)]
        assert counts[fullest_plane(prediction.labels, axis)] == max(counts)


def test_outlines_separate_every_pair_of_labels(prediction):
    index = fullest_plane(prediction.labels, "z")
    (lines,) = plots.plot_masses(prediction, "z", index).axes[0].collections
    labels = prediction.labels[:, :, index]
    changes = np.count_nonzero(labels[1:] != labels[:-1]) + np.count_nonzero(labels[:, 1:] != labels[:, :-1])
    assert changes > 0
    assert len(lines.get_segments()) == changes


def test_contours_of_the_potential_lie_where_it_has_their_value(prediction, field):
    figure = plots.plot_masses(prediction, "y", 7, field)
    (contours,) = [c for c in figure.axes[0].collections if type(c).__name__ == "QuadContourSet"]
    phi, spacing = field.phi[:, 7].T, BOX / N
    assert len(contours.levels) > 3
    checked = 0
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        for x, y in path.vertices / spacing - prediction.site_offset:
            # a contour crosses the lines between sites where the potential on them is the level
            i, j = int(x), int(y)
            around = phi[j : j + 2, i : i + 2]
            assert around.min() - 1e-4 <= level <= around.max() + 1e-4
            checked += 1
    assert checked > 50
    with pytest.raises(LatticeError, match="phi"):
        plots.plot_masses(prediction, field=ph.generate_initial_conditions(16, BOX, seed=1))


def test_overview_shows_the_overdensity_only_with_its_field(prediction, field):
    index = 5
    with_field = plots.plot_overview(prediction, field, "x", index)
    assert np.array_equal(image_of(with_field).get_array().T, field.delta[index])
    assert sum(bool(ax.images) for ax in with_field.axes) == 3
    assert sum(bool(ax.images) for ax in plots.plot_overview(prediction).axes) == 2


@pytest.mark.parametrize(
    ("card", "name", "other"),
    [(None, "membership probability", "mask"), (FriendsOfFriendsCard(), "mask of protohaloes", "probability")],
)
def test_pictures_say_whether_they_show_a_probability_or_a_mask(
    prediction, field, card, name, other, tmp_path, monkeypatch
):
    shown = prediction if card is None else replace(prediction, card=card)
    drawn = {}
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.update({path.name: figure}))
    pictures.write_pictures(shown, tmp_path, field, truth=prediction.labels)
    for file in ("protohalos.png", "probability.png", "errors.png"):
        texts = [text.lower() for ax in drawn[file].axes for text in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel())]
        assert name in texts and not any(other in text for text in texts)


@pytest.mark.parametrize("name", ["plot_masses", "plot_probability", "plot_overview", "plot_mass_function"])
def test_every_picture_can_be_drawn_even_without_protohalos(prediction, empty, name):
    draw = getattr(plots, name)
    assert empty.n_protohalos == 0
    assert isinstance(draw(empty), Figure)
    assert pixels(draw(empty)).shape[2] == 4
    assert not np.array_equal(pixels(draw(prediction)), pixels(draw(empty)))


@pytest.mark.parametrize("colours", [plots.MASS_COLOURS, plots.PROBABILITY_COLOURS])
def test_colours_can_be_told_apart_in_grey(colours):
    red, green, blue, _ = matplotlib.colormaps[colours](np.linspace(0, 1, 64)).T
    grey = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert np.all(np.diff(grey) > 0)


def test_planes_and_axes_that_do_not_exist_are_refused(prediction):
    with pytest.raises(LatticeError, match="use 0 to 23"):
        plots.plot_masses(prediction, "z", N)
    with pytest.raises(LatticeError, match="use x, y or z"):
        plots.plot_probability(prediction, "w")
