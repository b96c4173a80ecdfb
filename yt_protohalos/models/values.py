"""Values of a model card, as JSON holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..exceptions import ModelError, ProtohaloError


def build(kind: type, name: str, values: Any) -> Any:
    """A dataclass from the values of a JSON object; `ModelError` names what is unknown, missing or wrong."""
    if not isinstance(values, dict):
        raise ModelError(f"{name} is {values!r}; it must be a JSON object")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ModelError(f"{name} has unknown keys {', '.join(unknown)}; it may have {', '.join(known)}")
    try:
        return kind(**values)
    except ProtohaloError:
        raise
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"{name} is incomplete or of wrong types ({error}); complete the card") from error


def check_keys(name: str, values: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Refuse a table of numbers that has other keys than these."""
    if set(values) != set(keys):
        raise ModelError(f"{name} has {sorted(values)}; it needs exactly {', '.join(keys)}")
    for key in keys:
        if not is_number(values[key]):
            raise ModelError(f"{name} {key} is {values[key]!r}; give a finite number")


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    # whole numbers beyond the reach of float are none that a card can mean
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_plain_name(value: Any) -> bool:
    """Whether a JSON value is a short line of text."""
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()
