"""From the training of a position network to a model, and its groups tuned on validation runs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from position_runs import make_position_run
from standins import make_field

from yt_protohalos.analysis.matching import match_haloes
from yt_protohalos.cli import main
from yt_protohalos.exceptions import ModelError, OutOfRangeError, ScoringError
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.field_range import FieldRange
from yt_protohalos.models.position_network import build_network
from yt_protohalos.models.registry import load_card
from yt_protohalos.prediction.position_predictor import PositionPredictor
from yt_protohalos.prediction.positions import SiteOutputs
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.segmentation import position_groups
from yt_protohalos.segmentation.position_groups import group_positions
from yt_protohalos.training.dataset import LabelledField, make_sample
from yt_protohalos.training.export import bundle, draft_card, export_network
from yt_protohalos.training.friends_of_friends import friends_of_friends
from yt_protohalos.training.position_tuning import (
    GROUP_CANDIDATES,
    MEMBER_CANDIDATES,
    STEPS,
    UNTUNED_GROUPS,
    tune_groups,
)
from yt_protohalos.training.recalibrate import recalibrate
from yt_protohalos.training.run_files import read_positions, write_seed_run
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.simulation import SimulationSettings
from yt_protohalos.training.trainer import Trainer

N, SMALLEST = 32, 60
SETTINGS = TrainingSettings(
    "positions", stages=((24, 60),), margin=4, filters=(2, 4), evolution="fast", dtype_policy="float32",
    learning_rate=1e-2, average_decay=0.5,
)  # fmt: skip
ABOUT = {"code": "own", "halo_finder": "FoF"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> LabelledField:
    return make_position_run(tmp_path_factory.mktemp("runs"), SETTINGS, N, SMALLEST)


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "positions"
    Trainer(SETTINGS, [run], [], folder).run(progress=False)
    return folder


@pytest.fixture(scope="module")
def model(run, trained, tmp_path_factory) -> tuple[ModelCard, Path]:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    network = export_network(trained, folder / "positions.weights.h5", side=32, margin=8)
    draft = draft_card("tiny", network, None, [run], core=16, evolution=SETTINGS.evolution)
    draft = replace(draft, min_sites=SMALLEST, training={"runs": [7]})
    return bundle(draft, folder, [run], progress=False), folder


def chosen_by_the_rule(table: list[dict[str, float]], total: int) -> dict[str, float]:
    best = max(one["share"] for one in table)
    equal = [one for one in table if one["share"] >= best - np.sqrt(best * (1 - best) / total) - 1e-4]
    return min(equal, key=lambda one: one["mass_function_error"])


def test_a_bundled_model_groups_by_the_settings_that_were_best(run, model) -> None:
    card, folder = model
    assert load_card(folder)[0] == card and card.method == "positions" and card.evolution == "fast"
    assert card.training["runs"] == [7] and card.semantic.margin == 8
    table, total = card.training["clustering_candidates"], int(run.labels.max())
    assert len(table) == sum(len(candidates) for _, candidates in STEPS)
    for _, candidates in STEPS:
        tried, table = table[: len(candidates)], table[len(candidates) :]
        best = chosen_by_the_rule(tried, total)
        assert all(card.clustering[key] == best[key] for key in candidates[0])
    assert {key: best[key] for key in UNTUNED_GROUPS} == card.clustering
    assert best["share"] > 0.3, "a network that learned matches haloes"

    predictor = ProtohaloPredictor.from_pretrained(folder)
    prediction = predictor.predict(run.field, evolved=run.evolved, progress=False, on_range="allow")
    matches = match_haloes(prediction.labels, run.labels)
    assert np.mean(matches.iou > 0.5) == pytest.approx(best["share"], abs=1e-4)
    (scores,) = card.scores["validation"]
    assert scores["ACC"] == pytest.approx(np.mean(prediction.mask == (run.labels > 0)), abs=1e-3)
    assert card.threshold == 0.5, "a member is more likely in a halo than not"
    np.testing.assert_array_equal(prediction.mask, prediction.probability > 0.5)
    # maximum likelihood with a free intercept makes the mean probability the frequency
    assert prediction.probability.mean(dtype=float) == pytest.approx((run.labels > 0).mean(), abs=2e-3)


@pytest.mark.slow
def test_runs_of_several_spacings_make_a_model_for_all_of_them(run, tmp_path) -> None:
    wide = make_position_run(tmp_path, SETTINGS, N, SMALLEST, spacing=0.4)
    cosmology = replace(wide.field.cosmology, omega_m=0.2, omega_lambda=0.8)
    wide = replace(wide, field=replace(wide.field, cosmology=cosmology))
    settings = replace(SETTINGS, stages=((24, 4),))
    Trainer(settings, [run, wide], [], tmp_path / "training").run(progress=False)
    folder = tmp_path / "model"
    folder.mkdir()
    network = export_network(tmp_path / "training", folder / "positions.weights.h5", side=32, margin=8)
    draft = replace(draft_card("wide", network, None, [run, wide], core=16, evolution="fast"), min_sites=SMALLEST)
    card = bundle(draft, folder, [run, wide], progress=False)
    assert card.field_range == FieldRange.of_fields([run.field, wide.field])
    assert card.field_range.spacing == (round(run.field.spacing, 4), 0.4) and len(card.scores["validation"]) == 2
    assert not card.sees_amplitude, "the amplitude of the training cosmology means nothing on another lattice"
    predictor = ProtohaloPredictor.from_pretrained(folder)
    for each in (run, wide):
        found = predictor.predict(each.field, evolved=each.evolved, progress=False)
        assert found.lattice == each.field.lattice and found.min_sites == SMALLEST
    with pytest.raises(OutOfRangeError, match=r"rms of delta is .* use a finer lattice"):
        predictor.predict(make_field(N, spacing=4.0), progress=False)


def perfect_outputs(run: LabelledField, in_group: np.ndarray) -> SiteOutputs:
    """What a network that knows the final positions would say."""
    final = read_positions(run.source) / run.field.spacing
    displacement = np.moveaxis(final.reshape(N, N, N, 3), -1, 0) - np.indices((N, N, N))
    return SiteOutputs((run.labels > 0).astype(np.float32), in_group, displacement.astype(np.float32))


def test_tuning_finds_the_linking_length_and_the_sites_of_the_simulation(run, monkeypatch) -> None:
    found: Counter[tuple[int, float]] = Counter()
    link = position_groups.friends_of_friends

    def counted(points, period, length):
        found[len(points), length] += 1
        return link(points, period, length)

    # sites of a lower probability than members would end in the haloes too, and cores never divide a group at first
    labels, rng = run.labels, np.random.default_rng(2)
    in_group = np.where(labels > 0, 0.42, 0.38).astype(np.float32)
    sites = np.indices((N, N, N))
    final = np.moveaxis((read_positions(run.source) / run.field.spacing).reshape(N, N, N, 3), -1, 0).copy()
    inside, outside = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    final.reshape(3, -1)[:, outside] = final.reshape(3, -1)[:, rng.choice(inside, len(outside))]
    outputs = SiteOutputs((labels > 0).astype(np.float32), in_group, (final - sites).astype(np.float32))
    start = {**UNTUNED_GROUPS, "min_core": N**3, "member": 0.1}
    card: Any = SimpleNamespace(clustering=start, min_sites=SMALLEST)
    monkeypatch.setattr(position_groups, "friends_of_friends", counted)
    chosen, table = tune_groups(card, [run], [outputs], progress=False)
    assert chosen["in_group"] == 0.4 and chosen["linking_length"] == 0.2
    exact = {**start, "in_group": 0.4, "linking_length": 0.2}
    assert {**exact, "share": 1.0, "mass_function_error": 0.0} in table[: len(GROUP_CANDIDATES)]
    # of each step, a length is linked once for a set of candidates
    assert found.total() == 5 * (4 + 1) + (1 + 4) + 2
    # a site must be likelier than 0.42 to stay in a halo, and none is
    assert chosen["member"] == 0.4 and all(one["share"] == 0 for one in table if one["member"] > 0.42)
    one = table[-len(MEMBER_CANDIDATES) - 1]
    again = group_positions(
        outputs.displacement, in_group > np.float32(0.4), 0.2, one["core_length"], int(one["min_core"]), SMALLEST
    )
    assert np.mean(match_haloes(again, labels).iou > 0.5) == pytest.approx(one["share"], abs=1e-4)
    empty = LabelledField.from_labels(run.field, np.zeros_like(labels))
    with pytest.raises(ScoringError, match=f"more than {SMALLEST - 1} sites"):
        tune_groups(card, [empty], [outputs], progress=False)


@pytest.mark.slow
def test_half_precision_weights_change_the_output_less_than_bfloat16(run, trained, tmp_path) -> None:
    channels = make_sample(run, (0, 0, 0), 32, SETTINGS, {"delta": 1.0})[0][None]
    cards = {half: export_network(trained, tmp_path / f"{half}.weights.h5", 32, half=half) for half in (True, False)}
    outputs = {}
    for half, policy in ((False, None), (True, None), (False, "mixed_bfloat16")):
        network = build_network(**cards[half].architecture, dtype_policy=policy)
        network.load_weights(tmp_path / cards[half].weights)
        outputs[half, policy] = np.asarray(network(channels))
    whole = outputs[False, None]
    error = np.abs(outputs[True, None] - whole)
    assert 0 < error.max() < 2**-8 * np.abs(whole).max()
    assert error.std() < np.abs(outputs[False, "mixed_bfloat16"] - whole).std()


@pytest.mark.slow
def test_a_model_is_recalibrated_on_other_labels_and_its_network_runs_once(run, model, tmp_path, monkeypatch) -> None:
    card, folder = model
    # another halo finder: longer links, so that more sites are in haloes
    labels = friends_of_friends(read_positions(run.source), run.field.lattice, 0.25, SMALLEST)
    other = replace(LabelledField.from_labels(run.field, labels), evolved=run.evolved)
    calls = []
    outputs = PositionPredictor.site_outputs
    monkeypatch.setattr(PositionPredictor, "site_outputs", lambda *args: calls.append(1) or outputs(*args))
    new = recalibrate(folder, "mine", tmp_path / "mine", [other], [ABOUT], progress=False)
    kept = recalibrate(folder, "kept", tmp_path / "kept", [other], [ABOUT], clustering=False, progress=False)
    assert len(calls) == 2
    assert kept.clustering == card.clustering and "clustering_candidates" not in kept.training["recalibration"]
    table = new.training["recalibration"]["clustering_candidates"]
    assert len(table) == sum(len(candidates) for _, candidates in STEPS)
    assert (tmp_path / "mine" / card.semantic.weights).read_bytes() == (folder / card.semantic.weights).read_bytes()
    predictor = ProtohaloPredictor.from_pretrained(tmp_path / "mine")
    prediction = predictor.predict(run.field, evolved=run.evolved, progress=False, on_range="allow")
    more = (labels > 0).mean()
    assert more > 1.1 * (run.labels > 0).mean()
    assert prediction.probability.mean(dtype=float) == pytest.approx(more, abs=2e-3)
    assert new.threshold == 0.5
    (scores,) = new.scores.values()
    assert scores[0]["ACC"] == pytest.approx(np.mean(prediction.mask == (labels > 0)), abs=1e-3)


@pytest.mark.slow
def test_commands_bundle_and_recalibrate(run, trained, model, tmp_path, capsys) -> None:
    path, positions = tmp_path / "run.h5", read_positions(run.source)
    labels = friends_of_friends(positions, run.field.lattice, 0.2, SMALLEST)
    settings = SimulationSettings(n=N, box_size=run.field.box_size, mesh=64)
    write_seed_run(path, labels, positions, np.zeros_like(positions), settings, {"seed": 3, "steps": 1})
    common = ["--runs", str(path), "--validation", str(path), "-q", "-o", str(tmp_path / "model")]
    command = ["bundle", "tiny", "--positions", str(trained), *common]
    for wrong, said in (
        ([*command, "--semantic", str(trained)], "leave out --semantic"),
        ([*command, "--from", "planck-v4"], "--positions and --runs those of a training"),
        (["bundle", "tiny", "--semantic", str(trained), *common], "give it with --positions"),
        ([*command, "--positions-side", "24"], "less than the --core 128"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err
    assert main([*command, "--positions-side", "32", "--core", "24"]) == 0
    card, _ = load_card(tmp_path / "model")
    assert card.training["positions"]["steps"] == 60 and card.training["validation"][0]["seed"] == 3
    assert card.method == "positions" and card.evolution == "fast" and card.semantic.margin == 4 and card.core == 24
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :]) == json.loads(json.dumps(card.scores))
    again = ["bundle", "mine", "--from", str(model[1]), "--validation", str(path), "-q", "-o", str(tmp_path / "mine")]
    assert main([*again, "--keep-clustering"]) == 0
    mine, _ = load_card(tmp_path / "mine")
    assert mine.clustering == model[0].clustering and mine.training["parent"]["name"] == "tiny"


def test_the_network_of_a_position_model_is_not_shared(run, model) -> None:
    with pytest.raises(ModelError, match="recalibrate the model"):
        draft_card("other", model[0], None, [run])
