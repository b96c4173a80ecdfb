"""Model cards: everything that must be known about a trained pair of networks to use it.

A card is one JSON file beside its weight files. Reading one validates every value.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .._utils.files import CARD_FORMAT, format_remedy
from ..exceptions import CosmologyError, ModelError
from ..fields.cosmology import Cosmology
from .channels import sees_evolution
from .network_card import NetworkCard as NetworkCard
from .values import build, check_keys, is_number, is_plain_name

_TOLD = ("description", "training", "scores")
MERGING_KEYS = ("width_ratio", "distance")
CONTACT_KEY = "contact"
CALIBRATION_KEYS = ("slope", "intercept")
AMPLITUDE_KEYS = ("slope_by_amplitude", "intercept_by_amplitude")
_CLUSTERING_KEYS = ("n_dens", "n_ngb", "persistence")
WATERSHED_KEYS = ("foreground", "contour")
METHODS = ("clustering", "watershed")
"""Ways to instances: of an embedding (appendices B and D), and from contours (appendix A)."""
_SEPARATING_HEADS = {"instance": "clustering", "contour": "watershed"}
LARGEST_NEIGHBOURS = 10_000
"""Neighbours a point that a clustering may ask for."""


@dataclass(frozen=True)
class ModelCard:
    """A trained pair of networks and the range in which they may be trusted.

    Attributes
    ----------
    name : str
    version : int
    description : str
    spacing : float
        Lattice spacing of the training, Mpc/h.
    cosmology : Cosmology
        Cosmology of the training.
    halo_definition : dict
        ``{"finder": "FoF", "linking_length": 0.2, "min_sites": 155}``: what a halo was in the training labels.
    min_sites : int
        Smallest protohalo kept, sites of the model's lattice.
    semantic, instance : NetworkCard
        `instance` separates the haloes: it has the head ``"instance"``, or ``"contour"`` for the watershed. It may be
        None: such a model knows which sites are in haloes, not in which.
    beta : float
        Fraction of training sites outside haloes (paper, eq. 3).
    threshold : float
        Semantic threshold on the calibrated probability (paper, appendix C).
    calibration : dict
        ``{"slope": a, "intercept": b}``: logit(calibrated) = a logit(network output) + b. A model of several
        amplitudes may add ``slope_by_amplitude`` and ``intercept_by_amplitude``, see `calibration_at`.
    clustering : dict
        ``n_dens``, ``n_ngb``, ``persistence`` of `cluster_embedding` (paper, appendix B); ``width_ratio`` and
        ``distance`` of `merge_groups`, both or neither. Of a watershed instead ``foreground`` and ``contour``, the
        thresholds of `find_seeds`. For a model that sees the evolved field also ``contact`` of `join_in_contact`.
    core : int
        Largest side of the kept part of an instance crop, sites; of a semantic one too where `semantic_core` is None.
    amplitude_range : tuple of float
        Lowest and highest sigma_8 (times D(z), for other target redshifts) the model was trained on.
    training, scores : dict
        Runs, seeds, steps; scores on the held-out run.
    symmetries : int
        Symmetries of the cube over which the logit of the semantic network is averaged, 1 for none.
    semantic_core : int, optional
        Largest side of the kept part of a semantic crop: the larger, the fewer crops and the less context at faces.

    Examples
    --------
    >>> from yt_protohalos.models.registry import load_card
    >>> card, folder = load_card("planck-v4")
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "amplitude_range", tuple(self.amplitude_range))
        self._check_numbers()
        self._check_parts()

    def calibration_at(self, sigma_8: float) -> dict[str, float]:
        """Slope and intercept for a field of an amplitude: both linear in ln(sigma_8 / cosmology.sigma_8).

        Members are more frequent where the amplitude is higher, and a network that sees one crop cannot know it.
        Outside ``amplitude_range``, as at its nearer end.
        """
        low, high = self.amplitude_range
        change = float(np.log(np.clip(sigma_8, low, high) / self.cosmology.sigma_8))
        return {
            key: self.calibration[key] + change * self.calibration.get(f"{key}_by_amplitude", 0.0)
            for key in CALIBRATION_KEYS
        }

    @property
    def sees_amplitude(self) -> bool:
        """Whether the calibration depends on the amplitude of the field."""
        return AMPLITUDE_KEYS[0] in self.calibration

    def _check_numbers(self) -> None:
        if not is_plain_name(self.name):
            raise ModelError(f"name {self.name!r} is empty, over 100 characters or no line of text; name the model")
        for key, least in (("version", 1), ("min_sites", 1), ("core", 1), ("symmetries", 1), ("semantic_core", 1)):
            value = getattr(self, key)
            if key == "semantic_core" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ModelError(f"{key} {value!r} is not an integer of {least} or more; correct the card")
        if self.symmetries > 48:
            raise ModelError(f"symmetries {self.symmetries} are more than a cube has; use 1 to 48")
        if not is_number(self.spacing) or self.spacing <= 0:
            raise ModelError(f"spacing {self.spacing!r} is not a positive number; give it in Mpc/h")
        for key in ("beta", "threshold"):
            value = getattr(self, key)
            if not is_number(value) or not 0 < value < 1:
                raise ModelError(f"{key} {value!r} is not between 0 and 1; correct the card")
        bounds = self.amplitude_range
        if len(bounds) != 2 or not all(is_number(b) for b in bounds) or not 0 < bounds[0] <= bounds[1]:
            raise ModelError(f"amplitude_range {bounds} is not [low, high] with 0 < low <= high; correct the card")

    def _check_parts(self) -> None:
        by_amplitude = AMPLITUDE_KEYS if any(key in self.calibration for key in AMPLITUDE_KEYS) else ()
        check_keys("calibration", self.calibration, (*CALIBRATION_KEYS, *by_amplitude))
        for sigma_8 in self.amplitude_range:
            slope = self.calibration_at(sigma_8)["slope"]
            if slope <= 0:
                raise ModelError(
                    f"calibration slope {slope} at sigma_8 = {sigma_8:g} reverses the order; it must be positive"
                )
        for key in ("finder", "linking_length", "min_sites"):
            if key not in self.halo_definition:
                raise ModelError(f"halo_definition lacks {key}; say what a halo is in the training labels")
        for role, network in self.networks:
            head = network.architecture["head"]
            if head != role and not (role == "instance" and head in _SEPARATING_HEADS):
                raise ModelError(f"the {role} network has head {head!r}; it must be {role!r}")
            if self.core_of(role) > network.output_side:
                raise ModelError(
                    f"core {self.core_of(role)} exceeds the output side {network.output_side} of the {role} network; "
                    f"use {network.output_side} or less"
                )
        self._check_separation()

    def _check_separation(self) -> None:
        merging = MERGING_KEYS if any(key in self.clustering for key in MERGING_KEYS) else ()
        contact = (CONTACT_KEY,) if CONTACT_KEY in self.clustering else ()
        keys = WATERSHED_KEYS if self.method == "watershed" else (*_CLUSTERING_KEYS, *merging)
        check_keys("clustering", self.clustering, (*keys, *contact))
        if contact and not self.sees_evolution:
            raise ModelError(
                f"clustering has {CONTACT_KEY}, which needs the evolved field, and no network sees it; leave it out"
            )
        if self.method == "watershed":
            if not all(0 < self.clustering[key] < 1 for key in WATERSHED_KEYS) or min(self.clustering.values()) < 0:
                raise ModelError(f"clustering {self.clustering} has thresholds not between 0 and 1; correct the card")
            return
        if min(self.clustering[key] for key in _CLUSTERING_KEYS) <= 0 or min(self.clustering.values()) < 0:
            raise ModelError(f"clustering {self.clustering} has values that are not positive; correct the card")
        if max(self.clustering[key] for key in _CLUSTERING_KEYS[:2]) > LARGEST_NEIGHBOURS:
            raise ModelError(
                f"clustering asks for more than {LARGEST_NEIGHBOURS} neighbours in {self.clustering}; correct the card"
            )

    @property
    def method(self) -> str:
        """How haloes are separated, one of `METHODS`; ``"clustering"`` for a model that separates none."""
        return "clustering" if self.instance is None else _SEPARATING_HEADS[self.instance.architecture["head"]]

    @property
    def networks(self) -> tuple[tuple[str, NetworkCard], ...]:
        """Role and card of each network there is."""
        return (("semantic", self.semantic), *((("instance", self.instance),) if self.instance is not None else ()))

    def instance_network(self) -> NetworkCard:
        """The instance network.

        Raises
        ------
        ModelError
            The model has none.
        """
        if self.instance is None:
            raise ModelError(
                f"model {self.name!r} has a semantic network alone and separates no haloes; use "
                "ProtohaloPredictor.probability with it, or another model"
            )
        return self.instance

    @property
    def sees_evolution(self) -> bool:
        """Whether either network has channels of the evolved field."""
        return any(sees_evolution(network.channels) for _, network in self.networks)

    def core_of(self, role: str) -> int:
        """Largest side of the kept part of a crop of the semantic or the instance network."""
        return self.semantic_core if role == "semantic" and self.semantic_core is not None else self.core

    @property
    def sha256(self) -> str:
        """Identity of the model, SHA-256 of all that its predictions depend on, the weight files' hashes among it.

        What the card tells of training and scores may grow without making stored predictions another model's.
        """
        decisive = {name: value for name, value in self._values().items() if name not in _TOLD}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def _values(self) -> dict[str, Any]:
        """The card as nested dicts; without the key ``model`` for weights beside the card, as before there were others.

        So the identity of such models, and with it every stored prediction, stays what it was.
        """
        values = asdict(self)
        for role, network in self.networks:
            if not network.model:
                del values[role]["model"]
        return values

    def to_json(self) -> str:
        """The card as JSON text, keys in a fixed order."""
        return json.dumps({"format": CARD_FORMAT, **self._values()}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read and validate a card.

        Raises
        ------
        ModelError
            Naming the field, the rule and the remedy.
        """
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
        values["semantic"] = build(NetworkCard, "semantic", values.get("semantic"))
        if values.get("instance") is not None or "instance" not in values:
            values["instance"] = build(NetworkCard, "instance", values.get("instance"))
        try:
            values["cosmology"] = build(Cosmology, "cosmology", values.get("cosmology"))
        except CosmologyError as error:
            raise ModelError(f"model card cosmology: {error}") from error
        return build(cls, "model card", values)
