"""Broken, lying and unsuitable input: a right answer or an error with value, rule and remedy; never a wrong box."""

from __future__ import annotations

import os
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yt
from fuzz_readers import FORMATS, NEEDS_FACTS, SIDE, Outcome, facts, fuzz, read_apart, write_valid
from initial_files import (
    REDSHIFT,
    SHARED,
    Particles,
    field_from_particles,
    low_mode_difference,
    realisation,
    write_gadget2,
    write_grafic,
    write_monofonic,
    write_music,
)

from yt_protohalos.exceptions import (
    CosmologyError,
    FormatError,
    InitialConditionsError,
    LatticeError,
    ProtohaloError,
    UnitsError,
)
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.initial_conditions.reconstruction import field_from_density
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load

yt.set_log_level(50)

# yt's own probes leave damaged files open
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MAIN_FILE = {"enzo": "ParticleDisplacements_x", "grafic": "ic_deltab"}
HDF5 = ("hdf5", "swift")
Z, FILES, BOX, OMEGA_M, H = 80, 124, 128, 136, 152
"""First bytes of these entries of a Gadget-2 header, its opening mark left out."""


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(16)


@pytest.fixture
def valid(tmp_path, particles):
    """Writes a valid file of a format: (what to load, the file to damage)."""

    def write(name: str) -> tuple[Path, Path]:
        path = write_valid(name, tmp_path, particles)
        return path, path / MAIN_FILE[name] if name in MAIN_FILE else path

    return write


def read(path: Path, name: str, particles: Particles) -> LinearField:
    return linear_field(load(path, **facts(name, particles)))


def assert_refused(
    path: Path, name: str, particles: Particles, kind: type = ProtohaloError, match: str = r"[;:,]"
) -> None:
    """Refused by name, and the message has more than one clause."""
    with pytest.raises(kind, match=match) as caught:
        read(path, name, particles)
    assert len(str(caught.value)) > 30


