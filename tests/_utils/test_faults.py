"""Killed, full, read-only, short of memory, two at once: a clear message, nothing lost, nothing half under its name."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import h5py
import kill_loop
import matplotlib
import numpy as np
import pytest
import yt
from initial_files import realisation, write_grafic
from position_standins import STANDINS
from standins import SPACING, make_predictor

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos._utils import locks
from yt_protohalos._utils.files import STALE_SECONDS, atomic_path, check_writable
from yt_protohalos.exceptions import CatalogError, InitialConditionsError, OutOfMemoryError, StoreError
from yt_protohalos.initial_conditions.checks import library_errors
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.prediction.store import CropStore, PredictionCache
from yt_protohalos.yt_interface import predict

matplotlib.use("Agg")
N = 24


@pytest.fixture(autouse=True)
def standin_networks(monkeypatch, request):
    if "killed" not in request.node.name:
        monkeypatch.setattr("yt_protohalos.analysis.pictures.write_pictures", lambda *_, **__: [])
    monkeypatch.setattr(ProtohaloPredictor, "from_pretrained", staticmethod(kill_loop.standin_predictor))
    yt.set_log_level(30)
    yield
    yt.set_log_level(50)


@pytest.fixture(scope="module")
def ics(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=3, filename=path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return kill_loop.write_model(tmp_path_factory.mktemp("models") / "killed")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with little room; its size is a number of bytes."""
    mounted = []

    def make(size: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def whole_or_absent(folder: Path) -> None:
    """No half file under a final name, and no temporary one left."""
    kill_loop.check_whole(folder)
    assert not list(folder.rglob("*.partial"))


# killed


@pytest.mark.slow
@pytest.mark.parametrize("method", STANDINS)
def test_killed_runs_resume_to_the_same_bits(tmp_path, method):
    counts = kill_loop.loop(3, 1, tmp_path, method=method)
    assert counts["kills"] == 3 and counts["finished"] >= 1


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path):
    target = tmp_path / "result.h5"
    old, young, other = (tmp_path / f".{name}.0123.partial" for name in ("result.h5", "result.h5.x", "another.h5"))
    for path in (old, young, other):
        path.write_text("half")
    young = young.rename(tmp_path / ".result.h5.4567.partial")
    long_ago = time.time() - STALE_SECONDS - 10
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    with atomic_path(target) as partial:
        partial.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([young, other, target])


# two at once


@pytest.mark.slow
@pytest.mark.parametrize("method", STANDINS)
def test_two_processes_on_one_cache_both_end_with_the_same_labels(tmp_path, tmp_path_factory, ics, method):
    model = kill_loop.write_model(tmp_path_factory.mktemp("models") / "killed", method)
    context = multiprocessing.get_context("fork")
    folders = [tmp_path / name for name in ("one", "two")]
    (tmp_path / "cache").mkdir()
    children = []
    for folder in folders:
        folder.mkdir()
        (folder / "cache").symlink_to(tmp_path / "cache")
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=kill_loop._child, args=(theirs, ics, model, folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        theirs.close()
        children.append((child, ours))
    assert [ours.recv() for _, ours in children] == [0, 0]
    for child, ours in children:
        child.join()
        ours.close()
    first, second = (kill_loop.digests(folder / "out") for folder in folders)
    assert first == second
    whole_or_absent(tmp_path)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".h5"]


def test_a_second_process_says_that_another_is_at_work(tmp_path, caplog):
    cache = PredictionCache(tmp_path)
    with predict._crop_folder(cache, "k", predict.MPICommunicator()) as first:
        assert first is not None
        ph_logger = predict.ytLogger
        ph_logger.addHandler(caplog.handler)
        try:
            with predict._crop_folder(cache, "k", predict.MPICommunicator()) as second:
                assert second is None
        finally:
            ph_logger.removeHandler(caplog.handler)
        assert "Another process computes the same prediction" in caplog.text
        assert first.is_dir()
    assert not first.exists()


