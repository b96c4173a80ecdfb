"""A catalogue that is right has no errors; known errors are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_boxes import box_labels, predicted

from yt_protohalos.analysis.catalog_scores import (
    CatalogErrors,
    SimulatedHaloes,
    catalog_errors,
)
from yt_protohalos.analysis.catalog_tables import confidence_table, errors_by_mass, format_catalog
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import ScoringError

N = 24
SITE_MASS = 6.35e8


@pytest.fixture
def labels() -> np.ndarray:
    """Two boxes, the larger across a face."""
    return box_labels(N, (8, 9, 10), (20, 2, 2)) + 2 * box_labels(N, (7, 6, 8), (5, 14, 14))


@pytest.fixture
def catalog(labels):
    made = protohalo_catalog(predicted(labels))
    turned = np.array([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
    return replace(made, velocity=np.array([[100.0, 0.0, 0.0], [0.0, -50.0, 0.0]]), spin=turned)


def test_a_perfect_catalogue_has_no_errors(catalog, labels):
    truth = SimulatedHaloes(labels, catalog.position, catalog.velocity, 7 * catalog.spin)
    errors = catalog_errors(catalog, truth, SITE_MASS)
    assert errors.distance.tolist() == errors.velocity_error.tolist() == [0, 0]
    assert errors.spin_cosine.tolist() == [1, 1] and errors.found.all() and errors.purity.tolist() == [1, 1]
    assert errors.speed.tolist() == [100, 50]
    np.testing.assert_allclose(errors.log10_mass, np.log10(np.array([720, 336]) * SITE_MASS))


def test_known_errors_are_found_across_a_periodic_face(catalog, labels):
    box = catalog.lattice.box_size
    truth = SimulatedHaloes(
        labels,
        np.mod(catalog.position + np.array([[0.3 * box, 0.4 * box, 0], [0, 0, box - 0.5]]), box),
        catalog.velocity + np.array([[0, 3.0, 4.0], [0, 0, 0]]),
        np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]),
    )
    errors = catalog_errors(catalog, truth, SITE_MASS)
    np.testing.assert_allclose(errors.distance, [0.5 * box, 0.5])
    np.testing.assert_allclose(errors.velocity_error, [5, 0], atol=1e-12)
    assert errors.spin_cosine[0] == pytest.approx(np.sqrt(0.5)) and np.isnan(errors.spin_cosine[1])
    table = errors_by_mass(errors, (11.0, 11.5, 12.0))
    assert table["haloes"] == [1, 1] and table["distance_median"] == pytest.approx([0.5, 0.5 * box])
    assert table["spin_cosine_median"] == [None, pytest.approx(np.sqrt(0.5))]
    assert table["speed_rms"] == pytest.approx([50, np.linalg.norm([100, 3, 4])])
    none = replace(errors, distance=0 * errors.distance)
    twice = errors_by_mass(CatalogErrors.pooled([errors, errors, none]), (11, 12))
    assert twice["distance_16"] == [0] and twice["distance_84"] == pytest.approx([0.5 * box])
    assert twice["spin_cosine_mean"] == pytest.approx([np.sqrt(0.5)])


def test_velocities_may_be_unknown(catalog, labels):
    errors = catalog_errors(catalog, SimulatedHaloes(labels, catalog.position), SITE_MASS)
    table = errors_by_mass(errors, (11.0, 12.0))
    assert table["haloes"] == [2] and table["distance_rms"] == [0]
    assert table["velocity_median"] == table["velocity_84"] == table["speed_rms"] == [None]


def test_a_halo_that_is_not_there_lowers_what_confidence_is_worth(catalog, labels):
    other = np.where(labels == 1, 1, 0)
    other[5:9, 14:20, 14:22] = 1
    truth = SimulatedHaloes(other, catalog.position[:1], catalog.velocity[:1])
    errors = catalog_errors(catalog, truth, SITE_MASS)
    assert errors.found.tolist() == [True, False] and np.isnan(errors.spin_cosine).all()
    np.testing.assert_allclose(errors.purity, [1, 4 / 7])
    table = confidence_table(CatalogErrors.pooled([errors, errors]), 11.0, (0.0, 0.5, 1.0))
    assert table["protohaloes"] == [0, 4] and table["found"] == [None, 0.5]
    assert table["purity"][1] == pytest.approx((1 + 4 / 7) / 2)
    assert table["confidence"][1] == pytest.approx(0.8, abs=1e-6)
    # at the upper edge, and above the least mass alone
    certain = replace(errors, confidence=np.ones(2))
    assert confidence_table(certain, 11.5, (0.0, 0.5, 1.0))["protohaloes"] == [0, 1]
    text = format_catalog(errors_by_mass(errors), table)
    assert "position error" in text and "0.50 to 1.00" in text and len(text.splitlines()) == 12


def test_other_lattices_and_counts_are_refused(catalog, labels):
    with pytest.raises(ScoringError, match="use one lattice"):
        catalog_errors(catalog, SimulatedHaloes(np.zeros((4, 4, 4), int), np.empty((0, 3)), np.empty((0, 3))), 1.0)
    with pytest.raises(ScoringError, match=r"velocity has shape \(1, 3\), the labels name 2 haloes"):
        SimulatedHaloes(labels, np.zeros((2, 3)), np.zeros((1, 3)))
