"""Writing files whole or not at all, and opening HDF5 files of others so that nothing outside them is read."""

from __future__ import annotations

import glob
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..exceptions import CatalogError, FormatError

# Versions of the files that this package writes; docs/compatibility.md describes each.
PREDICTION_FORMAT = 1
"""Version of ``prediction.h5`` and of the cached predictions."""
CATALOG_FORMAT = 1
"""Version of ``protohalos.0.h5``; a file without a version has version 1."""
STORE_FORMAT = 1
"""Version of a folder of finished crops."""
CARD_FORMAT = 1
"""Version of ``card.json``."""
SEED_RUN_FORMAT = 1
"""Version of a run file whose linear field is drawn again from its seed."""
FIELD_RUN_FORMAT = 2
"""Version of a run file that holds its linear field."""

STALE_SECONDS = 24 * 3600.0
"""Age at which the temporary file of a killed process is removed; no write of one file takes a day."""
LARGEST_COMPRESSION = 1100
"""Largest ratio of an array's bytes in memory to those on disk; deflate reaches at most 1032."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Path of a temporary file beside `path`, renamed to it on success and removed on any error or interrupt."""
    path = Path(path)
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                old.unlink()
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_plain(path: Path) -> None:
    """Raise `CatalogError` for a path that yt would take for a pattern of several files."""
    if found := sorted(set("[]?!*") & set(str(path.absolute()))):
        raise CatalogError(
            f"{path.absolute()} contains {' and '.join(found)}, which yt takes for a pattern of files, so it could not "
            "open the catalogue; give a folder without []?!*"
        )


def check_writable(folder: Path) -> None:
    """Raise `CatalogError` unless files can be written in a folder that may not exist yet."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        # permissions do not show that a file system is read-only or full
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise CatalogError(
            f"cannot write in {folder}: {existing} is not a folder you may write to ({error.strerror}); give another"
        ) from error


def reserve_space(folder: Path, size: int) -> None:
    """Raise `OSError` unless the disk of a folder has room for `size` more bytes.

    HDF5 cannot close a file on a full disk and may end the process, so the space is taken for a moment before writing.
    """
    with tempfile.TemporaryFile(dir=folder) as ballast:
        # the parts of a file that are not arrays are smaller than 256 kB
        os.posix_fallocate(ballast.fileno(), 0, size + (1 << 18))


def format_remedy(found: object, known: int, otherwise: str) -> str:
    """End of a message about an unknown version of a file: the versions that are known, and the remedy.

    `otherwise` is the remedy if the version `found` is not newer than `known`, the newest that this package reads.
    """
    try:
        later = int(found) > known  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        later = False
    remedy = "a later yt_protohalos wrote it: install that version or a newer one" if later else otherwise
    return f"this version reads {known if known == 1 else f'1 to {known}'}; {remedy}"


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file to read, after checking that it holds everything that it names.

    Raises `FormatError` if a link or an array leads to another file, or the file is too damaged to check.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _check_self_contained(file, Path(path).name)
        yield file


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def write_checked(file: Any, name: str, array: NDArray[Any]) -> None:
    """Write a compressed HDF5 dataset with the checksum of its values, for `read_checked`."""
    dataset = file.create_dataset(name, data=array, compression="lzf", shuffle=True)
    dataset.attrs["crc32"] = _checksum(array)


def read_checked(file: Any, name: str) -> NDArray[Any]:
    """Read a dataset of `write_checked`; `FormatError` if its values are not those that were written.

    Files from before there were checksums have none, and are believed.
    """
    array: NDArray[Any] = file[name][()]
    known = file[name].attrs.get("crc32")
    if known is not None and int(known) != _checksum(array):
        raise FormatError(f"{name} was changed after it was written, its checksum differs")
    return array


def _check_self_contained(file: Any, name: str) -> None:
    import h5py

    def outer_link(link: bytes, info: Any) -> str | None:
        # a soft link stays in the file, unless it passes through an external link, which is visited too
        return None if info.type in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT) else link.decode(errors="replace")

    def missing_array(array: str, item: Any) -> str | None:
        if not isinstance(item, h5py.Dataset) or _is_stored(file, item):
            return None
        return f"{array} of {name} has {item.id.get_storage_size()} bytes for {item.shape} values"

    try:
        # the visits end with the first result that is not None
        link = file.id.links.visit(outer_link, info=True)
        array = None if link else file.visititems(missing_array)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(
            f"{name} cannot be read ({reason}); a whole HDF5 file is needed: it is damaged, copy or write it again"
        ) from error
    rule = "all must be written in the file itself"
    if link:
        raise FormatError(f"{link} of {name} is a link to another file; {rule}: copy there what it points to")
    if array:
        raise FormatError(f"{array}; {rule}: it is truncated, or points to other files, write it again")


def _is_stored(file: Any, dataset: Any) -> bool:
    """Return True if the bytes of a dataset were written, and into the open file itself."""
    stored = int(dataset.id.get_storage_size())
    size = dataset.id.get_space().get_simple_extent_npoints() * dataset.id.get_type().get_size()
    elsewhere = dataset.is_virtual or dataset.external or stored > file.id.get_filesize()
    return not elsewhere and size <= LARGEST_COMPRESSION * stored
