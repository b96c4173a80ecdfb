"""Folders that several processes use at once and that the last of them removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold a lock file, alone or with others that share it; alone, `BlockingIOError` if another process does.

    The lock goes with the process, however that ends.
    """
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # who held it before may have removed the file after it was opened here
            if _names(path, lock.fileno()):
                yield
                return


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def lock_of(folder: Path) -> Path:
    """The lock file of a folder, beside it: a folder cannot be removed with an open file on every file system."""
    return folder.with_suffix(".lock")


def hold(folder: Path, user: object) -> None:
    """Make a folder and keep it for as long as `user` lives; the last process that holds it removes it.

    Raises
    ------
    OSError
        It cannot be made, or the file system has no locks.
    """
    with ExitStack() as stack:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(lock_of(folder), shared=True))
        folder.mkdir(exist_ok=True)
        weakref.finalize(user, _let_go, stack.pop_all(), folder)


def _let_go(held: ExitStack, folder: Path) -> None:
    held.close()
    # others that still hold it will remove it
    with suppress(OSError), locked(lock_of(folder)):
        shutil.rmtree(folder, ignore_errors=True)
        lock_of(folder).unlink(missing_ok=True)
