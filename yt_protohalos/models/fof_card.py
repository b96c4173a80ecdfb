"""Card of friends of friends in the final positions of the sites, a method without any model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .._utils.files import CARD_FORMAT, format_remedy
from .._utils.progress import Progress
from ..exceptions import ClusteringError, EvolutionError, ModelError
from ..fields.evolution import EvolvedField
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import FAST, PLANS, MeshPlan, evolve_on_mesh
from . import rules
from .base_card import Card
from .card import ModelCard

FOF = "fof"
"""Name of the method."""
LINKING_LENGTH = 0.25
"""In sites; longer than the 0.2 of haloes in simulations, because a mesh blurs haloes."""
MIN_SITES = 155
"""The paper's smallest halo, 10^11 Msun/h on its lattice."""

_PLAN = {
    "cells_per_site": rules.whole(1),
    "steps": rules.whole(1),
    "start": rules.NOT_NEGATIVE,
    "shortening": rules.POSITIVE,
    "cut": rules.POSITIVE,
    "sharpening": rules.whole(0),
    "late_start": rules.NOT_NEGATIVE,
    "late_cut": rules.POSITIVE,
    "late_sharpening": rules.whole(0),
}
_VALUES = {"linking_length": rules.POSITIVE, "min_sites": rules.whole(1), "version": rules.whole(1)}


def evolution_plan(evolution: str | MeshPlan) -> MeshPlan:
    """Return the plan of a name; `ModelError` if there is none of that name."""
    if isinstance(evolution, MeshPlan):
        return evolution
    if evolution not in PLANS:
        raise ModelError(f"evolution {evolution!r} is unknown; use one of {', '.join(PLANS)}, or a MeshPlan")
    return PLANS[evolution]


@dataclass(frozen=True, repr=False)
class FriendsOfFriendsCard(Card):
    """Everything on which the groups of friends of friends in final positions depend, beside the field.

    Attributes
    ----------
    plan : MeshPlan
        Mesh, steps and force filter of the evolution.
    linking_length : float
        Sites closer to each other than this are friends, in sites.
    min_sites : int
        Smallest protohalo kept, sites.
    version : int
        Version of the method.

    Raises
    ------
    ModelError
        A value is not valid; the message names the key, the value and the rule.

    Examples
    --------
    >>> from yt_protohalos.models.fof_card import FriendsOfFriendsCard
    >>> card = FriendsOfFriendsCard(linking_length=0.25)
    >>> card.method
    'fof'
    >>> type(card).from_json(card.to_json()) == card
    True
    """

    plan: MeshPlan = FAST
    linking_length: float = LINKING_LENGTH
    min_sites: int = MIN_SITES
    version: int = 1

    # the same for every card
    name = FOF
    threshold = 0.5
    sees_evolution = True
    gives_probability = False
    probability_name = "mask of protohaloes"
    separates_members = False
    method = FOF
    description = "friends of friends in the final positions of the sites; no model, any lattice and any cosmology"
    probability_definition = "mask of the sites in groups, 1 in all of them; this method gives no probability"

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in _VALUES}
        rules.check("friends of friends", values, _VALUES, remedy="give another")
        rules.check("evolution", asdict(self.plan), _PLAN, remedy="give another")

    @property
    def halo_definition(self) -> dict[str, Any]:
        """Definition of a protohalo, with the keys of that of a `ModelCard`; the linking length is in sites."""
        return {"finder": "FoF", "linking_length": self.linking_length, "min_sites": self.min_sites}

    @property
    def evolution(self) -> str:
        """Name of the plan, or its values if it has no name."""
        names = [name for name, plan in PLANS.items() if plan == self.plan]
        return names[0] if names else ", ".join(f"{name} {value}" for name, value in asdict(self.plan).items())

    def check_separation(self) -> None:
        """Groups are always separate."""

    def check_field(self, field: LinearField, side: int) -> None:
        """Check that a field can be evolved on a lattice of `side` sites per side, and its sites linked.

        Raises
        ------
        ClusteringError
            The linking length is more than a third of the box.
        ExperimentError
            The field has a perturbation that is not periodic.
        """
        if self.linking_length > side / 3:
            raise ClusteringError(
                f"linking length {self.linking_length:g} is more than a third of the {side} sites per side; use "
                f"{LINKING_LENGTH}"
            )
        field.periodic_delta()

    def evolve(self, field: LinearField, progress: Progress = False) -> EvolvedField:
        """Final positions and velocities of the sites, without densities."""
        return evolve_on_mesh(field, self.plan, progress)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Title and text of each property that a user compares methods by."""
        yield "method", self.method
        yield "evolution", self.evolution
        yield "linking length", f"{self.linking_length:g} sites"
        yield "smallest halo", f"{self.min_sites} sites"
        yield "probability", self.probability_definition

    def values(self) -> dict[str, Any]:
        """The card as nested JSON values; ``method`` tells it from that of a model."""
        fixed = {"name": self.name, "method": self.method, "description": self.description}
        return {**fixed, **asdict(self), "halo_definition": self.halo_definition}

    @classmethod
    def from_json(cls, text: str) -> FriendsOfFriendsCard:
        """Read and check a card; raises `ModelError` if the text is not a valid one."""
        values = json.loads(text)
        version = values.get("format")
        if version != CARD_FORMAT:
            raise ModelError(
                f"card format {version!r} is unknown, {format_remedy(version, CARD_FORMAT, 'restore the file')}"
            )
        rules.check_keys("card", values, ["format", *cls().values()])
        rules.check("plan", values["plan"], _PLAN)
        try:
            plan = MeshPlan(**values["plan"])
        except EvolutionError as error:
            raise ModelError(f"card plan: {error}") from error
        return cls(plan, values["linking_length"], values["min_sites"], values["version"])


def card_from_json(text: str) -> Card:
    """Read the card of a model, or that of a method without one; `ModelError` if the text is not valid."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None  # a model card says what is wrong
    kind = FriendsOfFriendsCard if isinstance(values, dict) and values.get("method") == FOF else ModelCard
    return kind.from_json(text)
