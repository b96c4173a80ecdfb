"""Laws of the files of halo finders: every one of them gives the same members, of haloes and of subhaloes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
from yt.frontends.rockstar.definitions import halo_dts

from yt_protohalos.exceptions import FormatError, InitialConditionsError
from yt_protohalos.training.halo_catalogs import read_members, stated_redshift
from yt_protohalos.training.run_files import finder_of_runs

# a halo with a subhalo, in which another one lies, and a second halo; the rest is in none
OWN = {"host": range(200, 600), "outer": range(60, 200), "inner": range(60), "other": range(600, 800)}
AROUND = {"outer": "host", "inner": "outer"}
N = 1000
IDS = 7 + 3 * np.random.default_rng(1).permutation(N)
"""Particle IDs, in the order of `OWN`, which count no sites."""
HALOES = [range(600), range(600, 800)]


def listed(name: str) -> list[int]:
    """Particles of an object with those of all objects in it."""
    inside = [listed(one) for one, outer in AROUND.items() if outer == name]
    return sorted([*OWN[name], *(particle for one in inside for particle in one)])


def expected(places: Iterable[Iterable[int]]) -> set[frozenset[int]]:
    return {frozenset(IDS[list(one)].tolist()) for one in places}


def partition(found: tuple[np.ndarray, np.ndarray]) -> set[frozenset[int]]:
    """IDs of each halo; those in none are left out."""
    ids, groups = found
    assert len(np.unique(ids)) == len(ids)
    return {frozenset(ids[groups == group].tolist()) for group in np.unique(groups[groups >= 0])}


def shuffled(values: Iterable[int]) -> np.ndarray:
    return np.random.default_rng(2).permutation(np.array(list(values), dtype=np.int64))


# --- writers, by the description of each format --------------------------------------------------------------------


def rockstar_binary(folder: Path, revision: int = 1) -> dict:
    """Two files, with the records that yt reads; each halo lists its own particles. A table has the hosts."""
    for chunk, names in enumerate((["outer", "host"], ["other", "inner"])):
        members = [IDS[shuffled(OWN[name])] for name in names]
        header = struct.pack("<Qqqffff6fqqffqi", 0xFADEDACEC0C0D0D0, 10, chunk, 0.8, 0.3, 0.7, 0.7, *[0.0] * 6,
                             len(names), sum(map(len, members)), 10.0, 1e9, 0, revision)  # fmt: skip
        haloes = np.zeros(len(names), dtype=halo_dts[min(revision, 2)])
        haloes["particle_identifier"] = [50 + list(OWN).index(name) for name in names]
        haloes["num_p"] = [len(ids) for ids in members]
        (folder / f"halos_10.{chunk}.bin").write_bytes(
            header.ljust(256, b"\0") + haloes.tobytes() + np.concatenate(members).astype("<i8").tobytes()
        )
    rows = [
        f"{50 + i} 3 1e12 {50 + list(OWN).index(AROUND[name]) if name in AROUND else -1}" for i, name in enumerate(OWN)
    ]
    (folder / "parents.list").write_text("\n".join(["#ID DescID Mvir PID", "#a = 0.8", *rows]) + "\n")
    return {"path": folder / "halos_10.0.bin", "parents": folder / "parents.list"}


def rockstar_particles(folder: Path) -> dict:
    """Every printed halo lists all particles in it, with the object that each is assigned to."""
    names = list(OWN)
    lines = [
        "#Halo table:", "#id internal_id num_p mvir", "#Particle table:",
        "#x y z vx vy vz particle_id assigned_internal_haloid internal_haloid external_haloid", "#a = 0.800000",
    ]  # fmt: skip
    for root in [*names, "not printed"]:
        for name in names:
            inside = name == root or AROUND.get(name) == root or AROUND.get(AROUND.get(name, "")) == root
            if inside or root == "not printed":
                internal, external = (names.index(root), 50 + names.index(root)) if inside else (9, -1)
                own = f"{names.index(name)} {internal} {external}"
                lines += [f"0.1 0.2 0.3 1 2 3 {IDS[place]} {own}" for place in shuffled(OWN[name])]
    (folder / "halos_10.0.particles").write_text("\n".join(lines) + "\n")
    return {"path": folder / "halos_10.0.particles"}


def ahf(folder: Path) -> dict:
    """Lists with the particles of subhaloes, and some gas; the hosts are in the table beside."""
    number = {name: 10**15 + i for i, name in enumerate(OWN)}
    lines = [str(len(OWN))]
    for name in OWN:
        lines += [f"{len(listed(name)) + 1} {number[name]}", f"{N * 9 + number[name]} 0"]
        lines += [f"{IDS[place]} 1" for place in shuffled(listed(name))]
    path = folder / "run.0000.z0.250.AHF_particles"
    path.write_text("\n".join(lines) + "\n")
    rows = [f"{number[name]}\t{number[AROUND[name]] if name in AROUND else 0}\t1\t1.5e12" for name in OWN]
    path.with_suffix(".AHF_halos").write_text("\n".join(["#ID(1)\thostHalo(2)\tnumSubStruct(3)\tMvir(4)", *rows]))
    return {"path": path}


def hbt(folder: Path) -> dict:
    """Two files of subhaloes with their own particles, and an orphan without any."""
    host = {"host": 4, "outer": 4, "inner": 4, "other": -1, "orphan": 2}
    for number, names in enumerate((["inner", "other"], ["host", "orphan", "outer"])):
        with h5py.File(folder / f"SubSnap_010.{number}.hdf5", "w") as file:
            file["NumberOfFiles"], file["Cosmology/ScaleFactor"] = np.array([2]), np.array([0.8])
            rows = [(list(host).index(name), host[name], 0) for name in names]
            file["Subhalos"] = np.array(rows, dtype=[("TrackId", "i8"), ("HostHaloId", "i8"), ("Rank", "i8")])
            lists = file.create_dataset("SubhaloParticles", len(names), dtype=h5py.vlen_dtype(np.int64))
            for i, name in enumerate(names):
                lists[i] = IDS[shuffled(OWN.get(name, []))]
    return {"path": folder / "SubSnap_010.1.hdf5"}


def soap(folder: Path) -> dict:
    """Two files in the order of the snapshot, whose particles are in any."""
    order = shuffled(range(N))
    bound, group = np.full(N, -1, dtype=np.int32), np.full(N, 2**31 - 1, dtype=np.int32)
    for i, name in enumerate(OWN):
        bound[list(OWN[name])] = i
    for i, places in enumerate(HALOES, 1):
        group[list(places)] = i
    for number, part in enumerate((order[:300], order[300:])):
        for name, arrays in (
            ("membership_0010", {"GroupNr_bound": bound}),
            ("snapshot_0010", {"ParticleIDs": IDS, "FOFGroupIDs": group}),
        ):
            with h5py.File(folder / f"{name}.{number}.hdf5", "w") as file:
                file.create_group("Header").attrs.update(NumFilesPerSnapshot=np.array([2]), Redshift=np.array([0.25]))
                for key, values in arrays.items():
                    file[f"PartType1/{key}"] = values[part]
    return {"path": folder / "membership_0010.0.hdf5", "snapshot": folder / "snapshot_0010.0.hdf5"}


def gadget4(folder: Path, ids: bool = False) -> dict:
    """Groups and subhaloes as places in the snapshot, which has gas too, or in a list of IDs of their own."""
    members = [IDS[shuffled(OWN[name])] for name in OWN]
    counts = np.array([len(one) for one in members])
    with h5py.File(folder / "fof_subhalo_tab_010.hdf5", "w") as file:
        file.create_group("Header").attrs.update(NumFiles=1, Redshift=0.25)
        for name, sizes in (("Group/Group", np.array([600, 200])), ("Subhalo/Subhalo", counts)):
            file[f"{name}Len"] = sizes if ids else sizes + 5
            if not ids:
                file[f"{name}LenType"] = np.stack([np.full_like(sizes, 5), sizes, *[0 * sizes] * 4], axis=1)
        file["Subhalo/SubhaloGroupNr"] = np.array([0, 0, 0, 1])
        if ids:
            file["IDs/ID"] = np.concatenate(members)
    if ids:
        return {"path": folder / "fof_subhalo_tab_010.hdf5"}
    with h5py.File(folder / "snapshot_010.hdf5", "w") as file:
        file.create_group("Header").attrs["NumFilesPerSnapshot"] = 1
        file["PartType0/ParticleIDs"] = np.arange(20) + 10**6
        file["PartType1/ParticleIDs"] = np.concatenate([*members, IDS[800:]])
    return {"path": folder / "fof_subhalo_tab_010.hdf5", "snapshot": folder / "snapshot_010.hdf5"}


def yt_catalog(folder: Path) -> dict:
    with h5py.File(folder / "halos.0.h5", "w") as file:
        file.attrs.update(data_type="halo_catalog", current_redshift=0.25)
        file["particle_number"], file["particle_index_start"] = np.array([600, 200]), np.array([0, 600])
        file["particles/ids"] = IDS[:800]
    return {"path": folder / "halos.0.h5"}


WRITERS: dict[str, Callable[[Path], dict]] = {
    "Rockstar": rockstar_binary, "Rockstar particles": rockstar_particles, "AHF": ahf, "HBT+": hbt, "SOAP": soap,
    "Gadget-4": gadget4, "AREPO with IDs": lambda folder: gadget4(folder, ids=True),
}  # fmt: skip


# --- the laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WRITERS, "yt"])
def test_a_whole_halo_has_the_particles_of_all_its_subhaloes(name, tmp_path):
    files = yt_catalog(tmp_path) if name == "yt" else WRITERS[name](tmp_path)
    assert partition(read_members(**files)) == expected(HALOES)


@pytest.mark.parametrize("name", WRITERS)
def test_of_subhaloes_the_smallest_has_a_particle(name, tmp_path):
    assert partition(read_members(**WRITERS[name](tmp_path), objects="subhaloes")) == expected(OWN.values())


@pytest.mark.parametrize("write", [rockstar_binary, rockstar_particles, ahf, hbt, soap, gadget4, yt_catalog])
def test_the_redshift_is_read_from_where_each_finder_states_it(write, tmp_path):
    assert stated_redshift(write(tmp_path)["path"]) == pytest.approx(0.25)


@pytest.mark.parametrize("revision", halo_dts)
def test_every_revision_of_rockstars_format_that_yt_knows_is_read(revision, tmp_path):
    path = rockstar_binary(tmp_path, revision)["path"]
    assert partition(read_members(path, "subhaloes")) == expected(OWN.values())


def test_files_of_ahf_from_several_processes_may_follow_each_other(tmp_path):
    path = ahf(tmp_path)["path"]
    lines = path.read_text().splitlines()
    cut = 1 + len(listed("host")) + 2
    path.write_text("\n".join(["1", *lines[1:cut], str(len(OWN) - 1), *lines[cut:]]) + "\n")
    assert partition(read_members(path)) == expected(HALOES)


# --- refusals ------------------------------------------------------------------------------------------------------


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-20])
    return path


def without(path: Path, key: str) -> Path:
    with h5py.File(path, "r+") as file:
        del file[key]
    return path


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (lambda f: {"path": rockstar_binary(f)["path"]}, "find_parents"),
        (lambda f: {"path": damaged(rockstar_binary(f)["path"]), "objects": "subhaloes"}, "damaged, copy it"),
        (lambda f: {"path": rockstar_binary(f, revision=9)["path"], "objects": "subhaloes"}, "revision 9"),
        (lambda f: rockstar_binary(f) | {"parents": rockstar_particles(f)["path"]}, "no columns ID and PID"),
        (lambda f: {"path": damaged(ahf(f)["path"]), "objects": "subhaloes"}, "past the end"),
        (lambda f: {"path": ahf(f)["path"].rename(f / "moved.AHF_particles")}, "moved.AHF_halos"),
        (lambda f: {"path": gadget4(f)["path"]}, "that snapshot too"),
        (lambda f: {"path": soap(f)["path"]}, "no `PartType1/FOFGroupIDs`"),
        (lambda f: gadget4(f, ids=True) | {"snapshot": soap(f)["snapshot"]}, "without a snapshot"),
        (lambda f: gadget4(f) | {"path": without(gadget4(f)["path"], "Subhalo"), "objects": "subhaloes"}, "no subh"),
        (lambda f: yt_catalog(f) | {"objects": "subhaloes"}, "no subhaloes"),
        (lambda f: {"path": without(yt_catalog(f)["path"], "particles/ids")}, "no member IDs"),
        (lambda f: {"path": without(hbt(f)["path"], "Subhalos")}, "SubSnap file"),
        (lambda f: {"path": hbt(f)["path"], "objects": "galaxies"}, "neither of haloes, subhaloes"),
    ],
)  # fmt: skip
def test_what_a_file_lacks_is_named(break_it, match, tmp_path):
    with pytest.raises(FormatError, match=match):
        read_members(**break_it(tmp_path))


def test_a_file_of_rockstar_that_is_missing_is_named(tmp_path):
    path = rockstar_binary(tmp_path)["path"].with_name("halos_10.1.bin")
    path.with_name("halos_10.0.bin").unlink()
    with pytest.raises(FormatError, match=r"missing \(halos_10\.0\.bin"):
        read_members(path, "subhaloes")


def test_hosts_in_a_circle_are_refused(tmp_path):
    files = rockstar_binary(tmp_path)
    files["parents"].write_text("#ID DescID Mvir PID\n50 3 1 52\n51 3 1 50\n52 3 1 51\n53 3 1 -1\n")
    with pytest.raises(FormatError, match="in itself"):
        read_members(**files)
    files["parents"].write_text("#ID DescID Mvir PID\n50 3 1 -1\n")
    with pytest.raises(FormatError, match="3 of 4 objects are not in the table"):
        read_members(**files)


def test_an_id_that_one_object_lists_twice_is_refused(tmp_path):
    path = ahf(tmp_path)["path"]
    lines = path.read_text().splitlines()
    lines[4] = lines[3]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InitialConditionsError, match=r"1 of the .* repeats in one object"):
        read_members(path)


@pytest.mark.parametrize(
    ("finders", "name"),
    [
        (["FoF b=0.2, at least 155 particles", "FoF"], "FoF"),
        (["FoF b=0.2, at least 155 particles", "catalogue halos_0.0.bin"], None),
        (["FoF b=0.168, at least 155 particles"], None),
    ],
)
def test_a_model_states_the_finder_of_its_runs(finders, name):
    assert finder_of_runs([{"halo_finder": one} for one in finders]) == (name or "; ".join(sorted(finders)))
