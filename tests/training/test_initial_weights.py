"""Trainings that begin with an earlier network, whole or narrowed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from yt_protohalos.exceptions import ModelError, UnknownModelError
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models.position_network import build_network
from yt_protohalos.models.vnet import build_vnet
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.initial_weights import TrainedNetwork, layer_sources, read_network, start_with
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.trainer import Trainer

N = 16
CHANNELS = ("delta", "phi")


@pytest.fixture(scope="module")
def labelled() -> LabelledField:
    field = generate_initial_conditions(N, N * 50 / 256, seed=7)
    return LabelledField.from_labels(field, (field.delta > 1.0).astype(np.int32))


def settings(**changes: object) -> TrainingSettings:
    given: dict[str, object] = {
        "head": "semantic", "stages": ((16, 3),), "margin": 2, "filters": (3, 4, 5), "dtype_policy": "float32"
    }  # fmt: skip
    return TrainingSettings(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def earlier(labelled: LabelledField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    Trainer(settings(average_decay=0.0, validate_every=1), [labelled], [], folder).run(progress=False)
    return folder


def as_network(model: object, architecture: dict, channels: tuple[str, ...] = CHANNELS) -> TrainedNetwork:
    return TrainedNetwork(model, architecture, channels, {"delta": 1.0, "phi": 1.0})


@pytest.mark.parametrize("head", ["semantic", "instance", "positions"])
def test_the_sources_are_those_of_the_network(head: str) -> None:
    filters = (2, 3, 4, 5)
    skip = {"input_skip": True} if head == "instance" else {}
    model = build_network(side=16, in_channels=2, head=head, margin=2, filters=filters, **skip)
    sources = layer_sources(len(filters), head, head == "instance")
    layers = [layer.name for layer in model.layers if layer.get_weights()]
    assert sorted(sources) == sorted(layers)

    def producers(name: str) -> list[str]:
        """Convolutions (or the input) that a layer reads, through layers without weights."""
        found = []
        for tensor in model.get_layer(name)._inbound_nodes[0].input_tensors:
            before = tensor._keras_history.operation.name
            found += [before] if before in sources or before == "channels" else producers(before)
        return found

    for name, expected in sources.items():
        assert producers(name) == list(expected)


def test_filters_that_do_nothing_are_those_left_out() -> None:
    wide = {"side": 16, "in_channels": 2, "head": "instance", "margin": 2, "filters": [4, 5, 6], "input_skip": True}
    small = {**wide, "filters": [3, 4, 4]}
    model = build_vnet(**wide)
    rng = np.random.default_rng(3)
    width = dict.fromkeys(("down0_1", "down0_2", "up0_1", "up0_2", "up1_3"), 3)
    for layer in model.layers:
        pair = layer.get_weights()
        if pair:
            pair[1] = rng.normal(size=pair[1].shape).astype(np.float32)
            axis = 3 if layer.name in ("up1_3", "up2_3") else 4
            n = pair[1].size
            idle = rng.choice(n, n - width.get(layer.name, 3 if n == 3 else 4), replace=False)
            index = [slice(None)] * 5
            index[axis] = idle
            pair[0][tuple(index)] = 0
            pair[1][idle] = 0
            layer.set_weights(pair)
    narrowed = build_vnet(**small)
    architecture = {**wide, "residual": False}
    start_with(narrowed, as_network(model, architecture), {**small, "residual": False}, CHANNELS)
    seen = rng.normal(size=(1, 16, 16, 16, 2)).astype(np.float32)
    expected, found = (network.predict_on_batch(seen) for network in (model, narrowed))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_position_network_begins_with_the_weights_of_another() -> None:
    wide = {"side": 16, "in_channels": 2, "head": "positions", "margin": 3, "filters": [4, 5, 6]}
    model, same, narrowed = (build_network(**{**wide, "filters": f}) for f in ([4, 5, 6], [4, 5, 6], [3, 4, 4]))
    rng = np.random.default_rng(5)
    idle = {"down0_1": 1, "stride1": 1, "down1_1": 1, "down1_2": 1, "stride2": 2, "down2_1": 2, "down2_2": 2,
            "grow1": 1, "up1_1": 1, "up1_2": 1, "grow0": 1, "up0_1": 1, "positions": 0}  # fmt: skip
    for layer in model.layers:
        pair = layer.get_weights()
        if pair:
            pair[1] = rng.normal(size=pair[1].shape).astype(np.float32)
            chosen = rng.choice(pair[1].size, idle.pop(layer.name), replace=False)
            (pair[0].swapaxes(3, 4) if layer.name.startswith("grow") else pair[0])[..., chosen] = 0
            pair[1][chosen] = 0
            layer.set_weights(pair)
    assert not idle
    seen = rng.normal(size=(1, 16, 16, 16, 2)).astype(np.float32)
    expected = model.predict_on_batch(seen)
    assert np.ptp(expected) > 0.1
    start_with(same, as_network(model, wide), wide, CHANNELS)
    np.testing.assert_array_equal(same.predict_on_batch(seen), expected)
    start_with(narrowed, as_network(model, wide), {**wide, "filters": [3, 4, 4]}, CHANNELS)
    np.testing.assert_allclose(narrowed.predict_on_batch(seen), expected, rtol=1e-4, atol=1e-5)


def test_a_channel_is_dropped_or_begins_at_zero() -> None:
    arguments = {"side": 16, "head": "instance", "margin": 2, "filters": [3, 4], "input_skip": True}
    architecture = {**arguments, "residual": False}
    rng = np.random.default_rng(4)
    both = build_vnet(in_channels=2, **arguments)
    for channels in (("phi",), ("delta", "phi", "probability")):
        model = build_vnet(in_channels=len(channels), **arguments)
        start_with(model, as_network(both, architecture), architecture, channels)
        given = {name: rng.normal(size=(16, 16, 16)).astype(np.float32) for name in channels}
        for_both = np.stack([given.get(name, np.zeros((16, 16, 16), np.float32)) for name in CHANNELS], axis=-1)
        found = model.predict_on_batch(np.stack(list(given.values()), axis=-1)[None])
        np.testing.assert_allclose(found, both.predict_on_batch(for_both[None]), rtol=1e-4, atol=1e-5)


def test_a_training_begins_with_weights_and_scales_of_another(
    labelled: LabelledField, earlier: Path, tmp_path: Path
) -> None:
    network = read_network(earlier, "semantic")
    changed = json.loads((earlier / "settings.json").read_text())
    trainer = Trainer(settings(start=str(earlier), learning_rate=1e-9, final_rate=1e-9), [labelled], [], tmp_path)
    trainer.run(progress=False)
    assert trainer.constants["normalisation"] == changed["constants"]["normalisation"]
    for name, (kernel, bias) in network.weights.items():
        found = trainer.model.get_layer(name).get_weights()
        np.testing.assert_allclose(found[0], kernel, atol=1e-6)
        np.testing.assert_allclose(found[1], bias, atol=1e-6)
    # a resume goes on from its own checkpoint
    again = Trainer(settings(start=str(earlier), learning_rate=1e-9, final_rate=1e-9), [labelled], [], tmp_path)
    again.run(progress=False)
    assert again.step == 3


@pytest.mark.slow
def test_a_training_begins_with_a_bundled_model(labelled: LabelledField, tmp_path: Path) -> None:
    network = read_network("planck-v2", "semantic")
    narrow = settings(start="planck-v2", filters=(2, 3, 4, 3, 3), margin=8, stages=((32, 1),), channels=("delta",))
    trainer = Trainer(narrow, [labelled], [], tmp_path)
    trainer.run(progress=False)
    assert trainer.constants["normalisation"]["delta"] == network.normalisation["delta"]
    bias = trainer.model.get_layer("down0_1").get_weights()[1]
    assert all(np.abs(network.weights["down0_1"][1] - value).min() < 1e-3 for value in bias)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": (3, 4, 6)}, "6 filters, but the start has 5"),
        ({"filters": (3, 4)}, "3 levels, the new network 2"),
        ({"input_skip": True}, "input_skip = False"),
        ({"head": "instance", "input_skip": True}, "holds a semantic network"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    labelled: LabelledField, earlier: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Trainer(settings(start=str(earlier), **changes), [labelled], [], tmp_path).run(progress=False)


def test_a_start_that_is_nothing_is_refused(labelled: LabelledField, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        Trainer(settings(start=str(tmp_path / "nothing")), [labelled], [], tmp_path / "new")


def test_residual_blocks_are_not_narrowed() -> None:
    arguments = {"side": 16, "in_channels": 2, "head": "semantic", "margin": 2, "residual": True, "input_skip": False}
    wide, small = {**arguments, "filters": [4, 4]}, {**arguments, "filters": [2, 4]}
    with pytest.raises(ModelError, match="residual blocks cannot be pruned"):
        start_with(build_vnet(**small), as_network(build_vnet(**wide), wide), small, CHANNELS)
