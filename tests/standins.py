"""Stand-ins for trained models: cards without training, and analytic networks that obey known laws."""

from __future__ import annotations

import hashlib
from typing import Any

from yt_protohalos.cosmology import PAPER_COSMOLOGY
from yt_protohalos.models.card import FIELD_CHANNELS, POSITION_CHANNELS, ModelCard, NetworkCard

SPACING = 50 / 256


def make_network(head: str, side: int = 32, margin: int = 4, **changes: Any) -> NetworkCard:
    """Network card of a small network whose weights do not exist."""
    channels = POSITION_CHANNELS if head == "instance" else FIELD_CHANNELS
    values: dict[str, Any] = {
        "architecture": {
            "side": side,
            "margin": margin,
            "in_channels": len(channels),
            "head": head,
            "filters": (2, 4),
        },
        "weights": f"{head}.weights.h5",
        "sha256": hashlib.sha256(head.encode()).hexdigest(),
        "channels": channels,
        "normalisation": {"delta": 1.0, "phi": 1.0},
    }
    return NetworkCard(**{**values, **changes})


def make_card(side: int = 32, margin: int = 4, core: int = 12, **changes: Any) -> ModelCard:
    """Card of a small model; `changes` replace its values."""
    values: dict[str, Any] = {
        "name": "tiny",
        "version": 1,
        "description": "analytic stand-in",
        "spacing": SPACING,
        "cosmology": PAPER_COSMOLOGY,
        "halo_definition": {"finder": "FoF", "linking_length": 0.2, "min_sites": 5},
        "min_sites": 5,
        "semantic": make_network("semantic", side, margin),
        "instance": make_network("instance", side, margin),
        "beta": 0.58,
        "threshold": 0.5,
        "calibration": {"slope": 1.0, "intercept": 0.0},
        "clustering": {"n_dens": 20, "n_ngb": 15, "persistence": 4.2},
        "core": core,
        "amplitude_range": (0.7, 0.95),
    }
    return ModelCard(**{**values, **changes})
