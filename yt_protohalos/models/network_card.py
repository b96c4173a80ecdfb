"""Cards of single networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..exceptions import ModelError
from . import rules
from .channels import EVOLVED_POSITION, FIELD_CHANNELS, LAGRANGIAN_POSITION, check_channels

PHI_GAUGE = "crop mean and gradient removed"
WEIGHTS_SUFFIX = ".weights.h5"
"""End of the name of a weight file; keras uses other names for whole models, which hold code."""
LARGEST_SIDE = 1024
"""Largest side of a crop, sites; a larger one does not fit in memory."""
HEADS = ("semantic", "instance", "contour", "positions")
PAPER_FILTERS = (16, 32, 64, 128, 128)
POSITION_FILTERS = (16, 32, 64, 96)

_ARCHITECTURE = {
    "side": rules.whole(1, LARGEST_SIDE),
    "margin": rules.whole(0),
    "in_channels": rules.whole(1),
    "head": rules.Rule(f"one of {', '.join(HEADS)}", lambda value: value in HEADS),
    "filters": rules.Rule(
        f"two or more positive integers such as {PAPER_FILTERS}",
        lambda value: len(value) > 1 and all(map(rules.whole(1).holds, value)),
    ),
    "embedding": rules.whole(3, 3),
    "input_skip": rules.SWITCH,
    "residual": rules.SWITCH,
}
_OPTIONAL = ("embedding", "input_skip", "residual")


@dataclass(frozen=True)
class NetworkCard:
    """One network: how to build it, where its weights are and what its input is.

    Attributes
    ----------
    architecture : dict
        Keywords of `models.vnet.build_vnet` or `models.position_network.build_position_network`; at least side,
        margin, in_channels, head and filters.
    weights : str
        Name of the weight file in the folder of the card, or of `model`.
    sha256 : str
        SHA-256 of the weight file, 64 hexadecimal digits.
    channels : tuple of str
        Names from `models.channels.CHANNELS`, in its order. ``"probability"``, the calibrated output of the semantic
        network, and positions are for the instance network alone.
    normalisation : dict
        ``{"delta": scale, "phi": scale}`` of those that are channels: delta is divided by its scale
        (dimensionless), phi by its own ((Mpc/h)^2) after its gauge is fixed.
    phi_gauge : str
        Treatment of the constant and gradient of phi; `PHI_GAUGE` is the only one.
    model : str
        Name of the bundled model that holds the weight file; empty if the file lies beside the card.

    Raises
    ------
    ModelError
        A value is not valid; the message names the key, the value and the rule.

    Examples
    --------
    >>> ph.predict(ds, "planck-v2").card.semantic.channels
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
        check_architecture(self.architecture)
        built = {**self.architecture, "filters": tuple(self.architecture["filters"])}
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "architecture", built)
        self._check_input()
        self._check_file()

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
        scaled = {name: rules.POSITIVE for name in FIELD_CHANNELS if name in self.channels}
        rules.check("normalisation", self.normalisation, scaled)
        if self.phi_gauge != PHI_GAUGE:
            raise ModelError(f"phi gauge {self.phi_gauge!r} is unknown; use {PHI_GAUGE!r}")

    def _check_file(self) -> None:
        if not rules.NAME.holds(self.weights) or {*"/\\"} & {*self.weights} or self.weights[0] == ".":
            raise ModelError(f"weights {self.weights!r} is not a plain file name; keep the file beside the card")
        if not self.weights.endswith(WEIGHTS_SUFFIX):
            raise ModelError(
                f"weights {self.weights!r} do not end in {WEIGHTS_SUFFIX}; only weights are loaded, never a whole "
                "model: save them with keras' save_weights"
            )
        # letters, digits and hyphens cannot make a path
        if self.model and not (rules.NAME.holds(self.model) and self.model.replace("-", "").isalnum()):
            raise ModelError(f"model {self.model!r} of the weights {self.weights} is no name; name a bundled model")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ModelError(f"sha256 {self.sha256!r} is not 64 lowercase hexadecimal digits; hash the weight file")

    @property
    def side(self) -> int:
        """Sites per side of the input crop."""
        return int(self.architecture["side"])

    @property
    def margin(self) -> int:
        """Sites that the network drops on each face."""
        return int(self.architecture["margin"])

    @property
    def output_side(self) -> int:
        """Sites per side of the output, ``side - 2 margin``."""
        return self.side - 2 * self.margin

    @property
    def sees_probability(self) -> bool:
        """True if the semantic network's probability is a channel."""
        return "probability" in self.channels


def check_architecture(architecture: dict[str, Any]) -> None:
    """Raise `ModelError` unless a network can be built with these keywords."""
    rules.check("architecture", architecture, _ARCHITECTURE, _OPTIONAL)
    side, margin, stride = architecture["side"], architecture["margin"], 2 ** (len(architecture["filters"]) - 1)
    if side < stride or side % stride:
        below = max(side - side % stride, stride)
        raise ModelError(
            f"crop side {side} is not a multiple of {stride}, the network stride; use {below} or {below + stride}"
        )
    if 2 * margin >= side:
        raise ModelError(f"margin {margin} leaves nothing of a crop of {side} sites; use 0 to {(side - 1) // 2}")
