"""Laws of runs of one's own: labels follow IDs and sites, the stored field is the field, strangers are refused."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yt
from initial_files import SHARED, Particles, realisation, write_gadget2

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.exceptions import (
    CosmologyError,
    FormatError,
    InitialConditionsError,
    LatticeError,
    ProtohaloError,
    ScoringError,
)
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.halo_catalogs import read_members
from yt_protohalos.training.halo_labels import find_sites, label_run
from yt_protohalos.training.run_files import read_run, write_seed_run
from yt_protohalos.training.simulation import SimulationSettings
from yt_protohalos.yt_interface.load import particle_dataset

N = 20
HALOES = 3


@pytest.fixture(scope="module")
def own() -> Particles:
    return realisation(N, seed=2)


@pytest.fixture(scope="module")
def cube(own: Particles) -> np.ndarray:
    """Labels 1..3 by size: spheres around the highest peaks of the smoothed overdensity."""
    from scipy.ndimage import gaussian_filter

    lattice = own.field.lattice
    height = gaussian_filter(own.field.delta, 2, mode="wrap").ravel()
    start = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    labels = np.zeros(lattice.n_sites, dtype=np.int32)
    for label, radius in enumerate((5.2, 4.6, 3.9), 1):
        distance = np.linalg.norm(lattice.minimum_image(start - start[np.argmax(height)]), axis=1)
        labels[(distance < radius * lattice.spacing) & (labels == 0)] = label
        height[distance < 8 * lattice.spacing] = -np.inf
    sizes = np.bincount(labels)[1:]
    assert len(sizes) == HALOES and np.all(np.diff(sizes) < 0) and sizes[-1] >= 155
    return labels.reshape(lattice.shape)


@pytest.fixture(scope="module")
def final(own: Particles, cube: np.ndarray) -> np.ndarray:
    """Final positions: each label's sites at a tenth of their distance from its centre, the rest where they started."""
    lattice, flat = own.field.lattice, cube.ravel()
    places = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    for label in range(1, HALOES + 1):
        inside = flat == label
        first = places[np.argmax(inside)]
        away = lattice.minimum_image(places[inside] - first)
        centre = first + away.mean(axis=0)
        places[inside] = centre + 0.1 * lattice.minimum_image(places[inside] - centre)
    return np.mod(places, lattice.box_size).astype(np.float32)


@pytest.fixture(scope="module")
def ics(own: Particles, tmp_path_factory) -> Path:
    """Initial conditions with IDs from 1 in row-major order."""
    path = tmp_path_factory.mktemp("own") / "ics.hdf5"
    return write_gadget_hdf5(
        path, own.positions, own.velocities, own.field.lattice, own.field.cosmology, own.field.redshift
    )


def write_snapshot(path: Path, own: Particles, final: np.ndarray, order=None, redshift=0.0, box=None, **header) -> Path:
    """A final snapshot, its particles in any order, with header entries of one's own."""
    lattice = own.field.lattice if box is None else Lattice(N, box)
    zeros = np.zeros_like(final)
    write_gadget_hdf5(path, final, zeros, lattice, own.field.cosmology, redshift)
    with h5py.File(path, "r+") as file:
        if order is not None:
            for name in ("Coordinates", "ParticleIDs"):
                data = file["PartType1"][name]
                data[...] = data[()][order]
        file["Header"].attrs.update(header)
    return path


@pytest.fixture
def snapshot(own, final, tmp_path):
    return write_snapshot(tmp_path / "snapshot.hdf5", own, final)


def shuffled(count: int = N**3) -> np.ndarray:
    return np.random.default_rng(5).permutation(count)


# --- the labels --------------------------------------------------------------------------------------------------


def test_final_particles_bring_their_halo_to_their_initial_site(ics, own, final, cube, tmp_path):
    """Whatever the order in which a snapshot stores its particles."""
    for name, order in (("sorted", None), ("shuffled", shuffled())):
        path = write_snapshot(tmp_path / f"{name}.hdf5", own, final, order)
        run = label_run(ics, snapshot=path, output=tmp_path / f"{name}.h5")
        assert np.array_equal(run.labels, cube)


