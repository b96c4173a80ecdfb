"""Laws of the figures of mass functions: they show the counts, at the masses of the fit."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from mass_function_figures import MARKERS, plot_abundance, plot_amplitudes

from yt_protohalos.analysis.mass_function import HaloCounts, mean_fit
from yt_protohalos.exceptions import ScoringError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def test_haloes_as_a_fit_has_them_lie_on_it():
    """The ratio panel shows 1 for counts drawn from the fit itself, whatever the width of the bins."""
    edges, volume = np.array([11.0, 11.2, 12.0, 13.5]), 1e6
    mean, _ = mean_fit(PAPER_COSMOLOGY, edges, "watson13")
    counts = HaloCounts(edges, np.rint(mean * volume * np.diff(edges)).astype(int), volume)
    figure = drawn(plot_abundance({"a": counts}, PAPER_COSMOLOGY))
    ratio = next(line for line in figure.axes[1].lines if line.get_marker() == "o").get_ydata()
    assert np.allclose(ratio, 1, atol=2e-3)


def test_amplitudes_show_predicted_over_simulated():
    simulated = HaloCounts((11, 12, 13, 14), (100, 10, 0), 1e4)
    predicted = HaloCounts((11, 12, 13, 14), (50, 12, 3), 1e4)
    low = replace(PAPER_COSMOLOGY, sigma_8=0.58)
    figure = drawn(plot_amplitudes([(PAPER_COSMOLOGY, simulated, predicted), (low, None, predicted)]))
    points = [line for line in figure.axes[1].lines if line.get_marker() in MARKERS]
    assert len(points) == 1
    assert np.allclose(points[0].get_ydata(), (0.5, 1.2))
    words = " ".join(text.get_text() for text in figure.axes[0].get_legend().get_texts())
    assert "0.83" in words and "0.58" in words


def test_nothing_to_compare_is_refused():
    with pytest.raises(ScoringError, match="at least one"):
        plot_abundance({}, PAPER_COSMOLOGY)
    with pytest.raises(ScoringError, match="at least one"):
        plot_amplitudes([])