def patch(path: Path, at: int, data: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[at : at + len(data)] = data
    path.write_bytes(bytes(raw))


# damaged bytes, in every format


@pytest.mark.parametrize("name", FORMATS)
def test_the_undamaged_file_gives_the_field_it_was_written_from(valid, particles, name):
    field = read(valid(name)[0], name, particles)
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-3
    assert field.box_size == pytest.approx(particles.field.box_size, rel=1e-5)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_refused(valid, particles, name, kept):
    path, main = valid(name)
    data = main.read_bytes()
    main.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    assert_refused(path, name, particles)


@pytest.mark.parametrize("name", FORMATS)
def test_zero_filled_files_are_refused(valid, particles, name):
    path, main = valid(name)
    main.write_bytes(bytes(main.stat().st_size))
    assert_refused(path, name, particles)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_sample_of_damaged_files_is_refused_or_gives_a_finite_field(tmp_path, name):
    found = fuzz(name, 10, 0, tmp_path)
    assert len(found) == 10
    assert [(kind, outcome) for kind, outcome, _ in found if outcome.kind == "unexpected"] == []


@pytest.mark.parametrize("name", ["gadget1", "tipsy", "grafic", "hdf5"])
def test_numbers_in_the_other_byte_order_than_the_header_says_are_refused(valid, particles, name):
    path, main = valid(name)
    if name == "hdf5":
        with h5py.File(path, "a") as file:
            for field in ("Coordinates", "Velocities"):
                values = file[f"PartType1/{field}"]
                values[...] = values[()].byteswap()
    else:
        data = main.read_bytes()
        start = {"gadget1": 268, "tipsy": 32, "grafic": 56}[name]
        middle = len(data) // 8 * 4
        swapped = np.frombuffer(data[start:middle], dtype="<u4").byteswap().tobytes()
        main.write_bytes(data[:start] + swapped + data[middle:])
    assert_refused(path, name, particles)


# headers that lie


LIES = {
    "BoxSize": (0.0, -1.0, np.nan, np.inf),
    "Omega0": (0.0, np.nan, 1e300),
    "HubbleParam": (0.0, 1e-30, 67.0),
    "Redshift": (-1.0, np.nan, np.inf, 1e30, 3.0),
}


@pytest.mark.parametrize(("entry", "value"), [(entry, value) for entry, values in LIES.items() for value in values])
def test_gadget_headers_that_lie_are_refused(valid, particles, entry, value):
    at = {"BoxSize": BOX, "Omega0": OMEGA_M, "HubbleParam": H, "Redshift": Z}[entry]
    path, _ = valid("gadget1")
    patch(path, 4 + at, struct.pack("<d", value))
    assert_refused(path, "gadget1", particles, (CosmologyError, UnitsError))
    for name in HDF5:
        path, _ = valid(name)
        with h5py.File(path, "a") as file:
            file["Header"].attrs[entry] = value
        assert_refused(path, name, particles, (CosmologyError, UnitsError))


@pytest.mark.parametrize("entry", ["BoxSize", "Redshift", "Omega0", "HubbleParam", "NumPart_ThisFile", "MassTable"])
@pytest.mark.parametrize("value", ["text", np.zeros((2, 2)), None])
def test_hdf5_header_entries_that_are_missing_or_no_numbers_are_refused(valid, particles, entry, value):
    path, _ = valid("hdf5")
    with h5py.File(path, "a") as file:
        del file["Header"].attrs[entry]
        if value is not None:
            file["Header"].attrs[entry] = value
    assert_refused(path, "hdf5", particles)


def test_header_and_parameters_that_contradict_each_other_are_refused(valid, particles):
    path, _ = valid("hdf5")
    with h5py.File(path, "a") as file:
        file.create_group("Parameters").attrs["BoxSize"] = 2 * particles.field.box_size
    assert_refused(path, "hdf5", particles, CosmologyError, "Parameters")


@pytest.mark.parametrize("scale", [0.0, -0.02, 2.0, np.nan, 1e-300])
def test_tipsy_times_that_are_no_scale_factors_are_refused(valid, particles, scale):
    path, _ = valid("tipsy")
    patch(path, 0, struct.pack(">d", scale))
    assert_refused(path, "tipsy", particles, (FormatError, CosmologyError))


@pytest.mark.parametrize("entry", ["spacing", "scale", "omega_m", "hubble"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1e-30, 1e30])
def test_grafic_headers_that_lie_are_refused(valid, particles, entry, value):
    path, main = valid("grafic")
    at = {"spacing": 16, "scale": 32, "omega_m": 36, "hubble": 44}[entry]
    patch(main, at, struct.pack("<f", value))
    assert_refused(path, "grafic", particles)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("OmegaMatterNow", "0"), ("OmegaMatterNow", "nan"), ("HubbleConstantNow", "-1"), ("InitialRedshift", "-1")]
    + [("ComovingBoxSize", value) for value in ("0", "-1", "nan", "inf")],
)
def test_enzo_parameters_that_lie_are_refused(valid, entry, value):
    path, _ = valid("enzo")
    text = path / "parameter_file.txt"
    lines = [line for line in text.read_text().splitlines() if entry not in line]
    text.write_text("\n".join([*lines, f"Cosmology{entry} = {value}"]))
    with pytest.raises(CosmologyError):
        load(path)


@pytest.mark.parametrize("name", NEEDS_FACTS)
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1e-30, 1e30])
def test_boxes_and_redshifts_given_wrongly_are_refused(valid, particles, name, value):
    path, _ = valid(name)
    if name == "monofonic":
        with h5py.File(path, "a") as file:
            file["Header"].attrs["Boxsize"] = value
    with pytest.raises(CosmologyError, match="box size"):
        load(path, **{**facts(name, particles), "box_size": value})
    if name == "music" and value not in (0, 1e-30):
        with pytest.raises(CosmologyError, match="redshift"):
            load(path, **{**facts(name, particles), "redshift": value})


# counts that lie


@pytest.mark.parametrize("count", [0, -1, 4095, 4097, 2**31 - 1])
def test_gadget_counts_that_do_not_fit_the_file_are_refused(valid, particles, count):
    path, _ = valid("gadget1")
    patch(path, 8, struct.pack("<i", count))
    assert_refused(path, "gadget1", particles, FormatError)


@pytest.mark.parametrize("files", [2, 70_000, 2**31 - 1])
def test_numbers_of_files_that_are_not_there_are_refused(valid, particles, files):
    path, _ = valid("gadget1")
    path = path.rename(path.with_name("ics.0"))
    patch(path, 4 + FILES, struct.pack("<i", files) + struct.pack("<d", particles.field.box_size))
    patch(path, 4 + 96, struct.pack("<6I", 0, 4096, 0, 0, 0, 0))
    assert_refused(path, "gadget1", particles, FormatError, "files")
    path, _ = valid("hdf5")
    path = path.rename(path.with_name("ics.0.hdf5"))
    with h5py.File(path, "a") as file:
        file["Header"].attrs["NumFilesPerSnapshot"] = files
    assert_refused(path, "hdf5", particles, FormatError, "files")


