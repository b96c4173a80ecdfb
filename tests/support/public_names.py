"""The objects that docs/api.md names, and the sections of their docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

API = Path(__file__).parents[2] / "docs" / "api.md"
ENTRY = re.compile(r"^   ~(yt_protohalos\.[\w.]+)$", re.MULTILINE)
TITLE = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)


def listed() -> dict[str, Any]:
    """Every object that docs/api.md names, by its dotted name."""
    found = {}
    for target in ENTRY.findall(API.read_text()):
        home, _, name = target.rpartition(".")
        found[target] = getattr(importlib.import_module(home), name)
    return found


LISTED = listed()


def sections(text: str) -> dict[str, str]:
    """Text of each section of a numpydoc docstring; the summary has the name ''."""
    parts = TITLE.split(inspect.cleandoc(text))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def own_methods(kind: type) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(kind).items() if name[0] != "_" and not isinstance(value, type)]
