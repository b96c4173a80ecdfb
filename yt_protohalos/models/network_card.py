"""Network cards: how to build one network, what it wants to be fed, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..exceptions import ModelError
from .channels import EVOLVED_POSITION, FIELD_CHANNELS, LAGRANGIAN_POSITION, check_channels
from .values import is_number, is_plain_name

PHI_GAUGE = "crop mean and gradient removed"
_HEADS = ("semantic", "instance", "contour")
_ARCHITECTURE_KEYS = ("side", "margin", "in_channels", "head", "filters")
_OPTIONAL_KEYS = ("embedding", "input_skip", "residual")
WEIGHTS_SUFFIX = ".weights.h5"
"""Of weight files: keras takes other names for whole models, with code, or for lists of further files."""
LARGEST_SIDE = 1024
"""Sites per side of a crop; one of twice as many has no place in memory."""


@dataclass(frozen=True)
class NetworkCard:
    """One network: how to build it, where its weights are and what it wants to be fed.

    Attributes
    ----------
    architecture : dict
        Keywords of `networks.vnet.build_vnet`; at least side, margin, in_channels, head and filters.
    weights : str
        Name of the weight file in the folder of the card, or of `model`.
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
    model : str
        Name of the bundled model whose file of that name and hash the weights are; empty for a file beside the card.

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
    model: str = ""

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
        # the name is looked up among the bundled models, so no path can be one
        if self.model and not (is_plain_name(self.model) and self.model.replace("-", "").isalnum()):
            raise ModelError(f"model {self.model!r} of the weights {self.weights} is no name; name a bundled model")
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
        """Sites per side of the input crop."""
        return int(self.architecture["side"])

    @property
    def margin(self) -> int:
        """Sites the network drops on each face."""
        return int(self.architecture["margin"])

    @property
    def output_side(self) -> int:
        """Sites per side of the output, ``side - 2 margin``."""
        return self.side - 2 * self.margin

    @property
    def sees_probability(self) -> bool:
        """Whether the semantic network's probability is a channel."""
        return "probability" in self.channels
