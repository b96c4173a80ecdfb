"""Counts by block, tables with errors, verdicts, and the command that makes them."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import matplotlib
import numpy as np
import pytest
from labelled_boxes import LATTICE, SITE_MASS, toy_labels, toy_pair
from standins import make_field, make_predictor
from yt_fakes import BOX, FakePredictor, N, write_fake_model

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.analysis import metrics
from yt_protohalos.analysis.block_counts import BINS, BlockCounts, count_box, mass_index
from yt_protohalos.analysis.matching import match_haloes
from yt_protohalos.analysis.score_tables import (
    bootstrap_weights,
    format_table,
    pair_table,
    spread,
    validation_table,
)
from yt_protohalos.analysis.validation import SimulatedRun, validate
from yt_protohalos.analysis.verdicts import format_verdicts, verdict_table
from yt_protohalos.exceptions import LatticeError, ScoringError, SpacingWarning
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.prediction.predictor import ProtohaloPredictor

matplotlib.use("Agg")
OF_HALOES = (
    "matched_share_large", "matched_share_all", "median_iou_large", "FDR_by_predicted_mass", "voxel_offset_median",
    "voxel_offset_16", "voxel_offset_84", "mass_function_ratio", "predicted_haloes",
)  # fmt: skip
"""Figures that need predicted haloes, not the membership of sites alone."""


@pytest.fixture(scope="module")
def pair():
    return toy_pair()


@pytest.fixture(scope="module")
def counts(pair):
    rng = np.random.default_rng(5)
    probability = np.clip(0.7 * (pair[0] > 0) + 0.3 * rng.random(LATTICE.shape), 0, 1)
    return count_box(*pair, LATTICE, SITE_MASS, probability=probability)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_sums_over_blocks_are_the_figures_of_the_whole_box(pair, blocks):
    labels, true = pair
    whole = count_box(labels, true, LATTICE, SITE_MASS, blocks=blocks).total()
    predicted, member = labels > 0, true > 0
    scores = metrics.site_scores(whole)
    assert scores["ACC"] == pytest.approx(np.mean(predicted == member))
    assert scores["F1"] == pytest.approx(2 * np.sum(predicted & member) / (predicted.sum() + member.sum()))
    assert scores["TPR"] == pytest.approx(predicted[member].mean())
    assert scores["TNR"] == pytest.approx(np.mean(~predicted[~member]))
    assert scores["PPV"] == pytest.approx(member[predicted].mean())
    edges = [low for low, _ in BINS] + [BINS[-1][1]]
    mass = np.log10(np.bincount(true.ravel())[true[member]] * SITE_MASS)
    every, found = (np.histogram(one, edges)[0] for one in (mass, mass[predicted[member]]))
    expected = np.divide(found, every, out=np.full(len(every), np.nan), where=every > 0)
    np.testing.assert_allclose(metrics.true_positive_rate(whole)[0], expected)
    matches = match_haloes(labels, true)
    assert metrics.matched_share(whole, large_only=False) == pytest.approx(matches.share(0))
    assert whole.simulated.sum() == true.max()
    assert whole.predicted.sum() == labels.max()
    assert whole.volume == pytest.approx(LATTICE.box_size**3)
    assert whole.confusion.sum() == LATTICE.n_sites


def test_false_discoveries_are_by_predicted_and_misses_by_true_mass():
    true, labels = (np.zeros(LATTICE.shape, dtype=np.int32) for _ in range(2))
    true[:4, :5, :5] = 1  # 100 sites, log10 M = 12.30
    labels[2:4, :5, :4] = 1  # 40 of its sites
    labels[4:5, :5, :2] = 1  # and 10 outside: 50, log10 M = 12
    whole = count_box(labels, true, LATTICE, SITE_MASS).total()
    missed, wrong = metrics.false_negative_rate(whole)[0], metrics.false_discovery_rate(whole)[0]
    high, low = BINS.index((12.3, 12.5)), BINS.index((11.9, 12.1))
    assert missed[high] == pytest.approx(0.6)
    assert wrong[low] == pytest.approx(0.2)
    assert np.isnan(np.delete(missed, high)).all()
    assert np.isnan(np.delete(wrong, low)).all()
    # every common site lies in a halo of half the true mass
    assert metrics.voxel_offset(whole)[0][high] == pytest.approx(np.log10(0.5), abs=0.006)


def test_quantiles_of_offsets_are_those_of_the_sites(pair):
    labels, true = pair
    both = (labels > 0) & (true > 0)
    mass = np.log10(np.bincount(true.ravel())[true[both]] * SITE_MASS)
    offset = np.log10(np.bincount(labels.ravel())[labels[both]] * SITE_MASS) - mass
    whole = count_box(labels, true, LATTICE, SITE_MASS).total()
    for quantile in (0.16, 0.5, 0.84):
        found = metrics.voxel_offset(whole, quantile)[0]
        for number, (low, high) in enumerate(BINS):
            inside = offset[(mass >= low) & (mass < high)]
            if len(inside):
                expected = np.quantile(inside, quantile, method="inverted_cdf")
                assert found[number] == pytest.approx(expected, abs=0.0101)
            else:
                assert np.isnan(found[number])


def test_histogram_quantile_recovers_a_uniform_distribution():
    quantiles = [metrics.histogram_quantile(np.full((1, 10), 7.0), q, 0.1, 0)[0] for q in (0.0, 0.16, 0.5, 1.0)]
    assert quantiles == pytest.approx([0.0, 0.16, 0.5, 1.0])
    assert np.isnan(metrics.histogram_quantile(np.zeros((1, 10)), 0.5, 0.1, 0))


def test_pooling_adds_counts_and_does_not_average_ratios():
    first, second = (count_box(*toy_pair(seed), LATTICE, SITE_MASS) for seed in (1, 2))
    pooled = BlockCounts.pooled([first, first, second])
    assert pooled.n_blocks == 24
    one, other = first.total().confusion[0], second.total().confusion[0]
    np.testing.assert_array_equal(pooled.total().confusion[0], 2 * one + other)
    table = validation_table([first, first, second], draws=10)
    accuracy = (2 * one + other)[[0, 3]].sum() / (2 * one + other).sum()
    assert table["ACC"]["value"] == pytest.approx(accuracy, abs=1e-4)
    assert table["runs"] == 3


def test_a_periodic_shift_by_a_block_permutes_blocks_only(pair):
    tables = []
    for shift in ((0, 0, 0), (12, 0, 12)):
        cubes = (LATTICE.shifted(cube, shift) for cube in pair)
        tables.append(validation_table([count_box(*cubes, LATTICE, SITE_MASS)], draws=20))
    for name in ("ACC", "TPR_by_mass", "voxel_offset_median", "mass_function_ratio", "matched_share_all"):
        assert tables[0][name]["value"] == tables[1][name]["value"]


def test_a_perfect_prediction_is_perfect_in_every_figure():
    true = toy_labels(3)
    table = validation_table([count_box(true, true, LATTICE, SITE_MASS)], draws=20)
    for name in ("ACC", "F1", "TPR", "TNR", "PPV", "matched_share_all"):
        assert (table[name]["value"], table[name]["error"]) == (1, 0)
    for name, value in (("mass_function_ratio", 1), ("TPR_by_mass", 1), ("FDR_by_predicted_mass", 0)):
        known = [v for v in table[name]["value"] if v is not None]
        assert known and known == [value] * len(known)
    offsets = [v for v in table["voxel_offset_median"]["value"] if v is not None]
    assert offsets and np.abs(offsets).max() == 0
    assert table["calibration_error"] == {"value": None, "error": None}


@pytest.mark.slow
def test_bootstrap_error_of_a_share_is_the_binomial_one():
    # each site alone is a block of independent outcomes
    lattice = Lattice(10, 10.0)
    rng = np.random.default_rng(8)
    true = np.ones(lattice.shape, dtype=np.int32)
    labels = (rng.random(lattice.shape) < 0.7).astype(np.int32)
    table = validation_table([count_box(labels, true, lattice, SITE_MASS, blocks=10)], draws=800)
    assert table["ACC"]["error"] == pytest.approx(np.sqrt(0.7 * 0.3 / 1000), rel=0.1)


def test_bootstrap_is_reproducible_and_draws_as_many_blocks_as_there_are():
    weights = bootstrap_weights(8, 100, seed=4)
    assert np.array_equal(weights, bootstrap_weights(8, 100, seed=4))
    assert not np.array_equal(weights, bootstrap_weights(8, 100, seed=5))
    assert (weights.sum(axis=1) == 8).all()


def test_an_error_that_one_block_decides_is_unknown():
    draws = np.ones((100, 2))
    draws[:30, 1] = np.nan
    assert np.array_equal(spread(draws), [0, np.nan], equal_nan=True)


def test_the_median_counts_haloes_as_often_as_their_block_is_drawn():
    true = np.zeros(LATTICE.shape, dtype=np.int32)
    labels = np.zeros_like(true)
    for number, (x, height) in enumerate(((1, 3), (3, 6), (13, 4), (16, 5)), start=1):
        true[x, :, :22] = labels[x, :, : 22 - height] = number
    counts = count_box(labels, true, LATTICE, SITE_MASS)
    assert len(counts.large_ious) == 4
    assert metrics.median_iou(counts.total())[0] == np.median(match_haloes(labels, true).iou)
    weights = np.random.default_rng(4).integers(0, 3, (20, 8))
    for row, found in zip(weights, metrics.median_iou(counts.weighted(weights)), strict=True):
        repeated = np.repeat(counts.large_ious, row @ counts.large_haloes)
        assert found == np.median(repeated) if len(repeated) else np.isnan(found)


def test_reliability_and_threshold_scan_are_those_of_the_cubes(pair):
    labels, true = pair
    rng = np.random.default_rng(6)
    probability = rng.random(LATTICE.shape) * (0.4 + 0.6 * (true > 0))
    whole = count_box(labels, true, LATTICE, SITE_MASS, probability=probability).total()
    tenth, member = (10 * probability).astype(int), true > 0
    mean, observed = (np.array([one[tenth == i].mean() for i in range(10)]) for one in (probability, member))
    found = metrics.reliability_curve(whole)
    np.testing.assert_allclose(found[0][0], mean)
    np.testing.assert_allclose(found[1][0], observed)
    assert metrics.calibration_error(whole) == pytest.approx(np.abs(mean - observed).max())
    thresholds, scores = metrics.scores_by_threshold(whole)
    for number in (0, 40, 100, 160):
        predicted = probability >= thresholds[number]
        assert scores["ACC"][0][number] == pytest.approx(np.mean(predicted == member))
        assert scores["F1"][0][number] == pytest.approx(
            2 * np.sum(predicted & member) / (predicted.sum() + member.sum())
        )
    assert scores["predicted_fraction"][0][-1] == 0


def test_the_pair_is_the_mean_of_both_ways(pair):
    there, back = (count_box(*cubes, LATTICE, SITE_MASS) for cubes in (pair, pair[::-1]))
    both = pair_table([there], [back], draws=20)
    one, other = (validation_table([t], draws=20) for t in (there, back))
    for name in ("ACC", "F1", "TPR", "PPV"):
        assert both[name]["value"] == pytest.approx((one[name]["value"] + other[name]["value"]) / 2, abs=1e-4)
    # what one way misses, the other invents
    assert both["TPR"]["value"] == pytest.approx(both["PPV"]["value"], abs=1e-4)
    assert both["ACC"]["error"] > 0


def test_the_pair_itself_meets_every_goal_that_is_measured_against_it(pair):
    table = pair_table([count_box(*pair, LATTICE, SITE_MASS)], [count_box(*pair[::-1], LATTICE, SITE_MASS)], draws=50)
    rows = verdict_table(table, table)
    against = [row for row in rows if row["figure"] in ("ACC", "F1", "matched share") and row["limit"] is not None]
    assert len(against) >= 2
    assert all(row["floor_met"] == row["goal_met"] == "yes" for row in against)


def make_table(**values) -> dict:
    """Table of a perfect prediction of many haloes with some figures replaced by (value, error)."""
    true = toy_labels(3)
    table = validation_table([count_box(true, true, LATTICE, SITE_MASS, probability=(true > 0) * 1.0)], draws=20)
    for name, (value, error) in {"simulated_haloes": (50, 7), **values}.items():
        entry = table[name]
        many = isinstance(entry["value"], list)
        entry["value"], entry["error"] = ([v] * len(entry["value"]) if many else v for v in (value, error))
    return table


def verdicts(rows, figure, centre=None):
    return [(r["floor_met"], r["goal_met"]) for r in rows if r["figure"] == figure and r["log10_mass"] == centre]


def test_floors_and_goals_are_those_of_the_paper_and_the_pair():
    pair = make_table(ACC=(0.90, 0), F1=(0.88, 0), matched_share_large=(0.9, 0), TPR_at_mass=(0.86, 0))
    for accuracy, expected in ((0.881, ("yes", "yes")), (0.87, ("yes", "no")), (0.858, ("within error", "no")),
                               (0.85, ("no", "no"))):  # fmt: skip
        rows = verdict_table(make_table(ACC=(accuracy, 0.005)), pair)
        assert verdicts(rows, "ACC") == [expected]
    rows = verdict_table(make_table(TPR_at_mass=(0.83, 0.01)), pair)
    assert verdicts(rows, "TPR", 12.0) == [("yes", "no")]  # 0.84 less the error
    assert verdicts(rows, "TPR", 12.6) == [("no", "no")]
    rows = verdict_table(make_table(mass_function_ratio=(0.9, 0.02), voxel_offset_median=(-0.08, 0.01)), pair)
    assert verdicts(rows, "mass function ratio", 12.4) == [("yes", "no")]
    assert verdicts(rows, "mass function ratio", 11.4) == [(None, "yes")]
    assert verdicts(rows, "mass function ratio", 11.2) == verdicts(rows, "mass function ratio", 13.4) == [(None, None)]
    assert verdicts(rows, "median voxel mass offset", 11.2) == [("yes", None)]
    assert verdicts(rows, "median voxel mass offset", 11.85) == [("yes", "no")]
    rows = verdict_table(make_table(matched_share_large=(0.75, 0), calibration_error=(0.03, 0.002)), pair)
    assert verdicts(rows, "matched share") == [("yes", "no")]
    assert verdicts(rows, "calibration error") == [("yes", "no")]


def test_offsets_of_a_few_haloes_are_reported_and_not_judged():
    table = make_table(voxel_offset_median=(0.5, 0.01), simulated_haloes=(3, 1))
    assert verdicts(verdict_table(table), "median voxel mass offset", 12.4) == [(None, None)]
    table = make_table(voxel_offset_median=(0.5, 0.01))
    assert verdicts(verdict_table(table), "median voxel mass offset", 12.4) == [("no", "no")]


def test_without_a_pair_only_absolute_bounds_are_judged():
    rows = verdict_table(make_table(ACC=(0.9, 0.01)))
    assert verdicts(rows, "ACC") == verdicts(rows, "matched share") == [(None, None)]
    assert verdicts(rows, "calibration error") == [("yes", "yes")]


def test_tables_are_json_and_their_text_shows_the_numbers(counts):
    table = validation_table([counts], draws=20)
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    text = format_table({"model": table, "again": table})
    assert text.count(f"{table['ACC']['value']:.3f}+-") == 2
    assert "ACC" in format_verdicts(verdict_table(table))


def test_what_cannot_be_counted_is_refused(pair, counts):
    with pytest.raises(LatticeError, match="labels"):
        count_box(pair[0][:-1], pair[1], LATTICE, SITE_MASS)
    with pytest.raises(ScoringError, match="probability"):
        count_box(*pair, LATTICE, SITE_MASS, probability=np.full(LATTICE.shape, 1.5))
    with pytest.raises(ScoringError, match="25 blocks"):
        count_box(*pair, LATTICE, SITE_MASS, blocks=25)
    with pytest.raises(ScoringError, match="no counts"):
        validation_table([])
    with pytest.raises(ScoringError, match="draws"):
        validation_table([counts], draws=1)
    with pytest.raises(ScoringError, match=r"11\.123"):
        mass_index(11.123)
    with pytest.raises(ScoringError, match="both ways"):
        pair_table([counts], [])
    with pytest.raises(ScoringError, match="weights"):
        counts.weighted(np.ones((1, 3)))


# the command


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    made = []

    def from_pretrained(name=None, precision="auto"):
        made.append(FakePredictor())
        return made[-1]

    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", from_pretrained)
    monkeypatch.setenv("YT_PROTOHALOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def files(tmp_path):
    """Initial conditions of two runs, and labels that a little noise away from the prediction."""
    names = []
    for seed in (11, 12):
        ics, labels = tmp_path / f"ics{seed}.hdf5", tmp_path / f"labels{seed}.h5"
        field = ph.generate_initial_conditions(N, BOX, seed=seed, filename=ics)
        with h5py.File(labels, "w") as file:
            file["labels"] = FakePredictor(level=1.0).predict(field, progress=False).labels
        names.append((str(ics), str(labels)))
    return names


@pytest.mark.slow
def test_validate_pools_runs_and_writes_tables_and_figures(files, tmp_path, fakes, capsys):
    (ics, labels), (ics2, labels2) = files
    arguments = ["validate", "--ics", ics, ics2, "--labels", labels, labels2, "--pair", labels, labels,
                 "--baselines", "--figures", "figures", "-o", "scores.json", "--quiet"]  # fmt: skip
    assert cli.main(arguments) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    simple = {"threshold+watershed", "spheres", "evolved+FoF", "fof"}
    assert set(result["tables"]) == {"model", "pair", *simple}
    assert result["tables"]["model"]["runs"] == len(result["runs"]) == 2
    assert fakes[0].runs == 2 and len(fakes) == 1
    # two runs of one size: the pooled accuracy is the mean
    accuracies = [one["ACC"] for one in result["runs"]]
    assert result["tables"]["model"]["ACC"]["value"] == pytest.approx(np.mean(accuracies), abs=2e-4)
    assert result["tables"]["pair"]["ACC"]["value"] == 1
    assert result["verdicts"][0]["limit"] == 1
    assert result["volume"] == pytest.approx(2 * BOX**3) and result["cosmology"]["sigma_8"] > 0
    names = ("confusion", "rate_by_mass", "voxel_masses", "mass_functions", "reliability", "thresholds")
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == set(names)
    text = capsys.readouterr().out
    assert "floor met" in text and "threshold+watershed" in text and "wrote scores.json" in text
    # what was predicted is kept, so that a second start or one after an interruption goes on from there
    assert cli.main(arguments) == 0
    assert fakes[1].runs == 0 and json.loads((tmp_path / "scores.json").read_text()) == result


def test_validate_reads_stored_runs(files, tmp_path, fakes, monkeypatch, capsys):
    from yt_protohalos.training import run_files

    field = ph.generate_initial_conditions(N, BOX, seed=11)
    labels = FakePredictor(level=1.0).predict(field, progress=False).labels
    monkeypatch.setattr(run_files, "read_run", lambda path: (field, labels, {}))
    (tmp_path / "run.h5").write_bytes(b"")
    assert cli.main(["validate", "--runs", "run.h5", "-o", "run.json", "--quiet"]) == 0
    ics, truth = files[0]
    assert cli.main(["validate", "--ics", ics, "--labels", truth, "-o", "file.json", "--quiet"]) == 0
    tables = [json.loads((tmp_path / name).read_text())["tables"]["model"] for name in ("run.json", "file.json")]
    assert tables[0]["true_fraction"] == tables[1]["true_fraction"]
    assert tables[0]["ACC"]["value"] == pytest.approx(tables[1]["ACC"]["value"], abs=2e-3)
    assert "wrote run.json" in capsys.readouterr().out


@pytest.mark.slow
def test_the_catalogue_is_compared_with_the_haloes_of_the_label_file(files, tmp_path, fakes, capsys):
    (ics, labels), (ics2, labels2) = files
    arguments = ["validate", "--ics", ics, ics2, "--labels", labels, labels2, "--catalog", "-o", "s.json", "--quiet"]
    assert cli.main(arguments) == cli.USER_ERROR
    assert "lacks halo_position" in capsys.readouterr().err
    for name in (labels, labels2):
        with h5py.File(name, "r+") as file:
            haloes = int(file["labels"][()].max())
            file["halo_position"], file["halo_velocity"] = np.zeros((haloes, 3)), np.full((haloes, 3), 300.0)
    assert cli.main(arguments) == 0
    found = json.loads((tmp_path / "s.json").read_text())["catalog"]
    assert sum(found["by_mass"]["haloes"]) > 0
    known = [value for value in found["by_mass"]["speed_rms"] if value is not None]
    assert known == pytest.approx([np.sqrt(3) * 300] * len(known))
    assert set(found["by_mass"]["spin_cosine_median"]) == {None}
    said = capsys.readouterr().out
    assert "position error" in said and "with the true members" in said and "cos c" in said
    # whatever was found of them, the true members are all there
    whole, some = (sum(found[name]["haloes"]) for name in ("by_mass_true_members", "by_mass"))
    assert whole >= some == sum(found["shapes"]["haloes"])


@pytest.mark.slow
def test_a_model_of_membership_alone_is_scored_without_haloes(files, tmp_path, fakes, monkeypatch, capsys):
    class Membership(FakePredictor):
        def __init__(self):
            super().__init__()
            self.card = replace(self.card, instance=None)

        def probability(self, field, progress=True):
            return FakePredictor().predict(field, progress=False).probability

    (ics, truth), _ = files
    arguments = ["validate", "--ics", ics, "--labels", truth, "--figures", "figures", "--quiet"]
    assert cli.main([*arguments, "-o", "whole.json"]) == 0
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", lambda *_, **__: Membership())
    assert cli.main([*arguments[:5], "--figures", "alone", "-o", "alone.json", "--quiet"]) == 0
    whole, alone = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "alone"))
    for name, entry in alone["tables"]["model"].items():
        if name in OF_HALOES:
            assert entry["value"] is None or set(entry["value"]) == {None}
        else:
            assert entry == whole["tables"]["model"][name]
    judged = {row["figure"]: row["value"] for row in alone["verdicts"]}
    assert judged["ACC"] and judged["matched share"] is None and "mass function ratio" not in judged
    names = {path.stem for path in (tmp_path / "alone").iterdir()}
    assert names == {"confusion", "reliability", "thresholds"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to score"),
        (["--ics", "{ics}"], "1 initial conditions and 0 label files"),
        (["--ics", "{ics}", "--labels", "gone.h5"], "gone.h5"),
        (["--runs", "gone.h5"], "gone.h5"),
        (["--ics", "{ics}", "--labels", "small.h5"], "one lattice"),
        (["--ics", "{ics}", "--labels", "negative.h5"], "negative"),
        (["--ics", "{ics}", "--labels", "{labels}", "--pair", "small.h5", "{labels}"], "two equal cubes"),
        (["--ics", "{ics}", "--labels", "{labels}", "--pair", "coarse.h5", "coarse.h5"], "spacing"),
        (["--ics", "{ics}", "{ics}", "--labels", "{labels}", "small.h5"], "one lattice"),
        (["--ics", "{ics}", "--labels", "{labels}", "--figures", "{labels}/below"], "not a folder"),
    ],
)
def test_bad_input_is_one_line_before_any_network_runs(files, tmp_path, fakes, capsys, arguments, said):
    ics, labels = files[0]
    for name, cube in (("small", np.zeros((4, 4, 4), dtype=int)), ("negative", np.full((N, N, N), -2))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["labels"] = cube
    with h5py.File(tmp_path / "coarse.h5", "w") as file:
        file["labels"] = np.zeros((N, N, N), dtype=int)
        file.attrs["settings"] = json.dumps({"n": N, "box_size": 2 * BOX})
    filled = [text.format(ics=ics, labels=labels) for text in arguments]
    assert cli.main(["validate", *filled, "--quiet"]) == cli.USER_ERROR
    captured = capsys.readouterr().err
    (line,) = captured.strip().splitlines()
    assert line.startswith("protohalos: error: ") and said in line
    assert sum(one.runs for one in fakes) == 0


def test_an_unknown_model_is_refused_before_the_runs_are_scored(files, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ics, labels = files[0]
    write_fake_model(tmp_path / "model")
    assert cli.main(["validate", "--ics", ics, "--labels", labels, "--model", "nonesuch"]) == cli.USER_ERROR
    assert "no model named 'nonesuch'" in capsys.readouterr().err


def test_both_sides_are_compared_from_the_same_smallest_halo() -> None:
    """The smallest protohalo of the model, on the lattice of the run, or the smallest halo of its labels."""
    finer, predictor = make_field(24).resampled(36), make_predictor()
    with pytest.warns(SpacingWarning):
        found = predictor.predict(finer, progress=False)
    assert found.min_sites == 17 and found.sizes[1:].min() < 300 < found.sizes[1]
    labels = found.labels.copy()
    labels[tuple(np.argwhere(labels == 0)[:10].T)] = found.n_protohalos + 1
    run = SimulatedRun(finer, labels)
    results = {}
    for least in (5, 300):
        pair = (labels, labels)
        result = validate({"run": run}, predictor, pair=pair, predict=lambda _: found, min_sites=least, progress=False)
        assert result.pair_counts.simulated.sum() == 2 * np.count_nonzero(np.bincount(labels.ravel())[1:] >= least)
        scores = results[least] = result.scores["run"]
        assert scores["min_sites"] == max(17, least) and scores["matched_share_all"] == 1
        assert f"haloes of at least {max(17, least)} sites" in result.text
        number = np.count_nonzero(found.sizes[1:] >= max(17, least))
        assert result.counts.predicted.sum() == result.counts.simulated.sum() == number > 0
    assert results[5]["true_fraction"] > results[300]["true_fraction"]
