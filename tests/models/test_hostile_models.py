"""Model folders from anywhere: only weights are ever loaded, from the folder itself, and anything else is named."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from small_model import write_small_model
from standins import make_card

from yt_protohalos import cli
from yt_protohalos.exceptions import ModelError, ModelIntegrityError
from yt_protohalos.models import registry
from yt_protohalos.models.card import ModelCard
from yt_protohalos.prediction.predictor import ProtohaloPredictor


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def own_model(model_folder, tmp_path) -> Path:
    return shutil.copytree(model_folder, tmp_path / "own")


def change_card(folder: Path, **network: Any) -> None:
    """Change entries of the semantic network on the card."""
    path = folder / registry.CARD_NAME
    values = json.loads(path.read_text())
    values["semantic"].update(network)
    path.write_text(json.dumps(values))


def give_weights(folder: Path, data: bytes, name: str = "semantic.weights.h5") -> None:
    """Put other weights in a model and their true hash on its card."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(data)
    change_card(folder, weights=name, sha256=registry.file_sha256(folder / name))


def assert_refused(folder: Path, match: str, kind: type = ModelError) -> None:
    with pytest.raises(kind, match=match) as caught:
        ProtohaloPredictor.from_pretrained(folder, precision="float32")
    assert any(mark in str(caught.value) for mark in ";:")


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def lambda_model(path: Path, marker: Path) -> bytes:
    """A whole keras model with code in it, as bytes."""
    import keras

    where, inputs = str(marker), keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x: (__import__("os").mkdir(where), x)[1], output_shape=(2,))(
        keras.layers.Dense(2)(inputs)
    )
    keras.Model(inputs, outputs).save(path)
    shutil.rmtree(marker, ignore_errors=True)  # keras traced the layer while it built the model
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_whole_models_with_code_are_refused_and_nothing_of_them_runs(own_model, tmp_path, suffix):
    marker = tmp_path / "ran"
    data = lambda_model(tmp_path / f"bomb{suffix}", marker)
    give_weights(own_model, data)
    assert_refused(own_model, "holds no weights|architecture|weights are numbers")
    give_weights(own_model, data, f"semantic{suffix}")
    assert_refused(own_model, "only weights are loaded")
    assert not marker.exists()


def test_pickles_are_refused_and_nothing_of_them_runs(own_model, tmp_path):
    marker = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(marker))
    give_weights(own_model, bomb)
    assert_refused(own_model, "holds no weights that can be loaded")
    path = own_model / "semantic.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/down0_1/vars/0"] = np.void(bomb)
    give_weights(own_model, path.read_bytes())
    assert_refused(own_model, "weights are numbers")
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists(), "the bomb is one"


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_truncated_weights_with_a_hash_that_fits_are_refused(own_model, kept):
    data = (own_model / "semantic.weights.h5").read_bytes()
    give_weights(own_model, data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    assert_refused(own_model, "holds no weights that can be loaded|lacks finite weights|architecture")


def test_foreign_hdf5_files_are_refused(own_model):
    path = own_model / "semantic.weights.h5"
    with h5py.File(path, "w") as file:
        file["PartType1/Coordinates"] = np.zeros((4096, 3), dtype="f4")
    give_weights(own_model, path.read_bytes())
    assert_refused(own_model, "architecture|lacks finite weights")
    give_weights(own_model, (own_model / "instance.weights.h5").read_bytes())
    assert_refused(own_model, "does not fit the architecture of its card")


def test_weights_that_lie_elsewhere_or_nowhere_are_refused(own_model, tmp_path):
    path, secret = own_model / "semantic.weights.h5", tmp_path / "secret.h5"
    shutil.copy(path, secret)
    name = "layers/conv3d/vars/0"
    with h5py.File(path) as file:
        name = next(each for each in walk(file) if file[each].ndim == 5)
        shape = file[name].shape
    whole = path.read_bytes()

    def damaged(change) -> None:
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            del file[name]
            change(file)
        give_weights(own_model, path.read_bytes())

    damaged(lambda file: file.__setitem__(name, h5py.ExternalLink(str(secret), name)))
    assert_refused(own_model, "link to another file")
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(secret), name, shape)
    damaged(lambda file: file.create_virtual_dataset(name, layout))
    assert_refused(own_model, "all must be written in the file itself")
    damaged(lambda file: file.create_dataset(name, (10**6,) * 2, "f4", chunks=(1000, 1000)))
    assert_refused(own_model, "all must be written in the file itself")


