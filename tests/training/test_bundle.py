"""From training folders to a shippable model, and the commands that do it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from yt_fakes import grid_dataset

from yt_protohalos.cli import main
from yt_protohalos.cli.simulate import parse_seeds
from yt_protohalos.exceptions import InitialConditionsError, ModelError, ScoringError
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models.card import MERGING_KEYS
from yt_protohalos.models.channels import EVOLVED_SEMANTIC, FIELD_CHANNELS
from yt_protohalos.models.registry import load_card
from yt_protohalos.models.runtime import load_network
from yt_protohalos.prediction.inference import CropNetwork
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.segmentation.tiling import CropPlan
from yt_protohalos.training import calibration, semantic_targets, trials
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.export import (
    _rounded,
    bundle,
    describe_training,
    draft_card,
    export_network,
)
from yt_protohalos.training.run_files import write_seed_run
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.simulation import SimulationSettings
from yt_protohalos.training.trainer import Trainer
from yt_protohalos.yt_interface.fields import add_protohalo_fields

N = 24


@pytest.fixture(autouse=True)
def small_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box of 24 sites needs no crops of 144."""
    monkeypatch.setattr(semantic_targets, "SIDE", 48)


@pytest.fixture(scope="module")
def labelled() -> LabelledField:
    field = generate_initial_conditions(N, N * 50 / 256, seed=7)
    return LabelledField.from_labels(field, (field.delta > 1.0).astype(np.int32))


