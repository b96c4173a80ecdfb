"""Memory that steps over a whole box need, compared with what there is before they start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .._utils.system import available_memory
from ..exceptions import OutOfMemoryError


@contextmanager
def enough_memory(work: str, n: int, bytes_per_site: float, remedy: str) -> Iterator[None]:
    """Raise `OutOfMemoryError` if the sites of a box need more memory than there is, before or while they take it.

    work, remedy : what needs the memory, and what else to do than to use a machine with more memory, in the message
    """
    needed, available = bytes_per_site * n**3, available_memory()
    message = (
        f"{work} of {n}^3 sites needs {needed / 2**30:.3g} GiB of memory, {bytes_per_site:g} bytes per site, and less "
        f"is available; use a machine with more memory, {remedy}"
    )
    if available is not None and needed > available:
        raise OutOfMemoryError(message)
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(message) from error
