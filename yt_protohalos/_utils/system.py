"""Processor cores, GPUs and terminal output of this process."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable that every backend of keras reads when it is imported."""
LOCAL_RANK_VARIABLES = (
    "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID", "SLURM_LOCALID",
)  # fmt: skip
"""Rank within the node as set by Open MPI, MPICH and Intel MPI, MVAPICH, HPE Cray and SLURM."""


def available_cores() -> int:
    """Return the number of cores that this process may use, after limits set by a batch system or ``taskset``."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process may still take; None if the system does not say.

    This is the free memory of the machine with its free swap, or what is left of the limit that a batch system, a
    container or ``ulimit -v`` set, if that is less.
    """
    try:
        lines = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
        free = sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, KeyError, ValueError):
        return None
    addresses = available_addresses(root)
    return min([free, *_left_in_control_groups(root), *([] if addresses is None else [addresses])])


def available_addresses(root: Path = Path("/")) -> int | None:
    """Return the bytes of address space left of ``ulimit -v``; None without such a limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int((root / "proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return max(0, limit - pages * resource.getpagesize())


def _left_in_control_groups(root: Path) -> Iterator[int]:
    """Memory left in each control group of this process that has a limit; Linux has two versions of them."""
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, name in groups:
        if controllers == "":
            top, limit, used, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, cache = root / "sys/fs/cgroup/memory", "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = top / name.strip("/")
        # the limit of an outer group holds too; inside a container the outer ones are not to be seen
        for folder in (group, *group.parents)[: len(group.relative_to(top).parts) + 1]:
            try:
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
                # cached files are counted as used, but give way
                yield max(0, most - taken + int(statistics[cache]))
            except (OSError, KeyError, ValueError):
                continue


def local_rank(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """Return the number of this rank within its node, from 0; None if the launcher did not set it."""
    found = (int(environment[name]) for name in LOCAL_RANK_VARIABLES if environment.get(name, "").isdigit())
    return next(found, None)


def devices_of_node(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs that this process may use: those in ``CUDA_VISIBLE_DEVICES``, else all of the node."""
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def use_own_device(
    rank: int, devices: list[str] | None = None, environment: MutableMapping[str, str] = os.environ
) -> str | None:
    """Choose GPU ``rank`` modulo the number of GPUs for this process; call it before a backend is imported.

    Returns the GPU, which the environment then names. With fewer than two, e.g. because the scheduler gave each rank
    its own, returns None and changes nothing.
    """
    devices = devices_of_node(environment) if devices is None else devices
    if len(devices) < 2:
        return None
    environment[VISIBLE] = devices[rank % len(devices)]
    # else tensorflow and jax take all memory of a GPU at once, and ranks that share one would not start
    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return environment[VISIBLE]


@contextmanager
def silent_descriptor(number: int) -> Iterator[None]:
    """Drop everything that C code writes to a file descriptor (1 output, 2 errors); a closed one stays closed."""
    flush = ctypes.CDLL(None).fflush
    flush(None)
    try:
        kept = os.dup(number)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        flush(None)
        os.dup2(kept, number)
        os.close(kept)
