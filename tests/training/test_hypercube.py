"""Runs that fill a range of cosmologies and box sides, and the command that makes them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from yt_protohalos.cli import main, simulate
from yt_protohalos.exceptions import InitialConditionsError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.training.hypercube import RANGES, hypercube
from yt_protohalos.training.simulation import SimulationSettings

SETTINGS = SimulationSettings(n=24, mesh=64)


def test_each_part_of_each_range_is_used_once() -> None:
    runs = list(hypercube(8, 3, SETTINGS))
    for name, (lowest, highest) in RANGES.items():
        if name == "box_size":
            shares = np.log([run.box_size / lowest for run in runs]) / np.log(highest / lowest)
        else:
            shares = (np.array([getattr(run.cosmology, name) for run in runs]) - lowest) / (highest - lowest)
        assert sorted((8 * shares).astype(int)) == list(range(8)), name
    assert all(run.cosmology.omega_lambda == 1 - run.cosmology.omega_m for run in runs)
    assert {(run.n, run.mesh) for run in runs} == {(24, 64)}
    # two parameters do not rise together
    order = [np.argsort([getattr(run.cosmology, name) for run in runs]) for name in ("omega_m", "sigma_8")]
    assert not np.array_equal(*order)
    assert runs == list(hypercube(8, 3, SETTINGS)) and runs != list(hypercube(8, 4, SETTINGS))


def test_a_range_that_is_left_out_keeps_the_value_of_the_settings() -> None:
    (run,) = hypercube(1, 3, SETTINGS, {"sigma_8": (0.7, 0.9)})
    assert 0.7 < run.cosmology.sigma_8 < 0.9 and run.box_size == SETTINGS.box_size
    assert run.cosmology == replace(PAPER_COSMOLOGY, sigma_8=run.cosmology.sigma_8, omega_lambda=1 - 0.307112)


@pytest.mark.parametrize(
    ("count", "ranges", "said"),
    [
        (0, RANGES, "a hypercube of 0 runs"),
        (2, {"omega_k": (0.1, 0.2)}, "'omega_k' is unknown"),
        (2, {"h": (0.9, 0.5)}, "h from 0.9 to 0.5"),
    ],
)
def test_what_makes_no_hypercube_is_refused(count: int, ranges: dict[str, tuple[float, float]], said: str) -> None:
    with pytest.raises(InitialConditionsError, match=said):
        list(hypercube(count, 3, SETTINGS, ranges))


def chosen(*words: str) -> list[tuple[int, SimulationSettings]]:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.chosen_runs(parser.parse_args([*words, "-o", "runs"]))


def test_the_command_takes_a_cosmology_or_a_hypercube() -> None:
    ((seed, own),) = chosen("--seeds", "5", "--box-size", "50 Mpc/h", "--omega-m", "0.25", "--n-s", "1")
    assert seed == 5 and own.box_size == 50
    assert own.cosmology == replace(PAPER_COSMOLOGY, omega_m=0.25, omega_lambda=0.75, n_s=1)
    assert chosen("--seeds", "5")[0][1] == SimulationSettings()
    drawn = chosen("--hypercube", "3", "--seed", "7", "--n", "24", "--mesh", "64")
    assert [seed for seed, _ in drawn] == [7, 8, 9]
    assert [settings for _, settings in drawn] == list(hypercube(3, 7, SETTINGS))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hypercube", "3"], "--hypercube and --seed go together"),
        (["--seeds", "3", "--seed", "4"], "--hypercube and --seed go together"),
        (["--hypercube", "3", "--seed", "4", "--h", "0.7", "--box-size", "50"], "leave out --h, --box-size"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    words: list[str], said: str, capsys: Any, tmp_path: Any
) -> None:
    assert main(["simulate", *words, "-o", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
