"""One GPU per rank, told by the environment alone: no GPU is needed to know which one."""

from __future__ import annotations

import pytest

from yt_protohalos._utils import system
from yt_protohalos._utils.system import LOCAL_RANK_VARIABLES, VISIBLE, devices_of_node, local_rank, use_own_device


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
