"""A recalibrated model has its parent's weights, and probabilities and shares that are right on the runs given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from small_model import SPACING, write_small_model

from yt_protohalos.cli import main
from yt_protohalos.exceptions import ModelError, OutOfRangeError
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models.registry import load_card, write_card
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.recalibrate import recalibrate
from yt_protohalos.training.run_files import read_run, write_field_run

N = 32
ABOUT = {"code": "own", "halo_finder": "FoF"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "parent", "parent", amplitude_range=(0.7, 1.0))


@pytest.fixture(scope="module")
def run(parent) -> LabelledField:
    """Sites where the parent, which has learned nothing, finds members likely; each quadrant is one halo."""
    field = generate_initial_conditions(N, N * SPACING, seed=8)
    likely = ProtohaloPredictor.from_pretrained(parent).probability(field, progress=False)
    smooth = ndimage.gaussian_filter(likely, 2, mode="wrap")
    upper = (np.indices(field.delta.shape) >= N // 2).astype(np.int32)
    labels = np.where(smooth > np.quantile(smooth, 0.8), 1 + 2 * upper[0] + upper[1], 0)
    assert np.bincount(labels.ravel()).min() > 500
    return LabelledField.from_labels(field, labels.astype(np.int32))


@pytest.fixture(scope="module")
def made(parent, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "child"
    return recalibrate(parent, "child", folder, [run], [ABOUT], progress=False), folder


@pytest.mark.slow
def test_weights_stay_and_the_card_tells_where_it_comes_from(parent, made):
    card, folder = made
    old = load_card(parent)[0]
    stored = load_card(folder)[0]
    assert stored == card and stored.name == "child" and stored.sha256 != old.sha256
    for name in ("semantic.weights.h5", "instance.weights.h5"):
        assert (folder / name).read_bytes() == (parent / name).read_bytes()
    assert card.training["parent"] == {"name": "parent", "version": 1, "sha256": old.sha256}
    record = card.training["recalibration"]
    assert record["runs"] == [ABOUT] and record["before"]["threshold"] == old.threshold
    assert record["before"]["calibration"] == old.calibration and len(record["clustering_candidates"]) > 1
    changed = {name for name, value in vars(card).items() if value != getattr(old, name)}
    assert changed <= {"name", "calibration", "threshold", "clustering", "description", "training", "scores"}


def test_probabilities_and_the_mask_have_the_true_share(made, run):
    card, folder = made
    probability = ProtohaloPredictor.from_pretrained(folder).probability(run.field, progress=False)
    true = float((run.labels > 0).mean())
    # maximum likelihood with a free intercept makes the mean probability the frequency
    assert probability.mean(dtype=float) == pytest.approx(true, abs=1e-3)
    assert (probability > card.threshold).mean() == pytest.approx(true, abs=5e-3)
    (scores,) = card.scores.values()
    assert scores[0]["true_fraction"] == pytest.approx(true, abs=1e-4)


def test_a_second_time_on_the_same_run_changes_nothing(made, run, tmp_path):
    card, folder = made
    again = recalibrate(folder, "again", tmp_path / "again", [run], [ABOUT], clustering=False, progress=False)
    assert again.calibration == pytest.approx(card.calibration, abs=2e-3)
    assert again.threshold == pytest.approx(card.threshold, abs=2e-3)
    assert again.clustering == card.clustering
    assert "clustering_candidates" not in again.training["recalibration"]


def test_what_the_calibration_knows_of_the_amplitude_stays(parent, run, tmp_path):
    many = tmp_path / "many"
    write_small_model(many, "many", amplitude_range=(0.5, 1.1))
    old, _ = load_card(many)
    by_amplitude = {"slope_by_amplitude": 0.2, "intercept_by_amplitude": -0.7}
    old = replace(old, calibration=old.calibration | by_amplitude)
    write_card(old, many)
    new = recalibrate(many, "new", tmp_path / "new", [run], [ABOUT], clustering=False, progress=False)
    # one monotonic map of the old probability, the same at every amplitude
    raw = np.linspace(-3, 3, 7)
    maps = []
    for sigma_8 in (0.5, 0.83, 1.1):
        first, then = (one.calibration_at(sigma_8) for one in (old, new))
        x, y = (fit["slope"] * raw + fit["intercept"] for fit in (first, then))
        maps.append(np.polyfit(x, y, 1))
    np.testing.assert_allclose(maps, [maps[0]] * 3, rtol=1e-6)


def test_runs_and_names_that_cannot_serve_are_refused(parent, run, tmp_path):
    def refused(error, match, source=parent, name="child", folder=tmp_path / "x", runs=(run,), described=(ABOUT,)):
        with pytest.raises(error, match=match):
            recalibrate(source, name, folder, runs, described, progress=False)
        assert not (tmp_path / "x").exists()

    refused(ModelError, "0 runs", runs=(), described=())
    refused(ModelError, "a name of its own", name="parent")
    refused(ModelError, "folder of model 'parent' itself", folder=parent)
    wide = generate_initial_conditions(16, 16 * 1.1 * SPACING, seed=1)
    refused(ModelError, "own spacing", runs=(LabelledField.from_labels(wide, np.zeros((16,) * 3, np.int32)),))
    weak = replace(run, field=run.field.at_redshift(3.0))
    refused(OutOfRangeError, "sigma_8", runs=(weak,))
    opposite = LabelledField.from_labels(run.field, (run.labels == 0).astype(np.int32))
    refused(ModelError, "rarer where model 'parent'", runs=(opposite,))
    seen = {"seed": 101, "code": "pysco-nbody"}
    knowing = tmp_path / "knowing"
    write_small_model(knowing, "knowing", training={"runs": [seen]}, amplitude_range=(0.7, 1.0))
    refused(ModelError, "seed 101.*has not seen", source=knowing, described=(seen,))


@pytest.mark.slow
def test_the_command_recalibrates_a_run_of_ones_own(parent, run, tmp_path, capsys):
    path = write_field_run(tmp_path / "mine.h5", run.field, run.labels, ABOUT)
    command = ["bundle", "mine", "--from", str(parent), "--validation", str(path), "-o", str(tmp_path / "mine"), "-q"]
    assert main([*command, "--keep-clustering", "--description", "for my code"]) == 0
    card, folder = load_card(tmp_path / "mine")
    assert card.name == "mine" and card.description == "for my code"
    assert card.training["recalibration"]["runs"][0]["code"] == "own"
    out = capsys.readouterr().out
    assert "threshold: 0.5 -> " in out
    assert json.loads(out[out.index("\n{") :]) == card.scores
    field = read_run(path)[0]
    assert ProtohaloPredictor.from_pretrained(folder).predict(field, progress=False).mask.any()
    for wrong, said in (
        ([*command, "--runs", str(path)], "give one"),
        ([*command[:2], *command[4:]], "give either"),
        ([*command[:2], *command[4:], "--semantic", "s", "--runs", str(path), "--keep-clustering"], "leave it out"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err