def walk(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_a_network_larger_than_its_weights_is_never_built(own_model):
    path = own_model / registry.CARD_NAME
    values = json.loads(path.read_text())
    values["semantic"]["architecture"]["filters"] = [10**5, 10**5]
    path.write_text(json.dumps(values))
    assert_refused(own_model, "numbers, the architecture of its card needs over 540000000000")


@pytest.mark.parametrize(
    "name",
    [
        "../semantic.weights.h5", "/etc/passwd", "/tmp/x.weights.h5", "a/b.weights.h5", "..\\x.weights.h5",
        ".x.weights.h5", "", "semantic.h5", "semantic.keras", "semantic.weights.json",
        "x\n.weights.h5", "\x1b[2J.weights.h5", 7, None,
    ],
)  # fmt: skip
def test_names_that_leave_the_folder_or_mean_more_than_weights_are_refused(own_model, name):
    change_card(own_model, weights=name)
    assert_refused(own_model, "plain file name|only weights are loaded|wrong types")


def test_links_out_of_the_folder_are_refused_and_links_to_the_folder_are_not(own_model, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(own_model)
    ProtohaloPredictor.from_pretrained(link, precision="float32")
    path = own_model / "semantic.weights.h5"
    path.rename(tmp_path / "elsewhere.weights.h5")
    path.symlink_to(tmp_path / "elsewhere.weights.h5")
    assert_refused(own_model, "outside the model's folder", ModelIntegrityError)


def test_a_registry_entry_with_another_hash_is_refused(own_model):
    change_card(own_model, sha256="0" * 64)
    assert_refused(own_model, "have SHA-256", ModelIntegrityError)


# hostile JSON


def places(values: Any, path: tuple = ()) -> Iterator[tuple]:
    """Path of every value in a JSON tree."""
    if path:
        yield path
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        yield from places(value, (*path, key))


HOSTILE = (
    None,
    True,
    -1,
    0,
    2.5,
    10**400,
    -(10**400),
    float("nan"),
    float("inf"),
    "",
    "../../x",
    "\x1b[31m",
    [],
    {},
    [[]],
)


def test_no_value_of_a_card_can_be_anything_but_refused_by_name_or_valid():
    good = json.loads(make_card().to_json())
    refused = 0
    for path in places(good):
        for value in HOSTILE:
            card = copy.deepcopy(good)
            owner = card
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = value
            try:
                again = ModelCard.from_json(json.dumps(card))
            except ModelError:
                refused += 1
            else:
                assert ModelCard.from_json(again.to_json()) == again or value != value
    assert refused > 400


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000, b'{"a":' * 100_000, b'{"format": 1, "version": ' + b"9" * 10_000 + b"}", b"NaN", b"[]",
        b"", b"\xff\xfe", b"\0" * 1000, b'"' + b"x" * (registry.LARGEST_CARD + 1) + b'"',
    ],
    ids=["deep list", "deep object", "long number", "nan", "list", "empty", "not utf-8", "zeros", "long"],
)  # fmt: skip
def test_hostile_json_is_refused_by_name(own_model, data, capsys):
    (own_model / registry.CARD_NAME).write_bytes(data)
    assert_refused(own_model, "card.json")
    assert cli.main(["models", str(own_model)]) == cli.USER_ERROR
    assert capsys.readouterr().err.count("\n") == 1
