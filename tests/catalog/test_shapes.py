"""Pieces, axes, tides and spins of Lagrangian regions whose answer is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_boxes import box_labels, predicted
from scipy import ndimage
from standins import make_field, make_predictor

from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.catalog.shapes import principal_axes, tidal_tensors, tidal_torque
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.fourier import potential
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.models.symmetry import Symmetry
from yt_protohalos.segmentation.labels import count_pieces

RATE = 100 * PAPER_COSMOLOGY.growth_rate(0.0)


@pytest.fixture(scope="module")
def real():
    field = make_field(24)
    return field, make_predictor().predict(field, progress=False)


def rotation(seed):
    """A random proper rotation."""
    matrix, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    matrix *= np.sign(np.diag(upper))
    return matrix * np.linalg.det(matrix)


def ellipsoid_labels(n, semi_axes, turn, center):
    """Label 1 where a turned ellipsoid lies, wrapped; the rows of `turn` are its axes."""
    apart = np.moveaxis(np.indices((n, n, n)), 0, -1) - center
    apart = (apart + n / 2) % n - n / 2
    return (np.sum((apart @ turn.T / semi_axes) ** 2, axis=-1) <= 1).astype(np.int32)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), corner=st.booleans())
def test_an_ellipsoid_of_sites_has_its_axes_wherever_it_lies(seed, corner):
    n, semi_axes, turn = 40, np.array([14.0, 10.0, 6.0]), rotation(seed)
    labels = ellipsoid_labels(
        n, semi_axes, turn, np.array([0.3, 39.6, 0.2]) if corner else np.array([19.3, 20.0, 20.4])
    )
    catalog = protohalo_catalog(predicted(labels, spacing=0.5))
    np.testing.assert_allclose(catalog.semi_axes[0], 0.5 * semi_axes, rtol=0.02)
    np.testing.assert_allclose(np.abs(np.sum(catalog.axes[0] * turn, axis=1)), 1, atol=0.01)
    np.testing.assert_allclose(catalog.axes[0] @ catalog.axes[0].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(catalog.axes[0]) == pytest.approx(1)
    assert catalog.n_pieces.tolist() == [1]


@pytest.mark.parametrize("start", [(3, 4, 5), (14, 14, 14)])
def test_a_brick_has_the_axis_ratios_of_its_sides_and_a_site_is_round(start):
    catalog = protohalo_catalog(predicted(box_labels(16, (3, 6, 2), start)))
    np.testing.assert_allclose(catalog.semi_axes[0] / catalog.semi_axes[0, 0], [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(catalog.axes[0], [[0, 1, 0], [1, 0, 0], [0, 0, 1]] * np.array([[1], [-1], [1]]))
    alone = protohalo_catalog(predicted(box_labels(16, (1, 1, 1), start)))
    np.testing.assert_allclose(alone.semi_axes / alone.semi_axes[0, 0], 1)


def test_pieces_are_counted_across_faces_of_the_box_and_not_across_edges():
    labels = box_labels(16, (4, 4, 4), (14, 14, 14))
    assert count_pieces(labels).tolist() == [1]
    labels[8, 8, 8] = 1
    labels[9, 9, 8] = 1
    assert count_pieces(labels).tolist() == [3]
    labels[9, 8, 8] = 2
    assert count_pieces(labels).tolist() == [3, 1]
    labels[9, 8, 8] = 1
    assert count_pieces(labels).tolist() == [2]
    assert count_pieces(np.zeros((4, 4, 4), dtype=np.int32)).shape == (0,)
    two = predicted(box_labels(16, (3, 3, 3), (0, 0, 0)) + box_labels(16, (2, 2, 2), (8, 8, 8)))
    assert protohalo_catalog(two).n_pieces.tolist() == [2]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.tuples(*(st.integers(-9, 9),) * 3))
def test_pieces_agree_with_scipy_and_move_with_the_box(seed, shift):
    labels = np.zeros((11, 11, 11), dtype=np.int32)
    # open edges, so that scipy, which does not wrap, knows the answer
    labels[:10, :10, :10] = np.random.default_rng(seed).integers(0, 3, size=(10, 10, 10))
    expected = [ndimage.label(labels == label)[1] for label in (1, 2)]
    assert count_pieces(labels).tolist() == expected
    assert count_pieces(Lattice(11, 1.0).shifted(labels, shift)).tolist() == expected


def wave_field(amplitudes, turn, n=48, spacing=0.5):
    """Overdensity whose potential is quadratic about the corner of the box, with the tide of plane waves there.

    The rows of `turn`, integers, are the directions of the waves, and the amplitudes the eigenvalues.
    """
    q = np.moveaxis(np.indices((n, n, n)), 0, -1)
    waves = [amplitude * np.cos(2 * np.pi / n * (q @ axis)) for amplitude, axis in zip(amplitudes, turn, strict=True)]
    return LinearField.from_density(sum(waves), n * spacing, PAPER_COSMOLOGY, 49.0)


TURN = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]])


def test_a_quadratic_potential_has_its_eigenvalues_and_axes():
    field = wave_field((1.5, 0.4, -0.6), TURN)
    catalog = protohalo_catalog(predicted(box_labels(48, (5, 5, 5), (-2, -2, -2)), 0.5), field)
    # waves of 34 and 48 sites, averaged over a radius of 3: 1 - (k r)^2 / 10
    np.testing.assert_allclose(catalog.tidal_eigenvalues[0], [1.5, 0.4, -0.6], rtol=0.05)
    unit = TURN / np.linalg.norm(TURN, axis=1)[:, None]
    np.testing.assert_allclose(catalog.tide[0], unit.T @ np.diag([1.5, 0.4, -0.6]) @ unit, atol=0.06)


def test_spin_is_the_right_handed_mean_of_r_cross_v():
    """In a quadratic potential tidal torque theory is the angular momentum of the Zel'dovich velocities itself."""
    field = wave_field((1.5, 0.4, -0.6), TURN)
    labels = box_labels(48, (9, 3, 3), (-4, -1, -1))
    catalog = protohalo_catalog(predicted(labels, 0.5), field)
    members = catalog.members_of(0)
    r = field.lattice.minimum_image(field.lattice.sites(members) * 0.5)
    direct = np.cross(r, -RATE * r @ catalog.tide[0]).mean(axis=0)
    np.testing.assert_allclose(catalog.spin[0], direct, rtol=1e-6, atol=1e-6)
    # the pull along (1, 1, 0) is the stronger: it turns a rod along x clockwise seen from +z
    assert catalog.spin[0, 2] < -1 and abs(catalog.spin[0, 0]) < 1e-3 and abs(catalog.spin[0, 1]) < 1e-3