@pytest.fixture(scope="module")
def trained(labelled: LabelledField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    for head in ("semantic", "instance"):
        settings = TrainingSettings(
            head=head, stages=((32, 15),), margin=2, filters=(2, 4), dtype_policy="float32", learning_rate=1e-2,
            input_skip=head == "instance", max_instances=64, average_decay=0.5,
        )  # fmt: skip
        Trainer(settings, [labelled], [], folder / head).run(progress=False)
    return folder


@pytest.mark.slow
def test_a_bundled_model_loads_predicts_and_keeps_its_record(
    labelled: LabelledField, trained: Path, tmp_path: Path
) -> None:
    cards = [export_network(trained / h, tmp_path / f"{h}.weights.h5", side=32) for h in ("semantic", "instance")]
    field = labelled.field
    draft = replace(draft_card("tiny", *cards, [labelled], core=16), training={"runs": [7]})
    card = bundle(draft, tmp_path, [labelled], progress=False)
    stored, _ = load_card(tmp_path)
    assert stored == card
    assert stored.training["runs"] == [7]
    tried = stored.training["clustering_candidates"]
    best = max(candidate["share"] for candidate in tried)
    total = np.count_nonzero(np.bincount(labelled.labels.ravel())[1:] > 500)
    equal = [one for one in tried if one["share"] >= best - np.sqrt(best * (1 - best) / total) - 1e-4]
    chosen = min(equal, key=lambda candidate: candidate["mass_function_error"])
    assert len(tried) > 1 and all(stored.clustering[key] == chosen[key] for key in ("persistence", *MERGING_KEYS))
    prediction = ProtohaloPredictor.from_pretrained(tmp_path).predict(field, progress=False)
    assert prediction.mask.mean() == pytest.approx((labelled.labels > 0).mean(), abs=0.02)
    assert card.scores["validation"][0]["ACC"] == pytest.approx(
        np.mean(prediction.mask == (labelled.labels > 0)), abs=1e-3
    )


def test_the_mass_function_decides_between_settings_that_match_as_many_haloes(
    labelled: LabelledField, monkeypatch: pytest.MonkeyPatch
) -> None:
    # four haloes of 1152 sites; one of three candidates splits one, one loses two, one adds a halo that is not there
    truth = np.zeros((N, N, N), dtype=np.int32)
    for i in range(4):
        truth[:, :, 3 * i : 3 * i + 2] = i + 1
    split, lost, false = truth.copy(), truth.copy(), truth.copy()
    split[: N // 2][split[: N // 2] == 1] = 5
    lost[lost > 2] = 0
    false[:, :, 20:22] = 5
    monkeypatch.setattr(calibration, "_labels_by_candidate", lambda *_: iter([split, lost, false]))
    candidates = [{"persistence": value} for value in (1.0, 2.0, 3.0)]
    run = LabelledField.from_labels(labelled.field, truth)
    card = SimpleNamespace(clustering={"n_dens": 20}, channels=(), evolution="coarse", sees_evolution=False)
    predictor = SimpleNamespace(card=card)
    chosen, table = calibration.tune_clustering(predictor, [run], [truth], candidates, progress=False)  # type: ignore[arg-type]
    assert [one["share"] for one in table] == [0.75, 0.5, 1.0]
    assert [one["mass_function_error"] for one in table] == [0.25, 0.5, 0.25]
    assert chosen == {"n_dens": 20, "persistence": 3.0}
    with pytest.raises(ScoringError, match="more than 5000 sites"):
        calibration.tune_clustering(predictor, [run], [truth], candidates, 5000, progress=False)  # type: ignore[arg-type]


def test_the_error_of_a_mass_function_is_the_mean_over_bins_with_enough_haloes() -> None:
    simulated = [600] * 10 + [900] * 20 + [5000] * 3
    assert trials.mass_function_error(simulated, simulated, 500) == 0
    # 12 instead of 10 and 15 instead of 20; the three large ones are too few to count
    assert trials.mass_function_error([600] * 12 + [900] * 15, simulated, 500) == pytest.approx(
        (0.2 * 10**0.5 + 0.25 * 20**0.5) / (10**0.5 + 20**0.5)
    )
    assert trials.mass_function_error([600, 20], [600, 5000], 500) == 0.5
    assert trials.mass_function_error([], [400], 500) == 0


@pytest.mark.slow
def test_half_precision_weights_are_the_averaged_ones(trained: Path, tmp_path: Path) -> None:
    from yt_protohalos.models.vnet import build_vnet

    card = export_network(trained / "semantic", tmp_path / "half.weights.h5", side=16)
    whole = export_network(trained / "semantic", tmp_path / "whole.weights.h5", side=16, half=False)
    assert card.sha256 != whole.sha256
    models = []
    for network in (card, whole):
        models.append(build_vnet(**network.architecture))
        models[-1].load_weights(tmp_path / network.weights)
    for half, full in zip(*(m.get_weights() for m in models), strict=True):
        assert np.allclose(half, full, rtol=1e-3, atol=1e-6)
        assert np.array_equal(half, full.astype(np.float16).astype(np.float32))


def test_a_semantic_network_alone_is_a_model_of_membership(
    labelled: LabelledField, trained: Path, tmp_path: Path
) -> None:
    semantic = export_network(trained / "semantic", tmp_path / "semantic.weights.h5", side=32)
    field = labelled.field
    draft = replace(draft_card("alone", semantic, None, [labelled], core=16), amplitude_range=(0.5, 1.0))
    card = bundle(draft, tmp_path, [labelled], progress=False)
    assert load_card(tmp_path)[0] == card and card.instance is None
    assert card.amplitude_range == (0.5, 1.0)
    (scores,) = card.scores["validation"]
    assert scores["ACC"] > 0.5 and scores["matched_share_all"] is None and scores["haloes_above_500_sites"] > 0
    predictor = ProtohaloPredictor.from_pretrained(tmp_path)
    members = predictor.probability(field, progress=False) > card.threshold
    assert members.mean() == pytest.approx((labelled.labels > 0).mean(), abs=0.02)
    with pytest.raises(ModelError, match="separates no haloes"):
        predictor.predict(field, progress=False)
    with pytest.raises(ModelError, match=r"'alone'.*another model"):
        add_protohalo_fields(grid_dataset(field), model=tmp_path)


def test_only_a_position_network_is_made_of_several_spacings(
    labelled: LabelledField, trained: Path, tmp_path: Path
) -> None:
    semantic = export_network(trained / "semantic", tmp_path / "semantic.weights.h5", side=32)
    wide = generate_initial_conditions(N, N * 0.4, seed=7)
    runs = [labelled, LabelledField.from_labels(wide, labelled.labels)]
    with pytest.raises(ModelError, match=r"spacings from 0\.1953 to 0\.4 Mpc/h.*give runs of one spacing"):
        draft_card("mixed", semantic, None, runs, core=16)


def test_a_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="train first"):
        export_network(tmp_path, tmp_path / "x.weights.h5", side=16)


def test_seeds_are_numbers_or_rising_ranges() -> None:
    assert parse_seeds(["7", "101-103"]) == [7, 101, 102, 103]
    for word in ("a", "5-3", "-2", "1-x"):
        with pytest.raises(InitialConditionsError, match="seed"):
            parse_seeds([word])


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["linear", "evolved"])
def test_train_and_bundle_commands(
    labelled: LabelledField, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    channels: str,
) -> None:  # fmt: skip
    # all 25 candidates take minutes, and what is tried is not the matter here
    monkeypatch.setattr(calibration, "CANDIDATES", calibration.CANDIDATES[-2:])
    settings = SimulationSettings(n=N, box_size=N * 50 / 256, mesh=64)
    zeros = np.zeros((N**3, 3), dtype=np.float32)
    run, held_out = tmp_path / "run.h5", tmp_path / "held_out.h5"
    for path in (run, held_out):
        write_seed_run(path, labelled.labels, zeros, zeros, settings, {"seed": 7, "steps": 1})
    # small networks that learn a little: of untrained ones, a calibration may find the haloes upside down
    common = ["--runs", str(run), "--held-out", str(held_out), "--stages", "32:15", "--float32", "-q"]
    common += ["--filters", "4", "6", "--learning-rate", "0.01"]
    common += ["--channels", channels]
    assert main(["train", "semantic", *common, "-o", str(tmp_path / "semantic")]) == 0
    loss = "scaled" if channels == "linear" else "weighted"
    seen = ["--loss", loss, "--semantic", str(tmp_path / "semantic")]
    assert main(["train", "instance", *common, *seen, "-o", str(tmp_path / "instance")]) == 0
    cubes = sorted(path.name for path in (tmp_path / "instance").glob("*.npy"))
    assert cubes == ["probability_held_out.npy", "probability_run.npy"]
    assert main(["train", "semantic", *common, *seen, "-o", str(tmp_path / "other")]) == 2
    assert "sees no probability; leave out --semantic" in capsys.readouterr().err
    command = ["bundle", "tiny", "--runs", str(run), "--validation", str(run), "-o", str(tmp_path / "model"), "-q"]
    command += ["--semantic", str(tmp_path / "semantic"), "--instance", str(tmp_path / "instance")]
    assert main([*command, "--semantic-side", "32", "--instance-side", "32", "--core", "16"]) == 0
    card, _ = load_card(tmp_path / "model")
    assert card.training["runs"][0]["seed"] == 7
    assert card.training["semantic"]["steps"] == 15
    assert card.instance.sees_probability and not card.semantic.sees_probability
    expected = EVOLVED_SEMANTIC if channels == "evolved" else FIELD_CHANNELS
    assert card.semantic.channels == expected
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :]) == json.loads(json.dumps(card.scores))
    assert replace(card, version=2).version == 2
    begun = ["train", "semantic", *common, "--start", str(tmp_path / "model"), "-o", str(tmp_path / "begun")]
    assert main([*begun, "--filters", "2", "4"]) == 0
    described = describe_training(tmp_path / "begun")["settings"]
    assert described["start"] == "model" and described["filters"] == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["linear", "evolved"])
