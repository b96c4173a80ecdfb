"""Versions of the files that this package writes; `docs/compatibility.md` says what each stands for."""

from __future__ import annotations

PREDICTION_FORMAT = 1
"""Of ``prediction.h5``, and of what the cache keeps."""
CATALOG_FORMAT = 1
"""Of ``protohalos.0.h5``; files from before it was written are of version 1."""
STORE_FORMAT = 1
"""Of a folder of finished crops."""
CARD_FORMAT = 1
"""Of ``card.json``."""
SEED_RUN_FORMAT = 1
"""Of a run file whose linear field is drawn again from its seed."""
FIELD_RUN_FORMAT = 2
"""Of a run file that holds its linear field."""


def unknown_format(found: object, known: int, otherwise: str) -> str:
    """How a message about an unknown version of a file ends: what is known, and the remedy.

    Parameters
    ----------
    found : object
        Version that the file states.
    known : int
        Newest version that this package reads.
    otherwise : str
        Remedy where a newer package would not help.
    """
    try:
        later = int(found) > known  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        later = False
    remedy = "a later yt_protohalos wrote it: install that version or a newer one" if later else otherwise
    return f"this version reads {known if known == 1 else f'1 to {known}'}; {remedy}"
