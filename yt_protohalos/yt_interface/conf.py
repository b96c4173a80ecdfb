"""Facts that a file of initial conditions does not state, from the .conf of MUSIC or monofonIC beside it."""

from __future__ import annotations

import os
from pathlib import Path

from yt.utilities.logger import ytLogger

from ..initial_conditions.readers.music import BoxFacts, find_conf, read_conf


def with_conf(given: BoxFacts, path: Path, conf: str | os.PathLike[str] | None) -> BoxFacts:
    """The given facts, with the gaps filled from `conf`, or from the .conf that belongs to the file."""
    found = find_conf(path) if conf is None else Path(os.fspath(conf))
    if found is None:
        return given
    ytLogger.info("Reading what the file does not state from %s.", found.name)
    return given.or_else(read_conf(found))