@pytest.mark.parametrize("numbering", ["x fastest", "no lattice order", "stored shuffled"])
def test_ids_may_number_the_particles_in_any_way(numbering, own, final, cube, tmp_path):
    """In Gadget binary files, and with IDs that are unique but do not count sites."""
    ids, order = np.arange(N**3), None
    if numbering == "x fastest":
        ids = ids.reshape(cube.shape).transpose().ravel()
    elif numbering == "no lattice order":
        ids = 7 + 3 * shuffled()
    else:
        order = shuffled()
    initial = write_gadget2(tmp_path / "ics.dat", own, ids=ids, order=order)
    last = write_gadget2(tmp_path / "last.dat", own, ids=ids, positions=final, redshift=0.0)
    assert np.array_equal(label_run(initial, snapshot=last, output=tmp_path / "run.h5").labels, cube)


def test_datasets_do_as_well_as_paths(own, final, cube, tmp_path):
    box, masses = (own.field.box_size, own.field.cosmology), np.full(N**3, own.mass)
    initial = particle_dataset(own.positions, own.velocities, masses, *box, 49.0, "initial")
    last = particle_dataset(final, None, masses, *box, 0.0, "last")
    assert np.array_equal(label_run(initial, snapshot=last, output=tmp_path / "run.h5").labels, cube)


def write_catalog(path: Path, layout: str, cube: np.ndarray) -> Path:
    """The haloes of a cube of labels in each layout, with IDs from 1 and an object that is too small."""
    flat, ids = cube.ravel().astype(np.int64), np.arange(1, N**3 + 1)
    small = np.flatnonzero(flat == 0)[:40]
    order = shuffled()
    with h5py.File(path, "w") as file:
        if layout in ("labels", "halo_id"):
            flat[small] = HALOES + 1
            file[layout] = (flat - (layout == "halo_id")).reshape(cube.shape)
        elif layout == "particle_ids":
            groups = np.where(flat > 0, 1000 - 10 * flat, -1)
            groups[small] = 5
            listed = order[: N**3 - 100]
            listed = np.union1d(listed, np.flatnonzero(groups >= 0))
            file["particle_ids"], file["halo_ids"] = ids[listed], groups[listed]
        else:
            members = [ids[order][flat[order] == label] for label in (2, 1, 3)] + [ids[small]]
            sizes = np.array([len(each) for each in members], dtype=np.int32)
            if layout == "offsets":  # fuzz between the groups
                members = [np.concatenate([each, ids[flat == 0][100:103] + 0]) for each in members[:-1]] + members[-1:]
                file["Group/GroupOffset"] = np.cumsum([0, *(len(each) for each in members)])[:-1]
            file["Group/GroupLen"], file["IDs/ID"] = sizes, np.concatenate(members)
    return path


@pytest.mark.parametrize("layout", ["labels", "halo_id", "particle_ids", "groups", "offsets"])
def test_every_layout_of_a_catalogue_gives_the_same_labels(layout, ics, cube, tmp_path):
    """Ranked by size, without the object below 155 particles, however the catalogue numbers them."""
    run = label_run(ics, catalog=write_catalog(tmp_path / "cat.h5", layout, cube), output=tmp_path / "run.h5")
    assert np.array_equal(run.labels, cube)