def test_a_lock_that_its_holder_removed_is_taken_anew(tmp_path, monkeypatch):
    path, taken = tmp_path / "x.lock", []
    real = locks.fcntl.flock

    def removed_meanwhile(lock, flags):
        real(lock, flags)
        if not taken:
            path.unlink()
        taken.append(lock)

    monkeypatch.setattr(locks.fcntl, "flock", removed_meanwhile)
    with locks.file_lock(path):
        assert len(taken) == 2 and path.exists()


# disks


def error_line(capsys) -> str:
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    return next(line for line in captured.splitlines() if line.startswith("protohalos: error: "))


def find(ics: Path, model: Path, cache: Path, out: Path) -> int:
    options = ["--model", model, "--cache", cache, "--quiet", "--on-range", "allow"]
    return cli.main(["find", str(ics), "-o", str(out), *map(str, options)])


@pytest.mark.parametrize("size", [300_000])
def test_a_full_disk_for_the_cache_is_said_and_what_is_finished_stays(small_disk, tmp_path, ics, model, capsys, size):
    disk = small_disk(size)
    status = find(ics, model, disk, tmp_path / "out")
    whole_or_absent(disk)
    if status:
        line = error_line(capsys)
        assert "make room there" in line or "not a folder you may write to" in line
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        assert find(ics, model, disk, tmp_path / "out") == 0
    else:
        assert "not kept" in capsys.readouterr().err or list(disk.glob("*.h5"))
    assert ph.Prediction.load(tmp_path / "out" / "prediction.h5").n_protohalos > 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [60_000])
def test_a_full_disk_for_the_results_is_said_and_the_prediction_is_kept(small_disk, tmp_path, ics, model, capsys, size):
    disk = small_disk(size)
    assert find(ics, model, tmp_path / "cache", disk / "out") == cli.USER_ERROR
    line = error_line(capsys)
    assert "cannot be written" in line or "cannot write" in line or "No space left" in line
    whole_or_absent(disk)
    if list((tmp_path / "cache").glob("*.h5")):
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        assert find(ics, model, tmp_path / "cache", disk / "out") == 0
        whole_or_absent(disk)


def test_arrays_that_do_not_fit_the_disk_are_refused_before_they_are_filled(small_disk):
    """Filling a mapped array on a full disk would end the process with a bus error."""
    store = CropStore(small_disk(100_000) / "crops", {})
    with pytest.raises(StoreError, match="make room there"):
        store.create("labels_a", (64, 64, 64), np.int32)
    assert "labels_a" not in store
    array = store.create("labels_a", (16, 16, 16), np.int32)
    array[:] = 7


def test_read_only_folders_are_refused_before_the_networks_run(small_disk, tmp_path, ics, model, capsys, monkeypatch):
    disk = small_disk(10**6)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(CatalogError, match="Read-only file system"):
        check_writable(disk / "new" / "out")
    assert find(ics, model, tmp_path / "cache", disk / "out") == cli.USER_ERROR
    assert "cannot write in" in error_line(capsys)
    assert not (tmp_path / "cache").exists()
    # a cache that cannot be written costs the resuming, not the prediction
    assert find(ics, model, disk / "cache", tmp_path / "out") == 0
    assert ph.Prediction.load(tmp_path / "out" / "prediction.h5").n_protohalos > 0


# versions and changes