def test_a_contour_network_makes_a_model_by_watershed(
    labelled: LabelledField, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], channels: str
) -> None:
    settings = SimulationSettings(n=N, box_size=N * 50 / 256, mesh=64)
    zeros = np.zeros((N**3, 3), dtype=np.float32)
    run, held_out, contour = tmp_path / "run.h5", tmp_path / "held_out.h5", tmp_path / "contour"
    for path in (run, held_out):
        write_seed_run(path, labelled.labels, zeros, zeros, settings, {"seed": 7, "steps": 1})
    common = ["--runs", str(run), "-o", str(contour), "--stages", "32:2", "--float32", "-q", "--channels", channels]
    train = ["train", "contour", "--filters", "2", "4", *common]
    assert main(train) == 2
    assert "name its model with --semantic" in capsys.readouterr().err
    assert main([*train, "--semantic", str(trained / "semantic")]) == 2
    assert "needs --held-out" in capsys.readouterr().err
    assert main([*train, "--semantic", str(trained / "semantic"), "--held-out", str(held_out)]) == 0
    described = json.loads((contour / "settings.json").read_text(encoding="utf-8"))
    assert described["constants"]["beta"] == pytest.approx(1 - labelled.contour.mean())
    command = ["bundle", "flooded", "--runs", str(run), "--validation", str(held_out), "-o", str(tmp_path / "model")]
    command += ["--semantic", str(trained / "semantic"), "--contour", str(contour), "--semantic-side", "32"]
    assert main([*command, "--contour-side", "32", "--core", "16", "--mantissa", "5", "-q"]) == 0
    card, folder = load_card(tmp_path / "model")
    assert card.method == "watershed" and card.training["contour"]["steps"] == 2
    chosen = {name: card.clustering[name] for name in ("foreground", "contour")}
    tried = card.training["clustering_candidates"]
    assert chosen in [{name: one[name] for name in chosen} for one in tried]
    found = ProtohaloPredictor.from_pretrained(folder).predict(labelled.field, progress=False)
    assert found.mask.mean() == pytest.approx((labelled.labels > 0).mean(), abs=0.02)
    assert not found.labels[~found.mask].any()


