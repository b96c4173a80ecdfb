"""Base of all cards, which state how a prediction was made, by a trained model or by another method."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from html import escape
from textwrap import shorten
from typing import Any

from .._utils.files import CARD_FORMAT
from .._utils.progress import Progress
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.linear_field import LinearField

_NOT_DECISIVE = ("description", "training", "scores")
"""Values that may change while stored predictions stay valid."""


class Card(ABC):
    """Properties of a method that results, catalogues and pages read. Subclasses are frozen dataclasses.

    name, version, description : of the model or method
    min_sites : smallest protohalo kept, sites
    threshold : members have a larger probability
    gives_probability : False if the probability of a site is that of a mask, 0 or 1
    probability_name : the same in a few words, for pictures
    probability_definition : what the probability of a site is
    """

    name: str
    version: int
    description: str
    min_sites: int
    threshold: float
    gives_probability = True
    probability_name = "membership probability"
    probability_definition = "calibrated probability of the sites to end in a halo"

    @property
    @abstractmethod
    def method(self) -> str:
        """Name of the method that separates haloes, as the option ``method`` takes it."""

    @property
    @abstractmethod
    def sees_evolution(self) -> bool:
        """True if the prediction depends on the evolved field."""

    @property
    def separates_members(self) -> bool:
        """True if a protohalo consists of members, so that the threshold decides about protohaloes too."""
        return True

    @abstractmethod
    def check_separation(self) -> None:
        """Raise `ModelError` if the method gives no separate haloes."""

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """The card as nested JSON values."""

    @abstractmethod
    def facts(self) -> Iterator[tuple[str, str]]:
        """Title and text of each property that a user compares methods by."""

    def evolve(self, field: LinearField, progress: Progress = False) -> EvolvedField:
        """Evolved field from which a prediction of a field is made, and positions and velocities of its catalogue."""
        return evolve_field(field, progress)

    @property
    def sha256(self) -> str:
        """Identity of the method: SHA-256 of all that its predictions depend on, with the hashes of weight files."""
        decisive = {name: value for name, value in self.values().items() if name not in _NOT_DECISIVE}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The card as JSON text, keys in a fixed order."""
        return json.dumps({"format": CARD_FORMAT, **self.values()}, indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        head = shorten(f"{type(self).__name__} {self.name!r}: {self.description}", 118)
        return "\n  ".join([head, *(f"{title:18s}{text}" for title, text in [*self.facts()][:5])])

    def _repr_html_(self) -> str:
        """Table for notebooks."""
        rows = [("model", f"{self.name}, version {self.version}"), ("purpose", self.description), *self.facts()]
        cells = (f"<tr><th>{escape(title)}</th><td>{escape(text)}</td></tr>" for title, text in rows)
        return f"<table>{''.join(cells)}</table>"
