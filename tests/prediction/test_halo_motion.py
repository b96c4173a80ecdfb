"""Positions and velocities of protohaloes are found with them, kept in their file, and are those of their sites."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from position_standins import Groups, position_card
from standins import SPACING, make_field

import yt_protohalos as ph
from yt_protohalos.catalog.catalog import EVOLVED
from yt_protohalos.exceptions import CatalogError, SpacingWarning, StoreError
from yt_protohalos.fields.evolution import EvolvedField
from yt_protohalos.fields.lattice import nearest_sites
from yt_protohalos.models.card import ModelCard
from yt_protohalos.prediction.halo_motion import halo_motion
from yt_protohalos.prediction.position_predictor import PositionPredictor

N = 32


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def prediction(field):
    return PositionPredictor(position_card(), Groups(), None).predict(field, progress=False, on_range="allow")


@pytest.fixture
def saved(prediction, tmp_path):
    prediction.save(tmp_path / "prediction.h5")
    return tmp_path / "prediction.h5"


def test_motion_is_the_mean_of_the_sites_across_a_face(field):
    labels = np.zeros(field.lattice.shape, dtype=np.int32)
    labels[[30, 31, 0, 1], 4, 4], labels[10, 10, 10:12] = 1, 2
    displacement, velocity = np.zeros((2, 3, N, N, N), dtype=np.float32)
    displacement[0, [30, 31, 0, 1], 4, 4] = -1, -1, -1, -3
    velocity[1, 10, 10, 10:12] = 1, 3
    motion = halo_motion(labels, replace(field, site_offset=0.5), EvolvedField(displacement, velocity=velocity))
    np.testing.assert_allclose(motion.position / SPACING, [[30.5, 4.5, 4.5], [10.5, 10.5, 11]])
    rate = 100 * field.cosmology.growth_rate(0.0)  # a H f at z = 0
    np.testing.assert_allclose(motion.velocity, [[0, 0, 0], [0, rate * 2 * SPACING, 0]])


def test_a_prediction_of_a_file_has_its_positions_without_a_new_evolution(field, prediction, saved, monkeypatch):
    expected = ph.protohalo_catalog(prediction, field, prediction.evolved)
    assert len(expected) > 5 and np.ptp(expected.velocity) > 100
    monkeypatch.setattr(ModelCard, "evolve", None)
    read = ph.Prediction.load(saved)
    for given in (field, None):
        catalog = ph.protohalo_catalog(read, given)
        assert catalog.position_method == catalog.velocity_method == EVOLVED
        np.testing.assert_array_equal(catalog.position, expected.position)
        np.testing.assert_array_equal(catalog.velocity, expected.velocity)


def test_an_older_file_holds_no_motion_and_its_field_is_evolved(field, prediction, saved):
    with h5py.File(saved, "r+") as file:
        del file["motion"]
    read = ph.Prediction.load(saved)
    assert read.motion is None
    catalog = ph.protohalo_catalog(read, field)
    assert catalog.position_method == EVOLVED
    np.testing.assert_allclose(catalog.position, prediction.motion.position, atol=1e-4)
    np.testing.assert_allclose(catalog.velocity, prediction.motion.velocity, atol=0.1)


def test_a_field_of_another_spacing_has_the_motion_of_the_lattice_of_the_model(field):
    finer = field.resampled(36)
    options = {"progress": False, "on_range": "allow"}
    predictor = PositionPredictor(position_card(), Groups(), None)
    with pytest.warns(SpacingWarning):
        found = predictor.predict(finer, **options)
    there = predictor.predict(finer.resampled(N), **options)
    assert found.settings["model_side"] == N and found.n_protohalos > 5
    old = there.labels[nearest_sites(found.lattice, there.lattice, 0.0)]
    numbers = [old[found.labels == label][0] for label in range(1, found.n_protohalos + 1)]
    assert numbers != sorted(numbers), "other sizes give another order"
    np.testing.assert_array_equal(found.motion.position, there.motion.position[np.subtract(numbers, 1)])
    np.testing.assert_array_equal(found.motion.velocity, there.motion.velocity[np.subtract(numbers, 1)])


def test_motion_of_other_protohaloes_is_refused(prediction, saved):
    with pytest.raises(CatalogError, match="replace both"):
        replace(prediction, labels=np.minimum(prediction.labels, 3))
    with h5py.File(saved, "r+") as file:
        del file["motion/position"]
        file["motion/position"] = prediction.motion.position[:3]
    with pytest.raises(StoreError, match="motion is of 3 protohaloes"):
        ph.Prediction.load(saved)
