"""The figure of a catalogue's errors shows the tables, and leaves out bins that say nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from catalog_figures import FEWEST, plot_catalog_errors

from yt_protohalos.exceptions import ScoringError

NAMES = ["distance_median", "distance_16", "distance_84", "velocity_median", "velocity_16", "velocity_84", "speed_rms"]
SHAPES = ["b_a", "c_a", "lambda_1", "lambda_2", "lambda_3"]


@pytest.fixture
def tables():
    rng = np.random.default_rng(1)
    bins = {"low": [11.0, 11.5, 12.0], "high": [11.5, 12.0, 15.0], "haloes": [40, FEWEST, FEWEST - 1]}
    columns = {name: sorted(rng.uniform(1, 9, 3).tolist()) for name in [*NAMES, "spin_cosine_mean"]}
    parts = [f"{name}_{part}" for name in SHAPES for part in ("offset", "scatter")]
    return {
        "by_mass": bins | columns,
        "by_mass_true_members": bins | columns,
        "shapes": bins | {name: rng.uniform(0, 1, 3).tolist() for name in parts},
        "by_confidence": {
            "protohaloes": [0, 50, 90], "confidence": [None, 0.8, 0.9], "purity": [None, 0.81, 0.88],
            "found": [None, 0.6, 0.95],
        },
    }  # fmt: skip


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_panels_show_the_columns_at_the_middle_of_their_bins(tables):
    axes = drawn(plot_catalog_errors(tables)).axes
    assert len(axes) == 6
    for ax, name in ((axes[0], "distance_median"), (axes[1], "velocity_median"), (axes[2], "spin_cosine_mean")):
        x, y = ax.lines[0].get_data()
        # the third bin has too few haloes
        np.testing.assert_allclose(x, [11.25, 11.75])
        np.testing.assert_allclose(y, tables["by_mass"][name][:2])
    x, y = axes[5].lines[1].get_data()
    np.testing.assert_allclose((x, y), [[0.8, 0.9], [0.81, 0.88]])


def test_unknown_velocities_and_spins_leave_their_panels_empty(tables):
    for table in ("by_mass", "by_mass_true_members"):
        for name in ("velocity_median", "velocity_16", "velocity_84", "speed_rms", "spin_cosine_mean"):
            tables[table][name] = [None] * 3
    axes = drawn(plot_catalog_errors(tables)).axes
    assert np.isnan(axes[1].lines[0].get_ydata()).all() and np.isfinite(axes[0].lines[0].get_ydata()).all()


def test_too_few_haloes_are_refused(tables):
    tables["by_mass"]["haloes"] = [FEWEST - 1] * 3
    with pytest.raises(ScoringError, match="matched haloes"):
        plot_catalog_errors(tables)
