"""Silence for what compiled libraries print past python."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_descriptor(number: int) -> Iterator[None]:
    """Drop what C code writes to a file descriptor (1 output, 2 errors); nothing happens where it is closed."""
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
