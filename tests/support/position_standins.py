"""Stand-in for a trained position network, which calls every site of a group a member and moves it to the centre."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from standins import make_card, make_network, make_predictor

from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.channels import CHANNEL_SETS, GROUP_CENTRE
from yt_protohalos.prediction.position_predictor import PositionPredictor

MARGIN, SMALLEST = 4, 20
CHANNELS = CHANNEL_SETS["positions"]["evolved"]
CLUSTERING = {"in_group": 0.5, "linking_length": 0.2, "core_length": 0.1, "min_core": 10, "member": 0.5}


def position_card(**changes: Any) -> ModelCard:
    """Card of the stand-in; `changes` replace its values."""
    architecture = {"side": 24, "margin": MARGIN, "in_channels": len(CHANNELS), "head": "positions", "filters": (2, 4)}
    network = make_network("positions", architecture=architecture, channels=CHANNELS, normalisation={"delta": 1.0})
    values = {"semantic": network, "instance": None, "clustering": CLUSTERING, "min_sites": SMALLEST,
              "evolution": "fast", "core": 16}  # fmt: skip
    return make_card(**{**values, **changes})


class Groups:
    """Members are the sites of groups of 20 and more, and all of them end at the centre of their group."""

    def __init__(self) -> None:
        self.crops = 0

    @property
    def calls(self) -> dict[str, int]:
        """Number of crops, as `StandIns` counts its runs."""
        return {"semantic": self.crops, "instance": 0}

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output of the network on a batch of crops."""
        self.crops += len(batch)
        inside = batch[:, MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]
        size = 10 ** (2 * inside[..., CHANNELS.index("group_size")])
        logit = np.where(size > SMALLEST - 0.5, 8.0, -8.0)
        moves = [inside[..., CHANNELS.index(name)] for name in GROUP_CENTRE]
        return np.stack([logit, logit, *moves], axis=-1).astype(np.float32)


def make_position_predictor(**changes: Any) -> PositionPredictor:
    """Predictor of the stand-in; ``predictor.standins.calls`` counts its crops."""
    predictor = PositionPredictor(position_card(**changes), Groups(), None)
    predictor.standins = predictor.semantic  # type: ignore[attr-defined]
    return predictor


STANDINS = {"positions": make_position_predictor, "pseudo-space": make_predictor}
"""Predictors with stand-in networks by method."""
