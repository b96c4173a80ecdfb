"""Progress of long loops; the library never prints, the caller chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Progress = bool | Callable[[Iterable[Any], str, int], Iterable[Any]]
"""True for a bar, False for none, or a callable ``(iterable, title, total)`` that yields the items."""


def track(iterable: Iterable[T], title: str, total: int | None = None, progress: Progress = True) -> Iterator[T]:
    """Iterate over `total` items, all of them by default, and show progress under a title."""
    if total is None:
        total = len(iterable)  # type: ignore[arg-type]
    if callable(progress):
        return iter(progress(iterable, title, total))
    if not progress:
        return iter(iterable)
    from tqdm.auto import tqdm

    return iter(tqdm(iterable, desc=title, total=total))