def test_there_is_no_spin_where_tide_and_inertia_are_aligned():
    aligned = protohalo_catalog(
        predicted(box_labels(48, (9, 3, 5), (-4, -1, -2)), 0.5), wave_field((1.5, 0.4, -0.6), np.eye(3, dtype=int))
    )
    np.testing.assert_allclose(aligned.spin, 0, atol=1e-3)
    inertia = np.diag([1.0, 2.0, 3.0])[None]
    assert not tidal_torque(inertia, inertia).any()
    round_one = np.eye(3)[None]
    assert not tidal_torque(round_one, np.random.default_rng(0).normal(size=(1, 3, 3)) @ np.zeros((3, 3))).any()


def test_the_trace_of_the_tide_is_the_overdensity_of_the_ball(real):
    field, prediction = real
    catalog = protohalo_catalog(prediction, field)
    for identifier in catalog.identifier[:5]:
        center = catalog.lagrangian_center[identifier] / field.spacing
        radius = np.cbrt(3 * catalog.n_sites[identifier] / (4 * np.pi))
        apart = field.lattice.minimum_image((np.indices(field.lattice.shape).T - center) * field.spacing)
        away = np.linalg.norm(apart, axis=-1).T / field.spacing
        inside = away <= radius + 1e-6
        mean = field.delta[inside].mean()
        assert np.trace(catalog.tide[identifier]) == pytest.approx(mean, abs=1e-4)
        assert catalog.tidal_eigenvalues[identifier].sum() == pytest.approx(mean, abs=1e-4)
    assert np.all(np.diff(catalog.tidal_eigenvalues, axis=1) <= 0)


