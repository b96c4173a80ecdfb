"""What is on disk is whole, belongs to its run, and is found again by its key."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from standins import make_card, make_field

from yt_protohalos._utils.files import atomic_path
from yt_protohalos.exceptions import StoreError
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.prediction.store import (
    CACHE_VARIABLE,
    CropStore,
    PredictionCache,
    cache_key,
    field_identity,
)
from yt_protohalos.segmentation.overlap import OverlapGraph


@pytest.fixture
def prediction():
    field = make_field(6)
    labels = np.zeros((6, 6, 6), dtype=np.int32)
    labels[:2] = 1
    one = np.ones(1, dtype=np.int32)
    overlap = OverlapGraph(one, np.array([72]), np.array([False]), np.empty((0, 2), np.int32), np.empty(0), one)
    card = make_card()
    return Prediction(
        probability=np.where(labels > 0, 0.9, 0.1).astype(np.float32),
        mask=labels > 0,
        labels=labels,
        lattice=field.lattice,
        cosmology=field.cosmology,
        redshift=49.0,
        site_offset=0.5,
        overlap=overlap,
        settings={"threshold": 0.5},
        card=card,
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_crops_come_back_as_saved(tmp_path):
    settings = {"threshold": 0.5, "sides": (1, 2)}
    store = CropStore(tmp_path / "new" / "crops", settings)
    block = np.arange(8, dtype=np.int32).reshape(2, 2, 2)
    assert store.load("labels_a_00000") is None
    store.save("labels_a_00000", block)
    again = CropStore(tmp_path / "new" / "crops", settings)
    found = again.load("labels_a_00000")
    assert found.dtype == block.dtype
    np.testing.assert_array_equal(found, block)
    assert again.load("labels_b_00000") is None


def test_other_settings_are_refused_by_name(tmp_path):
    CropStore(tmp_path / "crops", {"threshold": 0.5, "model": "x"})
    with pytest.raises(StoreError, match=r"other threshold\)"):
        CropStore(tmp_path / "crops", {"threshold": 0.4, "model": "x"})


def test_folders_that_are_no_store_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="files but no manifest"):
        CropStore(tmp_path, {})
    with pytest.raises(StoreError, match="cannot be used"):
        CropStore(tmp_path / "thesis.tex", {})
    with pytest.raises(StoreError, match="JSON"):
        CropStore(tmp_path / "new", {"function": len})
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_damaged_files_are_errors_not_results(tmp_path):
    store = CropStore(tmp_path / "crops", {})
    store.save("labels_a_00000", np.zeros(100))
    path = tmp_path / "crops" / "labels_a_00000.npy"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="delete it"):
        store.load("labels_a_00000")
    (tmp_path / "crops" / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="not JSON"):
        CropStore(tmp_path / "crops", {})


def test_cache_gives_back_what_was_put_to_any_process(prediction, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert PredictionCache().get("k" * 64) is None
    path = PredictionCache().put("k" * 64, prediction)
    assert path.parent == tmp_path / "cache"
    found = PredictionCache(tmp_path / "cache").get("k" * 64)
    np.testing.assert_array_equal(found.labels, prediction.labels)
    assert found.card == prediction.card
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert PredictionCache().folder == tmp_path / "xdg" / "yt_protohalos"


def test_keys_differ_with_data_model_and_settings():
    field = make_field(6)
    other = replace(field, delta=field.delta * np.float32(1.01))
    key = cache_key(field_identity(field), "m", {"threshold": 0.5})
    assert key == cache_key(field_identity(make_field(6)), "m", {"threshold": 0.5})
    changed = [
        cache_key(field_identity(other), "m", {"threshold": 0.5}),
        cache_key(field_identity(field), "n", {"threshold": 0.5}),
        cache_key(field_identity(field), "m", {"threshold": 0.6}),
    ]
    assert len({key, *changed}) == 4


def test_files_that_are_no_prediction_are_refused(prediction, tmp_path):
    path = tmp_path / "prediction.h5"
    with pytest.raises(StoreError, match="cannot be read"):
        Prediction.load(path)
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a prediction"):
        Prediction.load(path)
    prediction.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = 99
    with pytest.raises(StoreError, match="format 99"):
        Prediction.load(path)
    prediction.save(path)
    with h5py.File(path, "a") as file:
        del file["graph"]
    with pytest.raises(StoreError, match="delete it"):
        Prediction.load(path)
    with pytest.raises(StoreError, match="cannot be written"):
        prediction.save(tmp_path / "no" / "folder.h5")
