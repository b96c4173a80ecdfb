"""HDF5 files of others, opened so that nothing outside them is read.

A file may hold links to other files, arrays that lie in other files, and arrays of any size that were never written.
Whoever follows them reads what the file's author chose, not what the user named.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..exceptions import FormatError

LARGEST_COMPRESSION = 1100
"""Bytes of an array a byte on disk; deflate cannot do better than 1032."""


@contextmanager
def own_file(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file to read, once it is known to hold all that it names.

    Raises
    ------
    FormatError
        A link or an array of it leads to another file, or it is damaged so that this cannot be told.
    OSError
        It is missing or no HDF5 file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _check_own(file, Path(path).name)
        yield file


def _check_own(file: Any, name: str) -> None:
    import h5py

    links: list[str] = []
    arrays: list[str] = []

    def note_link(link: bytes, info: Any) -> None:
        # a soft link stays in the file, unless an external one lies on its way, which is found by itself
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            links.append(link.decode(errors="replace"))

    def note_array(array: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not _is_stored(file, item):
            arrays.append(f"{array} of {name} has {item.id.get_storage_size()} bytes for {item.shape} values")

    try:
        file.id.links.visit(note_link, info=True)
        if not links:
            file.visititems(note_array)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{name} cannot be read ({said}); a whole HDF5 file is needed: it is damaged, copy or write it again"
        ) from error
    if links:
        raise FormatError(
            f"{links[0]} of {name} is a link to another file; all must be written in the file itself: copy there what "
            "it points to"
        )
    if arrays:
        raise FormatError(
            f"{arrays[0]}; all must be written in the file itself: it is truncated, or points to other files, write it "
            "again"
        )


def _is_stored(file: Any, dataset: Any) -> bool:
    """Whether the bytes of a dataset were written, and into the open file itself."""
    stored = int(dataset.id.get_storage_size())
    size = dataset.id.get_space().get_simple_extent_npoints() * dataset.id.get_type().get_size()
    elsewhere = dataset.is_virtual or dataset.external or stored > file.id.get_filesize()
    return not elsewhere and size <= LARGEST_COMPRESSION * stored