def test_without_a_field_tides_and_spins_are_not_numbers(real):
    catalog = protohalo_catalog(real[1])
    for values in (catalog.tide, catalog.tidal_eigenvalues, catalog.spin):
        assert len(values) == len(catalog) and np.isnan(values).all()
    assert np.isfinite(catalog.semi_axes).all()


def test_tiny_regions_have_a_tide_too():
    phi = potential(make_field(8).delta, Lattice(8, 4.0))
    tide = tidal_tensors(phi, Lattice(8, 4.0), np.array([[0.5, 0.5, 0.5], [7.0, 0, 0]]), np.array([2, 1]))
    assert np.isfinite(tide).all()
    semi_axes, _ = principal_axes(np.zeros((1, 3, 3)), 0.5)
    np.testing.assert_allclose(semi_axes, 0.5 * np.sqrt(5 / 12))


def described(labels, delta, spacing):
    """Catalogue of labels in a field; the ties of the evolution play no part."""
    field = LinearField.from_density(delta, len(labels) * spacing, PAPER_COSMOLOGY, 49.0)
    return protohalo_catalog(predicted(labels, spacing), field)


@pytest.mark.parametrize("shift", [(7, -5, 11), (1, 0, 0)])
def test_shapes_tides_and_spins_do_not_notice_periodic_faces(real, shift):
    field, prediction = real
    here = described(prediction.labels, field.delta, field.spacing)
    there = described(*(field.lattice.shifted(cube, shift) for cube in (prediction.labels, field.delta)), field.spacing)
    np.testing.assert_array_equal(there.n_pieces, here.n_pieces)
    for name in ("semi_axes", "tide", "tidal_eigenvalues"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), atol=1e-4, err_msg=name)
    np.testing.assert_allclose(there.spin, here.spin, atol=1e-3 * np.abs(here.spin).max())


@pytest.mark.parametrize(
    ("axes", "flips"),
    [((1, 0, 2), (True, False, False)), ((0, 2, 1), (False, False, True)), ((1, 2, 0), (False, False, False))],
)
def test_turning_the_box_by_right_angles_turns_vectors_and_tensors(real, axes, flips):
    field, prediction = real
    here = described(prediction.labels, field.delta, field.spacing)
    turned = Symmetry(axes, flips)
    there = described(turned.apply(prediction.labels), turned.apply(field.delta), field.spacing)
    # where the unit vectors go
    matrix = np.zeros((3, 3))
    for new, old in enumerate(axes):
        matrix[new, old] = -1 if flips[new] else 1
    assert np.linalg.det(matrix) == 1, "a proper rotation: spin is an axial vector"
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    np.testing.assert_array_equal(there.n_pieces, here.n_pieces)
    np.testing.assert_allclose(there.semi_axes, here.semi_axes, atol=1e-9)
    np.testing.assert_allclose(there.tide, matrix @ here.tide @ matrix.T, atol=1e-4)
    np.testing.assert_allclose(there.tidal_eigenvalues, here.tidal_eigenvalues, atol=1e-4)
    np.testing.assert_allclose(there.spin, here.spin @ matrix.T, atol=1e-3 * np.abs(here.spin).max())
    along = np.abs(np.einsum("kai,kai->ka", there.axes, here.axes @ matrix.T))
    apart = np.min(here.semi_axes[:, :2] / here.semi_axes[:, 1:], axis=1) > 1.01
    np.testing.assert_allclose(along[apart], 1, atol=1e-6)


def test_the_order_of_regions_changes_nothing():
    field = make_field(16)
    centers = np.array(list(itertools.product((2.0, 9.5), repeat=3)))
    sizes = np.arange(20, 28)
    tides = tidal_tensors(field.phi, field.lattice, centers, sizes)
    backwards = tidal_tensors(field.phi, field.lattice, centers[::-1], sizes[::-1])
    np.testing.assert_array_equal(backwards[::-1], tides)
