"""The objects that docs/api.md names, and the sections of their docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

API = Path(__file__).parents[2] / "docs" / "api.md"
DIRECTIVE = re.compile(r"^\.\. auto(\w+):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)
TITLE = re.compile(r"^(\w+)\n-+\n", re.MULTILINE)


def listed() -> dict[str, Any]:
    """Every object that docs/api.md names, by its dotted name."""
    found = {}
    for kind, target, options in DIRECTIVE.findall(API.read_text()):
        if kind != "module":
            home, _, name = target.rpartition(".")
            found[target] = getattr(importlib.import_module(home), name)
            continue
        module = importlib.import_module(target)
        members = re.search(r":members: ?(.*)", options)
        names = members[1].split(", ") if members and members[1] else _own_classes(module)
        found |= {f"{target}.{name}": getattr(module, name) for name in names}
    return found


def _own_classes(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isclass(value)]


LISTED = listed()


def sections(text: str) -> dict[str, str]:
    """Text of each section of a numpydoc docstring; the summary has the name ''."""
    parts = TITLE.split(inspect.cleandoc(text))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def own_methods(kind: type) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(kind).items() if name[0] != "_" and not isinstance(value, type)]
