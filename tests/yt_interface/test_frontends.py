"""The frontends for MUSIC generic HDF5, monofonIC and grafic2."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import h5py
import numpy as np
import pytest
import yt
from initial_files import (
    REDSHIFT,
    SHARED,
    Particles,
    cubes,
    low_mode_difference,
    realisation,
    write_grafic,
    write_monofonic,
    write_music,
)

from yt_protohalos.exceptions import (
    CosmologyError,
    FormatError,
    InitialConditionsError,
    LatticeError,
    ProtohaloWarning,
)
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.yt_interface.frontends.grafic import GraficDataset
from yt_protohalos.yt_interface.frontends.music import MusicDataset
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load

yt.set_log_level(40)

N = 16


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(N)


def known(particles: Particles) -> dict:
    return {"box_size": particles.field.box_size, "redshift": REDSHIFT, "cosmology": PAPER_COSMOLOGY}


@pytest.mark.parametrize("ghosts", [0, 4])
def test_music_generic_opens_with_plain_yt_and_gives_the_written_density(tmp_path, particles, ghosts):
    path = write_music(tmp_path / "music.hdf5", particles, ghosts)
    for ds in (yt.load(str(path), **known(particles)), load(path, **known(particles))):
        assert isinstance(ds, MusicDataset)
        field = linear_field(ds)
        np.testing.assert_allclose(field.delta, particles.field.delta, atol=1e-4)
        assert (field.box_size, field.redshift) == (particles.field.box_size, REDSHIFT)


def test_cells_carry_the_files_numbers_in_units(tmp_path, particles):
    wanted = cubes(particles)
    music = load(write_music(tmp_path / "music.hdf5", particles), **known(particles))
    grafic = load(write_grafic(tmp_path / "grafic", particles))
    for ds, density, place, speed in (
        (music, "DM_rho", "DM_dx", "DM_vx"),
        (grafic, "ic_deltab", "ic_poscx", "ic_velcx"),
    ):
        kind = ds.fluid_type
        grid = ds.covering_grid(0, ds.domain_left_edge, (N, N, N))
        np.testing.assert_allclose(np.asarray(grid[kind, density]), wanted["delta"], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(np.asarray(grid[kind, place].to("Mpccm/h")), wanted["dx"], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(np.asarray(grid[kind, speed].to("km/s")), wanted["vx"], rtol=1e-5, atol=1e-5)
        assert float(ds.domain_width[0].to("Mpccm/h")) == pytest.approx(particles.field.box_size, rel=1e-6)


def test_selections_of_cells_agree_with_the_cube(tmp_path, particles):
    ds = load(write_music(tmp_path / "music.hdf5", particles), **known(particles))
    density = cubes(particles)["delta"]
    name = ("music", "DM_rho")
    assert float(ds.all_data()[name].sum()) == pytest.approx(float(density.sum()), abs=1e-4)
    cut = ds.slice(2, 0.5 / N)
    i, j = (np.rint(np.asarray(cut["index", axis].to("code_length")) * N - 0.5).astype(int) for axis in "xy")
    np.testing.assert_allclose(np.asarray(cut[name]), density[i, j, 0], rtol=1e-6)
    region = ds.box([0, 0, 0], [0.5, 0.25, 1.0])
    assert float(region[name].sum()) == pytest.approx(float(density[: N // 2, : N // 4].sum()), abs=1e-4)
    assert len(ds.sphere([0, 0, 0], (0.25, "code_length"))[name]) > 0
    yt.SlicePlot(ds, "z", name).save(str(tmp_path / "slice.png"))
    assert (tmp_path / "slice.png").stat().st_size > 1000


@pytest.mark.parametrize("endian", ["<", ">"])
def test_grafic_opens_from_folder_parent_and_file(tmp_path, particles, endian):
    folder = write_grafic(tmp_path / "ics" / "level_004", particles, endian)
    for path in (folder, folder.parent, folder / "ic_velcx"):
        for ds in (yt.load(str(path)), load(path)):
            assert isinstance(ds, GraficDataset)
            field = linear_field(ds)
            np.testing.assert_allclose(field.delta, particles.field.delta, atol=1e-4)
            assert field.box_size == pytest.approx(particles.field.box_size, rel=1e-6)
            assert field.redshift == REDSHIFT
            assert field.cosmology.h == PAPER_COSMOLOGY.h


def test_monofonic_displacements_give_the_linear_density(tmp_path, particles):
    path = write_monofonic(tmp_path / "mono.hdf5", particles)
    with pytest.raises(CosmologyError, match="cosmology"):
        load(path)
    field = linear_field(load(path, cosmology=PAPER_COSMOLOGY))
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-4
    assert (field.box_size, field.redshift) == (particles.field.box_size, pytest.approx(REDSHIFT))
    (tmp_path / "mono.conf").write_text("[setup]\nBoxLength = 1\nzstart = 7\n[cosmology]\nH0 = 67.77\nOmega_m = 0.3\n")
    field = linear_field(yt.load(str(path)))
    # the file's own header comes before the .conf beside it
    assert (field.box_size, field.redshift) == (particles.field.box_size, pytest.approx(REDSHIFT))
    assert (field.cosmology.h, field.cosmology.omega_m) == (0.6777, 0.307112)


def test_monofonic_evolved_density_warns(tmp_path, particles):
    path = write_monofonic(tmp_path / "mono.hdf5", particles, "delta")
    with pytest.warns(ProtohaloWarning, match="evolved"):
        ds = load(path, cosmology=PAPER_COSMOLOGY)
    np.testing.assert_allclose(linear_field(ds).delta, particles.field.delta, atol=1e-4)


def test_zooms_are_refused(tmp_path, particles):
    with pytest.raises(InitialConditionsError, match="levels 3 to 4, a zoom"):
        load(write_music(tmp_path / "music.hdf5", particles, levelmin=3), **known(particles))
    for level in ("level_004", "level_005"):
        write_grafic(tmp_path / "grafic" / level, particles)
    with pytest.raises(InitialConditionsError, match="zoom"):
        load(tmp_path / "grafic")
    with pytest.raises(InitialConditionsError, match="zoom level"):
        load(write_grafic(tmp_path / "nested", particles, origin=2.0))


def test_defective_files_are_refused(tmp_path, particles):
    folder = write_grafic(tmp_path / "grafic", particles)
    density = folder / "ic_deltab"
    whole = density.read_bytes()
    density.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="truncated"):
        linear_field(load(folder))
    density.write_bytes(whole[:10])
    with pytest.raises(FormatError, match="10 bytes"):
        load(folder)
    density.write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="not grafic2"):
        load(folder)
    path = write_music(tmp_path / "music.hdf5", particles)
    with h5py.File(path, "a") as file:
        del file["level_004_DM_rho"]
    with pytest.raises(FormatError, match="DM_rho"):
        load(path, **known(particles))
    path = write_monofonic(tmp_path / "mono.hdf5", particles)
    with h5py.File(path, "a") as file:
        del file["DM_vy"]
    with pytest.raises(FormatError, match=r"DM_vx\.\.z"):
        load(path, cosmology=PAPER_COSMOLOGY)
    with h5py.File(path, "a") as file:
        file["DM_vy"] = np.zeros((N, N, 2))
    with pytest.raises(LatticeError, match="cube"):
        load(path, cosmology=PAPER_COSMOLOGY)


def test_frontends_load_no_network_library():
    code = (
        "import sys, yt_protohalos.yt_interface.frontends.music, yt_protohalos.yt_interface.frontends.grafic\n"
        "sys.exit(any(name.split('.')[0] in ('keras', 'tensorflow') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(
    not any("protohalos" in point.name for point in entry_points(group="yt.frontends")),
    reason="the package is not installed, so that its entry points are unknown",
)
def test_a_fresh_process_opens_files_with_yt_alone(tmp_path, particles):
    folder = write_grafic(tmp_path / "grafic", particles)
    code = f"import yt; assert type(yt.load({str(folder)!r})).__name__ == 'GraficDataset'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plain_gadget_files_are_not_claimed():
    folder = SHARED / "ics"
    if not folder.exists():
        pytest.skip("the MUSIC files are not at hand")
    for path in folder.iterdir():
        if "generic" not in path.name:
            assert not MusicDataset._is_valid(str(path)), path.name
        if "grafic" not in path.name:
            assert not GraficDataset._is_valid(str(path)), path.name
