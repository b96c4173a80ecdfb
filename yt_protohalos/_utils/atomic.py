"""Files that exist whole or not at all."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ..exceptions import CatalogError

STALE_SECONDS = 24 * 3600.0
"""Age at which the temporary file of a killed process is removed; no write of one file takes a day."""

METADATA_BYTES = 1 << 18
"""What an HDF5 file may hold beside its arrays."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file beside `path`, renamed to it on success and removed on any error or interrupt."""
    path = Path(path)
    _remove_stale(path)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise `CatalogError` unless files can be written in a folder that may not exist yet."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        # permissions say nothing of file systems that are read-only or full
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise CatalogError(
            f"cannot write in {folder}: {existing} is not a folder you may write to ({error.strerror}); give another"
        ) from error


def reserve(folder: Path, size: int) -> None:
    """Raise `OSError` unless the disk of a folder takes `size` more bytes, by taking them for a moment.

    HDF5 cannot close a file on a full disk, and may end the process for it; so this asks before.
    """
    with tempfile.TemporaryFile(dir=folder) as ballast:
        os.posix_fallocate(ballast.fileno(), 0, size + METADATA_BYTES)


def _remove_stale(path: Path) -> None:
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                old.unlink()