@pytest.mark.slow
def test_caches_of_another_version_are_passed_over_or_refused(tmp_path, ics, model, monkeypatch, caplog):
    options = {"model": model, "cache": tmp_path, "on_range": "allow", "progress": False}
    truth = ph.predict(ph.load(ics), **options)
    (kept,) = tmp_path.glob("*.h5")
    with h5py.File(kept, "a") as file:
        file.attrs["format"] = 99
    again = ph.predict(ph.load(make_copy(ics, tmp_path)), **options)
    np.testing.assert_array_equal(again.labels, truth.labels)
    assert ph.Prediction.load(kept).n_protohalos == truth.n_protohalos, "it was written anew"
    store = CropStore(tmp_path / "crops", {"a": 1})
    manifest = json.loads((store.folder / "manifest.json").read_text())
    (store.folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(StoreError, match=r"other format\); give another folder, or delete it"):
        CropStore(tmp_path / "crops", {"a": 1})


def make_copy(ics: Path, folder: Path) -> Path:
    """The same file elsewhere, so that yt holds no dataset of it."""
    copy = folder / "copy.hdf5"
    copy.write_bytes(ics.read_bytes())
    return copy


@pytest.mark.slow
def test_a_file_that_changes_is_noticed_by_what_is_open_and_read_anew_by_load(tmp_path):
    path = tmp_path / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=3, filename=path)
    ds = ph.load(path)
    before = ph.predict(ds, predictor=make_predictor(), cache=tmp_path / "cache", progress=False)
    ph.generate_initial_conditions(N, N * SPACING, seed=4, filename=path)
    for use in (
        lambda: ph.linear_field(ds),
        lambda: ph.predict(ds, progress=False),
        lambda: ph.find_protohalos(ds, tmp_path / "out", progress=False),
    ):
        with pytest.raises(InitialConditionsError, match=r"ics\.hdf5 has changed on disk since it was opened"):
            use()
    assert not (tmp_path / "out").exists()
    again = ph.load(path)
    after = ph.predict(again, predictor=make_predictor(), cache=tmp_path / "cache", progress=False)
    assert not np.array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.labels, make_predictor().predict(ph.linear_field(again), progress=False).labels)


def test_a_file_that_changes_is_not_given_back_from_what_yt_remembers(tmp_path):
    yt.config.ytcfg.set("yt", "skip_dataset_cache", False)
    try:
        path = write_grafic(tmp_path / "ics", realisation(16))
        ds = ph.load(path)
        assert ph.load(path) is ds, "yt remembers"
        before = ph.linear_field(ds).delta
        shutil.rmtree(path)
        again = ph.load(write_grafic(path, realisation(16, seed=8)))
        assert again is not ds
        assert not np.allclose(ph.linear_field(again).delta, before)
    finally:
        yt.config.ytcfg.set("yt", "skip_dataset_cache", True)


def test_results_beside_the_initial_conditions_are_no_change_of_them(tmp_path, ics, model):
    copy = make_copy(ics, tmp_path)
    for _ in range(2):
        assert find(copy, model, tmp_path / "cache", tmp_path) == 0


# memory


def _short_of_memory(connection, ics: Path, model: Path, folder: Path, spare: int) -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + spare, held + spare))
    kill_loop._child(connection, ics, model, folder)


@pytest.mark.slow
@pytest.mark.parametrize("spare", [1 << 20, 40 << 20])
def test_a_lack_of_memory_is_said_and_leaves_no_half_file(tmp_path, model, spare):
    ics = tmp_path / "ics.hdf5"
    ph.generate_initial_conditions(64, 64 * SPACING, seed=3, filename=ics)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_short_of_memory, args=(theirs, ics, model, tmp_path, spare))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    theirs.close()
    status = ours.recv()
    child.join()
    ours.close()
    errors = (tmp_path / "errors.txt").read_text()
    # what the process held before and may use again differs from run to run, so that the larger spare may be enough
    assert status == cli.USER_ERROR or (status == 0 and spare > 1 << 20), errors
    assert "Traceback" not in errors
    assert ("memory" in errors) == (status != 0)
    whole_or_absent(tmp_path)


def test_a_library_that_fails_without_a_reason_is_taken_to_lack_memory():
    with (
        pytest.raises(OutOfMemoryError, match=r"ics\.dat cannot be read .* memory is short"),
        library_errors("ics.dat"),
    ):
        raise SystemError("error return without exception set")


def test_a_prediction_without_memory_is_an_error_of_the_package(tmp_path, ics, monkeypatch):
    predictor = make_predictor()

    def greedy(batch):
        return np.empty((10**6,) * 3, dtype=np.float32)

    predictor.instance = greedy
    with pytest.raises(OutOfMemoryError, match=r"24\^3 sites does not fit .*finished crops are kept") as caught:
        ph.predict(ph.load(ics), predictor=predictor, cache=tmp_path, progress=False)
    assert isinstance(caught.value, MemoryError)
    assert list(tmp_path.glob("*.crops/probability_*.npy"))
