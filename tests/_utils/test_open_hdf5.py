"""Files that lead elsewhere: what an HDF5 file points to outside itself is never opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import yt
from fuzz_readers import facts, read_apart, write_valid
from initial_files import Particles, realisation
from labelled_boxes import box_labels, predicted
from standins import make_field

from yt_protohalos._utils.files import open_hdf5
from yt_protohalos.catalog.members import stored_region
from yt_protohalos.exceptions import FormatError, StoreError
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.training.halo_catalogs import read_labels, read_members
from yt_protohalos.training.run_files import read_haloes, read_run, write_field_run
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load

yt.set_log_level(50)

OUTSIDE = ("external link", "virtual", "external storage")
VICTIMS = {
    "hdf5": ("PartType1/Coordinates", "PartType1", "Header"),
    "swift": ("PartType1/Velocities", "Units"),
    "music": ("level_004_DM_rho",),
    "monofonic": ("DM_dx",),
    "enzo": ("ParticleDisplacements_x",),
}


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(16)


def lead_outside(path: Path, name: str, how: str) -> None:
    """Move one array or group of a file to another file, and leave there what leads to it."""
    other = path.with_name(f"secret_{path.name}")
    with h5py.File(path, "a") as file, h5py.File(other, "w") as secret:
        file.copy(name, secret, name="moved")
        moved = secret["moved"]
        del file[name]
        if how == "external link":
            file[name] = h5py.ExternalLink(other.name, "moved")
        elif how == "virtual":
            layout = h5py.VirtualLayout(moved.shape, moved.dtype)
            layout[...] = h5py.VirtualSource(other.name, "moved", moved.shape)
            file.create_virtual_dataset(name, layout)
        else:
            raw = path.with_name(f"raw_{path.name}")
            values = np.ascontiguousarray(moved[()])
            raw.write_bytes(values.tobytes())
            file.create_dataset(name, values.shape, values.dtype, external=[(str(raw), 0, values.nbytes)])


def cases() -> list[tuple[str, str, str]]:
    return [
        (name, victim, how)
        for name, victims in VICTIMS.items()
        for victim in victims
        for how in (OUTSIDE if "/" in victim or "_" in victim else OUTSIDE[:1])
    ]


@pytest.mark.parametrize(("name", "victim", "how"), cases())
def test_initial_conditions_that_lead_to_other_files_are_refused(tmp_path, particles, name, victim, how):
    path = write_valid(name, tmp_path, particles)
    lead_outside(path / victim if path.is_dir() else path, victim, how)
    with pytest.raises(FormatError, match="must be written in the file itself"):
        linear_field(load(path, **facts(name, particles)))


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/etc/passwd", "../../../../etc/passwd", "ics_hdf5.hdf5"])
def test_what_a_link_names_is_never_opened(tmp_path, particles, target):
    """A link to a pipe would wait for ever, and one to the file itself go round in circles."""
    os.mkfifo(tmp_path / "pipe")
    path = write_valid("hdf5", tmp_path, particles)
    for name in ("Header", "PartType1/Coordinates"):
        with h5py.File(path, "a") as file:
            file.move(name, "Old")
            file[name] = h5py.ExternalLink(str(tmp_path / target), "Old")
        outcome, seconds = read_apart(path, {}, particles)
        assert outcome.kind == "refused" and "is a link to another file" in outcome.detail
        assert seconds < 10
        with h5py.File(path, "a") as file:
            del file[name]
            file.move("Old", name)
    linear_field(load(path))


def test_links_within_the_file_are_followed(tmp_path, particles):
    path = write_valid("hdf5", tmp_path, particles)
    truth = linear_field(load(path)).delta
    with h5py.File(path, "a") as file:
        file.move("PartType1/Coordinates", "Moved")
        file["PartType1/Coordinates"] = h5py.SoftLink("/Moved")
        file["DMParticles"] = h5py.SoftLink("/PartType1")
        file["Loop"] = h5py.SoftLink("/")
    np.testing.assert_array_equal(linear_field(load(path)).delta, truth)


def test_circles_of_links_end(tmp_path, particles):
    path = write_valid("hdf5", tmp_path, particles)
    with h5py.File(path, "a") as file:
        file["PartType1/Up"] = file["/"]
        file["Loop"] = h5py.SoftLink("/Loop")
    with open_hdf5(path) as file:
        assert "PartType1" in file


# what the package and its users write


def stored_prediction(folder: Path) -> Path:
    path = folder / "prediction.h5"
    predicted(box_labels(16, (6, 5, 4), (3, 3, 3))).save(path)
    return path


def stored_catalogue(folder: Path) -> Path:
    path = folder / "protohalos.0.h5"
    with h5py.File(path, "w") as file:
        file.attrs["data_type"] = "halo_catalog"
        file["labels"] = np.zeros(3)
    return path


def stored_run(folder: Path) -> Path:
    field = make_field(8)
    return write_field_run(folder / "run.h5", field, np.ones((8, 8, 8), dtype=np.int32), {})


def stored_members(folder: Path) -> Path:
    path = folder / "members.h5"
    with h5py.File(path, "w") as file:
        file["labels"] = np.arange(8).reshape(2, 2, 2)
        file["particle_ids"], file["halo_ids"] = np.arange(8), np.arange(8)
    return path


@pytest.mark.parametrize("how", OUTSIDE)
@pytest.mark.parametrize(
    ("write", "read", "kind"),
    [
        (stored_prediction, Prediction.load, StoreError),
        (stored_prediction, lambda path: stored_region(path, 0), FormatError),
        (stored_catalogue, lambda path: stored_region(path, 0), FormatError),
        (stored_run, read_run, FormatError),
        (stored_run, read_labels, FormatError),
        (stored_run, lambda path: read_haloes(path, np.zeros(3)), FormatError),
        (stored_members, read_members, FormatError),
    ],
)
def test_predictions_catalogues_and_runs_that_lead_to_other_files_are_refused(tmp_path, write, read, kind, how):
    path = write(tmp_path)
    lead_outside(path, "labels", how)
    with pytest.raises(kind, match="must be written in the file itself"):
        read(path)


def test_arrays_that_were_never_written_are_refused_in_them_too(tmp_path):
    for write, read in ((stored_members, read_members), (stored_run, read_run)):
        path = write(tmp_path)
        with h5py.File(path, "a") as file:
            del file["labels"]
            file.create_dataset("labels", (10**4,) * 3, "i4", chunks=(16,) * 3)
        with pytest.raises(FormatError, match="0 bytes for"):
            read(path)


@pytest.mark.parametrize("open_it", [open_hdf5, read_labels])
def test_what_is_no_hdf5_is_refused(tmp_path, open_it: Callable):
    (tmp_path / "no.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(OSError), open_it(tmp_path / "no.h5"):
        pass
