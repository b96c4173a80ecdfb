"""Several ranks: the same labels however many share the work, and nothing finished is lost when one dies."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from initial_files import realisation, write_gadget2
from position_standins import STANDINS
from small_model import SIDE, write_small_model, write_small_position_model
from standins import SPACING, make_predictor

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.exceptions import ParallelError, StoreError
from yt_protohalos.prediction.evolved_channels import ARRAYS
from yt_protohalos.yt_interface import mpi
from yt_protohalos.yt_interface.linear import particle_sites
from yt_protohalos.yt_interface.predict import box_prediction

N = 24
LAUNCHER = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
needs_ranks = pytest.mark.skipif(
    LAUNCHER is None or importlib.util.find_spec("mpi4py") is None, reason="mpirun or mpi4py is not installed"
)
SCRIPT = Path(__file__).parents[1] / "support" / "ranks.py"


def run_ranks(count: int, *arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess:
    """Start a python script or module on several ranks, or plainly for one."""
    # a container's root may not start Open MPI otherwise, and two cores must hold four ranks
    environment = {
        **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1",
        # ranks that wait leave their core to those that work
        "OMPI_MCA_mpi_yield_when_idle": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    launch = [str(LAUNCHER), "--oversubscribe", "--bind-to", "none", "-np", str(count)] if count > 1 else []
    command = [*launch, sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


@pytest.fixture(scope="module")
def ics(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=3, filename=path)
    return path


@pytest.fixture(scope="module", params=STANDINS)
def method(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def alone(ics, method):
    return STANDINS[method]().predict(ph.linear_field(ph.load(ics)), progress=False, on_range="allow")


@pytest.mark.slow
@needs_ranks
def test_labels_are_equal_site_by_site_on_several_ranks(ics, method, alone, tmp_path) -> None:
    # three do not divide the crops evenly; the tests of killed ranks compare the labels of one and of two
    ranks = 3
    done = run_ranks(ranks, SCRIPT, ics, tmp_path / "cache", tmp_path, f"method={method}")
    assert done.returncode == 0, done.stderr
    calls, read, keys = [], [], set()
    for rank in range(ranks):
        with np.load(tmp_path / f"rank{rank}.npz") as found:
            np.testing.assert_array_equal(found["labels"], alone.labels)
            np.testing.assert_array_equal(found["probability"], alone.probability)
            calls.append(found["calls"])
            read.append(int(found["read"]))
            keys.add(str(found["key"]))
            assert found["mapped"], "delta is in the memory of this rank"
    assert read[0] >= N**3 and not any(read[1:]), f"particles read by each rank: {read}"
    assert len(keys) == 1
    # every core of every lattice is computed by one rank
    reference = STANDINS[method]()
    reference.predict(ph.linear_field(ph.load(ics)), progress=False, on_range="allow")
    assert sum(calls)[0] == reference.standins.calls["semantic"]
    assert sum(calls)[1] == reference.standins.calls["instance"]
    assert all(own[0] > 0 for own in calls)
    left = [path.suffix for path in (tmp_path / "cache").iterdir()]
    assert left == [".h5"], "a finished prediction needs neither its crops nor the field that the ranks shared"


@pytest.mark.slow
@needs_ranks
def test_members_and_fields_are_right_on_every_rank_whatever_tells_the_sites(tmp_path) -> None:
    own, rng = realisation(24, seed=3), np.random.default_rng(1)
    # IDs that tell nothing, so that sites are looked up by position, and another redshift than that of the file's field
    ids, order = 3 * rng.permutation(24**3), rng.permutation(24**3)
    path = write_gadget2(tmp_path / "ics.dat", own, ids=ids, order=order)
    done = run_ranks(2, SCRIPT, path, tmp_path / "cache", tmp_path, "redshift=0.2", f"catalog={tmp_path / 'catalog'}")
    assert done.returncode == 0, done.stderr
    assert {entry.suffix for entry in (tmp_path / "cache").iterdir()} == {".h5"}
    options = {"predictor": make_predictor(), "redshift": 0.2, "on_range": "allow", "cache": False}
    ds = ph.load(path)
    catalog = ph.find_protohalos(ds, tmp_path / "alone", **options, progress=False)
    ph.add_protohalo_fields(ds, **options)
    data, box = ds.all_data(), box_prediction(ds)
    expected = {
        "labels": box.get().labels, "delta": box.field.delta, "key": box.key, "site": particle_sites(ds, "all", data),
        "id": data["all", "particle_protohalo_id"], "members": catalog.halo("halos", 0)["member_ids"],
    }  # fmt: skip
    assert expected["id"].max() > 0 and len(expected["members"]) > 0 and not box.field.is_mapped
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz") as found:
            assert found["mapped"] and (found["read"] > 0) == (rank == 0)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=f"{name} of rank {rank}")


@pytest.mark.slow
@needs_ranks
def test_what_is_wrong_with_a_file_is_said_by_every_rank(tmp_path) -> None:
    path = write_gadget2(tmp_path / "ics.dat", realisation(8), ids=np.zeros(512, dtype=int))
    done = run_ranks(2, SCRIPT, path, tmp_path / "cache", tmp_path)
    assert done.returncode != 0
    said = "InitialConditionsError: 511 of 512 particle IDs are duplicates"
    assert (tmp_path / "rank0.txt").read_text().startswith(said)
    assert (tmp_path / "rank1.txt").read_text().startswith(f"ParallelError: rank 0 stopped with {said}")


@pytest.mark.slow
@needs_ranks
def test_a_killed_rank_loses_nothing_that_was_finished(ics, method, alone, tmp_path) -> None:
    cache, own = tmp_path / "cache", f"method={method}"
    # the crops of the last network, and how many of them a rank finishes before it dies
    kind, crops, few = {"positions": ("positions", 8, 1), "pseudo-space": ("labels", 16, 3)}[method]
    killed = run_ranks(2, SCRIPT, ics, cache, tmp_path, own, f"die={few}")
    assert killed.returncode != 0
    (folder,) = cache.glob("*.crops")
    finished = len(list(folder.glob(f"{kind}_*.npy")))
    assert len(list(cache.glob("*.field"))) == 1
    assert few <= finished < crops and not list(tmp_path.glob("rank*.npz"))
    assert len(list(folder.glob("evolved_*.npy"))) == (len(ARRAYS) if method == "positions" else 0)
    again = run_ranks(2, SCRIPT, ics, cache, tmp_path, own)
    assert again.returncode == 0, again.stderr
    assert [path.suffix for path in cache.iterdir()] == [".h5"]
    calls = evolutions = 0
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz") as found:
            np.testing.assert_array_equal(found["labels"], alone.labels)
            calls += found["calls"]
            evolutions += int(found["evolutions"])
    if method == "positions":
        assert evolutions == 0, "the field had been evolved"
        assert alone.n_protohalos > 5 and calls.sum() == crops - finished
    else:
        assert calls[0] == 0, "the semantic network had finished"
        assert calls.sum() <= crops - finished


@pytest.mark.slow
@needs_ranks
def test_a_rank_without_room_on_its_disk_ends_all_and_says_so(ics, method, alone, tmp_path) -> None:
    cache, own = tmp_path / "cache", f"method={method}"
    stopped = run_ranks(2, SCRIPT, ics, cache, tmp_path, own, "full=1000")
    assert stopped.returncode != 0
    # as each rank wrote it down: of what they print, that of the rank which leaves last can be lost
    said = [(tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1)]
    assert "rank 1 stopped with StoreError" in said[0] and "make room there" in said[0]
    assert said[1].startswith("StoreError") and "make room there" in said[1]
    (folder,) = cache.glob("*.crops")
    kind = "positions" if method == "positions" else "probability"
    assert list(folder.glob(f"{kind}_*.npy")) and not list(folder.glob("*.partial"))
    again = run_ranks(1, SCRIPT, ics, cache, tmp_path, own)
    assert again.returncode == 0, again.stderr
    with np.load(tmp_path / "rank0.npz") as found:
        np.testing.assert_array_equal(found["labels"], alone.labels)


@pytest.mark.slow
@needs_ranks
@pytest.mark.parametrize("write", [write_small_position_model, write_small_model])
def test_the_command_runs_on_several_ranks_and_writes_once(tmp_path, write, capsys) -> None:
    path = tmp_path / "ics.hdf5"
    ph.generate_initial_conditions(SIDE, SIDE * SPACING, seed=5, filename=path)
    model = write(tmp_path / "model")

    def arguments(ranks: int) -> list[str]:
        folders = ["-o", tmp_path / f"out{ranks}", "--cache", tmp_path / f"cache{ranks}"]
        return [str(word) for word in ("find", path, *folders, "--model", model, "--precision", "float32", "--quiet")]

    assert cli.main(arguments(1)) == 0
    done = run_ranks(2, "-m", "yt_protohalos.cli", *arguments(2))
    assert done.returncode == 0, done.stderr
    outputs = []
    for ranks, said in ((1, capsys.readouterr().out), (2, done.stdout)):
        assert said.count("prediction.h5") == 1
        with h5py.File(tmp_path / f"out{ranks}" / "prediction.h5") as file:
            outputs.append(file["labels"][()])
    np.testing.assert_array_equal(*outputs)


@pytest.mark.slow
@needs_ranks
def test_the_command_on_several_ranks_names_a_missing_file(tmp_path) -> None:
    wrong = run_ranks(2, "-m", "yt_protohalos.cli", "find", tmp_path / "missing.hdf5", "-o", tmp_path / "out")
    assert wrong.returncode != 0 and "missing.hdf5" in wrong.stderr


def test_several_ranks_need_a_folder_to_meet_in(ics) -> None:
    two = mpi.MPICommunicator()
    two.size = 2
    with pytest.raises(StoreError, match="folder that all see"):
        make_predictor().predict(ph.linear_field(ph.load(ics)), progress=False, communicator=two)


def test_several_ranks_without_mpi4py_are_refused(monkeypatch) -> None:
    assert mpi.ranks_started() == 1 and not mpi.start_ranks()
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "3")
    assert mpi.ranks_started() == 3
    monkeypatch.setattr(mpi.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParallelError, match=r"3 ranks .* mpi4py"):
        mpi.start_ranks()


def test_ranks_that_mpi_does_not_see_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(mpi.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(mpi, "enable_parallelism", lambda **_: None)
    with pytest.raises(ParallelError, match="MPI sees one"):
        mpi.start_ranks()


@pytest.mark.slow
@needs_ranks
def test_a_method_without_crops_is_computed_by_one_rank_and_read_by_all(tmp_path) -> None:
    path, cache = tmp_path / "ics.hdf5", tmp_path / "cache"
    ph.generate_initial_conditions(32, 16.0, seed=11, filename=path)
    options = ["--method", "fof", "--cache", cache]
    done = run_ranks(2, "-m", "yt_protohalos.cli", "find", path, "-o", tmp_path / "both", *options)
    assert done.returncode == 0, done.stderr
    assert [entry.suffix for entry in cache.iterdir()] == [".h5"]
    assert "Evolving the linear field" in done.stderr and done.stderr.count("  0%|") == 1
    found = ph.Prediction.load(tmp_path / "both" / "prediction.h5")
    alone = ph.predict(ph.load(path), method="fof", cache=False, progress=False)
    np.testing.assert_array_equal(found.labels, alone.labels)
    assert (tmp_path / "both" / "protohalos.0.h5").is_file()