def test_tipsy_and_grafic_counts_that_do_not_fit_the_file_are_refused(valid, particles):
    for count in (-1, 4097, 2**31 - 1):
        path, _ = valid("tipsy")
        patch(path, 8, struct.pack(">i", count) + struct.pack(">3i", 3, 0, count))
        assert_refused(path, "tipsy", particles, FormatError)
    for side in (-16, 0, 15, 17, 40_000, 2**31 - 1):
        path, main = valid("grafic")
        patch(main, 4, struct.pack("<3i", side, side, side))
        assert_refused(path, "grafic", particles, FormatError)


def test_arrays_that_were_never_written_are_refused_without_their_memory(tmp_path, particles):
    """HDF5 lets a file of a few kilobytes declare terabytes: read in a process that has half a gigabyte."""
    side = 10_000
    hdf5, music, enzo = tmp_path / "ics.hdf5", tmp_path / "music.hdf5", tmp_path / "enzo"
    arrays = particles.positions, particles.velocities, particles.field.lattice, PAPER_COSMOLOGY, REDSHIFT
    write_gadget_hdf5(hdf5, *arrays)
    with h5py.File(hdf5, "a") as file:
        file["Header"].attrs["NumPart_ThisFile"] = np.array([0, side**3, 0, 0, 0, 0], dtype=np.uint64)
        for name, shape in (("Coordinates", (side**3, 3)), ("Velocities", (side**3, 3)), ("ParticleIDs", (side**3,))):
            del file[f"PartType1/{name}"]
            kind = "u4" if name == "ParticleIDs" else "f4"
            file["PartType1"].create_dataset(name, shape, kind, chunks=(4096, *shape[1:]))
    with h5py.File(music, "w") as file:
        file.create_dataset("DM_delta", (side, side, side), "f4", chunks=(16, 16, 16))
    enzo.mkdir()
    for axis in "xyz":
        with h5py.File(enzo / f"ParticleDisplacements_{axis}", "w") as file:
            file.create_dataset(f"ParticleDisplacements_{axis}", (1, side, side, side), "f4", chunks=(1, 16, 16, 16))
    for path, name in ((hdf5, "hdf5"), (music, "music"), (enzo, "enzo")):
        assert_refused(path, name, particles, FormatError, "bytes for")
        assert read_apart(path, facts(name, particles), particles)[0].kind == "refused"


def test_hdf5_arrays_of_the_wrong_kind_are_refused(valid, particles):
    for field, values in (
        ("Coordinates", np.zeros((4096, 3), dtype="i4")),
        ("Coordinates", np.zeros((4096, 2), dtype="f4")),
        ("Velocities", np.zeros((4095, 3), dtype="f4")),
        ("ParticleIDs", np.zeros(4096, dtype="f4")),
        ("ParticleIDs", np.zeros((2, 2048), dtype="u4")),
        ("Coordinates", np.array([b"text"] * 4096)),
    ):
        path, _ = valid("hdf5")
        with h5py.File(path, "a") as file:
            del file[f"PartType1/{field}"]
            file[f"PartType1/{field}"] = values
        assert_refused(path, "hdf5", particles, FormatError, field)
    path, _ = valid("hdf5")
    with h5py.File(path, "a") as file:
        del file["PartType1/Coordinates"]
        file.create_group("PartType1/Coordinates")
    assert_refused(path, "hdf5", particles, FormatError, "Coordinates")


def test_a_zero_filled_end_is_not_walked_as_billions_of_blocks(valid, particles):
    path, _ = valid("gadget1")
    with path.open("r+b") as file:
        file.truncate(10**9)
    outcome, _ = read_apart(path, {}, particles)
    assert outcome == Outcome("refused", outcome.detail)
    assert "1000 blocks" in outcome.detail


# IDs


@pytest.mark.parametrize("file_format", [1, 2])
def test_permuted_storage_gives_the_identical_field(tmp_path, particles, file_format):
    count = particles.field.lattice.n_sites
    order = np.random.default_rng(5).permutation(count)
    plain = linear_field(load(write_gadget2(tmp_path / "a.dat", particles, file_format=file_format)))
    mixed = linear_field(load(write_gadget2(tmp_path / "b.dat", particles, file_format=file_format, order=order)))
    np.testing.assert_array_equal(mixed.delta, plain.delta)
    np.testing.assert_array_equal(mixed.phi, plain.phi)


