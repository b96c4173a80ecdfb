"""Fourier operators and the field built on them."""

from __future__ import annotations

import numpy as np
import pytest
from spectra import power_spectrum

from yt_protohalos.exceptions import InitialConditionsError, LatticeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.fourier import (
    derivative_spectrum,
    displacement_component,
    potential,
    resample,
    second_order_source,
    to_cube,
)
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.reconstruction import first_order_displacement

SIZE = 6.0


def wave(n: int, mode: tuple[int, int, int], offset: float = 0.0) -> np.ndarray:
    """cos(k x) of a box mode, on sites (i + offset) * spacing."""
    x = 2 * np.pi * (np.arange(n) + offset) / n
    phase = mode[0] * x[:, None, None] + mode[1] * x[None, :, None] + mode[2] * x[None, None, :]
    return np.cos(phase).astype(np.float32)


def smooth(n: int, offset: float = 0.0) -> np.ndarray:
    """A sum of modes that any lattice of at least 9 sites holds."""
    modes = [(1, 0, 0), (0, 2, 1), (3, -1, 2), (-2, 3, 4)]
    return sum((i + 1) * wave(n, mode, offset) for i, mode in enumerate(modes))


@pytest.mark.parametrize("n", [9, 10])
@pytest.mark.parametrize("mode", [(1, 0, 0), (2, -3, 1)])
def test_potential_of_a_plane_wave(n, mode):
    k2 = sum(m**2 for m in mode) * (2 * np.pi / SIZE) ** 2
    delta = wave(n, mode)
    np.testing.assert_allclose(potential(delta, Lattice(n, SIZE)), -delta / k2, atol=1e-6)


@pytest.mark.parametrize("n", [9, 10])
def test_minus_the_divergence_of_the_displacement_is_delta(n):
    lattice = Lattice(n, SIZE)
    delta = smooth(n)
    phi = potential(delta, lattice)
    psi = np.stack([displacement_component(phi, lattice, axis) for axis in range(3)])
    divergence = to_cube(sum(derivative_spectrum(psi[axis], lattice, axis) for axis in range(3)), lattice.n)
    np.testing.assert_allclose(-divergence, delta, atol=2e-5)


def test_a_single_plane_wave_has_no_second_order_and_two_crossed_ones_do():
    lattice = Lattice(12, SIZE)
    assert np.abs(second_order_source(wave(12, (1, 0, 0)), lattice)).max() < 1e-5
    k2 = (2 * np.pi / SIZE) ** 2
    crossed = second_order_source(wave(12, (1, 0, 0)) + wave(12, (0, 1, 0)), lattice)
    np.testing.assert_allclose(crossed, k2**2 * wave(12, (1, 0, 0)) * wave(12, (0, 1, 0)), atol=1e-4)


def test_first_order_is_recovered_from_positions_and_velocities_of_second_order_particles():
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((2, 3, 50))
    rate, second_rate = 0.97, 1.95
    psi, velocity = first + second, rate * first + second_rate * second
    np.testing.assert_allclose(first_order_displacement(psi, velocity, rate, second_rate), first, atol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(10, 15), (15, 10), (10, 16), (16, 9), (12, 11)])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_resampling_a_band_limited_field_gives_its_values_at_the_new_sites(m, n, offset):
    field = LinearField.from_density(smooth(m, offset), SIZE, PAPER_COSMOLOGY, 49.0, offset)
    other = LinearField.from_density(smooth(n, offset), SIZE, PAPER_COSMOLOGY, 49.0, offset)
    resampled = field.resampled(n)
    np.testing.assert_allclose(resampled.delta, other.delta, atol=2e-5)
    np.testing.assert_allclose(resampled.phi, other.phi, atol=2e-5)
    assert resampled.lattice == other.lattice


def test_resampling_to_the_same_lattice_changes_nothing():
    cube = np.random.default_rng(1).standard_normal((8, 8, 8)).astype(np.float32)
    assert resample(cube, Lattice(8, SIZE), 8) is cube


@pytest.mark.parametrize("n", [8, 9])
def test_power_spectrum_sums_to_the_variance(n):
    rng = np.random.default_rng(5)
    delta = rng.standard_normal((n, n, n)).astype(np.float32)
    delta -= delta.mean()
    lattice = Lattice(n, 3000.0)  # so large that wavenumbers are nearly equal: none may be taken for Nyquist's
    _, power, modes = power_spectrum(delta, lattice, n_bins=2 * n)
    filled = modes > 0
    assert 2 * modes[filled].sum() == pytest.approx(n**3 - 1)
    total = np.sum(2 * modes[filled] * power[filled]) / lattice.box_size**3
    assert total == pytest.approx(float(np.mean(delta.astype(float) ** 2)), rel=1e-5)


def test_the_mean_is_removed_and_phi_solves_poissons_equation():
    field = LinearField.from_density(smooth(10) + 3.0, SIZE, PAPER_COSMOLOGY, 49.0)
    np.testing.assert_allclose(field.delta, smooth(10), atol=1e-5)
    np.testing.assert_allclose(field.phi, potential(field.delta, field.lattice))
    assert field.site_mass_msun_h * field.lattice.n_sites == pytest.approx(PAPER_COSMOLOGY.mean_density * SIZE**3)


def test_bad_densities_are_refused():
    with pytest.raises(LatticeError, match="not a cube"):
        LinearField.from_density(np.zeros((4, 4, 5)), SIZE, PAPER_COSMOLOGY, 49.0)
    broken = smooth(10)
    broken[1, 2, 3] = np.nan
    with pytest.raises(InitialConditionsError, match="finite"):
        LinearField.from_density(broken, SIZE, PAPER_COSMOLOGY, 49.0)