def test_groups_and_subhaloes_that_are_places_in_the_snapshot_become_labels(own, ics, final, cube, tmp_path, capsys):
    """As Gadget-4 writes them: the particles of the snapshot are in the order of the groups."""
    flat, ids = cube.ravel(), np.arange(1, N**3 + 1)
    order = np.argsort(np.where(flat > 0, flat, HALOES + 1), kind="stable")
    last = write_snapshot(tmp_path / "last.hdf5", own, final, order)
    assert np.array_equal(h5py.File(last)["PartType1/ParticleIDs"][()], ids[order])
    sizes = np.bincount(flat)[1:]
    parts = np.array([200, sizes[0] - 200, sizes[1], sizes[2]])
    path = tmp_path / "fof_subhalo_tab_010.hdf5"
    with h5py.File(path, "w") as file:
        for name, counts in (("Group/Group", sizes), ("Subhalo/Subhalo", parts)):
            file[f"{name}LenType"] = np.stack([0 * counts, counts, *[0 * counts] * 4], axis=1)
        file["Subhalo/SubhaloGroupNr"] = np.array([0, 0, 1, 2])
    assert np.array_equal(label_run(ics, catalog=path, snapshot=last, output=tmp_path / "run.h5").labels, cube)
    run = tmp_path / "subhaloes.h5"
    command = ["label", "--ics", str(ics), "--catalog", str(path), "--snapshot", str(last), "-o", str(run)]
    assert cli.main([*command, "--objects", "subhaloes"]) == 0
    assert "4 haloes hold" in capsys.readouterr().out
    _, labels, attributes = read_run(run)
    assert np.array_equal(labels > 0, cube > 0) and sorted(np.bincount(labels.ravel())[1:]) == sorted(parts)
    assert attributes["halo_finder"] == f"subhaloes of catalogue {path.name}, at least 155 particles"
    assert_refused(FormatError, "that snapshot too", ics, tmp_path, catalog=path)


def test_a_grid_of_initial_conditions_takes_a_cube_of_labels_but_no_ids(own, cube, tmp_path):
    delta = own.field.delta * own.field.cosmology.growth_factor(49.0)
    box = np.array([[0.0, own.field.box_size]] * 3)
    ds = yt.load_uniform_grid({("stream", "delta"): (delta.astype("float64"), "")}, delta.shape, bbox=box)
    ph.linear_field(ds, box_size=own.field.box_size, redshift=49.0, cosmology=own.field.cosmology)
    run = label_run(ds, catalog=write_catalog(tmp_path / "cube.h5", "labels", cube), output=tmp_path / "run.h5")
    assert np.array_equal(run.labels, cube)
    members = write_catalog(tmp_path / "members.h5", "groups", cube)
    with pytest.raises(InitialConditionsError, match="grid and no particles"):
        label_run(ds, catalog=members, output=tmp_path / "other.h5")


