"""Which GPU a process uses, chosen before a backend is imported, and by none of their own means.

Every backend of keras heeds ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCAL_RANK_VARIABLES = (
    "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID", "SLURM_LOCALID",
)  # fmt: skip
"""What the launchers of Open MPI, MPICH and Intel MPI, MVAPICH, HPE Cray and SLURM tell each rank of its node."""

_GROWTH = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Without these, tensorflow and jax take a whole GPU at once, and ranks that share one would not start."""


def local_rank(environment: MutableMapping[str, str] | None = None) -> int | None:
    """Number of this rank among those of its node, from 0, as the launcher told it; None where it told nothing."""
    environment = os.environ if environment is None else environment
    found = [environment[name] for name in LOCAL_RANK_VARIABLES if environment.get(name, "").isdigit()]
    return int(found[0]) if found else None


def devices_of_node(environment: MutableMapping[str, str] | None = None) -> list[str]:
    """GPUs that this process may use: those that ``CUDA_VISIBLE_DEVICES`` names, else all that the node has."""
    environment = os.environ if environment is None else environment
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    return [str(i) for i in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def use_own_device(
    rank: int, devices: list[str] | None = None, environment: MutableMapping[str, str] | None = None
) -> str | None:
    """Take GPU ``rank`` modulo their number for this process, where there are several.

    Parameters
    ----------
    rank : int
        Among the ranks of the node.
    devices : list of str, optional
        `devices_of_node` by default.
    environment : mapping, optional
        ``os.environ`` by default; changed.

    Returns
    -------
    str or None
        The device taken; None where there are fewer than two: a scheduler that gave each rank its own is left alone.
    """
    environment = os.environ if environment is None else environment
    devices = devices_of_node(environment) if devices is None else devices
    if len(devices) < 2:
        return None
    environment[VISIBLE] = devices[rank % len(devices)]
    for name, value in _GROWTH.items():
        environment.setdefault(name, value)
    return environment[VISIBLE]
