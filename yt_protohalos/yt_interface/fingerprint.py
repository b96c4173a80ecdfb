"""Whether the files of a dataset are still those that it was opened from.

yt gives back a dataset that it still has for the path, and reads fields when they are asked for: of a file that was
replaced meanwhile, half would be old and half new.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from yt.data_objects.static_output import _cached_datasets

from ..exceptions import InitialConditionsError

_GRIDS = ("ic_*", "Particle*", "Grid*")
_FINGERPRINT = "_protohalo_fingerprint"
Fingerprint = dict[str, tuple[int, int, int]]


def file_fingerprint(path: Path) -> Fingerprint:
    """Inode, size and time of change (ns) of a file, of all files of its set, or of the grids of a folder."""
    match = re.fullmatch(r"(.*\.)\d+(\.hdf5|\.h5)?", path.name)
    files = [path]
    if path.is_dir():
        # not whatever else lies there, such as results
        folders = [path, *path.glob("level_*")]
        files = [file for folder in folders for name in _GRIDS for file in folder.glob(name) if file.is_file()]
    elif match is not None:
        others = re.compile(rf"{re.escape(match[1])}\d+{re.escape(match[2] or '')}")
        files = [file for file in path.parent.iterdir() if others.fullmatch(file.name)]
    found: Fingerprint = {}
    for file in files:
        status = file.stat()
        found[os.path.abspath(file)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def set_fingerprint(ds: Any, fingerprint: Fingerprint) -> None:
    """Remember what a dataset was opened from."""
    setattr(ds, _FINGERPRINT, fingerprint)


def forget_changed(fingerprint: Fingerprint) -> None:
    """Make yt forget the datasets of these files that were opened when the files were others."""
    for key, ds in list(_cached_datasets.items()):
        known = getattr(ds, _FINGERPRINT, None)
        if known is not None and known.keys() & fingerprint.keys() and known != fingerprint:
            _cached_datasets.pop(key, None)


def check_unchanged(ds: Any) -> None:
    """Raise `InitialConditionsError` where a file of a dataset is another than when it was opened; it may be gone."""
    for name, known in getattr(ds, _FINGERPRINT, {}).items():
        try:
            status = os.stat(name)
        except FileNotFoundError:
            continue
        if (status.st_ino, status.st_size, status.st_mtime_ns) != known:
            raise InitialConditionsError(
                f"{Path(name).name} has changed on disk since it was opened, and would be read half old and half new; "
                "open it again with yt_protohalos.load"
            )
