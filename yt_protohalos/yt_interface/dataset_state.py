"""All that the package keeps for one yt dataset: one object, which is freed with the dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yt.data_objects.static_output import _cached_datasets

from ..exceptions import InitialConditionsError
from ..fields.linear_field import LinearField
from ..initial_conditions.readers.music import BoxFacts
from ..initial_conditions.site_assignment import SiteMap

if TYPE_CHECKING:
    from .predict import BoxPrediction

_STATE = "_protohalo_state"
_GRIDS = ("ic_*", "Particle*", "Grid*")
Fingerprint = dict[str, tuple[int, int, int]]
"""Inode, size in bytes and time of change in ns of each file, by its absolute path."""


@dataclass(eq=False)
class DatasetState:
    """Everything kept for a dataset. Nothing here refers to the dataset, so that both are freed together.

    `fingerprint` is that of its files when they were opened, and `given` what the user said of the box. `fields` holds
    linear fields at z = 0 by the particle type and cell field that `linear_field` takes, and `predictions` is by model,
    settings, redshift and cache folder; `current` is the one chosen last. `sites` is None until particles are read, and
    theirs is the type `lattice_type`. `companions` are the sites of other types, such as gas.
    """

    fingerprint: Fingerprint = field(default_factory=dict)
    given: BoxFacts = field(default_factory=BoxFacts)
    fields: dict[tuple[str | None, tuple[str, str] | None], LinearField] = field(default_factory=dict)
    sites: SiteMap | None = None
    lattice_type: str = ""
    companions: dict[str, SiteMap] = field(default_factory=dict)
    predictions: dict[Hashable, BoxPrediction] = field(default_factory=dict)
    current: BoxPrediction | None = None

    def add_given(self, given: BoxFacts) -> None:
        """Remember facts from the user, and drop everything that was derived without them."""
        self.given = given.or_else(self.given)
        self.fields.clear()
        self.predictions.clear()
        self.companions.clear()
        self.sites = self.current = None


def state_of(ds: Any) -> DatasetState:
    """The state of a dataset or of yt's proxy of one, made on first use.

    Raises `InitialConditionsError` for a path, which is not opened here because the file may need keywords.
    """
    if isinstance(ds, str | os.PathLike):
        raise InitialConditionsError(
            f"{os.fspath(ds)!r} is a path, not a dataset; open it first: ds = yt_protohalos.load({os.fspath(ds)!r})"
        )
    state: DatasetState | None = getattr(ds, _STATE, None)
    if state is None:
        state = DatasetState()
        setattr(ds, _STATE, state)
    return state


def file_fingerprint(path: Path) -> Fingerprint:
    """Fingerprint of a file, of all files of its set, or of the grids in a folder."""
    match = re.fullmatch(r"(.*\.)\d+(\.hdf5|\.h5)?", path.name)
    files = [path]
    if path.is_dir():
        # results that lie in the same folder do not count
        folders = [path, *path.glob("level_*")]
        files = [file for folder in folders for name in _GRIDS for file in folder.glob(name) if file.is_file()]
    elif match is not None:
        others = re.compile(rf"{re.escape(match[1])}\d+{re.escape(match[2] or '')}")
        files = [file for file in path.parent.iterdir() if others.fullmatch(file.name)]
    return {os.path.abspath(file): _signature(file) for file in files}


def _signature(path: str | Path) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def forget_changed(fingerprint: Fingerprint) -> None:
    """Remove datasets of these files from yt's cache if the files have changed since they were opened.

    `yt.load` would return such a dataset, and its fields would come in part from the old file and in part from the new.
    """
    for key, ds in list(_cached_datasets.items()):
        known = state_of(ds).fingerprint
        if known.keys() & fingerprint.keys() and known != fingerprint:
            _cached_datasets.pop(key, None)


def check_unchanged(ds: Any) -> None:
    """Raise `InitialConditionsError` if a file of the dataset has changed since it was opened; it may be deleted."""
    for name, known in state_of(ds).fingerprint.items():
        try:
            changed = _signature(name) != known
        except FileNotFoundError:
            continue
        if changed:
            raise InitialConditionsError(
                f"{Path(name).name} has changed on disk since it was opened, so old and new values would be mixed; "
                "open it again with yt_protohalos.load"
            )
