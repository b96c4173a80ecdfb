"""The generator: power spectrum, 2LPT, reproducibility and the file it writes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from initial_files import SHARED, low_mode_difference
from spectra import power_spectrum

from yt_protohalos.exceptions import InitialConditionsError, LatticeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.generate import (
    decimated_particles,
    generate_initial_conditions,
    lagrangian_particles,
    shared_noise,
)
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load


@pytest.mark.parametrize("n", [48, 49])
def test_power_spectrum_is_recovered_within_sampling_error(n):
    squares = []
    for seed in range(3):
        field = generate_initial_conditions(n, 60.0, seed)
        k, power, modes = power_spectrum(field.delta, field.lattice, n_bins=n // 2 - 1)
        squares.append((power / PAPER_COSMOLOGY.linear_power(k) - 1) ** 2 * modes)
    # per bin the relative error has variance 1 / modes, the bins' own curvature aside
    assert 0.7 < np.mean(squares) < 1.5


def test_the_same_seed_gives_the_same_field_and_another_seed_another():
    first, again, other = (generate_initial_conditions(16, 5.0, seed).delta for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_written_file_reads_back_to_the_same_field(tmp_path, dtype):
    path = tmp_path / "ics.hdf5"
    field = generate_initial_conditions(24, 24 * 50 / 256, 5, filename=path)
    if dtype is np.float64:
        positions, velocities = lagrangian_particles(field, 49.0)
        write_gadget_hdf5(
            path, positions.astype(dtype), velocities.astype(dtype), field.lattice, field.cosmology, field.redshift
        )
    back = linear_field(load(path))
    assert low_mode_difference(back.delta, field.delta) < 1e-4
    assert np.abs(back.delta - field.delta).max() < 2e-3 * field.delta.std()
    assert back.cosmology == field.cosmology
    assert (back.lattice.n, back.redshift, back.site_offset) == (24, pytest.approx(49.0), 0.0)
    assert back.box_size == pytest.approx(field.box_size)
    assert [file.name for file in tmp_path.iterdir()] == ["ics.hdf5"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "ics.hdf5"
    path.write_text("old")
    positions = np.zeros((8, 3), dtype=np.float32)
    monkeypatch.setattr(np, "arange", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_gadget_hdf5(path, positions, positions, Lattice(2, 1.0), PAPER_COSMOLOGY, 49.0)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_second_order_grows_as_the_square_of_the_amplitude():
    field = generate_initial_conditions(24, 12.0, 3)
    separations = []
    for z in (99.0, 24.0):
        (first, _), (second, _) = (lagrangian_particles(field, z, order) for order in (1, 2))
        separations.append(field.lattice.minimum_image(second.astype(float) - first).std())
    growth = PAPER_COSMOLOGY.growth_factor(np.array([99.0, 24.0]))
    assert separations[1] / separations[0] == pytest.approx((growth[1] / growth[0]) ** 2, rel=0.01)


def test_particles_agree_with_an_established_code():
    folder = SHARED / "reference"
    if not (folder / "treepm96.h5").exists():
        pytest.skip("the TreePM reference is not at hand")
    with h5py.File(folder / "treepm96.h5") as file:
        field = LinearField.from_density(file["delta_z0"][()], 18.75, PAPER_COSMOLOGY, 49.0)
    with h5py.File(folder / "treepm96_ics.hdf5") as file:
        order = np.argsort(file["PartType1/ParticleIDs"][()])
        expected = file["PartType1/Coordinates"][()][order]
        speeds = file["PartType1/Velocities"][()][order] * np.sqrt(1 / 50)
    positions, velocities = lagrangian_particles(field, 49.0)
    lattice = field.lattice
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    for measured, wanted in (
        (lattice.minimum_image(positions - sites), lattice.minimum_image(expected - sites)),
        (velocities, speeds),
    ):
        for axis in range(3):
            cubes = (values[:, axis].reshape(lattice.shape) for values in (measured, wanted))
            # Zel'dovich alone is 1e-2 off; the Nyquist modes, which codes treat differently, lie outside
            assert low_mode_difference(*cubes) < 3e-4


def test_decimated_particles_keep_the_coarse_modes_alone():
    n, box = 16, 16 * 50 / 256
    coarse = np.random.default_rng(3).standard_normal((n, n, n), dtype=np.float32)
    first, second = (shared_noise(n, 3, fine_seed) for fine_seed in (1, 2))
    assert abs(first.std() - 1) < 0.05
    spectra = [np.fft.fftn(cube, norm="forward") for cube in (coarse, first, second)]
    low = np.r_[0 : n // 2, -(n // 2) + 1 : 0]
    of_coarse, of_first, of_second = (s[np.ix_(low, low, low)] for s in spectra)
    # on eight times the sites, a mode of white noise of the same variance is smaller by the square root of eight
    np.testing.assert_allclose(of_first, of_coarse / 8**0.5, atol=1e-6)
    np.testing.assert_allclose(of_second, of_first, atol=1e-6)
    assert not np.allclose(first, second, atol=0.1)

    plain, _ = lagrangian_particles(generate_initial_conditions(n, box, 3), 49.0)
    lattice = Lattice(n, box)
    first_shift, second_shift = (
        lattice.minimum_image(decimated_particles(n, box, 3, fine_seed)[0] - plain).ravel() for fine_seed in (1, 2)
    )
    moved = lattice.minimum_image(plain - lattice.sites(np.arange(n**3)) * lattice.spacing).std()
    assert 0.01 * moved < first_shift.std() < 0.5 * moved, "the small scales move particles little"
    assert abs(np.corrcoef(first_shift, second_shift)[0, 1]) < 0.3, "and in their own ways"


@pytest.mark.parametrize("redshift", [0.0, -1.0, np.nan])
def test_redshifts_that_are_no_start_are_refused(redshift):
    with pytest.raises(InitialConditionsError, match="z > 0"):
        generate_initial_conditions(8, 5.0, 1, redshift=redshift)


def test_impossible_sizes_and_orders_are_refused():
    with pytest.raises(LatticeError):
        generate_initial_conditions(8, -5.0, 1)
    with pytest.raises(InitialConditionsError, match="1 nor 2"):
        lagrangian_particles(generate_initial_conditions(8, 5.0, 1), 49.0, order=3)
