"""One GPU per rank, told by the environment alone: no GPU is needed to know which one."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from yt_protohalos._utils import system
from yt_protohalos._utils.system import (
    LOCAL_RANK_VARIABLES,
    VISIBLE,
    available_addresses,
    available_memory,
    devices_of_node,
    local_rank,
    use_own_device,
)
from yt_protohalos.exceptions import OutOfMemoryError
from yt_protohalos.models import backend
from yt_protohalos.models.registry import load_card
from yt_protohalos.models.runtime import load_network


@pytest.mark.parametrize("name", LOCAL_RANK_VARIABLES)
def test_launchers_tell_the_rank_on_the_node(name):
    assert local_rank({name: "3"}) == 3
    assert local_rank({}) is None and local_rank({name: "x"}) is None


def test_the_launcher_counts_for_more_than_the_scheduler_around_it():
    # mpirun inside an allocation of one SLURM task a node: every rank inherits SLURM_LOCALID=0
    assert local_rank({"SLURM_LOCALID": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "2"}) == 2


def test_ranks_of_a_node_share_its_gpus_evenly():
    taken = []
    for rank in range(8):
        environment: dict[str, str] = {}
        taken.append(use_own_device(rank, ["0", "1", "2", "3"], environment))
        assert environment[VISIBLE] == taken[-1]
        # or two ranks of one GPU could not both start
        assert environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert taken == ["0", "1", "2", "3"] * 2


@pytest.mark.parametrize("given", ["5", "GPU-8932f937", "", " "])
def test_what_a_scheduler_gave_a_rank_alone_is_left(given):
    environment = {VISIBLE: given}
    assert use_own_device(3, environment=environment) is None
    assert environment == {VISIBLE: given}


def test_several_gpus_that_a_scheduler_gave_are_shared_by_their_names():
    environment = {VISIBLE: "4, GPU-a,7"}
    assert devices_of_node(environment) == ["4", "GPU-a", "7"]
    assert use_own_device(4, environment=environment) == "GPU-a"
    assert use_own_device(9, environment=environment) is None, "a second choice must not change the first"


def test_a_node_without_gpus_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(system, "Path", lambda _: tmp_path)
    environment: dict[str, str] = {}
    assert devices_of_node(environment) == [] and use_own_device(1, environment=environment) is None
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    assert use_own_device(1, environment=environment) == "1"


def write_system(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A root folder in which the machine has 9 GiB free, and 1 GiB of swap."""
    meminfo = f"MemTotal: {24 * 2**20} kB\nMemAvailable: {9 * 2**20} kB\nSwapFree: {2**20} kB\n"
    for name, text in {"proc/meminfo": meminfo, "proc/self/cgroup": groups, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_of_a_machine_without_limits(tmp_path):
    unlimited = {"memory.max": "max\n", "memory.current": "1000\n", "memory.stat": "inactive_file 0\n"}
    files = {f"sys/fs/cgroup/user/{name}": text for name, text in unlimited.items()}
    assert available_memory(write_system(tmp_path, "0::/user\n", files)) == 10 * 2**30
    assert available_memory(tmp_path / "no such system") is None
    (tmp_path / "proc/self/cgroup").unlink()
    assert available_memory(tmp_path) == 10 * 2**30


def test_memory_left_of_the_limit_of_a_batch_system(tmp_path):
    # the job has 4 GiB and uses 3, of which half a GiB are cached files; its step has no limit of its own
    job = "sys/fs/cgroup/slurm/job_7"
    limit = {"memory.max": f"{4 * 2**30}\n", "memory.current": f"{3 * 2**30}\n"}
    files = {f"{job}/{name}": text for name, text in limit.items()}
    files |= {f"{job}/memory.stat": f"anon 5\ninactive_file {2**29}\n", f"{job}/step_0/memory.max": "max\n"}
    assert available_memory(write_system(tmp_path, "0::/slurm/job_7/step_0\n", files)) == 3 * 2**29


def test_memory_left_of_a_limit_of_address_space(tmp_path, monkeypatch):
    pages = 2**30 // resource.getpagesize()
    root = write_system(tmp_path, "0::/\n", {"proc/self/statm": f"{pages} 5 5 1 0 5 0\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3 * 2**30, resource.RLIM_INFINITY))
    assert available_addresses(root) == available_memory(root) == 2 * 2**30
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert available_addresses(root) is None


def test_too_little_address_space_is_said_before_a_backend_is_imported(monkeypatch):
    monkeypatch.setattr(backend, "available_addresses", lambda: 2**30)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(OutOfMemoryError, match=r"\(ulimit -v\) leaves 1 GiB.* needs 1\.5, .*method='fof'"):
        backend.import_keras()
    assert "keras" not in sys.modules
    # the network of the default model needs 1.4 GiB beside its library, or alone where that is there
    card, folder = load_card("planck-v5")
    for imported, needed in ((False, "2.9"), (True, "1.4")):
        if imported:
            monkeypatch.setitem(sys.modules, "keras", None)
        with pytest.raises(OutOfMemoryError, match=f"needs {needed}, "):
            load_network(card.semantic, folder, "float32")
    monkeypatch.setattr(backend, "available_addresses", lambda: None)
    backend.check_addresses(2**60)


def test_memory_left_of_a_limit_of_the_first_version_of_control_groups(tmp_path):
    folder = "sys/fs/cgroup/memory/job"
    files = {
        f"{folder}/memory.limit_in_bytes": f"{2**31}\n",
        f"{folder}/memory.usage_in_bytes": f"{2**31 + 5}\n",
        f"{folder}/memory.stat": "total_inactive_file 0\n",
    }
    root = write_system(tmp_path, "9:cpu,cpuacct:/other\n4:memory:/job\n", files)
    assert available_memory(root) == 0
