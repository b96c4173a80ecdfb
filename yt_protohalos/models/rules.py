"""Rules for the values of a model card, as JSON holds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..exceptions import ModelError


class Rule(NamedTuple):
    """A condition on one value, and its text for the error message: ``VALUE is not TEXT``."""

    text: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    # an integer beyond the range of float cannot be used
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def whole(least: int, most: int | None = None) -> Rule:
    """Rule for an integer in a closed range."""
    text = f"an integer from {least} to {most}" if most else f"an integer of {least} or more"
    return Rule(text, lambda value: type(value) is int and least <= value <= (most or value))


NUMBER = Rule("a finite number", _is_number)
POSITIVE = Rule("a positive number", lambda value: _is_number(value) and value > 0)
NOT_NEGATIVE = Rule("a number of 0 or more", lambda value: _is_number(value) and value >= 0)
FRACTION = Rule("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1)
SWITCH = Rule("true or false", lambda value: isinstance(value, bool))
NAME = Rule(
    "a line of 1 to 100 characters",
    lambda value: isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable(),
)


def check_keys(name: str, values: Any, keys: Collection[str], optional: Collection[str] = ()) -> None:
    """Raise `ModelError` unless a value is a JSON object with these keys, of which some are optional."""
    if not isinstance(values, dict):
        raise ModelError(f"{name} is {values!r}; it must be a JSON object")
    if unknown := sorted(set(values) - set(keys)):
        raise ModelError(f"{name} has unknown keys {', '.join(unknown)}; it may have {', '.join(keys)}")
    if missing := [key for key in keys if key not in values and key not in optional]:
        raise ModelError(f"{name} lacks {', '.join(missing)}; add them to the card")


def check(
    name: str, values: Mapping[str, Any], rules: Mapping[str, Rule], optional: Collection[str] = (),
    remedy: str = "correct the card",
) -> None:  # fmt: skip
    """Raise `ModelError` unless a JSON object has the keys of `rules` and every value keeps its rule."""
    check_keys(name, values, rules, optional)
    for key, value in values.items():
        if not rules[key].holds(value):
            raise ModelError(f"{name} {key} {value!r} is not {rules[key].text}; {remedy}")
