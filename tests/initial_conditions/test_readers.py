"""Reading initial conditions: every format and convention gives the same delta, and every defect its own error."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yt
from initial_files import (
    REDSHIFT,
    SHARED,
    Particles,
    field_from_particles,
    low_mode_difference,
    realisation,
    write_enzo,
    write_gadget2,
    write_swift,
    write_tipsy,
)

import yt_protohalos
from yt_protohalos.exceptions import (
    CosmologyError,
    FormatError,
    InitialConditionsError,
    LatticeError,
    PositionsOnlyWarning,
    ProtohaloError,
    UnitsError,
)
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY, Cosmology
from yt_protohalos.fields.fourier import resample, without_nyquist
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.yt_interface.frontends.music import EnzoICsDataset
from yt_protohalos.yt_interface.linear import dataset_facts, linear_field, particle_sites
from yt_protohalos.yt_interface.load import load

yt.set_log_level(40)

needs_ics = pytest.mark.skipif(not (SHARED / "ics").exists(), reason="the MUSIC files are not at hand")
DEMO = Path(yt_protohalos.__file__).parent / "data" / "music64_gadget2.dat"
MUSIC32 = (
    "music32_gadget2.dat",
    "music32_arepo.hdf5",
    "music32_swift.hdf5",
    "music32_tipsy.dat",
    "music32_generic.hdf5",
    "music32_grafic2",
    "music32_enzo",
)


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(16)


def assert_same_field(ds, particles: Particles, tolerance: float = 1e-4) -> None:
    field = linear_field(ds)
    assert low_mode_difference(field.delta, particles.field.delta) < tolerance
    assert field.box_size == pytest.approx(particles.field.box_size, rel=1e-6)
    assert field.redshift == pytest.approx(REDSHIFT, rel=1e-6)


# files of the MUSIC code


@needs_ics
def test_music64_agrees_with_the_density_music_wrote():
    field = linear_field(load(SHARED / "ics" / "music64_gadget2.dat"))
    with h5py.File(SHARED / "ics" / "music64_linear_density.h5") as file:
        truth = file["delta_z49"][()] / field.cosmology.growth_factor(49.0)
    assert low_mode_difference(field.delta, truth) < 1e-4
    assert (field.lattice.n, field.box_size, field.redshift, field.site_offset) == (64, pytest.approx(12.5), 49.0, 0.5)


def test_the_packaged_realisation_agrees_with_musics_own_low_modes():
    """As above with what the repository holds: MUSIC's linear density, cut at half the Nyquist wavenumber."""
    with np.load(Path(__file__).parents[1] / "data" / "music64_low_modes.npz") as file:
        truth = file["delta_z49"] / PAPER_COSMOLOGY.growth_factor(49.0)
    field = linear_field(load(DEMO))
    low = resample(field.delta, field.lattice, 32)
    difference = np.sqrt(np.mean((low - truth) ** 2)) / truth.std()
    assert difference < 1e-4


@needs_ics
def test_seven_formats_of_one_realisation_give_the_same_delta():
    truth = linear_field(load(SHARED / "ics" / "music32_generic.hdf5"))
    for name in MUSIC32:
        field = linear_field(load(SHARED / "ics" / name))
        assert low_mode_difference(field.delta, truth.delta) < 1e-3, name
        assert low_mode_difference(field.phi, truth.phi) < 1e-3, name
        assert field.box_size == pytest.approx(6.25, rel=1e-6), name
        assert field.redshift == pytest.approx(49.0, rel=1e-6), name
        assert field.cosmology.h == pytest.approx(0.6777), name


@needs_ics
def test_positions_alone_warn_with_the_error_they_make():
    ds = load(SHARED / "ics" / "music64_gadget2.dat")
    data = ds.all_data()
    positions = np.asarray(data["all", "particle_position"].to("Mpccm/h"))
    with h5py.File(SHARED / "ics" / "music64_linear_density.h5") as file:
        truth = file["delta_z49"][()] / PAPER_COSMOLOGY.growth_factor(49.0)
    with pytest.warns(PositionsOnlyWarning, match="about") as caught:
        field, _ = field_from_particles(positions, None, None, 12.5, PAPER_COSMOLOGY, 49.0)
    said = float(str(caught[0].message).split("about ")[1].split()[0])
    error = low_mode_difference(field.delta, truth)
    assert 0.01 < error < 0.05
    assert said == pytest.approx(error, rel=1.0)


