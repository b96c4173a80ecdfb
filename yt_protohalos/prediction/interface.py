"""Interface of all predictors."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .._utils.progress import Progress
from ..fields.linear_field import LinearField
from ..fields.region import Region
from ..fields.units import Quantity
from ..models.base_card import Card
from .communicator import Communicator
from .result import Prediction, RegionPrediction


class Predictor(Protocol):
    """Finds the protohaloes of linear fields by one method: `ProtohaloPredictor` or `FriendsOfFriendsPredictor`."""

    @property
    def card(self) -> Card:
        """Card of the method, which states all that the predictions depend on."""

    @property
    def precision(self) -> str:
        """Of the computation; recorded with every prediction."""

    def predict(
        self,
        field: LinearField,
        *,
        threshold: float | None = None,
        progress: Progress = True,
        store: str | Path | None = None,
        on_spacing: str = "warn",
        on_range: str = "error",
        resolution: Quantity | None = None,
        communicator: Communicator = ...,
    ) -> Prediction:
        """Find the protohaloes of a box."""

    def predict_region(
        self,
        field: LinearField,
        region: Region,
        *,
        threshold: float | None = None,
        progress: Progress = True,
        on_spacing: str = "warn",
        on_range: str = "error",
        resolution: Quantity | None = None,
    ) -> RegionPrediction:
        """Find the protohaloes of a region of a box."""
