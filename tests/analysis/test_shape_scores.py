"""Equal regions have equal shapes; known differences of shape, tide and pieces are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_boxes import box_labels, predicted

from yt_protohalos.analysis.catalog_scores import ShapeErrors, shape_errors
from yt_protohalos.analysis.catalog_tables import format_shapes, shapes_by_mass
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import ScoringError

N = 24
SITE_MASS = 6.35e8
EDGES = (11.0, 11.5, 12.0)


def catalog_of(labels, **changes):
    return replace(protohalo_catalog(predicted(labels)), **changes)


@pytest.fixture
def labels() -> np.ndarray:
    """Two bricks of ratios 10:9:8 and 8:7:6, the larger across a face."""
    return box_labels(N, (8, 9, 10), (20, 2, 2)) + 2 * box_labels(N, (7, 6, 8), (5, 14, 14))


def test_equal_regions_do_not_differ_and_ratios_are_those_of_the_bricks(labels):
    tide = np.array([[1.5, 0.4, -0.1], [1.1, 0.5, 0.2]])
    catalog = catalog_of(labels, tidal_eigenvalues=tide)
    table = shapes_by_mass(shape_errors(catalog, catalog, SITE_MASS), EDGES)
    assert table["haloes"] == [1, 1]
    np.testing.assert_allclose(table["true_b_a"], [7 / 8, 9 / 10])
    np.testing.assert_allclose(table["true_c_a"], [6 / 8, 8 / 10])
    np.testing.assert_allclose(table["true_lambda_1"], [1.1, 1.5])
    for name in ("b_a", "c_a", "lambda_1", "lambda_2", "lambda_3"):
        assert table[f"{name}_offset"] == table[f"{name}_scatter"] == [0, 0]
    np.testing.assert_allclose(table["major_cosine"], 1)
    np.testing.assert_allclose(table["minor_cosine"], 1)
    assert table["several_pieces"] == table["true_several_pieces"] == [0, 0]


def test_known_differences_are_predicted_minus_simulated(labels):
    # a slab less along the shortest axis of the larger brick; the smaller one in two pieces
    found = np.where((labels == 1) & (np.arange(N)[:, None, None] == 20), 0, labels)
    found = np.where((found == 2) & (np.arange(N)[None, None, :] == 18), 0, found)
    tide = np.array([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0]])
    truth = catalog_of(labels, tidal_eigenvalues=tide)
    errors = shape_errors(catalog_of(found, tidal_eigenvalues=tide + np.array([[0.2], [-0.1]])), truth, SITE_MASS)
    table = shapes_by_mass(errors, EDGES)
    assert table["haloes"] == [1, 1]
    np.testing.assert_allclose([table[f"{name}_offset"][1] for name in ("b_a", "c_a")], [0, -0.1], atol=1e-12)
    for name in ("lambda_1", "lambda_2", "lambda_3"):
        np.testing.assert_allclose(table[f"{name}_offset"], [-0.1, 0.2])
    assert table["several_pieces"] == [1, 0] and table["true_several_pieces"] == [0, 0]
    both = shapes_by_mass(ShapeErrors.pooled([errors, shape_errors(truth, truth, SITE_MASS)]), EDGES)
    assert both["haloes"] == [2, 2] and both["several_pieces"] == [0.5, 0]
    np.testing.assert_allclose(both["c_a_offset"][1], -0.05)
    np.testing.assert_allclose(both["c_a_scatter"][1], 0.05)


def test_axes_count_without_their_sign(labels):
    truth = catalog_of(labels)
    turned = -truth.axes
    half = np.sqrt(0.5)
    # about c, by 45 degrees
    turned[0, :2] = [[half, half, 0], [half, -half, 0]] @ truth.axes[0]
    errors = shape_errors(catalog_of(labels, axes=turned), truth, SITE_MASS)
    np.testing.assert_allclose(errors.axis_cosines[1], 1)
    assert (errors.axis_cosines >= 0).all() and (errors.axis_cosines <= 1).all()
    np.testing.assert_allclose(errors.axis_cosines[0], [half, half, 1])


def test_what_is_unknown_is_none_and_the_table_prints(labels):
    # no field, so no tide; the second halo was not found, yet has its pieces
    found = np.where(labels == 2, 0, labels)
    table = shapes_by_mass(shape_errors(catalog_of(found), catalog_of(labels), SITE_MASS), (*EDGES, 13.0))
    assert table["true_lambda_1"] == [None] * 3 and table["true_b_a"][::2] == [None, None]
    assert table["several_pieces"] == [None, 0, None] and table["true_several_pieces"] == [0, 0, None]
    lines = format_shapes(table).splitlines()
    assert len(lines) == 5 and "0.90" in lines[3] and lines[4].split() == ["12.0", "to", "13.0", "0", *"-" * 9]


def test_other_lattices_are_refused(labels):
    with pytest.raises(ScoringError, match="use one lattice"):
        shape_errors(catalog_of(labels), catalog_of(np.ones((4, 4, 4), int)), SITE_MASS)
