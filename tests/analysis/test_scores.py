"""Scores beside a simulation, calibration and threshold."""

from __future__ import annotations

import numpy as np
import pytest

from yt_protohalos.analysis.block_counts import count_box
from yt_protohalos.analysis.matching import match_haloes
from yt_protohalos.analysis.metrics import reliability_curve, site_scores
from yt_protohalos.analysis.score_tables import score_table
from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.training.calibration import choose_threshold, fit_calibration


def test_confusion_follows_equation_9() -> None:
    predicted = np.array([1, 1, 1, 0, 0, 0, 0, 0]).reshape(2, 2, 2)
    true = np.array([1, 1, 0, 1, 0, 0, 0, 0]).reshape(2, 2, 2)
    counts = count_box(predicted, true, Lattice(2, 1.0), 1e11).total()
    assert counts.confusion.tolist() == [[4, 1, 1, 2]]
    scores = {name: value[0] for name, value in site_scores(counts).items()}
    assert scores["ACC"] == pytest.approx(6 / 8)
    assert scores["F1"] == pytest.approx(4 / 6)
    assert scores["TPR"] == pytest.approx(2 / 3)
    assert scores["TNR"] == pytest.approx(4 / 5)
    assert scores["PPV"] == pytest.approx(2 / 3)


def test_matches_are_the_best_intersection_over_union() -> None:
    true = np.array([1, 1, 1, 1, 2, 2, 0, 3])
    predicted = np.array([5, 5, 5, 1, 1, 1, 1, 0])
    matches = match_haloes(predicted, true)
    assert matches.label.tolist() == [5, 1, 0]
    assert matches.iou == pytest.approx([3 / 4, 2 / 4, 0])
    assert matches.size.tolist() == [4, 2, 1]
    assert matches.share(min_sites=1, iou=0.5) == pytest.approx(1 / 2)


def test_matching_ignores_the_numbering_and_is_perfect_with_itself() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 9, size=(6, 6, 6))
    renumber = np.array([0, *rng.permutation(np.arange(1, 20))[:8]])
    assert np.all(match_haloes(renumber[true], true).iou == 1)
    predicted = rng.integers(0, 7, size=true.shape)
    shuffled = np.array([0, *rng.permutation(np.arange(1, 7))])[predicted]
    assert np.array_equal(match_haloes(predicted, true).iou, match_haloes(shuffled, true).iou)


def test_rate_and_counts_by_mass() -> None:
    labels = np.array([1] * 8 + [2] * 2 + [0] * 17).reshape(3, 3, 3)
    mask = np.array([1] * 6 + [0] * 2 + [1] + [0] * 18, dtype=bool).reshape(3, 3, 3)
    edges = (11.0, 11.5, 12.0, 12.5)  # 2e11, 8e11 and nothing
    table = score_table(count_box(labels, labels, Lattice(3, 1.0), 1e11, mask=mask), edges)
    assert table["TPR_by_mass"] == [1 / 2, 6 / 8, None]
    assert table["predicted_haloes_by_mass"] == table["true_haloes_by_mass"] == [1, 1, 0]


def test_calibration_recovers_known_odds_and_makes_probabilities_frequencies() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(scale=2.0, size=(60, 60, 60))
    true = rng.random(logit.shape) < 1 / (1 + np.exp(-(0.8 * logit - 0.4)))
    raw = (1 / (1 + np.exp(-logit))).astype(np.float32)
    fit = fit_calibration([raw], [true])
    assert fit["slope"] == pytest.approx(0.8, abs=0.02)
    assert fit["intercept"] == pytest.approx(-0.4, abs=0.02)
    probability = 1 / (1 + np.exp(-(fit["slope"] * logit + fit["intercept"])))
    counts = count_box(None, true, Lattice(60, 1.0), 1e11, mask=true, probability=probability).total()
    mean, observed = reliability_curve(counts)
    assert counts.probability_sites.reshape(10, -1).sum(axis=1).min() > 1000
    assert np.abs(mean - observed).max() < 0.02


def test_a_calibration_may_follow_the_amplitude() -> None:
    rng = np.random.default_rng(3)
    raw, true, changes = [], [], [-0.3, 0.0, 0.2]
    for change in changes:
        logit = rng.normal(scale=2.0, size=200_000)
        frequency = 1 / (1 + np.exp(-((0.9 - 0.5 * change) * logit - 0.3 + 1.5 * change)))
        true.append(rng.random(logit.size) < frequency)
        raw.append((1 / (1 + np.exp(-logit))).astype(np.float32))
    fit = fit_calibration(raw, true, changes)
    expected = {"slope": 0.9, "intercept": -0.3, "slope_by_amplitude": -0.5, "intercept_by_amplitude": 1.5}
    assert fit == pytest.approx(expected, abs=0.05)


def test_the_threshold_matches_the_predicted_share_to_the_true_one() -> None:
    rng = np.random.default_rng(2)
    probability = rng.random((20, 20, 20)).astype(np.float32)
    true = rng.random(probability.shape) < 0.4
    threshold = choose_threshold(probability, true)
    assert np.mean(probability > threshold) == pytest.approx(true.mean(), abs=1e-3)


def test_a_perfect_prediction_has_perfect_scores() -> None:
    true = np.zeros((12, 12, 12), dtype=np.int32)
    true[:9, :9, :9] = 1
    true[10:, 10:, 10:] = 2
    table = score_table(count_box(true, true, Lattice(12, 1.0), 6.35e8, probability=(true > 0).astype(np.float32)))
    assert table["ACC"] == table["F1"] == table["matched_share_all"] == table["matched_share_above_500_sites"] == 1
    assert table["predicted_haloes_by_mass"] == table["true_haloes_by_mass"]
    assert table["largest_calibration_error"] == 0


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(LatticeError, match="labels"):
        count_box(np.zeros((3, 3, 3), dtype=int), np.zeros((4, 4, 4), dtype=int), Lattice(4, 1.0), 1e11)
    with pytest.raises(ScoringError, match="neither labels nor mask"):
        count_box(None, np.zeros((4, 4, 4), dtype=int), Lattice(4, 1.0), 1e11)
    with pytest.raises(ScoringError, match="shapes"):
        match_haloes(np.zeros(3, dtype=int), np.zeros(4, dtype=int))
    with pytest.raises(ScoringError, match="negative"):
        match_haloes(np.array([-1, 0]), np.array([0, 1]))
    with pytest.raises(ScoringError, match="one class"):
        fit_calibration([np.full(5, 0.5, dtype=np.float32)], [np.ones(5, dtype=bool)])
    with pytest.raises(ScoringError, match="not all alike"):
        fit_calibration([np.full(5, 0.5, dtype=np.float32)], [np.arange(5) > 2], [0.1])