@pytest.mark.parametrize("kind", ["shuffled", "one missing", "negative", "sparse"])
def test_ids_that_do_not_count_the_sites_give_the_identical_field(particles, kind):
    """The order of storage, or positions and velocities, tell the site instead."""
    whole = np.arange(particles.field.lattice.n_sites)
    ids = {
        "shuffled": np.random.default_rng(5).permutation(whole),
        "one missing": np.where(whole == 17, whole.size, whole),
        "negative": whole - 5000,
        "sparse": whole * 10**9,
    }[kind]
    size = particles.field.box_size
    plain, _ = field_from_particles(particles.positions, particles.velocities, whole, size, PAPER_COSMOLOGY, REDSHIFT)
    other, _ = field_from_particles(particles.positions, particles.velocities, ids, size, PAPER_COSMOLOGY, REDSHIFT)
    np.testing.assert_array_equal(other.delta, plain.delta)


@pytest.mark.parametrize("name", ["gadget1", *HDF5])
def test_duplicated_ids_are_refused(valid, particles, name):
    path, _ = valid(name)
    if name == "gadget1":
        patch(path, path.stat().st_size - 8, struct.pack("<I", 7))
    else:
        with h5py.File(path, "a") as file:
            file["PartType1/ParticleIDs"][-1] = 7
    assert_refused(path, name, particles, InitialConditionsError, "1 of 4096 particle IDs are duplicates")


def test_two_exchanged_ids_are_noticed(particles):
    ids = np.arange(particles.field.lattice.n_sites)
    ids[[100, 101]] = ids[[101, 100]]
    size = particles.field.box_size
    with pytest.raises(InitialConditionsError, match="2 of 4096 particles have a velocity that does not belong"):
        field_from_particles(particles.positions, particles.velocities, ids, size, PAPER_COSMOLOGY, REDSHIFT)


def test_a_page_of_zeros_among_the_velocities_is_noticed(particles):
    speeds = particles.velocities.copy()
    speeds[1000:1341] = 0.0
    ids, size = np.arange(len(speeds)), particles.field.box_size
    with pytest.raises(InitialConditionsError, match="particles have a velocity that does not belong"):
        field_from_particles(particles.positions, speeds, ids, size, PAPER_COSMOLOGY, REDSHIFT)


# numbers that cannot be


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("field", ["Coordinates", "Velocities"])
@pytest.mark.parametrize("name", ["gadget1", "hdf5", "tipsy", "enzo"])
def test_one_number_that_cannot_be_is_refused(valid, particles, name, field, value):
    path, _ = valid(name)
    if name == "gadget1":
        block = 4096 * 12 + 8
        patch(path, 268 + 1200 + (block if field == "Velocities" else 0), struct.pack("<f", value))
    elif name == "tipsy":
        patch(path, 32 + 36 * 100 + (4 if field == "Coordinates" else 16), struct.pack(">f", value))
    elif name == "hdf5":
        with h5py.File(path, "a") as file:
            file[f"PartType1/{field}"][100, 1] = value
    else:
        cube = "ParticleDisplacements_y" if field == "Coordinates" else "ParticleVelocities_y"
        with h5py.File(path / cube, "a") as file:
            file[cube][0, 3, 4, 5] = value
    assert_refused(path, name, particles, InitialConditionsError)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 50.0])
