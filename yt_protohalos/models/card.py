"""Model cards: everything that must be known about a trained pair of networks to use it.

A card is one JSON file beside its weight files. Reading one validates every value.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..cosmology import Cosmology
from ..exceptions import CosmologyError, ModelError
from ..networks.channels import EVOLVED_POSITION, FIELD_CHANNELS, LAGRANGIAN_POSITION, check_channels, sees_evolution
from ..versions import CARD_FORMAT, unknown_format
from .values import build, check_keys, is_number, is_plain_name

_TOLD = ("description", "training", "scores")
PHI_GAUGE = "crop mean and gradient removed"
MERGING_KEYS = ("width_ratio", "distance")
CONTACT_KEY = "contact"
CALIBRATION_KEYS = ("slope", "intercept")
AMPLITUDE_KEYS = ("slope_by_amplitude", "intercept_by_amplitude")
_CLUSTERING_KEYS = ("n_dens", "n_ngb", "persistence")
_HEADS = ("semantic", "instance")
_ARCHITECTURE_KEYS = ("side", "margin", "in_channels", "head", "filters")
_OPTIONAL_KEYS = ("embedding", "input_skip", "residual")
WEIGHTS_SUFFIX = ".weights.h5"
"""Of weight files: keras takes other names for whole models, with code, or for lists of further files."""
LARGEST_SIDE = 1024
"""Sites a side of a crop; one of twice as many has no place in memory."""
LARGEST_NEIGHBOURS = 10_000
"""Neighbours a point that a clustering may ask for."""


@dataclass(frozen=True)
class NetworkCard:
    """One network: how to build it, where its weights are and what it wants to be fed.

    Attributes
    ----------
    architecture : dict
        Keywords of `networks.vnet.build_vnet`; at least side, margin, in_channels, head and filters.
    weights : str
        Name of the weight file in the folder of the card.
    sha256 : str
        SHA-256 of the weight file, 64 hexadecimal digits.
    channels : tuple of str
        Names of `networks.channels.CHANNELS`, in its order; ``"probability"``, the calibrated output of the semantic
        network, is for the instance network alone, positions too.
    normalisation : dict
        ``{"delta": scale, "phi": scale}`` of those that are channels: delta is divided by its scale
        (dimensionless), phi by its own ((Mpc/h)^2) after its gauge is fixed.
    phi_gauge : str
        How constant and gradient of phi are removed; `PHI_GAUGE` is the only way known.

    Examples
    --------
    >>> ph.predict(ds).card.semantic.channels
    ('delta', 'phi')
    """

    architecture: dict[str, Any]
    weights: str
    sha256: str
    channels: tuple[str, ...]
    normalisation: dict[str, float]
    phi_gauge: str = PHI_GAUGE

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        self._check_architecture()
        self._check_input()
        if not is_plain_name(self.weights) or "/" in self.weights or "\\" in self.weights or self.weights[0] == ".":
            raise ModelError(f"weights {self.weights!r} is not a plain file name; keep the file beside the card")
        if not self.weights.endswith(WEIGHTS_SUFFIX):
            raise ModelError(
                f"weights {self.weights!r} do not end in {WEIGHTS_SUFFIX}; only weights are loaded, never a whole "
                "model: save them with keras' save_weights"
            )
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ModelError(f"sha256 {self.sha256!r} is not 64 lowercase hexadecimal digits; hash the weight file")

    def _check_architecture(self) -> None:
        missing = [key for key in _ARCHITECTURE_KEYS if key not in self.architecture]
        if missing:
            raise ModelError(
                f"architecture lacks {', '.join(missing)}; a network needs {', '.join(_ARCHITECTURE_KEYS)}"
            )
        unknown = sorted(set(self.architecture) - {*_ARCHITECTURE_KEYS, *_OPTIONAL_KEYS})
        if unknown:
            raise ModelError(
                f"architecture has unknown keys {', '.join(unknown)}; it may have "
                f"{', '.join((*_ARCHITECTURE_KEYS, *_OPTIONAL_KEYS))}"
            )
        architecture = dict(self.architecture)
        architecture["filters"] = tuple(architecture["filters"])
        object.__setattr__(self, "architecture", architecture)
        if not all(type(width) is int and width >= 1 for width in architecture["filters"]):
            raise ModelError(f"filters {architecture['filters']} are not positive integers; correct the card")
        if architecture.get("embedding", 3) != 3 or not all(
            isinstance(architecture.get(key, False), bool) for key in ("input_skip", "residual")
        ):
            raise ModelError(
                f"architecture {architecture} has no embedding of 3, or switches that are not true or false; correct "
                "the card"
            )
        if architecture["head"] not in _HEADS:
            raise ModelError(f"head {architecture['head']!r} is unknown; use one of {', '.join(_HEADS)}")
        for key, least in (("side", 1), ("margin", 0), ("in_channels", 1)):
            value = architecture[key]
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ModelError(f"architecture {key} {value!r} is not an integer of {least} or more; correct the card")
        if self.side > LARGEST_SIDE:
            raise ModelError(f"side {self.side} exceeds {LARGEST_SIDE}, the largest crop; correct the card")
        if self.output_side < 1:
            raise ModelError(
                f"margin {self.margin} leaves nothing of side {self.side}; use a margin under {self.side // 2}"
            )

    def _check_input(self) -> None:
        check_channels(self.channels)
        extra = [name for name in (*LAGRANGIAN_POSITION, *EVOLVED_POSITION, "probability") if name in self.channels]
        if self.architecture["head"] == "semantic" and extra:
            raise ModelError(f"semantic channels {', '.join(extra)} are for the instance network; leave them out")
        if self.architecture["in_channels"] != len(self.channels):
            raise ModelError(
                f"in_channels {self.architecture['in_channels']} differs from the {len(self.channels)} channels named; "
                "make them agree"
            )
        scaled = [name for name in FIELD_CHANNELS if name in self.channels]
        if sorted(self.normalisation) != scaled:
            raise ModelError(f"normalisation names {sorted(self.normalisation)}; it needs {scaled}, no other")
        for name, scale in self.normalisation.items():
            if not is_number(scale) or scale <= 0:
                raise ModelError(f"normalisation of {name} is {scale!r}; give a positive number")
        if self.phi_gauge != PHI_GAUGE:
            raise ModelError(f"phi gauge {self.phi_gauge!r} is unknown; use {PHI_GAUGE!r}")

    @property
    def side(self) -> int:
        """Sites a side of the input crop."""
        return int(self.architecture["side"])

    @property
    def margin(self) -> int:
        """Sites the network drops on each face."""
        return int(self.architecture["margin"])

    @property
    def output_side(self) -> int:
        """Sites a side of the output, ``side - 2 margin``."""
        return self.side - 2 * self.margin

    @property
    def sees_probability(self) -> bool:
        """Whether the semantic network's probability is a channel."""
        return "probability" in self.channels


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
        `instance` may be None: such a model knows which sites are in haloes, not in which.
    beta : float
        Fraction of training sites outside haloes (paper, eq. 3).
    threshold : float
        Semantic threshold on the calibrated probability (paper, appendix C).
    calibration : dict
        ``{"slope": a, "intercept": b}``: logit(calibrated) = a logit(network output) + b. A model of several
        amplitudes may add ``slope_by_amplitude`` and ``intercept_by_amplitude``, see `calibration_at`.
    clustering : dict
        ``n_dens``, ``n_ngb``, ``persistence`` of `cluster_embedding` (paper, appendix B); ``width_ratio`` and
        ``distance`` of `merge_groups`, both or neither; ``contact`` of `join_in_contact`, for a model that sees the
        evolved field.
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
        merging = MERGING_KEYS if any(key in self.clustering for key in MERGING_KEYS) else ()
        contact = (CONTACT_KEY,) if CONTACT_KEY in self.clustering else ()
        check_keys("clustering", self.clustering, (*_CLUSTERING_KEYS, *merging, *contact))
        if contact and not self.sees_evolution:
            raise ModelError(
                f"clustering has {CONTACT_KEY}, which needs the evolved field, and no network sees it; leave it out"
            )
        if min(self.clustering[key] for key in _CLUSTERING_KEYS) <= 0 or min(self.clustering.values()) < 0:
            raise ModelError(f"clustering {self.clustering} has values that are not positive; correct the card")
        if max(self.clustering[key] for key in _CLUSTERING_KEYS[:2]) > LARGEST_NEIGHBOURS:
            raise ModelError(
                f"clustering asks for more than {LARGEST_NEIGHBOURS} neighbours in {self.clustering}; correct the card"
            )
        for key in ("finder", "linking_length", "min_sites"):
            if key not in self.halo_definition:
                raise ModelError(f"halo_definition lacks {key}; say what a halo is in the training labels")
        for role, network in self.networks:
            if network.architecture["head"] != role:
                raise ModelError(f"the {role} network has head {network.architecture['head']!r}; it must be {role!r}")
            if self.core_of(role) > network.output_side:
                raise ModelError(
                    f"core {self.core_of(role)} exceeds the output side {network.output_side} of the {role} network; "
                    f"use {network.output_side} or less"
                )

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
        decisive = {name: value for name, value in asdict(self).items() if name not in _TOLD}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The card as JSON text, keys in a fixed order."""
        return json.dumps({"format": CARD_FORMAT, **asdict(self)}, indent=2, sort_keys=True) + "\n"

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
                f"model card format {version!r} is unknown, {unknown_format(version, CARD_FORMAT, 'restore the file')}"
            )
        values["semantic"] = build(NetworkCard, "semantic", values.get("semantic"))
        if values.get("instance") is not None or "instance" not in values:
            values["instance"] = build(NetworkCard, "instance", values.get("instance"))
        try:
            values["cosmology"] = build(Cosmology, "cosmology", values.get("cosmology"))
        except CosmologyError as error:
            raise ModelError(f"model card cosmology: {error}") from error
        return build(cls, "model card", values)
