"""Model cards: everything that must be known about a trained pair of networks to use it, in a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from .._utils.files import CARD_FORMAT, format_remedy
from .._utils.progress import Progress
from ..exceptions import CosmologyError, ModelError, ProtohaloError
from ..fields.cosmology import Cosmology
from ..fields.evolution import EvolvedField
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import COARSE, PLANS, evolve_on_mesh
from . import rules
from .base_card import Card
from .channels import sees_evolution
from .field_range import FieldRange
from .network_card import NetworkCard as NetworkCard

MERGING_KEYS = ("width_ratio", "distance")
CONTACT_KEY = "contact"
CALIBRATION_KEYS = ("slope", "intercept")
AMPLITUDE_KEYS = ("slope_by_amplitude", "intercept_by_amplitude")
METHODS = {"instance": "pseudo-space", "contour": "watershed", "positions": "positions"}
"""Separation of haloes by the network's head: from an embedding (paper, appendices B, D), from contours (A), or from
predicted final positions."""

_NEIGHBOURS = rules.Rule("a number from 1 to 10000", lambda value: rules.NUMBER.holds(value) and 1 <= value <= 10_000)
_SEPARATION = {
    "pseudo-space": {"n_dens": _NEIGHBOURS, "n_ngb": _NEIGHBOURS, "persistence": rules.POSITIVE},
    "watershed": {"foreground": rules.FRACTION, "contour": rules.FRACTION},
    "positions": {
        "in_group": rules.FRACTION,
        "member": rules.FRACTION,
        "linking_length": rules.POSITIVE,
        "core_length": rules.POSITIVE,
        "min_core": rules.whole(1),
    },
}
_VALUES = {
    "name": rules.NAME,
    "version": rules.whole(1),
    "spacing": rules.POSITIVE,
    "min_sites": rules.whole(1),
    "beta": rules.FRACTION,
    "threshold": rules.FRACTION,
    "core": rules.whole(1),
    "symmetries": rules.whole(1, 48),
    "semantic_core": rules.whole(1),
}


@dataclass(frozen=True, repr=False)
class ModelCard(Card):
    """The trained networks of a model and the range of fields it is valid for; every value is checked.

    Attributes
    ----------
    name : str
    version : int
    description : str
    spacing : float
        Lattice spacing of the training, comoving Mpc/h.
    cosmology : Cosmology
        Cosmology of the training.
    halo_definition : dict
        ``{"finder": "FoF", "linking_length": 0.2, "min_sites": 155}``: definition of a halo in the training labels.
    min_sites : int
        Smallest protohalo kept, sites of the model's lattice.
    semantic, instance : NetworkCard
        `semantic` gives the membership; with the head ``"positions"`` it gives final positions too and separates the
        haloes, alone. Otherwise `instance` separates them, by its head ``"instance"`` or, for the watershed,
        ``"contour"``. Without it (None) a model predicts membership alone.
    beta : float
        Fraction of training sites outside haloes (paper, eq. 3).
    threshold : float
        Semantic threshold on the calibrated probability (paper, appendix C).
    calibration : dict
        ``{"slope": a, "intercept": b}``: logit(calibrated) = a logit(network output) + b. A model of several
        amplitudes may add ``slope_by_amplitude`` and ``intercept_by_amplitude``, see `calibration_at`.
    clustering : dict
        ``n_dens``, ``n_ngb``, ``persistence`` of `cluster_embedding` (paper, appendix B); ``width_ratio`` and
        ``distance`` of `merge_groups`, both or neither. For a watershed instead ``foreground`` and ``contour``, the
        thresholds of `find_seeds`. For final positions ``in_group`` and ``member``, the thresholds of candidates and
        of members, and ``linking_length``, ``core_length``, ``min_core`` of `group_positions`. For a model that sees
        the coarse evolution also ``contact`` of `join_in_contact`.
    core : int
        Largest side of the kept part of an instance crop, sites; of a semantic one too if `semantic_core` is None.
    amplitude_range : tuple of float
        Lowest and highest sigma_8 (times D(z), for other target redshifts) of the training.
    training, scores : dict
        Runs, seeds, steps; scores on the held-out runs.
    symmetries : int
        Symmetries of the cube over which the logit of the semantic network is averaged, 1 for none.
    semantic_core : int, optional
        Largest side of the kept part of a semantic crop: the larger, the fewer crops and the less context at faces.
    evolution : str
        Evolution that the networks see: ``"coarse"`` is `evolve_field`, others are `particle_mesh.PLANS`.
    field_range : FieldRange, optional
        Of a model of several lattice spacings: the fields that it is valid for, each on its own lattice. `spacing`,
        `cosmology` and `amplitude_range` are then those of the training runs, and decide about nothing.

    Raises
    ------
    ModelError
        A value is not valid; the message names the key, the value and the rule.

    Examples
    --------
    >>> from yt_protohalos.models.registry import load_card
    >>> card, folder = load_card("planck-v5")
    >>> type(card).from_json(card.to_json()) == card
    True
    """

    name: str
    version: int
    description: str
    spacing: float
    cosmology: Cosmology
    halo_definition: dict[str, Any]
    min_sites: int
    semantic: NetworkCard
    instance: NetworkCard | None
    beta: float
    threshold: float
    calibration: dict[str, float]
    clustering: dict[str, float]
    core: int
    amplitude_range: tuple[float, float]
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    symmetries: int = 1
    semantic_core: int | None = None
    evolution: str = COARSE
    field_range: FieldRange | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "amplitude_range", tuple(self.amplitude_range))
        given = {key: getattr(self, key) for key in _VALUES if getattr(self, key) is not None}
        rules.check("model", given, _VALUES, optional=("semantic_core",))
        bounds: tuple[float, ...] = self.amplitude_range
        if len(bounds) != 2 or not all(map(rules.NUMBER.holds, bounds)) or not 0 < bounds[0] <= bounds[1]:
            raise ModelError(f"amplitude_range {bounds} is not [low, high] with 0 < low <= high; correct the card")
        for key in ("finder", "linking_length", "min_sites"):
            if key not in self.halo_definition:
                raise ModelError(f"halo_definition lacks {key}; define the haloes of the training labels")
        if self.field_range is not None and not self.predicts_positions:
            raise ModelError("field_range is of a position network, which reads nothing in Mpc/h; leave it out")
        self._check_calibration()
        self._check_networks()
        self._check_separation()

    def _check_calibration(self) -> None:
        by_amplitude = AMPLITUDE_KEYS if {*AMPLITUDE_KEYS} & {*self.calibration} else ()
        rules.check("calibration", self.calibration, dict.fromkeys((*CALIBRATION_KEYS, *by_amplitude), rules.NUMBER))
        for sigma_8 in self.amplitude_range:
            slope = self.calibration_at(sigma_8)["slope"]
            if slope <= 0:
                raise ModelError(
                    f"calibration slope {slope} at sigma_8 = {sigma_8:g} reverses the order; it must be positive"
                )

    def _check_networks(self) -> None:
        for role, network in self.networks:
            head = network.architecture["head"]
            if head not in (("semantic", "positions") if role == "semantic" else ("instance", "contour")):
                raise ModelError(f"the {role} network has head {head!r}; it must be {role!r}")
            if self.core_of(role) > network.output_side:
                raise ModelError(
                    f"core {self.core_of(role)} exceeds the output side {network.output_side} of the {role} network; "
                    f"use {network.output_side} or less"
                )
        if self.predicts_positions and self.instance is not None:
            raise ModelError("a position network separates haloes by itself; leave out the instance network")
        if self.predicts_positions and self.symmetries > 1:
            raise ModelError(
                f"symmetries {self.symmetries} are not for a position network, whose vectors would have to turn; use 1"
            )
        if (self.evolution in PLANS) != self.predicts_positions or self.evolution not in (COARSE, *PLANS):
            raise ModelError(
                f"evolution {self.evolution!r} is not for these networks; a position network sees one of "
                f"{', '.join(PLANS)}, all others {COARSE}"
            )

    def _check_separation(self) -> None:
        keys = dict(_SEPARATION[self.method])
        if self.method == "pseudo-space" and {*MERGING_KEYS} & {*self.clustering}:
            keys |= dict.fromkeys(MERGING_KEYS, rules.NOT_NEGATIVE)
        rules.check("clustering", self.clustering, keys | {CONTACT_KEY: rules.NOT_NEGATIVE}, (CONTACT_KEY,))
        if CONTACT_KEY in self.clustering and not self.sees_evolution:
            raise ModelError(
                f"clustering has {CONTACT_KEY}, which needs the evolved field, and no network sees it; leave it out"
            )

    def evolve(self, field: LinearField, progress: Progress = False) -> EvolvedField:
        """Evolved field that the networks see; of a mesh plan, positions and velocities alone."""
        if self.evolution == COARSE:
            return super().evolve(field, progress)
        return evolve_on_mesh(field, PLANS[self.evolution], progress)

    def calibration_at(self, sigma_8: float) -> dict[str, float]:
        """Slope and intercept for a field of an amplitude: both linear in ln(sigma_8 / cosmology.sigma_8).

        A network cannot measure the amplitude from one crop. Outside ``amplitude_range`` the nearer end is used.
        """
        change = float(np.log(np.clip(sigma_8, *self.amplitude_range) / self.cosmology.sigma_8))
        return {
            key: self.calibration[key] + change * self.calibration.get(f"{key}_by_amplitude", 0.0)
            for key in CALIBRATION_KEYS
        }

    @property
    def sees_amplitude(self) -> bool:
        """True if the calibration depends on the amplitude of the field."""
        return AMPLITUDE_KEYS[0] in self.calibration

    @property
    def method(self) -> str:
        """Separation of haloes, a value of `METHODS`; ``"pseudo-space"`` for a model that separates none."""
        if self.predicts_positions:
            return METHODS["positions"]
        return METHODS["instance" if self.instance is None else self.instance.architecture["head"]]

    @property
    def predicts_positions(self) -> bool:
        """True if one network predicts membership and final positions."""
        return bool(self.semantic.architecture["head"] == "positions")

    @property
    def separates_members(self) -> bool:
        """False for a position network, whose protohaloes are groups of final positions."""
        return not self.predicts_positions

    @property
    def separates_haloes(self) -> bool:
        """False for a model of membership alone."""
        return self.predicts_positions or self.instance is not None

    @property
    def networks(self) -> tuple[tuple[str, NetworkCard], ...]:
        """Role and card of each network of the model."""
        return (("semantic", self.semantic), *((("instance", self.instance),) if self.instance is not None else ()))

    def check_separation(self) -> None:
        """Raise `ModelError` if the model predicts membership alone."""
        if not self.predicts_positions:
            self.instance_network()

    def instance_network(self) -> NetworkCard:
        """The instance network; raises `ModelError` if the model has none."""
        if self.instance is None:
            raise ModelError(
                f"model {self.name!r} has a semantic network alone and separates no haloes; use "
                "ProtohaloPredictor.probability with it, or another model"
            )
        return self.instance

    @property
    def sees_evolution(self) -> bool:
        """True if either network has channels of the evolved field."""
        return sees_evolution(self.channels)

    @property
    def channels(self) -> set[str]:
        """Channels of all networks."""
        return {name for _, network in self.networks for name in network.channels}

    def core_of(self, role: str) -> int:
        """Largest side of the kept part of a crop of the semantic or the instance network, sites."""
        return self.semantic_core if role == "semantic" and self.semantic_core is not None else self.core

    def values(self) -> dict[str, Any]:
        """The card as nested dicts; an empty ``model``, the coarse evolution and no range are left out."""
        values = asdict(self)
        for role, network in self.networks:
            if not network.model:
                del values[role]["model"]
        if self.evolution == COARSE:
            del values["evolution"]
        if self.field_range is None:
            del values["field_range"]
        return values

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read and check a card; raises `ModelError` if the text is not a valid one."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model card is not JSON ({error}); restore the file") from error
        if not isinstance(values, dict):
            raise ModelError(f"model card holds a {type(values).__name__}; it must be a JSON object")
        version = values.pop("format", None)
        if version != CARD_FORMAT:
            raise ModelError(
                f"model card format {version!r} is unknown, {format_remedy(version, CARD_FORMAT, 'restore the file')}"
            )
        kinds = {
            "semantic": NetworkCard, "instance": NetworkCard, "cosmology": Cosmology, "field_range": FieldRange,
        }  # fmt: skip
        for key, kind in kinds.items():
            # a card may say that it has no instance network, and says nothing of a range that it has not
            if (key != "instance" or values.get(key, "") is not None) and (key != "field_range" or key in values):
                values[key] = _build(kind, key, values.get(key))
        card: ModelCard = _build(cls, "model card", values)
        return card

    def facts(self) -> Iterator[tuple[str, str]]:
        """Title and text of each property that a user compares models by; the scores have one line per run."""
        known, (low, high) = self.cosmology, self.amplitude_range
        amplitudes = f"trained for sigma_8 from {low:g} to {high:g}"
        smallest = self.min_sites * known.site_mass_msun_h(self.spacing)
        if self.field_range is None:
            yield "lattice spacing", f"{self.spacing:.5g} Mpc/h"
            yield "cosmology", f"h = {known.h}, Omega_m = {known.omega_m}, n_s = {known.n_s}; {amplitudes}"
            yield "smallest halo", f"{self.min_sites} sites, {smallest:.3g} Msun/h"
        else:
            yield "lattice spacing", "any; trained at {:.3g} to {:.3g} Mpc/h".format(*self.field_range.spacing)
            yield "rms of delta", "{:.3g} to {:.3g}".format(*self.field_range.rms)
            yield "correlation of neighbouring sites", "{:.2g} to {:.2g}".format(*self.field_range.correlation)
            yield "smallest halo", f"{self.min_sites} sites"
        yield "method", self.method if self.separates_haloes else "none: membership alone"
        for run, scores in self.scores.items():
            if isinstance(scores, dict):
                scores = ", ".join(f"{key} {scores[key]}" for key in ("ACC", "F1") if key in scores)
            yield "scores", f"{run}: {scores}"


def _build(kind: type, name: str, values: Any) -> Any:
    """Make a dataclass from a JSON object; `ModelError` names the keys that are unknown, missing or wrong."""
    keys = [one.name for one in fields(kind)]
    rules.check_keys(name, values, keys, optional=keys)
    try:
        return kind(**values)
    except CosmologyError as error:
        raise ModelError(f"model card cosmology: {error}") from error
    except ProtohaloError:
        raise
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"{name} is incomplete or of wrong types ({error}); complete the card") from error