@pytest.mark.parametrize("name", ["music", "monofonic", "grafic"])
def test_one_cell_that_cannot_be_is_refused(valid, particles, name, value):
    path, main = valid(name)
    if name == "grafic":
        patch(main, 56 + 400, struct.pack("<f", value))
    else:
        with h5py.File(path, "a") as file:
            cube = file["level_004_DM_rho" if name == "music" else "DM_dx"]
            cube[tuple(side // 2 for side in cube.shape)] = value
    assert_refused(path, name, particles, InitialConditionsError)


@pytest.mark.parametrize("name", FORMATS)
def test_constant_fields_are_refused(valid, particles, name):
    path, main = valid(name)
    if name.startswith("gadget"):
        lattice = particles.field.lattice
        still = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
        write_gadget2(path, particles, file_format=int(name[-1]), positions=still)
    elif name == "tipsy":
        rows = np.frombuffer(path.read_bytes()[32:], dtype=">f4").reshape(-1, 9).copy()
        rows[:, 1:4], rows[:, 4:7] = 0.25, 0.0
        patch(path, 32, rows.tobytes())
    elif name == "grafic":
        for z in range(16):
            patch(main, 56 + z * 1032, bytes(1024))
    else:
        files = path.iterdir() if path.is_dir() else [path]
        for each in files:
            if each.suffix != ".txt":
                with h5py.File(each, "a") as file:
                    file.visititems(
                        lambda _, array: array.write_direct(np.zeros_like(array)) if hasattr(array, "dtype") else None
                    )
    assert_refused(path, name, particles)


# initial conditions that are none


@pytest.mark.slow
def test_shell_crossed_displacements_and_evolved_snapshots_are_refused(tmp_path, particles):
    """Displacements grown to z = 0.2, under the header of that redshift, of z = 0, and of the initial conditions."""
    lattice, growth = particles.field.lattice, PAPER_COSMOLOGY.growth_factor
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    grown = lattice.minimum_image(particles.positions - sites) * float(growth(0.2) / growth(REDSHIFT))
    positions = (sites + grown) % lattice.box_size
    for number, redshift in enumerate((0.2, 0.0, REDSHIFT)):
        for ids in (None, np.random.default_rng(0).permutation(lattice.n_sites)):
            path = tmp_path / f"ics_{number}_{ids is None}.dat"
            write_gadget2(path, particles, positions=positions, redshift=redshift, ids=ids)
            assert_refused(path, "gadget1", particles, (InitialConditionsError, UnitsError))


def test_glasses_and_body_centred_loads_are_refused(tmp_path, particles):
    lattice = particles.field.lattice
    random = np.random.default_rng(0).uniform(0, lattice.box_size, particles.positions.shape)
    write_gadget2(tmp_path / "glass.dat", particles, positions=random)
    assert_refused(tmp_path / "glass.dat", "gadget1", particles, InitialConditionsError, "glass")
    size = particles.field.box_size
    centred = np.concatenate([particles.positions, (particles.positions + lattice.spacing / 2) % size])
    speeds = np.concatenate([particles.velocities] * 2)
    with pytest.raises(LatticeError, match=r"8192 particles are not a cube.*bcc"):
        field_from_particles(centred, speeds, None, size, PAPER_COSMOLOGY, REDSHIFT)


@pytest.mark.parametrize("shift", [0.5, 0.25])
def test_a_staggered_lattice_of_gas_and_dark_matter_gives_the_dark_matters_field(tmp_path, particles, shift):
    lattice, path = particles.field.lattice, tmp_path / "ics.hdf5"
    write_gadget_hdf5(path, particles.positions, particles.velocities, lattice, PAPER_COSMOLOGY, REDSHIFT)
    with h5py.File(path, "a") as file:
        header, count = file["Header"].attrs, lattice.n_sites
        header["NumPart_ThisFile"] = np.array([count, count, 0, 0, 0, 0], dtype=np.uint64)
        header["MassTable"] = header["MassTable"][1] * np.array([0.16, 0.84, 0, 0, 0, 0])
        file["PartType0/Coordinates"] = (particles.positions + shift * lattice.spacing) % lattice.box_size
        file["PartType0/Velocities"] = particles.velocities
        file["PartType0/ParticleIDs"] = np.arange(count, 2 * count, dtype="u4")
    field = read(path, "hdf5", particles)
    assert low_mode_difference(field.delta, particles.field.delta) < 1e-3


@pytest.mark.skipif(not (SHARED / "ics").exists(), reason="the MUSIC files are not at hand")
def test_a_zoom_is_refused(particles):
    assert_refused(SHARED / "ics" / "music_zoom.dat", "gadget1", particles, InitialConditionsError, "zoom")


def test_boxes_that_are_not_cubes_are_refused(tmp_path, valid, particles):
    size, count = particles.field.box_size, particles.field.lattice.n_sites
    path, _ = valid("hdf5")
    with h5py.File(path, "a") as file:
        file["Header"].attrs["BoxSize"] = np.array([size, size, 2 * size])
    assert_refused(path, "hdf5", particles, LatticeError, "cube")
    # a brick of as many particles in a header that knows one side only
    i = np.arange(count)
    brick = np.stack([i // 512, i // 32 % 16, i % 32], axis=1) * (size / np.array([8, 16, 32]))
    write_gadget2(tmp_path / "brick.dat", particles, positions=brick)
    assert_refused(tmp_path / "brick.dat", "gadget1", particles)
    path, main = valid("grafic")
    patch(main, 4, struct.pack("<3i", 16, 16, 8))
    assert_refused(path, "grafic", particles, LatticeError, "cubic")


@pytest.mark.parametrize("n", [1, 2])
def test_lattices_without_any_mode_are_refused(tmp_path, n):
    field = LinearField.from_density(np.zeros((n, n, n)), n * 0.2, PAPER_COSMOLOGY, REDSHIFT)
    positions = field.lattice.sites(np.arange(n**3)) * field.spacing + 0.01 * np.arange(n**3)[:, None]
    tiny = Particles(field, positions.astype("f4"), np.ones((n**3, 3), dtype="f4"))
    assert_refused(write_gadget2(tmp_path / "ics.dat", tiny), "gadget1", tiny, LatticeError, "at least 3")
    with pytest.raises(LatticeError, match="at least 3"):
        field_from_density(np.random.default_rng(0).normal(size=(n, n, n)), 1.0, PAPER_COSMOLOGY, REDSHIFT)


@pytest.mark.parametrize("n", [3, 15, 16, 17])
def test_lattices_of_any_other_side_give_their_field(tmp_path, n):
    own = realisation(n)
    for name in ("gadget2", "hdf5", "tipsy"):
        field = read(write_valid(name, tmp_path, own), name, own)
        assert (field.n, field.box_size) == (n, pytest.approx(own.field.box_size, rel=1e-5))
        if n > 3:
            assert low_mode_difference(field.delta, own.field.delta) < 1e-3


# things that are no files of initial conditions


def test_pipes_text_and_strangers_in_an_enzo_folder_are_refused(tmp_path, valid, particles):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="neither a file nor a folder"):
        load(tmp_path / "pipe")
    path, _ = valid("enzo")
    for stranger, data in (
        ("notes.dat", b"not initial conditions" * 50),
        ("ics.hdf5", b"\x89HDF\r\n\x1a\n" + bytes(90)),
    ):
        (path / stranger).write_bytes(data)
        with pytest.raises(FormatError):
            load(path / stranger)


def test_files_of_two_runs_are_no_set(tmp_path, particles):
    first = write_gadget2(tmp_path / "ics.dat", particles, files=2)
    (tmp_path / "other").mkdir()
    other = write_gadget2(tmp_path / "other" / "ics.dat", particles, files=2, redshift=99.0)
    first.with_name("ics.dat.1").write_bytes(other.with_name("ics.dat.1").read_bytes())
    assert_refused(first, "gadget1", particles, FormatError, "agree in all")


def test_grafic_files_of_two_sizes_are_refused(tmp_path, particles):
    folder = write_grafic(tmp_path / "grafic", particles)
    data = (folder / "ic_velcx").read_bytes()
    (folder / "ic_velcx").write_bytes(data[: len(data) // 2])
    assert_refused(folder, "grafic", particles, FormatError, "ic_velcx")


@pytest.mark.parametrize("name", ["music", "grafic", "monofonic density"])
@pytest.mark.parametrize(("zeros", "refused"), [(32, True), (8, False)])
def test_a_page_that_was_never_written_is_refused(name, zeros, refused, tmp_path):
    """A full disk leaves zeros within a density; a few, which might be chance, are let pass."""
    particles = realisation(SIDE)
    delta = particles.field.delta.copy()
    # in the order of the file, which has x as its fastest axis in grafic2 alone
    plane = (delta.T if name == "grafic" else delta)[5]
    plane[np.unravel_index(np.arange(40, 40 + zeros), plane.shape)] = 0
    plain = replace(particles, field=replace(particles.field, delta=delta))
    path = tmp_path / "ics"
    if name == "music":
        write_music(path, plain)
    elif name == "grafic":
        write_grafic(path, plain)
    else:
        write_monofonic(path, plain, "delta")
    known = {} if name == "grafic" else facts("music", plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # monofonIC densities are evolved ones
        ds = load(path, **known)
        if not refused:
            assert np.isfinite(linear_field(ds).delta).all()
            return
        with pytest.raises(InitialConditionsError, match="exactly zero in 32 cells in a row"):
            linear_field(ds)
