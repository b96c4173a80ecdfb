"""The MPI ranks of a parallel yt script, which share a prediction (extra ``mpi``)."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from yt.utilities.logger import ytLogger
from yt.utilities.parallel_tools.parallel_analysis_interface import (
    communication_system,
    enable_parallelism,
    parallel_objects,
)

from .._utils.system import local_rank, use_own_device
from ..exceptions import ParallelError

T = TypeVar("T")

_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""Environment variables set by Open MPI, MPICH and Intel MPI, MVAPICH, and SLURM."""


def ranks_started() -> int:
    """Number of ranks that an MPI launcher started, 1 without one, from the environment."""
    sizes = [os.environ.get(name, "") for name in _SIZE_VARIABLES]
    return max([1, *(int(size) for size in sizes if size.isdigit())])


def start_ranks() -> bool:
    """Turn on the parallelism of yt if several ranks were started, and return whether they were.

    Raises `ParallelError` if there are several, but mpi4py is missing or was built for another MPI library.
    """
    if ranks_started() == 1:
        return False
    if importlib.util.find_spec("mpi4py") is None:
        raise ParallelError(
            f"{ranks_started()} ranks were started without mpi4py and would all do the same work; "
            "install it with: pip install 'yt_protohalos[mpi]'"
        )
    if communication_system.communicators[-1].size == 1:
        enable_parallelism(suppress_logging=True)
    if communication_system.communicators[-1].size == 1:
        raise ParallelError(
            f"{ranks_started()} ranks were started, but MPI sees one and all would do the same work; mpi4py must be "
            "built for the MPI library of the launcher: pip install --no-binary mpi4py mpi4py"
        )
    return True


def stop_ranks(status: int) -> None:
    """End all ranks, because the others would wait forever for one that has stopped."""
    from mpi4py import MPI

    MPI.COMM_WORLD.Abort(status)


class MPICommunicator:
    """The ranks of yt's current communicator, after ``yt.enable_parallelism()`` under ``mpirun``."""

    def __init__(self) -> None:
        self._communicator: Any = communication_system.communicators[-1]
        self.size, self.rank = int(self._communicator.size), int(self._communicator.rank)
        self.is_root = self.rank == 0

    def take_device(self) -> None:
        """Give each rank of a node its own GPU, if there are several; all ranks call this before any backend runs."""
        if self.size == 1:
            return
        known = local_rank()
        # without information from the launcher, the ranks of a node are those with one host name
        hosts = self._communicator.comm.allgather(socket.gethostname())
        device = use_own_device(hosts[: self.rank].count(hosts[self.rank]) if known is None else known)
        if device is not None:
            ytLogger.info("Rank %d uses GPU %s", self.rank, device)

    def share(self, items: Sequence[T]) -> list[T]:
        """Return the items of this rank, every size-th, by yt's `parallel_objects`; all items without MPI."""
        # a list, because an error inside a loop over parallel_objects would leave yt's stack of communicators changed
        return list(parallel_objects(list(items)))

    @contextmanager
    def barrier(self) -> Iterator[None]:
        """Wait for all ranks at the end of the context; an error on one is a `ParallelError` on the others."""
        if self.size == 1:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        message = None if failure is None else f"{type(failure).__name__}: {failure}"
        messages = self._communicator.comm.allgather(message)
        if failure is not None:
            raise failure
        for rank, text in enumerate(messages):
            if text is not None:
                raise ParallelError(f"rank {rank} stopped with {text}; finished crops are kept, run it again")

    def broadcast(self, make: Callable[[], T]) -> T:
        """Run `make` on rank 0 and return its result on every rank; for small values."""
        value: Any = None
        with self.barrier():
            if self.is_root:
                value = make()
        if self.size > 1:
            value = self._communicator.comm.bcast(value, root=0)
        return cast(T, value)
