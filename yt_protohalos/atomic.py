"""Files that exist whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from .exceptions import CatalogError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file beside `path`, renamed to it on success and removed on any error or interrupt."""
    path = Path(path)
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
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise CatalogError(f"cannot write in {folder}: {existing} is not a folder you may write to; give another")
