"""The pages of validation show what `protohalos validate` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scripts import ROOT, load

BINS = [[10.9, 11.1], [11.1, 11.3], [11.3, 11.5]]


@pytest.fixture
def page() -> ModuleType:
    return load("docs", "write_validation")


def test_the_tables_are_made_from_the_results(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.text(text), "run: python docs/write_validation.py"
    assert page.TABLE.findall(text) == ["1101", "0901", "treepm"]


def table(value: float) -> dict[str, Any]:
    figures = {name: {"value": value, "error": 0.0125} for name in ("ACC", "F1", "predicted_fraction", "true_fraction")}
    figures |= {name: {"value": value, "error": None} for name in ("matched_share_large", "matched_share_all")}
    figures |= {name: {"value": None, "error": None} for name in ("median_iou_large", "calibration_error")}
    by_mass = {"bins": BINS, "value": [9.0, value, None], "error": [0.5, 0.25, None]}
    return {
        **figures,
        "TPR_at_mass": {"value": [value, None], "error": [0.01, None]},
        "voxel_offset_median": {"bins": [*BINS, [11.5, 11.7]], "value": [5, -0.1, 5, -0.02]},
        "mass_function_ratio": by_mass,
        "simulated_haloes": {"bins": BINS, "value": [1, 20, 3]},
    }


def test_a_column_for_each_model_and_the_pair(page: ModuleType, tmp_path: Path, monkeypatch) -> None:
    tables = {"planck-v5": {"model": table(0.75), "pair": table(0.95)}, "fof": {"model": table(0.5)}}
    runs = [{"haloes_above_500_sites": 30}, {"haloes_above_500_sites": 4}]
    for model, found in tables.items():
        (tmp_path / f"validation_7_{model}.json").write_text(json.dumps({"tables": found, "runs": runs}))
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    lines = page.scores("7").splitlines()
    assert lines[0] == "| | `planck-v5` | `fof` | pair |"
    assert "| ACC | 0.750 ± 0.013 | 0.500 ± 0.013 | 0.950 ± 0.013 |" in lines
    assert "| TPR at 11.41, 12.0, 12.6, 13.04 | 0.750, - (± 0.010) | 0.500, - (± 0.010) | 0.950, - (± 0.010) |" in lines
    assert "| matched share above 500 sites | 0.750 | 0.500 | 0.950 |" in lines
    assert "| calibration error |  |  |  |" in lines
    assert any("have 34 haloes above 500 sites, and 0.750 ± 0.013 of the sites in haloes." in line for line in lines)
    offset = "-0.100; within 0.020 from 11.5 on"
    assert f"| median voxel mass offset [dex], at 11.2 and above | {' | '.join([offset] * 3)} |" in lines
    assert "| $\\log_{10} M$ | simulated | `planck-v5` | `fof` | pair |" in lines
    assert lines[-2:] == ["| 11.2 | 20 | 0.75 ± 0.25 | 0.50 ± 0.25 | 0.95 ± 0.25 |", "| 11.4 | 3 |  |  |  |"]


def test_a_set_of_runs_without_scores_is_refused(page: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match=r"validation_7_planck-v5\.json"):
        page.scores("7")


def test_the_tables_of_the_catalogue_are_made_from_the_results() -> None:
    page = load("docs", "write_catalog_validation")
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.text(text), "run: python docs/write_catalog_validation.py"
    assert page.MARKED.findall(text) == ["motion", "shapes", "confidence", "treepm", "treepm_confidence"]


def test_bins_without_haloes_are_left_out() -> None:
    page = load("docs", "write_catalog_validation")
    table = {"low": [0.0, 0.75], "high": [0.75, 0.8], "protohaloes": [0, 5]}
    table |= {"confidence": [None, 0.774], "purity": [None, 0.83], "found": [None, 0.5]}
    assert page.confidence({"by_confidence": table}).splitlines()[2:] == ["| 0.75 to 0.8 | 5 | 0.774 | 0.830 | 0.50 |"]


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_the_headline_is_what_was_measured(name: str, page: ModuleType) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    tables = page.read("1101")
    for figure in ("matched_share_large", "matched_share_all", "ACC"):
        value, error = (100 * tables["planck-v5"][figure][key] for key in ("value", "error"))
        assert f"{value:.1f} ± {error:.1f} %" in text
        assert f"{100 * tables['pair'][figure]['value']:.1f} %" in text
    assert str(tables["planck-v5"]["haloes_above_500_sites"]) in text
    other = page.read("treepm")["planck-v5"]["matched_share_large"]
    assert f"{100 * other['value']:.0f} ± {100 * other['error']:.0f} %" in text