@needs_ics
def test_a_zoom_is_refused_by_name():
    ds = load(SHARED / "ics" / "music_zoom.dat")
    with pytest.raises(InitialConditionsError, match=r"zoom.*unigrid"):
        linear_field(ds)
    for ptype in ("Halo", "Bndry"):
        with pytest.raises(ProtohaloError):
            linear_field(ds, ptype=ptype)


def test_gadget4_initial_conditions_give_their_own_density():
    folder = SHARED / "reference"
    if not (folder / "treepm96.h5").exists():
        pytest.skip("the TreePM reference is not at hand")
    field = linear_field(load(folder / "treepm96_ics.hdf5"))
    with h5py.File(folder / "treepm96.h5") as file:
        truth = file["delta_z0"][()]
    assert low_mode_difference(field.delta, truth) < 1e-5
    assert np.corrcoef(field.delta.ravel(), without_nyquist(truth).ravel())[0, 1] > 0.999999
    assert field.site_offset == 0.0


@needs_ics
def test_a_conf_file_is_found_by_its_name_or_its_output_and_may_be_given(tmp_path):
    for name in ("run_a.conf", "run_ab.conf"):
        text = (SHARED / "ics" / "music32.conf").read_text()
        (tmp_path / name).write_text(text.replace("zstart = 49", "zstart = 99") if name == "run_a.conf" else text)
    shutil.copy(SHARED / "ics" / "music32_generic.hdf5", tmp_path / "run_abc.hdf5")
    assert linear_field(load(tmp_path / "run_abc.hdf5")).redshift == 49.0
    shutil.copy(tmp_path / "run_abc.hdf5", tmp_path / "other.hdf5")
    with pytest.raises(CosmologyError, match=r"box_size=.*\.conf"):
        load(tmp_path / "other.hdf5")
    assert linear_field(load(tmp_path / "other.hdf5", conf=tmp_path / "run_a.conf")).redshift == 99.0
    field = linear_field(load(tmp_path / "other.hdf5", box_size=6.25, redshift=19.0, cosmology=PAPER_COSMOLOGY))
    assert (field.redshift, field.box_size) == (19.0, 6.25)


