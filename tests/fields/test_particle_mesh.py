"""Particle mesh: limits that are known exactly, symmetries, and the same bits on any number of cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from standins import make_field

from yt_protohalos.exceptions import EvolutionError
from yt_protohalos.fields import evolution, particle_mesh
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.fields.particle_mesh import MeshPlan, final_positions

N = 24
PLANS = (MeshPlan(1, 8, 0.15, 2.0, 4.0, 4), MeshPlan(2, 8, 0.0, 2.0, 5.0, 0))


@pytest.fixture(scope="module")
def field():
    return make_field(N)


def with_delta(delta: np.ndarray) -> LinearField:
    return LinearField.from_density(delta, N * 0.5, PAPER_COSMOLOGY, 49.0)


@pytest.mark.parametrize("plan", PLANS)
def test_a_uniform_field_stays(field, plan):
    zero = np.zeros_like(field.delta)
    displacement, velocity = final_positions(replace(field, delta=zero, phi=zero), plan)
    assert np.abs(displacement).max() < 1e-5
    assert np.abs(velocity).max() < 1e-4


@pytest.mark.parametrize("plan", PLANS)
def test_a_plane_wave_moves_as_zeldovich_says(plan):
    """First-order theory is exact for a plane wave before shells cross: psi = -grad(phi), laplacian(phi) = delta."""
    k = 2 * np.pi / N
    delta = np.broadcast_to(0.5 * np.cos(k * np.arange(N))[:, None, None], (N, N, N)).astype(np.float32)
    displacement, velocity = final_positions(with_delta(delta), plan)
    expected = -0.5 / k * np.sin(k * np.arange(N))
    assert np.abs(expected).max() > 1.9
    # the mesh sees the particle lattice too: 0.16 sites with one cell per site, 0.10 with two
    assert np.abs(displacement[0] - expected[:, None, None]).max() < 0.2
    assert np.abs(velocity[0] - expected[:, None, None]).max() < 0.5
    assert np.abs(displacement[1:]).max() < 1e-3


@pytest.mark.parametrize("plan", PLANS)
def test_it_commutes_with_shifts_and_with_exchanging_axes(field, plan):
    whole, _ = final_positions(field, plan)
    shift = (5, 0, 17)
    shifted, _ = final_positions(with_delta(field.lattice.shifted(field.delta, shift)), plan)
    expected = np.stack([field.lattice.shifted(component, shift) for component in whole])
    assert np.median(np.abs(shifted - expected)) < 1e-4
    turned, _ = final_positions(with_delta(field.delta.transpose(2, 0, 1)), plan)
    assert np.median(np.abs(turned - whole[[2, 0, 1]].transpose(0, 3, 1, 2))) < 1e-4


def test_mass_is_conserved_in_the_deposit(field):
    displacement, _ = final_positions(field, PLANS[1])
    mesh = np.full((2 * N,) * 3, np.nan, dtype=np.float32)
    particle_mesh._deposit(displacement, 2, mesh)
    assert mesh.mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
    padded = particle_mesh._padded_mesh(2 * N)
    particle_mesh._deposit(displacement, 2, padded)
    assert np.array_equal(padded[:, :, : 2 * N], mesh)


@pytest.mark.parametrize("side", [15, 16])
def test_the_potential_in_place_is_that_of_a_transform_elsewhere(side):
    density = np.random.default_rng(1).random((side,) * 3, dtype=np.float32)
    mesh = particle_mesh._padded_mesh(side)
    mesh.fill(np.nan)  # padding that must not matter
    mesh[:, :, :side] = density
    windows = [particle_mesh.Filter(4.0, 2).along(k, 1) for k in (np.fft.fftfreq(side), np.fft.rfftfreq(side))]
    particle_mesh._to_potential(mesh, *windows)
    spectrum = np.fft.rfftn(density.astype(np.float64))
    k, half_k = 2 * np.pi * np.fft.fftfreq(side), 2 * np.pi * np.fft.rfftfreq(side)
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + half_k**2
    square[0, 0, 0] = np.inf
    full, half = windows
    expected = np.fft.irfftn(-spectrum / square * full[:, None, None] * full[:, None] * half, (side,) * 3, (0, 1, 2))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(mesh[:, :, :side], expected, atol=2e-6 * np.abs(expected).max())


def test_the_bits_do_not_depend_on_the_cores(field, monkeypatch):
    found = []
    for cores in (1, 3):
        for module in (evolution, particle_mesh):
            monkeypatch.setattr(module, "available_cores", lambda cores=cores: cores)
        found.append(final_positions(field, PLANS[1]))
    assert all(np.array_equal(one, three) for one, three in zip(*found, strict=True))


def test_growth_factors_end_at_the_target_and_steps_shorten():
    growth = MeshPlan(1, 10, 0.2, 2.0, 4.0, 0).growth
    assert growth[0] == pytest.approx(0.2) and growth[-1] == 1
    assert (np.diff(growth, 2) < 0).all()
    assert np.allclose(MeshPlan(1, 10, 0.2, 1.0, 4.0, 0).growth, np.linspace(0.2, 1, 11))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells_per_site": 0}, "no mesh"), ({"steps": 0}, "no steps"), ({"start": 1.0}, "no time"),
        ({"cut": 0.0}, "no force"), ({"shortening": 0.5}, "no force"), ({"sharpening": -1}, "no force"),
    ],
)  # fmt: skip
def test_plans_that_cannot_be_are_refused(change, message):
    with pytest.raises(EvolutionError, match=message):
        replace(PLANS[0], **change)
