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
def file_lock(path: Path, shared: bool = False) -> Iterator[None]:
    """Lock a file while the context is open; the lock ends with the process, however that ends.

    A shared lock waits for the end of an exclusive one; an exclusive one raises `BlockingIOError` if any other exists.
    """
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the last owner may have removed the file between open and flock
            if _is_open_file(path, lock.fileno()):
                yield
                return


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def lock_path(folder: Path) -> Path:
    """Return the lock file of a folder, beside it: some file systems cannot remove a folder with an open file."""
    return folder.with_suffix(".lock")


def hold_folder(folder: Path, user: object) -> None:
    """Make a folder and keep it while `user` is alive; the last process that holds it removes it."""
    with ExitStack() as stack:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(file_lock(lock_path(folder), shared=True))
        folder.mkdir(exist_ok=True)
        weakref.finalize(user, _release_folder, stack.pop_all(), folder)


def _release_folder(held: ExitStack, folder: Path) -> None:
    held.close()
    # if other processes still hold it, one of them removes it
    with suppress(OSError), file_lock(lock_path(folder)):
        shutil.rmtree(folder, ignore_errors=True)
        lock_path(folder).unlink(missing_ok=True)