@needs_ics
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # yt's probes leave short files open
def test_truncated_files_of_every_kind_are_refused(tmp_path):
    for name in ("music32_gadget2.dat", "music32_arepo.hdf5", "music32_tipsy.dat", "music32_generic.hdf5"):
        whole = (SHARED / "ics" / name).read_bytes()
        for kept in (0, 20, len(whole) // 2):
            path = tmp_path / f"{kept}_{name}"
            path.write_bytes(whole[:kept])
            with pytest.raises(FormatError):
                load(path)


# one realisation in every variant of the Gadget formats


@pytest.mark.parametrize("file_format", [1, 2])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("long_ids", [False, True])
def test_gadget2_variants(tmp_path, particles, file_format, double, long_ids):
    # every two of the settings occur together
    files, per_mpc = (1, 1000.0) if (file_format + double + long_ids) % 2 else (3, 1.0)
    path = write_gadget2(
        tmp_path / "ics.dat",
        particles,
        file_format=file_format,
        double=double,
        long_ids=long_ids,
        files=files,
        per_mpc=per_mpc,
    )
    assert_same_field(load(path), particles)


@pytest.mark.parametrize(
    "variant", [{"endian": ">"}, {"mass_block": True}, {"mass_block": True, "files": 2, "double": True}]
)
def test_gadget2_byte_order_and_mass_block(tmp_path, particles, variant):
    assert_same_field(load(write_gadget2(tmp_path / "ics.dat", particles, **variant)), particles)


@pytest.mark.parametrize(
    ("block_order", "double_blocks", "variant"),
    [
        (("POS ", "ID  ", "VEL "), (), {}),
        (("ID  ", "POS ", "VEL "), ("VEL ",), {}),
        (("POS ", "VEL ", "ID  "), ("POS ",), {"file_format": 2}),
        (("POS ", "ID  ", "VEL "), ("POS ",), {"mass_block": True, "files": 2, "long_ids": True}),
    ],
)
def test_gadget2_blocks_in_any_order_and_precision_keep_their_velocities(
    tmp_path, particles, block_order, double_blocks, variant
):
    block_order += ("MASS",)
    path = write_gadget2(
        tmp_path / "ics.dat", particles, block_order=block_order, double_blocks=double_blocks, **variant
    )
    ds = load(path)
    assert_same_field(ds, particles)
    data = ds.all_data()
    ids = np.asarray(data["all", "particle_index"]).astype(int)
    velocities = np.asarray(data["all", "particle_velocity"].to("km/s"))
    np.testing.assert_allclose(velocities, particles.velocities[ids], rtol=1e-5, atol=1e-5)


def test_gadget2_blocks_that_are_not_explained_are_refused(tmp_path, particles):
    path = write_gadget2(tmp_path / "ics.dat", particles)
    whole, count = path.read_bytes(), len(particles.positions)
    start, end = 264 + 12 * count + 8, 264 + 2 * (12 * count + 8)  # of the velocity record
    half = np.array([6 * count], dtype="<u4").tobytes()
    path.write_bytes(whole[:start] + half + bytes(6 * count) + half + whole[end:])
    with pytest.raises(FormatError, match=rf"block 2 of ics.dat has {6 * count} bytes.*format 2"):
        load(path)
    named = write_gadget2(tmp_path / "named.dat", particles, file_format=2, block_names={"VEL ": "VELO"})
    with pytest.raises(FormatError, match=r"no block VEL, but a block 'VELO' of three numbers"):
        load(named)


def test_gadget2_accelerations_after_the_ids_are_left_aside(tmp_path, particles):
    path = write_gadget2(tmp_path / "ics.dat", particles)
    mark = np.array([12 * len(particles.positions)], dtype="<u4").tobytes()
    path.write_bytes(path.read_bytes() + mark + particles.velocities.tobytes() + mark)
    assert_same_field(load(path), particles)


def test_a_set_of_files_opens_by_any_member_and_by_its_stem(tmp_path, particles):
    first = write_gadget2(tmp_path / "ics.dat", particles, files=3)
    assert_same_field(load(first.with_name("ics.dat.2")), particles)
    assert_same_field(load(tmp_path / "ics.dat"), particles)
    first.with_name("ics.dat.1").unlink()
    with pytest.raises(FormatError, match=r"1 of 3 files are missing \(ics.dat.1"):
        load(first)


def test_data_objects_of_a_double_precision_set_hold_the_written_numbers(tmp_path, particles):
    ds = load(write_gadget2(tmp_path / "ics.dat", particles, double=True, long_ids=True, files=2))
    data = ds.all_data()
    ids = np.asarray(data["all", "particle_index"]).astype(int)
    np.testing.assert_array_equal(np.sort(ids), np.arange(len(particles.positions)))
    positions = np.asarray(data["all", "particle_position"].to("Mpccm/h"))
    velocities = np.asarray(data["all", "particle_velocity"].to("km/s"))
    np.testing.assert_allclose(positions, particles.positions[ids], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(velocities, particles.velocities[ids], rtol=1e-5, atol=1e-5)
    total = float(data["all", "particle_mass"].to("Msun").sum()) * PAPER_COSMOLOGY.h
    assert total == pytest.approx(particles.mass * len(ids), rel=1e-3)


def test_einstein_de_sitter_headers_stay_cosmological(tmp_path):
    flat = Cosmology(0.7, 1.0, 0.0)
    own = realisation(cosmology=flat)
    binary = load(write_gadget2(tmp_path / "ics.dat", own))
    write_gadget_hdf5(tmp_path / "ics.hdf5", own.positions, own.velocities, own.field.lattice, flat, REDSHIFT)
    for ds in (binary, load(tmp_path / "ics.hdf5")):
        assert ds.cosmological_simulation
        assert_same_field(ds, own)
        assert linear_field(ds).cosmology.omega_lambda == 0.0


def write_with_gas(path: Path, particles: Particles, gas_ids: np.ndarray) -> Path:
    """Dark matter with IDs from 1, and gas half a spacing beside it."""
    field = particles.field
    write_gadget_hdf5(path, particles.positions, particles.velocities, field.lattice, PAPER_COSMOLOGY, REDSHIFT)
    share = PAPER_COSMOLOGY.omega_b / PAPER_COSMOLOGY.omega_m
    with h5py.File(path, "a") as file:
        header, count = file["Header"].attrs, field.lattice.n_sites
        for name in ("NumPart_ThisFile", "NumPart_Total"):
            header[name] = np.array([count, count, 0, 0, 0, 0], dtype=header[name].dtype)
        header["MassTable"] = header["MassTable"][1] * np.array([share, 1 - share, 0, 0, 0, 0])
        file["PartType0/Coordinates"] = (particles.positions + field.spacing / 2) % field.box_size
        file["PartType0/Velocities"] = file["PartType1/Velocities"][()]
        file["PartType0/ParticleIDs"] = gas_ids
    return path


def test_gas_beside_dark_matter_has_the_sites_of_its_partners_and_no_file_appears(tmp_path, particles):
    sites = np.arange(particles.field.lattice.n_sites)
    ds = load(write_with_gas(tmp_path / "ics.hdf5", particles, len(sites) + 1 + sites))
    assert_same_field(ds, particles)
    ad = ds.all_data()
    np.testing.assert_array_equal(particle_sites(ds, "PartType1", ad), sites)
    np.testing.assert_array_equal(particle_sites(ds, "PartType0", ad), sites)
    for union in ("all", "nbody"):
        ids = np.asarray(ad[union, "particle_index"]).astype(int)
        assert len(ids) == 2 * len(sites)
        np.testing.assert_array_equal(particle_sites(ds, union, ad), (ids - 1) % len(sites))
    assert [each.name for each in tmp_path.iterdir()] == ["ics.hdf5"]


def test_gas_without_sites_of_its_own_is_refused(tmp_path, particles):
    lattice = particles.field.lattice
    sites = np.arange(lattice.n_sites)
    ad = load(write_with_gas(tmp_path / "scattered.hdf5", particles, len(sites) + 5 * sites)).all_data()
    with pytest.raises(LatticeError, match="beside those of the lattice do not count its 4096 sites"):
        particle_sites(ad.ds, "all", ad)
    assert len(particle_sites(ad.ds, "PartType1", ad)) == len(sites)
    # the same IDs in another order
    x_fastest = sites.reshape(lattice.shape).transpose(2, 1, 0).ravel()
    ad = load(write_with_gas(tmp_path / "shared.hdf5", particles, 1 + x_fastest)).all_data()
    np.testing.assert_array_equal(particle_sites(ad.ds, "PartType0", ad), sites)
    with pytest.raises(LatticeError, match="two particle types share IDs"):
        particle_sites(ad.ds, "all", ad)


def write_hdf5_set(path: Path, particles: Particles, files: int) -> Path:
    write_gadget_hdf5(
        path, particles.positions, particles.velocities, particles.field.lattice, PAPER_COSMOLOGY, REDSHIFT
    )
    with h5py.File(path) as whole:
        for i, part in enumerate(np.array_split(np.arange(len(particles.positions)), files)):
            with h5py.File(path.with_name(f"{path.stem}.{i}.hdf5"), "w") as file:
                header = file.create_group("Header").attrs
                header.update(whole["Header"].attrs)
                header["NumFilesPerSnapshot"] = files
                header["NumPart_ThisFile"] = np.array([0, len(part), 0, 0, 0, 0], dtype=np.uint32)
                for name, values in whole["PartType1"].items():
                    file[f"PartType1/{name}"] = values[part[0] : part[-1] + 1]
    path.unlink()
    return path.with_name(f"{path.stem}.0.hdf5")


def test_hdf5_sets_of_files(tmp_path, particles):
    assert_same_field(load(write_hdf5_set(tmp_path / "ics.hdf5", particles, 3)), particles)


def test_swift_snapshots_open_at_any_redshift(tmp_path, particles):
    ds = load(write_swift(tmp_path / "snapshot.hdf5", particles, 0.0))
    # black holes and neutrinos stand beside the dark matter
    assert {name: count for name, count in ds.particle_type_counts.items() if count} == {
        "PartType1": len(particles.positions), "PartType5": 1, "PartType6": 1,
    }  # fmt: skip
    facts = dataset_facts(ds)
    assert facts.redshift == 0.0
    assert facts.box_size == pytest.approx(particles.field.box_size)
    assert (facts.cosmology.h, facts.cosmology.omega_m) == (PAPER_COSMOLOGY.h, PAPER_COSMOLOGY.omega_m)
    places = np.asarray(ds.all_data()["PartType1", "particle_position"].to("Mpccm/h"))
    np.testing.assert_allclose(places, particles.positions, rtol=1e-6)
    early = load(write_swift(tmp_path / "early.hdf5", particles))
    assert_same_field(early, particles)


def test_swift_initial_conditions_take_what_they_lack_from_keywords_or_a_conf(tmp_path, particles):
    path = write_swift(tmp_path / "ics.hdf5", particles, snapshot=False)
    said = r"no Redshift, Omega0, OmegaLambda, HubbleParam in its header; pass redshift=\.\.\., cosmology=\.\.\."
    with pytest.raises(CosmologyError, match=said):
        load(path)
    with pytest.raises(CosmologyError, match="states box_size"):
        load(path, box_size=3.0, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)
    assert_same_field(load(path, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY), particles)
    (tmp_path / "ics.conf").write_text(
        f"[setup]\nBoxLength = 1\nzstart = {REDSHIFT}\n[cosmology]\nH0 = 67.77\nOmega_m = 0.307112\n"
    )
    assert_same_field(load(path), particles)


# conventions: found from the data, never assumed


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("base", [0, 1, 1000])
def test_delta_does_not_depend_on_where_sites_lie_or_ids_start(tmp_path, particles, offset, base):
    lattice = particles.field.lattice
    rng = np.random.default_rng(base)
    moved = (particles.positions.astype(float) + offset * lattice.spacing) % lattice.box_size
    ds = load(
        write_gadget2(
            tmp_path / "ics.dat",
            particles,
            double=True,
            positions=moved,
            ids=base + np.arange(lattice.n_sites),
            order=rng.permutation(lattice.n_sites),
        )
    )
    assert_same_field(ds, particles)
    assert linear_field(ds).site_offset == pytest.approx(offset, abs=1e-3)


def test_a_lattice_moved_by_whole_sites_moves_delta_with_it(particles):
    lattice = particles.field.lattice
    shift = (3, 0, 13)
    moved = (particles.positions + np.array(shift) * lattice.spacing) % lattice.box_size
    field, sites = field_from_particles(
        moved, particles.velocities, np.arange(lattice.n_sites), lattice.box_size, PAPER_COSMOLOGY, REDSHIFT
    )
    assert low_mode_difference(field.delta, lattice.shifted(particles.field.delta, shift)) < 1e-4
    first = sites.flat_from_ids(np.array([0]))
    np.testing.assert_array_equal(lattice.sites(first), [shift])


@pytest.mark.parametrize("convention", ["x fastest", "no order", "none", "stored x fastest"])
def test_ids_that_are_not_row_major(particles, convention):
    lattice = particles.field.lattice
    whole = np.arange(lattice.n_sites)
    x_fastest = whole.reshape(lattice.shape).transpose(2, 1, 0).ravel()
    order = np.random.default_rng(2).permutation(whole)
    if convention == "stored x fastest":
        order = x_fastest
    ids = {"x fastest": x_fastest, "no order": 7 * np.random.default_rng(1).permutation(whole)}.get(convention)
    field, sites = field_from_particles(
        particles.positions[order],
        particles.velocities[order],
        None if ids is None else ids[order],
        lattice.box_size,
        PAPER_COSMOLOGY,
        REDSHIFT,
    )
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-4
    found = (
        sites.flat_from_positions(particles.positions[:50]) if sites.id_base is None else sites.flat_from_ids(ids[:50])
    )
    np.testing.assert_array_equal(found, whole[:50])


def test_particle_sites_of_a_data_object_are_those_of_its_particles(tmp_path, particles):
    lattice = particles.field.lattice
    order = np.random.default_rng(3).permutation(lattice.n_sites)
    for name, ids in (("counting", 1 + np.arange(lattice.n_sites)), ("other", 5 * np.arange(lattice.n_sites))):
        ds = load(write_gadget2(tmp_path / f"{name}.dat", particles, ids=ids, order=order))
        sphere = ds.sphere("c", (1.0, "Mpccm/h"))
        for ptype in ("Halo", "all"):
            found = particle_sites(ds, ptype, sphere)
            positions = np.asarray(sphere[ptype, "particle_position"].to("Mpccm/h"))
            assert 0 < len(found) < lattice.n_sites
            np.testing.assert_allclose(positions, particles.positions[found], rtol=1e-5)
        assert len(np.unique(particle_sites(ds, "all", ds.all_data()))) == lattice.n_sites


def test_ids_beyond_the_lattice_are_refused(particles):
    lattice = particles.field.lattice
    _, sites = field_from_particles(
        particles.positions,
        particles.velocities,
        1 + np.arange(lattice.n_sites),
        lattice.box_size,
        PAPER_COSMOLOGY,
        REDSHIFT,
    )
    with pytest.raises(LatticeError, match=rf"ID {lattice.n_sites + 1} lies outside 1\.\.{lattice.n_sites}"):
        sites.flat_from_ids(np.array([1, lattice.n_sites + 1]))


# in-memory datasets


def particle_data(particles: Particles, velocities: bool = True) -> dict:
    data = {}
    for axis, letter in enumerate("xyz"):
        data[f"particle_position_{letter}"] = (particles.positions[:, axis].astype(float), "code_length")
        if velocities:
            data[f"particle_velocity_{letter}"] = (particles.velocities[:, axis].astype(float), "km/s")
    return data


def test_in_memory_particles_need_their_box_redshift_and_cosmology_once(particles):
    size = particles.field.box_size
    ds = yt.load_particles(particle_data(particles), bbox=np.array([[0.0, size]] * 3))
    with pytest.raises(CosmologyError, match="box_size, redshift, cosmology"):
        linear_field(ds)
    field = linear_field(ds, box_size=size, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-4
    assert linear_field(ds) is linear_field(ds)
    np.testing.assert_array_equal(linear_field(ds).delta, field.delta)


def test_missing_velocities_warn(particles):
    size = particles.field.box_size
    ds = yt.load_particles(particle_data(particles, velocities=False), bbox=np.array([[0.0, size]] * 3))
    with pytest.warns(PositionsOnlyWarning, match="second-order"):
        field = linear_field(ds, box_size=size, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)
    assert 1e-3 < low_mode_difference(field.delta, particles.field.delta) < 0.1


@pytest.mark.parametrize("file_format", [1, 2])
def test_a_gadget_file_without_velocities_warns(tmp_path, particles, file_format):
    ds = load(write_gadget2(tmp_path / "ics.dat", particles, velocities=False, file_format=file_format))
    with pytest.warns(PositionsOnlyWarning):
        field = linear_field(ds)
    assert low_mode_difference(field.delta, particles.field.delta) < 0.1


@pytest.mark.parametrize(("name", "nprocs"), [("delta", 1), ("overdensity", 8)])
def test_in_memory_grids_of_linear_density(particles, name, nprocs):
    truth = particles.field
    growth = PAPER_COSMOLOGY.growth_factor(REDSHIFT)
    ds = yt.load_uniform_grid({name: (truth.delta.astype(float) * growth, "")}, truth.lattice.shape, nprocs=nprocs)
    field = linear_field(ds, box_size=truth.box_size, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)
    np.testing.assert_allclose(field.delta, truth.delta, atol=1e-4)
    assert field.site_offset == 0.5


def test_in_memory_grids_of_density_and_fields_by_name(particles):
    truth = particles.field
    growth = PAPER_COSMOLOGY.growth_factor(REDSHIFT)
    density = 2.5 * (1 + truth.delta.astype(float) * growth)
    known = {"box_size": truth.box_size, "redshift": REDSHIFT, "cosmology": PAPER_COSMOLOGY}
    ds = yt.load_uniform_grid({"density": (density, "g/cm**3")}, truth.lattice.shape)
    np.testing.assert_allclose(linear_field(ds, **known).delta, truth.delta, atol=1e-4)
    ds = yt.load_uniform_grid({"mine": (truth.delta.astype(float) * growth, "")}, truth.lattice.shape)
    with pytest.raises(InitialConditionsError, match="field="):
        linear_field(ds, **known)
    np.testing.assert_allclose(linear_field(ds, field=("stream", "mine")).delta, truth.delta, atol=1e-4)


# defects


@pytest.mark.parametrize("where", ["positions", "velocities"])
def test_nans_are_refused(tmp_path, particles, where):
    broken = getattr(particles, where).copy()
    broken[17, 1] = np.nan
    other = Particles(
        particles.field, *(broken if n == where else getattr(particles, n) for n in ("positions", "velocities"))
    )
    with pytest.raises(InitialConditionsError, match=f"{where} hold 1 NaN"):
        linear_field(load(write_gadget2(tmp_path / "ics.dat", other)))


def test_duplicated_ids_are_refused(tmp_path, particles):
    ids = np.arange(len(particles.positions))
    ids[5] = 6
    with pytest.raises(InitialConditionsError, match="1 of 4096 particle IDs are duplicates"):
        linear_field(load(write_gadget2(tmp_path / "ics.dat", particles, ids=ids)))


def test_a_missing_particle_is_refused(particles):
    with pytest.raises(LatticeError, match="4095 particles are not a cube"):
        field_from_particles(
            particles.positions[1:], particles.velocities[1:], None, particles.field.box_size, PAPER_COSMOLOGY, REDSHIFT
        )


def test_a_glass_is_refused(particles):
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, particles.field.box_size, particles.positions.shape)
    for ids in (None, np.arange(len(positions))):
        with pytest.raises(InitialConditionsError, match="glass"):
            field_from_particles(
                positions, particles.velocities, ids, particles.field.box_size, PAPER_COSMOLOGY, REDSHIFT
            )


def test_a_snapshot_at_redshift_zero_is_refused():
    if not (SHARED / "reference" / "treepm96.h5").exists():
        pytest.skip("the TreePM reference is not at hand")
    with h5py.File(SHARED / "reference" / "treepm96.h5") as file:
        positions = file["position_z0"][()].reshape(-1, 3)
    with pytest.raises(InitialConditionsError, match=r"redshift 0; .* run was started from"):
        field_from_particles(positions, None, None, 18.75, PAPER_COSMOLOGY, 0.0)
    # neither does a header that claims an earlier time make it initial conditions
    with pytest.raises(InitialConditionsError, match="snapshot"):
        field_from_particles(positions, None, None, 18.75, PAPER_COSMOLOGY, 1.0)


def test_displacements_that_are_not_linear_are_refused(particles):
    lattice = particles.field.lattice
    rng = np.random.default_rng(0)
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    scattered = (sites + rng.normal(scale=lattice.spacing, size=sites.shape)) % lattice.box_size
    with pytest.raises(InitialConditionsError, match=r"rms of .* at z = 49.*run was started from"):
        field_from_particles(
            scattered, particles.velocities, np.arange(lattice.n_sites), lattice.box_size, PAPER_COSMOLOGY, REDSHIFT
        )


def test_an_unperturbed_lattice_is_refused(particles):
    lattice = particles.field.lattice
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    with pytest.raises(InitialConditionsError, match="perturbed"):
        field_from_particles(sites, None, None, lattice.box_size, PAPER_COSMOLOGY, REDSHIFT)


@pytest.mark.parametrize("factor", [np.sqrt(50), 0.1])
def test_velocities_in_the_wrong_unit_are_refused(particles, factor):
    with pytest.raises(UnitsError, match=r"times what the displacements need"):
        field_from_particles(
            particles.positions,
            particles.velocities * np.float32(factor),
            np.arange(len(particles.positions)),
            particles.field.box_size,
            PAPER_COSMOLOGY,
            REDSHIFT,
        )


def test_unequal_masses_and_masses_that_do_not_fill_the_box_are_refused(particles):
    size = particles.field.box_size
    masses = np.full(len(particles.positions), particles.mass)
    with pytest.raises(UnitsError, match=r"yt_protohalos\.load"):
        field_from_particles(particles.positions, None, None, size, PAPER_COSMOLOGY, REDSHIFT, 2 * masses)
    masses[:10] *= 8
    with pytest.raises(InitialConditionsError, match="zoom"):
        field_from_particles(particles.positions, None, None, size, PAPER_COSMOLOGY, REDSHIFT, masses)


def test_plain_yt_reading_megaparsecs_as_kiloparsecs_is_noticed(tmp_path, particles):
    path = write_gadget2(tmp_path / "ics.dat", particles)
    with pytest.raises(UnitsError, match=r"yt_protohalos\.load"):
        linear_field(yt.load(str(path)))
    assert_same_field(load(path), particles)


def test_datasets_of_plain_yt_say_how_to_open_their_file(tmp_path, particles):
    with pytest.raises(LatticeError, match=r"must be a cube.*open it with yt_protohalos\.load"):
        linear_field(yt.load(str(write_tipsy(tmp_path / "ics.tipsy", particles))))
    with pytest.raises(FormatError, match=r"enzo holds Enzo initial conditions.*yt_protohalos\.load\('"):
        yt.load(str(write_enzo(tmp_path / "enzo", particles)))
    assert not EnzoICsDataset._is_valid(str(tmp_path / "enzo" / "parameter_file.txt"))


def test_a_box_in_no_usual_unit_is_refused_and_unit_base_overrides(tmp_path, particles):
    path = write_gadget2(tmp_path / "ics.dat", particles, per_mpc=7.0)
    with pytest.raises(UnitsError, match="unit_base"):
        load(path)
    assert_same_field(load(path, unit_base={"length": (1 / 7, "Mpccm/h")}), particles)


def test_boxes_that_are_not_cubes_are_refused(particles):
    size = particles.field.box_size
    bbox = np.array([[0.0, size], [0.0, size], [0.0, 2 * size]])
    ds = yt.load_particles(particle_data(particles), bbox=bbox)
    with pytest.raises(LatticeError, match="cube"):
        linear_field(ds, box_size=size, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)
    ds = yt.load_uniform_grid({"delta": (np.random.default_rng(0).normal(size=(8, 8, 4)), "")}, (8, 8, 4))
    with pytest.raises(LatticeError, match="cubic"):
        linear_field(ds, box_size=size, redshift=REDSHIFT, cosmology=PAPER_COSMOLOGY)


def test_densities_that_are_not_linear_fields_are_refused():
    rng = np.random.default_rng(0)
    known = {"box_size": 5.0, "redshift": 0.0, "cosmology": PAPER_COSMOLOGY}
    evolved = np.exp(rng.normal(scale=1.5, size=(8, 8, 8)))
    flat = np.zeros((8, 8, 8))
    broken = rng.normal(size=(8, 8, 8))
    broken[0, 0, 0] = np.nan
    for values, said in ((evolved / evolved.mean() - 1, "evolved"), (flat, "same in every cell"), (broken, "NaN")):
        ds = yt.load_uniform_grid({"delta": (values, "")}, values.shape)
        with pytest.raises(InitialConditionsError, match=said):
            linear_field(ds, **known)


def test_files_that_do_not_exist_or_are_of_no_format_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.dat")
    (tmp_path / "text.txt").write_text("not initial conditions\n" * 50)
    with pytest.raises(FormatError, match="no format"):
        load(tmp_path / "text.txt")


@pytest.mark.parametrize(
    ("gone", "given"),
    [
        ("Omega0", {"cosmology": PAPER_COSMOLOGY}),
        ("HubbleParam", {"cosmology": PAPER_COSMOLOGY}),
        ("OmegaLambda", {"cosmology": PAPER_COSMOLOGY}),
        ("Redshift", {"redshift": REDSHIFT}),
    ],
)
def test_what_a_header_lacks_is_named_and_may_be_given(tmp_path, particles, gone, given):
    path = tmp_path / "ics.hdf5"
    field = particles.field
    write_gadget_hdf5(path, particles.positions, particles.velocities, field.lattice, PAPER_COSMOLOGY, REDSHIFT)
    with h5py.File(path, "a") as file:
        del file["Header"].attrs[gone]
    with pytest.raises(CosmologyError, match=rf"no {gone} in its header; pass {next(iter(given))}=\.\.\."):
        load(path)
    facts = dataset_facts(load(path, **given))
    assert (facts.redshift, facts.cosmology) == (REDSHIFT, PAPER_COSMOLOGY)
    if gone == "Omega0":
        with h5py.File(path, "a") as file:
            file["Header"].attrs[gone] = 0.0  # as writers do that do not know it
        assert dataset_facts(load(path, **given)).cosmology == PAPER_COSMOLOGY
        with pytest.raises(CosmologyError, match=r"HubbleParam = 0\.6777, the cosmology that was given 0\.7; both"):
            load(path, cosmology=Cosmology(0.7, 0.307112, 0.692888))


def test_hdf5_headers_without_a_box_or_a_number_of_files(tmp_path, particles):
    path = tmp_path / "ics.hdf5"
    field = particles.field
    write_gadget_hdf5(path, particles.positions, particles.velocities, field.lattice, PAPER_COSMOLOGY, REDSHIFT)
    with h5py.File(path, "a") as file:
        del file["Header"].attrs["NumFilesPerSnapshot"]
    assert load(path).file_count == 1
    with h5py.File(path, "a") as file:
        file["Header"].attrs["NumPart_Total"] = 2 * file["Header"].attrs["NumPart_Total"]
    with pytest.raises(FormatError, match="no NumFilesPerSnapshot in its header and holds 4096 particles"):
        load(path)
    with h5py.File(path, "a") as file:
        file["Header"].attrs["NumFilesPerSnapshot"] = 1
        del file["Header"].attrs["BoxSize"]
    with pytest.raises(CosmologyError, match=r"no BoxSize in its header.*add it"):
        load(path)


def test_facts_that_the_file_knows_cannot_be_overridden(tmp_path, particles):
    path = write_gadget2(tmp_path / "ics.dat", particles)
    with pytest.raises(CosmologyError, match="redshift"):
        load(path, redshift=99.0)
