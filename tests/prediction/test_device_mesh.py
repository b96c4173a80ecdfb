"""The particle mesh by keras gives the positions of the compiled one; a GPU is chosen if it has room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from position_standins import make_position_predictor
from standins import SPACING

from yt_protohalos.fields.particle_mesh import ACCURATE, FAST, PLANS, final_positions
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.prediction import device_mesh
from yt_protohalos.prediction.device_mesh import DeviceMesh, best_forces

N = 16


@pytest.fixture(scope="module")
def field():
    return generate_initial_conditions(N, N * SPACING, seed=5)


@pytest.mark.parametrize("plan", [FAST, ACCURATE])
def test_positions_and_velocities_are_those_of_the_processor_in_any_number_of_parts(field, plan, monkeypatch) -> None:
    plan = replace(plan, steps=6)
    displacement, velocity = final_positions(field, plan)
    monkeypatch.setattr(device_mesh, "SITES_AT_ONCE", 3000)
    moved, speed = final_positions(field, plan, forces=DeviceMesh)
    assert np.sqrt(np.mean(displacement**2)) > 0.5, "sites that stay where they are would prove nothing"
    # rounding grows where shells have crossed
    np.testing.assert_allclose(moved, displacement, atol=2e-3)
    assert np.median(np.abs(moved - displacement)) < 2e-5
    assert np.median(np.abs(speed - velocity)) < 2e-4


def test_a_gpu_is_used_if_it_has_room(monkeypatch) -> None:
    for free, plan, n, chosen in (
        (None, FAST, 16, None),
        (8 * 2**30, ACCURATE, 256, DeviceMesh),
        (8 * 2**30, FAST, 512, DeviceMesh),
        (8 * 2**30, ACCURATE, 512, None),
        # more cells than an index of 32 bits can count
        (10**13, ACCURATE, 646, None),
    ):
        monkeypatch.setattr(device_mesh, "gpu_memory", lambda free=free: free)
        assert best_forces(plan, n) is chosen


def test_a_prediction_evolves_the_field_on_a_gpu_that_has_room(field, monkeypatch) -> None:
    made = []

    class Watched(DeviceMesh):
        def __init__(self, *arguments) -> None:
            made.append(arguments[2])
            super().__init__(*arguments)

    monkeypatch.setattr(device_mesh, "DeviceMesh", Watched)
    monkeypatch.setattr(device_mesh, "gpu_memory", lambda: 8 * 2**30)
    plan = replace(FAST, steps=2)
    monkeypatch.setitem(PLANS, "fast", plan)
    found = make_position_predictor().predict(field, progress=False)
    assert made == [1] and found.evolved is not None
    np.testing.assert_allclose(found.evolved.displacement, final_positions(field, plan)[0], atol=1e-4)