@pytest.mark.slow
def test_the_tree_pm_reference_gets_its_own_haloes(tmp_path):
    """Real initial conditions and final positions: the haloes that Gadget-4's own finder has."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip("needs the run of ../shared/reference")
    with h5py.File(folder / "treepm96.h5") as file:
        final, halo_id = file["position_z0"][()].reshape(-1, 3), file["halo_id"][()]
    lattice = Lattice(96, 18.75)
    last = tmp_path / "last.hdf5"
    write_gadget_hdf5(last, final, np.zeros_like(final), lattice, ph.PAPER_COSMOLOGY, 0.0)
    run = label_run(folder / "treepm96_ics.hdf5", snapshot=last, output=tmp_path / "run.h5")
    # a pair of particles on the edge of the linking length may fall to either side; equal sizes rank in either order
    assert np.count_nonzero((run.labels > 0) != (halo_id >= 0)) < 20
    both = (run.labels > 0) & (halo_id >= 0)
    pairs = np.unique(np.stack([run.labels[both], halo_id[both]]), axis=1)
    assert pairs.shape[1] == len(run.centres) - 1 == halo_id.max() + 1 == 262
    assert 1.5 < run.field.delta[run.labels > 0].mean() < 2.5


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_stored_field_is_the_field_of_the_initial_conditions(ics, cube, tmp_path):
    """Bit for bit, so that training sees what prediction will."""
    path = tmp_path / "deep" / "run.h5"
    made = label_run(ics, catalog=write_catalog(tmp_path / "cat.h5", "groups", cube), output=path)
    field, labels, attributes = read_run(path)
    expected = ph.linear_field(ph.load(ics))
    for one in (field, made.field):
        assert np.array_equal(one.delta, expected.delta) and np.array_equal(one.phi, expected.phi)
        assert (one.lattice, one.cosmology, one.redshift) == (expected.lattice, expected.cosmology, expected.redshift)
        assert one.site_offset == expected.site_offset
    assert np.array_equal(labels, cube)
    assert attributes["halo_finder"] == "catalogue cat.h5, at least 155 particles"
    again = LabelledField.from_run(path)
    assert np.array_equal(again.labels, made.labels) and np.array_equal(again.centres, made.centres)
    assert not [name.name for name in path.parent.iterdir() if name != path], "nothing partial stays"


def test_runs_of_the_seed_format_still_open_and_unknown_ones_do_not(own, cube, tmp_path):
    settings, zeros = SimulationSettings(N, own.field.box_size, 32), np.zeros((N**3, 3), dtype=np.float32)
    path = tmp_path / "run.h5"
    write_seed_run(path, cube, zeros, zeros, settings, {"seed": 2, "steps": 1})
    field, labels, _ = read_run(path)
    assert np.array_equal(field.delta, own.field.delta) and np.array_equal(labels, cube)
    with h5py.File(path, "r+") as file:
        assert "delta" not in file
        file.attrs["format_version"] = 99
    with pytest.raises(FormatError, match="run format 99, this version reads 1 to 2; a later yt_protohalos wrote it"):
        read_run(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]
    with pytest.raises(FormatError, match="run format none"):
        read_run(path)


@pytest.mark.slow
def test_the_command_makes_a_run_that_the_train_command_takes(ics, snapshot, tmp_path, capsys):
    run = tmp_path / "runs" / "mine.h5"
    assert cli.main(["label", "--ics", str(ics), "--snapshot", str(snapshot), "-o", str(run)]) == 0
    assert f"wrote {run}: 3 haloes hold " in capsys.readouterr().out
    arguments = ["train", "semantic", "--runs", str(run), "-o", str(tmp_path / "semantic")]
    assert cli.main([*arguments, "--stages", "32:1", "--float32", "--quiet"]) == 0
    constants = json.loads((tmp_path / "semantic" / "settings.json").read_text())["constants"]
    assert constants["beta"] == pytest.approx(LabelledField.from_run(run).outside_fraction)


# --- refusals ----------------------------------------------------------------------------------------------------


def assert_refused(error: type[Exception], match: str, ics, tmp_path: Path, **source) -> None:
    """The error is raised and nothing is written."""
    output = tmp_path / "refused.h5"
    with pytest.raises(error, match=match):
        label_run(ics, output=output, **source)
    assert not output.exists()


def test_one_source_of_haloes_is_needed(ics, snapshot, tmp_path):
    assert_refused(TypeError, "catalog=... or both", ics, tmp_path)
    assert_refused(TypeError, "friends of friends", ics, tmp_path, snapshot=snapshot, objects="subhaloes")
    assert_refused(FormatError, "no `PartType1/FOFGroupIDs`", ics, tmp_path, snapshot=snapshot, catalog=snapshot)


def test_an_input_is_never_written_over(ics, snapshot, tmp_path):
    before = Path(ics).read_bytes()
    with pytest.raises(FileExistsError, match="one of the inputs"):
        label_run(ics, snapshot=snapshot, output=ics)
    assert Path(ics).read_bytes() == before
    with pytest.raises(FileExistsError, match="is a folder"):
        label_run(ics, snapshot=snapshot, output=tmp_path)


def test_ids_of_another_run_are_counted(ics, own, final, tmp_path):
    path = write_snapshot(tmp_path / "last.hdf5", own, final)
    with h5py.File(path, "r+") as file:
        file["PartType1/ParticleIDs"][:7] = np.arange(7) + 10**6
    assert_refused(
        InitialConditionsError, "7 of the 8000 particle IDs of the final snapshot are not", ics, tmp_path, snapshot=path
    )
    with h5py.File(path, "r+") as file:
        file["PartType1/ParticleIDs"][:7] = 4000
    assert_refused(InitialConditionsError, "7 of the 8000 particle IDs .* repeats", ics, tmp_path, snapshot=path)
    with h5py.File(path, "r+") as file:
        del file["PartType1/ParticleIDs"]
    assert_refused(InitialConditionsError, "has no particle IDs", ics, tmp_path, snapshot=path)


def test_another_number_of_particles_is_refused(ics, tmp_path):
    other = realisation(16, seed=2)
    scale = N / 16  # the same box and mass, on fewer particles
    path = write_gadget_hdf5(
        tmp_path / "last.hdf5", (other.positions * scale).astype(np.float32), other.velocities,
        Lattice(16, other.field.box_size * scale), other.field.cosmology, 0.0,
    )  # fmt: skip
    assert_refused(LatticeError, "'PartType1': 4096.*8000 sites", ics, tmp_path, snapshot=path)


def test_another_box_or_matter_density_or_an_earlier_time_is_refused(ics, own, final, tmp_path):
    wide = write_snapshot(tmp_path / "wide.hdf5", own, final, box=1.1 * own.field.box_size)
    assert_refused(LatticeError, "one box", ics, tmp_path, snapshot=wide)
    ds = particle_dataset(
        final, None, np.full(N**3, own.mass), own.field.box_size, ph.Cosmology(0.7, 0.25, 0.75), 0.0, "x"
    )
    assert_refused(InitialConditionsError, "Omega_m = 0.25", ics, tmp_path, snapshot=ds)
    assert_refused(InitialConditionsError, "must be later", ics, tmp_path, snapshot=ics)
    flat = yt.load_particles(
        {f"particle_position_{a}": final[:, i] for i, a in enumerate("xyz")}, bbox=np.array([[0, 4.0]] * 3)
    )
    assert_refused(CosmologyError, "final snapshot .* holds no", ics, tmp_path, snapshot=flat)


def test_a_box_that_is_no_cube_is_refused(ics, snapshot, own, final, tmp_path):
    with h5py.File(snapshot, "r+") as file:
        file["Header"].attrs["BoxSize"] = np.array([1.0, 1.0, 2.0]) * own.field.box_size
    assert_refused(LatticeError, "must be a cube", ics, tmp_path, snapshot=snapshot)


def test_a_snapshot_of_another_time_is_refused_unless_that_time_is_asked_for(ics, own, final, cube, tmp_path, capsys):
    path = write_snapshot(tmp_path / "last.hdf5", own, final, redshift=0.5)
    assert_refused(
        InitialConditionsError, r"at redshift 0\.5, and models.*--at-redshift 0\.5", ics, tmp_path, snapshot=path
    )
    wrong = {"snapshot": path, "redshift": 0.3}
    assert_refused(InitialConditionsError, r"at redshift 0\.5, not at 0\.3", ics, tmp_path, **wrong)
    output = tmp_path / "run.h5"
    command = ["label", "--ics", str(ics), "--snapshot", str(path), "-o", str(output), "--at-redshift", "0.5"]
    assert cli.main(command) == 0
    assert "3 haloes at z = 0.5 hold" in capsys.readouterr().out
    field, labels, attributes = read_run(output)
    assert np.array_equal(labels, cube) and attributes["snapshot_redshift"] == pytest.approx(0.5)
    # the run is of that time: its amplitude is that of the field then
    assert field.target_redshift == 0.5
    now = ph.linear_field(ph.load(ics))
    np.testing.assert_allclose(field.delta, now.at_redshift(0.5).delta, rtol=1e-5, atol=1e-5)
    assert field.target_sigma_8 < 0.8 * own.field.cosmology.sigma_8


@pytest.mark.parametrize("place", ["Header/Redshift", "Header/Time", "redshift", "output_redshift"])
def test_the_redshift_of_a_catalogue_is_read_from_where_finders_write_it(place, ics, cube, tmp_path):
    path = write_catalog(tmp_path / "cat.h5", "labels", cube)
    with h5py.File(path, "r+") as file:
        *group, name = place.split("/")
        (file.require_group(group[0]) if group else file).attrs[name] = 0.8 if name == "Time" else 0.25
    assert_refused(InitialConditionsError, r"cat\.h5 is at redshift 0\.25", ics, tmp_path, catalog=path)
    run = label_run(ics, catalog=path, output=tmp_path / "run.h5", redshift=0.25)
    assert run.field.target_redshift == read_run(tmp_path / "run.h5")[0].target_redshift == 0.25


def test_a_catalogue_that_states_no_redshift_is_of_the_one_asked_for(ics, cube, tmp_path):
    path = write_catalog(tmp_path / "cat.h5", "labels", cube)
    for redshift, expected in ((None, 0.0), (0.3, 0.3)):
        run = label_run(ics, catalog=path, output=tmp_path / "run.h5", redshift=redshift)
        assert run.field.target_redshift == read_run(tmp_path / "run.h5")[0].target_redshift == expected
    for wrong in (-1.0, float("nan")):
        assert_refused(InitialConditionsError, "not 0 or more", ics, tmp_path, catalog=path, redshift=wrong)


def test_haloes_just_before_the_end_are_those_of_the_end(ics, own, final, tmp_path):
    path = write_snapshot(tmp_path / "last.hdf5", own, final, redshift=0.004)
    assert label_run(ics, snapshot=path, output=tmp_path / "run.h5").field.target_redshift == 0


def test_haloes_of_other_initial_conditions_or_axes_are_refused(own, ics, cube, tmp_path):
    """They stand where the field is not overdense."""
    moved = own.field.lattice.shifted(cube, (N // 2, N // 2, 0))
    path = write_catalog(tmp_path / "cat.h5", "labels", moved)
    assert_refused(InitialConditionsError, "mean linear overdensity", ics, tmp_path, catalog=path)


def test_a_run_without_haloes_is_refused(ics, own, tmp_path):
    path = write_snapshot(tmp_path / "last.hdf5", own, own.positions)
    assert_refused(InitialConditionsError, "no halo has 155 particles", ics, tmp_path, snapshot=path)


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        ({"something": np.arange(3)}, FormatError, "something; a catalogue needs `labels`"),
        ({"Group/GroupLen": np.array([3])}, FormatError, "no `Group/GroupLenType` and no `IDs/ID`"),
        ({"labels": np.zeros(3), "halo_id": np.zeros(3)}, ScoringError, "exactly one"),
        ({"labels": np.zeros((4, 4, 4), dtype=int)}, LatticeError, "label cube of cat.h5 has shape"),
        ({"particle_ids": np.arange(3), "halo_ids": np.arange(4)}, FormatError, "give one per particle"),
        ({"particle_ids": np.arange(3) + 0.5, "halo_ids": np.arange(3)}, InitialConditionsError, "whole numbers"),
        ({"particle_ids": np.array([9999, 5]), "halo_ids": np.zeros(2, int)}, InitialConditionsError, "1 of the 2"),
        ({"particle_ids": np.array([5, 5]), "halo_ids": np.arange(2)}, InitialConditionsError, "1 of the 2 .* repeats"),
        ({"Group/GroupLen": np.array([2, 3]), "IDs/ID": np.arange(4)}, FormatError, "member 5, but its list"),
        ({"Group/GroupLen": np.array([2, -3]), "IDs/ID": np.arange(4)}, FormatError, "one count from 0 per group"),
        (b"no HDF5 at all", FormatError, "not an HDF5 file"),
        (None, FileNotFoundError, "no file"),
    ],
    ids=["unknown", "no members", "two cubes", "other lattice", "lengths", "fractions", "stranger", "twice", "short",
         "negative", "text", "missing"],
)  # fmt: skip
def test_catalogues_of_no_known_layout_say_what_is_wrong(content, error, match, ics, tmp_path):
    path = tmp_path / "cat.h5"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                file[name] = values
    assert_refused(error, match, ics, tmp_path, catalog=path)


def split_catalog(path: Path, cuts: dict[str, list[int]]) -> list[Path]:
    """A catalogue in several files, each array cut at places of its own."""
    count = len(next(iter(cuts.values()))) + 1
    files = [path.with_name(f"set.{number}.hdf5") for number in range(count)]
    with h5py.File(path) as whole:
        for number, name in enumerate(files):
            with h5py.File(name, "w") as file:
                file.create_group("Header").attrs["NumFiles"] = np.int32(count)
                for key in cuts:
                    part = np.split(whole[key][()], cuts[key])[number]
                    # codes leave out the arrays that a file has none of
                    if len(part):
                        file[key] = part
    return files


@pytest.mark.parametrize("layout", ["groups", "offsets"])
@pytest.mark.parametrize("given", [0, 2])
def test_a_catalogue_in_several_files_is_one_catalogue(layout, given, ics, cube, tmp_path):
    """Wherever its arrays are cut, inside a group or with no group in a file, and whichever file is named."""
    cuts = {"Group/GroupLen": [1, 1], "IDs/ID": [100, 1500]}
    if layout == "offsets":
        cuts["Group/GroupOffset"] = [1, 1]
    files = split_catalog(write_catalog(tmp_path / "cat.h5", layout, cube), cuts)
    assert np.array_equal(label_run(ics, catalog=files[given], output=tmp_path / "run.h5").labels, cube)
    files[1].unlink()
    assert_refused(FormatError, r"1 of 3 files are missing \(set.1.hdf5", ics, tmp_path, catalog=files[given])


@pytest.mark.parametrize(
    ("count", "match"), [(4, "counts 4 files"), (0, "one of 0"), (-2, "one of -2"), (2**31 - 1, "at most 65536")]
)
def test_a_set_whose_names_have_no_number_is_refused(count, match, tmp_path):
    path = tmp_path / "cat.h5"
    with h5py.File(path, "w") as file:
        file["Group/GroupLen"], file["IDs/ID"] = np.array([2]), np.arange(2)
        file.create_group("Header").attrs["NumFiles"] = count
    with pytest.raises(FormatError, match=match):
        read_members(path)


def test_a_number_of_files_that_is_none_is_refused(tmp_path):
    path = tmp_path / "cat.0.h5"
    with h5py.File(path, "w") as file:
        file["Group/GroupLen"], file["IDs/ID"] = np.array([2]), np.arange(2)
        file.create_group("Header").attrs["NumFiles"] = "many"
    with pytest.raises(FormatError, match=r"NumFiles.* is 'many'"):
        read_members(path)


def test_mistakes_on_the_command_line_are_one_line(ics, tmp_path, capsys):
    assert cli.main(["label", "--ics", str(ics), "--catalog", "nothing.h5", "-o", str(tmp_path / "run.h5")]) == 2
    assert capsys.readouterr().err.startswith("protohalos: error: no file nothing.h5")


# --- the table of IDs --------------------------------------------------------------------------------------------


def test_the_site_of_an_id_does_not_depend_on_the_order_of_storage():
    rng = np.random.default_rng(3)
    ids, sites = rng.choice(10**9, 1000, replace=False), rng.permutation(1000)
    order = rng.permutation(1000)
    tables = [(ids, sites), (ids[order].astype(float), sites[order])]
    some = rng.integers(1000, size=1)
    for table in tables:
        assert np.array_equal(find_sites(ids, *table, "these"), sites)
        assert find_sites(ids[some], *table, "these") == sites[some]
    with pytest.raises(ProtohaloError, match="2\\^53"):
        find_sites(np.array([2.0**53]), ids, sites, "these")
