"""Benchmarks of whole predictions: every stage is timed, and the page of performance shows what they wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from position_standins import STANDINS
from scripts import ROOT, load

import yt_protohalos as ph

SIDE = 24
OWN_STAGES = {
    "positions": {"evolution", "channels", "position network", "groups"},
    "pseudo-space": {"semantic network", "instance network", "clustering", "stitching"},
}


@pytest.fixture
def page() -> ModuleType:
    return load("docs", "write_performance")


def test_the_tables_are_made_from_the_results(page: ModuleType) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.text(text), "run: python docs/write_performance.py"
    assert len(page.TABLE.findall(text)) == 3


def test_the_fastest_round_is_shown_with_its_ratio(page: ModuleType, tmp_path: Path, monkeypatch) -> None:
    def run(model: str, seconds: float) -> str:
        machine = '{"processor": "x", "cores": 2, "instructions": ["avx2"], "versions": {"numpy": "2"}}'
        return (
            f'{{"model": "{model}", "side": 64, "seconds": {seconds}, "cpu_seconds": 10, "stages": {{"groups": 1}}, '
            f'"cpu_stages": {{"groups": 2}}, "anonymous": {{"groups": {2**30}}}, "peak_resident": {2**31}, '
            f'"protohaloes": 7, "precision": "float32", "others_cores": 0.25, "machine": {machine}}}'
        )

    (tmp_path / "results").mkdir()
    runs = [run("new", 5), run("old", 8), run("new", 3), run("old", 6)]
    (tmp_path / "results" / "some.json").write_text(f"[{', '.join(runs)}]")
    monkeypatch.setattr(page, "BENCHMARKS", tmp_path)
    lines = page.pipeline_table("some", lambda run: run["model"] == "old").splitlines()
    assert "| whole, s | 6.0 (10.0) | 3.0 (10.0) |" in lines
    assert "| ratio of wall times | 1.00 | 0.50 |" in lines
    assert "| groups, s | 1.0 (2.0) | 1.0 (2.0) |" in lines
    assert "Other programs kept at most 0.2 cores busy" in " ".join(lines)


@pytest.mark.parametrize("method", STANDINS)
def test_every_stage_of_a_prediction_is_timed(method: str, tmp_path: Path) -> None:
    stages = load("benchmarks", "stages")
    ics = str(tmp_path / "ics.hdf5")
    ph.generate_initial_conditions(SIDE, SIDE * stages.SPACING, seed=3, filename=ics)
    predictor, clock = STANDINS[method](), stages.Clock()
    semantic = predictor.semantic
    with stages.measured(clock) as result:
        prediction = stages.predict_timed(predictor, ics, clock, store=tmp_path / "store")
    common = {"read", "linear field", "catalogue", "other"}
    assert set(result["stages"]) == OWN_STAGES[method] | common <= set(stages.STAGES)
    assert min(result["stages"].values()) > 0
    # clustering runs beside the network
    alone = sum(seconds for stage, seconds in result["stages"].items() if stage != "clustering")
    assert alone == pytest.approx(result["seconds"], rel=0.3)
    assert predictor.semantic is semantic  # as before
    assert stages.described(predictor, prediction.labels)["protohaloes"] == prediction.labels.max()


def test_a_period_needs_no_crop_twice(monkeypatch) -> None:
    """Copies of a period share its crops: the first of them stand for all."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    try:
        from repeated_box import Period

        from yt_protohalos.segmentation.tiling import CropPlan

        crops = CropPlan(n=256, crop=96, context=8, core=64).crops("b")
        period = Period(Path("nowhere"), 128)
        own = period.share(crops)
        with period.barrier():
            pass
    finally:
        for name in ("repeated_box", "stages"):
            sys.modules.pop(name, None)
    assert len(own) == 8 and period.shares[0][1] == 1 / 8
