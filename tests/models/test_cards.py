"""Model cards survive JSON, refuse what is not valid, and never let an altered weight file through."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from small_model import SIDE, write_small_model
from standins import SPACING, make_card, make_field, make_network

from yt_protohalos.exceptions import (
    CosmologyWarning,
    ModelError,
    ModelIntegrityError,
    OutOfRangeError,
    SpacingWarning,
    UnknownModelError,
)
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY, Cosmology
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models import registry, runtime
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.resolution import model_side
from yt_protohalos.models.validity import check_amplitude, check_cosmology, measured_amplitude
from yt_protohalos.prediction.predictor import ProtohaloPredictor

ARCHITECTURE = make_network("semantic").architecture


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def own_model(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "own")


def test_json_round_trip_keeps_everything():
    card = make_card(training={"seeds": [1, 2]}, scores={"acc": 0.86})
    again = ModelCard.from_json(card.to_json())
    assert again == card
    assert again.sha256 == card.sha256


def test_a_card_shows_what_models_are_compared_by():
    card = make_card(description="<b> " + "long " * 100, scores={"run 1": {"ACC": 0.8846, "F1": 0.85}, "run 2": 0.7})
    lines = repr(card).splitlines()
    assert len(lines) == 6 and all(len(line) <= 120 for line in lines)
    for text in (
        "'tiny'",
        "0.19531 Mpc/h",
        "Omega_m = 0.307112",
        "5 sites",
        "pseudo-space",
        "run 1: ACC 0.8846, F1 0.85",
    ):
        assert text in repr(card), text
    table = card._repr_html_()
    assert table.startswith("<table>") and "&lt;b&gt;" in table and "run 2: 0.7" in table


def test_identity_changes_with_any_weight_file():
    other = make_card(instance=make_network("instance", sha256="0" * 64))
    assert other.sha256 != make_card().sha256


def test_identity_is_what_predictions_depend_on():
    card = make_card()
    assert make_card(scores={"acc": 0.86}, training={"seeds": [1]}, description="told anew").sha256 == card.sha256
    for change in ({"threshold": 0.41}, {"calibration": {"slope": 0.9, "intercept": 0.0}}, {"min_sites": 20}):
        assert make_card(**change).sha256 != card.sha256, change


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"beta": 0.0}, "beta"),
        ({"spacing": -1.0}, "spacing"),
        ({"version": 0}, "version"),
        ({"min_sites": 2.5}, "min_sites"),
        ({"core": 31}, "core 31 exceeds the output side 30"),
        ({"amplitude_range": (0.9, 0.7)}, "amplitude_range"),
        ({"calibration": {"slope": 1.0}}, "calibration"),
        ({"calibration": {"slope": -1.0, "intercept": 0.0}}, "slope"),
        ({"calibration": {"slope": 1.0, "intercept": 0.0, "slope_by_amplitude": 0.1}}, "calibration"),
        (
            {
                "amplitude_range": (0.3, 0.9),
                "calibration": {
                    "slope": 0.5,
                    "intercept": 0.0,
                    "slope_by_amplitude": 1.0,
                    "intercept_by_amplitude": 0.0,
                },
            },
            "reverses the order",
        ),
        ({"clustering": {"n_dens": 20, "n_ngb": 15}}, "clustering"),
        ({"clustering": {"n_dens": 20, "n_ngb": 15, "persistence": float("nan")}}, "persistence"),
        ({"halo_definition": {"finder": "FoF"}}, "halo_definition"),
        ({"semantic": make_network("instance")}, "head"),
    ],
)
def test_invalid_cards_are_refused_by_field(changes, words):
    with pytest.raises(ModelError, match=words):
        make_card(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"weights": "../elsewhere.h5"}, "plain file name"),
        ({"channels": ("phi", "delta")}, "channels"),
        ({"channels": ("delta", "phi", "density_100_0")}, "in_channels"),
        ({"channels": ("delta", "phi", "q_x", "q_y", "q_z")}, "for the instance network"),
        ({"channels": ("delta", "phi", "probability")}, "for the instance network"),
        ({"channels": ("delta", "phi", "x_x")}, "a part of a position"),
        ({"normalisation": {"delta": 1.0}}, "normalisation"),
        ({"normalisation": {"delta": 1.0, "phi": 0.0}}, "normalisation phi"),
        ({"phi_gauge": "none"}, "gauge"),
        ({"architecture": {"side": 16}}, "lacks margin"),
        ({"architecture": {**ARCHITECTURE, "depth": 5}}, "unknown keys depth"),
        ({"architecture": {**ARCHITECTURE, "side": 41}}, "41 is not a multiple of 2"),
        ({"architecture": {**ARCHITECTURE, "margin": 20}}, "margin 20 leaves nothing"),
        ({"architecture": {**ARCHITECTURE, "residual": 1}}, "residual 1 is not true or false"),
    ],
)
def test_invalid_network_cards_are_refused_by_field(changes, words):
    with pytest.raises(ModelError, match=words):
        make_network("semantic", **changes)


def test_unknown_keys_formats_and_broken_text_are_refused():
    values = json.loads(make_card().to_json())
    with pytest.raises(ModelError, match="unknown keys colour"):
        ModelCard.from_json(json.dumps({**values, "colour": "red"}))
    with pytest.raises(ModelError, match="format 2"):
        ModelCard.from_json(json.dumps({**values, "format": 2}))
    with pytest.raises(ModelError, match="incomplete"):
        ModelCard.from_json(json.dumps({key: value for key, value in values.items() if key != "beta"}))
    with pytest.raises(ModelError, match="cosmology"):
        ModelCard.from_json(json.dumps({**values, "cosmology": {**values["cosmology"], "h": -1}}))
    with pytest.raises(ModelError, match="JSON"):
        ModelCard.from_json("{")


def test_unknown_model_names_the_bundled_ones(tmp_path):
    with pytest.raises(UnknownModelError, match="no model named 'nowhere'") as caught:
        registry.load_card("nowhere")
    assert caught.value.available == registry.available()
    with pytest.raises(UnknownModelError):
        registry.load_card(tmp_path)


def test_every_bundled_model_is_whole():
    for name in registry.available():
        card, folder = registry.load_card(name)
        registry.verify(card, folder)
        assert card.name == name


@pytest.mark.parametrize("file", ["semantic.weights.h5", "instance.weights.h5"])
def test_a_tampered_or_missing_weight_file_is_refused(own_model, file):
    path = own_model / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelIntegrityError, match="altered or damaged"):
        ProtohaloPredictor.from_pretrained(own_model)
    path.unlink()
    with pytest.raises(ModelIntegrityError, match="missing"):
        ProtohaloPredictor.from_pretrained(own_model)


def test_a_card_is_not_written_beside_other_weights(own_model):
    with pytest.raises(ModelIntegrityError):
        registry.write_card(make_card(), own_model)


def _halve(path):
    """Store float32 weights as float16, in place."""

    def names(file):
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        return found

    with h5py.File(path, "a") as file:
        for name in names(file):
            values = file[name][()]
            if values.dtype == np.float32:
                del file[name]
                file[name] = values.astype(np.float16)


def test_float16_weights_load_and_predict_nearly_the_same(own_model):
    batch = np.random.default_rng(1).standard_normal((1, SIDE, SIDE, SIDE, 2)).astype(np.float32)
    full = ProtohaloPredictor.from_pretrained(own_model, precision="float32").semantic(batch)
    card, _ = registry.load_card(own_model)
    networks = {}
    for role in ("semantic", "instance"):
        network = getattr(card, role)
        _halve(own_model / network.weights)
        networks[role] = make_network(
            role,
            architecture=network.architecture,
            normalisation=network.normalisation,
            sha256=registry.file_sha256(own_model / network.weights),
        )
    registry.write_card(make_card(SIDE, card.semantic.margin, core=32, **networks), own_model)
    half = ProtohaloPredictor.from_pretrained(own_model, precision="float32").semantic(batch)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=5e-3)
    assert not np.array_equal(half, full)


def test_bfloat16_networks_return_float32(model_folder):
    predictor = ProtohaloPredictor.from_pretrained(model_folder, precision="bfloat16")
    batch = np.zeros((1, SIDE, SIDE, SIDE, 5), dtype=np.float32)
    points = predictor.instance(batch)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()


def test_mixed_precision_lies_between(model_folder):
    random = np.random.default_rng(4).normal(size=(1, SIDE, SIDE, SIDE, 5)).astype(np.float32)
    networks = {
        precision: ProtohaloPredictor.from_pretrained(model_folder, precision=precision)
        for precision in ("float32", "mixed", "bfloat16")
    }
    points = {precision: predictor.instance(random) for precision, predictor in networks.items()}
    error = {name: np.abs(points[name] - points["float32"]).mean() for name in ("mixed", "bfloat16")}
    assert 0 < error["mixed"] < 0.8 * error["bfloat16"]


def test_weights_of_another_architecture_are_refused(own_model):
    path = own_model / registry.CARD_NAME
    values = json.loads(path.read_text())
    values["semantic"]["architecture"]["filters"] = [3, 4]
    path.write_text(json.dumps(values))
    with pytest.raises(ModelError, match="architecture"):
        ProtohaloPredictor.from_pretrained(own_model)


def test_amplitude_outside_the_training_is_refused_unless_asked():
    high = Cosmology(h=0.6777, omega_m=0.307112, omega_lambda=0.692888, sigma_8=1.1)
    card = make_card()
    with pytest.raises(OutOfRangeError, match=r"sigma_8 = 1.1 is outside 0.7-0.95"):
        check_cosmology(card, high)
    with pytest.warns(CosmologyWarning, match="sigma_8"):
        check_cosmology(card, high, on_range="warn")
    check_cosmology(card, high, on_range="allow")
    check_cosmology(card, PAPER_COSMOLOGY)
    with pytest.raises(ModelError, match="on_range"):
        check_cosmology(card, high, on_range="maybe")


@pytest.mark.parametrize(("name", "value"), [("omega_m", 0.2), ("h", 0.5), ("n_s", 1.2)])
def test_far_cosmologies_warn_by_parameter(name, value):
    values = {"h": 0.6777, "omega_m": 0.307112, "omega_lambda": 0.692888, name: value}
    with pytest.warns(CosmologyWarning, match=f"{name} = {value:g} is outside"):
        check_cosmology(make_card(), Cosmology(**values))


def test_other_spacings_are_resampled_with_a_warning_up_to_a_factor_of_two():
    card = make_card()
    assert model_side(card, make_field(32)) == 32
    with pytest.warns(SpacingWarning, match="from 32 to 40"):
        assert model_side(card, make_field(32, spacing=SPACING * 40 / 32)) == 40
    with pytest.raises(OutOfRangeError, match="on_spacing='warn'"):
        model_side(card, make_field(32, spacing=SPACING * 40 / 32), "error")
    with pytest.raises(OutOfRangeError, match="factor 2"):
        model_side(card, make_field(32, spacing=SPACING * 70 / 32))
    assert model_side(card, make_field(32, spacing=SPACING * 70 / 32), "allow") == 70


@pytest.mark.parametrize("sigma_8", [0.6, 0.8288, 1.05])
def test_the_amplitude_is_measured_within_its_error_whatever_the_file_says(sigma_8):
    field = generate_initial_conditions(32, 32 * 50 / 256, seed=4, cosmology=replace(PAPER_COSMOLOGY, sigma_8=sigma_8))
    unaware = replace(field, cosmology=PAPER_COSMOLOGY)
    card = make_card()
    measured, error = measured_amplitude(card, unaware)
    assert abs(measured - sigma_8) < 3 * error < 0.25
    low, high = card.amplitude_range
    if low <= sigma_8 <= high:
        check_amplitude(card, unaware)
        return
    with pytest.raises(OutOfRangeError, match="rms of sigma_8"):
        check_amplitude(card, unaware)
    with pytest.warns(CosmologyWarning, match="rms of sigma_8"):
        check_amplitude(card, unaware, on_range="warn")
    check_amplitude(card, unaware, on_range="allow")


@pytest.mark.parametrize(
    ("flags", "gpu", "expected"),
    [("avx2", False, "float32"), ("avx512_bf16", False, "mixed"), ("avx512_bf16 amx_bf16", False, "bfloat16"),
     ("avx2", True, "bfloat16")],
)  # fmt: skip
def test_the_precision_follows_what_the_machine_multiplies_fast(monkeypatch, tmp_path, flags, gpu, expected):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags} sse\n", encoding="ascii")
    monkeypatch.setattr(runtime, "CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(runtime, "gpu_memory", lambda: 1 if gpu else None)
    assert runtime.best_precision() == expected