def test_weights_of_a_short_mantissa_are_the_nearest_that_it_can_say() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for mantissa in (1, 5, 10):
        rounded = _rounded(values, mantissa)
        assert np.abs(rounded / values - 1).max() <= 2.0 ** -(mantissa + 1) * 1.001
        assert not np.any(rounded.view(np.uint16) & (2 ** (10 - mantissa) - 1))
    assert np.array_equal(_rounded(values, 10), values.astype(np.float16))
    assert np.array_equal(_rounded(np.zeros(3, np.float32), 5), np.zeros(3, np.float16))


def test_one_field_alone_makes_a_semantic_network(labelled: LabelledField, tmp_path: Path) -> None:
    settings = TrainingSettings(
        "semantic", ((16, 2),), margin=2, filters=(2, 4), dtype_policy="float32", channels=("phi",)
    )
    Trainer(settings, [labelled], [], tmp_path / "training").run(progress=False)
    card = export_network(tmp_path / "training", tmp_path / "phi.weights.h5", side=16)
    assert card.channels == ("phi",) and list(card.normalisation) == ["phi"]
    network = CropNetwork(load_network(card, tmp_path, "float32"), card)
    (output,) = network.run(labelled.model_input, CropPlan(N, 16, 2, 8).crops("a")[:1])
    assert output.shape == (12, 12, 12, 1)


def test_commands_fail_early_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "semantic", "--runs", str(tmp_path / "no.h5"), "-o", str(tmp_path)]) == 2
    assert "no run file" in capsys.readouterr().err
    (tmp_path / "run.h5").touch()
    command = ["train", "semantic", "--runs", str(tmp_path / "run.h5"), "-o", str(tmp_path), "--stages", "big"]
    assert main(command) == 2
    assert "SIDE:STEPS" in capsys.readouterr().err
    command = ["train", "instance", "--runs", str(tmp_path / "run.h5"), "-o", str(tmp_path)]
    assert main([*command, "--channels", "evolved"]) == 2
    assert "needs --semantic" in capsys.readouterr().err
    assert main([*command, "--channels", "phi"]) == 2
    assert "is not for the instance network; use linear or evolved" in capsys.readouterr().err
