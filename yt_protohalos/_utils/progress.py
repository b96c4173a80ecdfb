"""Progress of long loops.

The library never prints. The caller passes ``progress=True`` (a bar), ``False`` (silence) or a callable
``progress(iterable, title, total)``. `set_bar` lets the yt surface show yt's own progress bar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
BarFactory = Callable[[str, int], Any]
Progress = bool | Callable[[Iterable[Any], str, int], Iterable[Any]]


def _tqdm_bar(title: str, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=title)


_bar_factory: BarFactory = _tqdm_bar


def set_bar(factory: BarFactory) -> None:
    """Choose the bar: ``factory(title, total)`` returns an object with ``update(step)`` and ``close()``."""
    global _bar_factory
    _bar_factory = factory


def track(iterable: Iterable[T], title: str, total: int | None = None, progress: Progress = True) -> Iterator[T]:
    """Iterate and show progress.

    Parameters
    ----------
    iterable : iterable
    title : str
        What is being done, e.g. ``"Segmenting crops"``.
    total : int, optional
        Number of items; ``len(iterable)`` by default.
    progress : bool or callable
        True for a bar, False for none, or a callable ``(iterable, title, total)`` that yields the items.
    """
    if total is None:
        total = len(iterable)  # type: ignore[arg-type]
    if callable(progress):
        yield from progress(iterable, title, total)
        return
    if not progress:
        yield from iterable
        return
    bar = _bar_factory(title, total)
    try:
        for item in iterable:
            yield item
            bar.update(1)
    finally:
        bar.close()
