"""Formats that become in-memory datasets: TIPSY and Enzo."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import yt
from initial_files import REDSHIFT, Particles, low_mode_difference, realisation, write_enzo, write_tipsy

from yt_protohalos.exceptions import CosmologyError, FormatError, InitialConditionsError, LatticeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY, Cosmology
from yt_protohalos.yt_interface.linear import linear_field, particle_sites
from yt_protohalos.yt_interface.load import load

yt.set_log_level(40)


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(16)


def known(particles: Particles) -> dict:
    return {"box_size": particles.field.box_size, "cosmology": PAPER_COSMOLOGY}


def assert_same_field(ds, particles: Particles) -> None:
    field = linear_field(ds)
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-4
    assert ds.cosmological_simulation
    assert ds.current_redshift == pytest.approx(REDSHIFT)
    assert (field.cosmology.h, field.cosmology.omega_b) == (0.6777, PAPER_COSMOLOGY.omega_b)
    assert float(ds.domain_width[0].to("Mpccm/h")) == pytest.approx(field.box_size)
    data = ds.all_data()
    total = float(data["all", "particle_mass"].to("Msun").sum()) * field.cosmology.h
    assert total == pytest.approx(PAPER_COSMOLOGY.mean_density * field.box_size**3, rel=1e-4)
    speed = np.asarray(data["all", "particle_velocity_x"].to("km/s"))
    assert speed.std() == pytest.approx(particles.velocities[:, 0].std(), rel=1e-4)
    sites = particle_sites(ds, "all", data)
    np.testing.assert_array_equal(np.sort(sites), np.arange(field.lattice.n_sites))


@pytest.mark.parametrize("endian", ["<", ">"])
def test_tipsy_in_either_byte_order(tmp_path, particles, endian):
    assert_same_field(load(write_tipsy(tmp_path / "ics.tipsy", particles, endian), **known(particles)), particles)


def test_enzo_from_its_folder_or_a_file_in_it(tmp_path, particles):
    folder = write_enzo(tmp_path / "enzo", particles)
    assert_same_field(load(folder), particles)
    assert_same_field(load(folder / "parameter_file.txt"), particles)
    assert linear_field(load(folder)).site_offset == 0.5


def test_tipsy_needs_what_its_file_leaves_out(tmp_path, particles):
    path = write_tipsy(tmp_path / "ics.tipsy", particles)
    with pytest.raises(CosmologyError, match="box_size, cosmology"):
        load(path)
    with pytest.raises(CosmologyError, match=r"Omega_m = 0\.3071.*0\.2500"):
        load(path, box_size=3.0, cosmology=Cosmology(0.7, 0.25, 0.75))
    with pytest.raises(TypeError, match="in-memory"):
        load(path, unit_base={}, **known(particles))


def test_defective_tipsy_files_are_refused(tmp_path, particles):
    with pytest.raises(InitialConditionsError, match="3 gas"):
        load(write_tipsy(tmp_path / "gas.tipsy", particles, gas=3), **known(particles))
    path = write_tipsy(tmp_path / "short.tipsy", particles)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError):
        load(path, **known(particles))


def test_defective_enzo_folders_are_refused(tmp_path, particles):
    folder = write_enzo(tmp_path / "enzo", particles)
    nested = folder / "ParticleDisplacements_x.0"
    nested.touch()
    with pytest.raises(InitialConditionsError, match="zoom"):
        load(folder)
    nested.unlink()
    (folder / "ParticleVelocities_y").unlink()
    with pytest.raises(FormatError, match="ParticleVelocities_y"):
        load(folder)
    (folder / "ParticleDisplacements_z").unlink()
    with h5py.File(folder / "ParticleDisplacements_z", "w") as file:
        file["ParticleDisplacements_z"] = np.zeros((1, 4, 4, 8))
    with pytest.raises(LatticeError, match="cubic"):
        load(folder)
