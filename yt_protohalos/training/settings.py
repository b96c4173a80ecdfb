"""Settings of a training run, stored as ``settings.json`` beside its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..exceptions import ModelError
from ..fields.particle_mesh import COARSE, PLANS
from ..models.channels import CHANNEL_SETS, POSITION_CHANNELS, PROBABILITY_CHANNELS, check_channels
from ..models.network_card import PAPER_FILTERS
from .losses import INSTANCE_LOSSES, WEIGHTS

MASK_THRESHOLD = 0.4
"""Probability above which sites teach an instance network: below the usual threshold, so that a user may lower it."""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that defines a training run apart from its runs.

    Attributes
    ----------
    head : {"semantic", "instance", "contour", "positions"}
    stages : tuple of (side, steps)
        Crop side and number of steps of each stage; weights carry over, the network is fully convolutional.
    margin, filters, input_skip, residual
        See `build_vnet`.
    batch : int
        Crops per step.
    learning_rate, final_rate, warmup : float, float, int
        Adam's rate falls from the first to the last along a cosine over all steps, after `warmup` linear steps.
    clip_norm : float
        A gradient (over all weights) longer than this is shortened to it.
    average_decay : float
        Decay per step of the running mean of the weights, which is what a model is made of.
    instance_loss : {"weinberger", "weighted", "scaled"}
        `losses.weinberger` as in the paper or with `by_radius`; `losses.scaled_weinberger`, which needs `input_skip`.
    loss_weights : tuple of float
        c_Pull, c_Push, c_Reg of the Weinberger loss. The mean over all pairs of eq. 5 leaves each pair of neighbours
        1 / (C - 1) of the pull's weight, so that crops of hundreds of haloes need more than the paper's c_Push = 1.
    mask_threshold : float
        Above 0, the instance network learns on the sites that a semantic network puts above this probability (each with
        the nearest halo's label) and sees the probability; 0 for the paper's, the true members.
    channels : tuple of str
        Names of `models.channels.CHANNELS`; empty for the paper's.
    evolution : str
        Evolution that the channels of the evolved field come from: ``"coarse"`` (`evolve_field`), or for a
        position network a name of `particle_mesh.PLANS`; by default ``"accurate"`` for it.
    start : str
        Bundled model, model folder or training folder whose weights and scales the training begins with, without the
        weakest filters where this network has fewer; empty for a random start.
    dtype_policy : str
        Keras precision: ``"float32"`` or ``"mixed_bfloat16"``.
    seed : int
        Seed of crops and random weights.
    max_instances : int
        Largest number of haloes in a crop.
    validate_every, checkpoint_seconds : int, float
        Steps between two measurements of the held-out loss; wall time between checkpoints.
    """

    head: str
    stages: tuple[tuple[int, int], ...] = ((144, 8000),)
    margin: int = 8
    filters: tuple[int, ...] = PAPER_FILTERS
    batch: int = 1
    learning_rate: float = 1e-3
    final_rate: float = 2e-5
    warmup: int = 50
    clip_norm: float = 0.05
    average_decay: float = 0.99
    instance_loss: str = "weinberger"
    loss_weights: tuple[float, float, float] = WEIGHTS
    input_skip: bool = False
    residual: bool = False
    mask_threshold: float = 0.0
    channels: tuple[str, ...] = ()
    evolution: str = ""
    start: str = ""
    dtype_policy: str = "mixed_bfloat16"
    seed: int = 1
    max_instances: int = 1024
    validate_every: int = 200
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.head not in CHANNEL_SETS:
            raise ModelError(f"head {self.head!r} is unknown; use one of {', '.join(CHANNEL_SETS)}")
        if not self.stages or any(side < 1 or steps < 1 for side, steps in self.stages):
            raise ModelError(f"stages {self.stages} need a positive side and number of steps each, e.g. ((144, 8000),)")
        if self.instance_loss not in INSTANCE_LOSSES:
            raise ModelError(f"loss {self.instance_loss!r} is unknown; use one of {', '.join(INSTANCE_LOSSES)}")
        if not 0 < self.final_rate <= self.learning_rate or not 0 <= self.average_decay < 1 or self.batch < 1:
            raise ModelError("need 0 < final_rate <= learning_rate, 0 <= average_decay < 1 and batch >= 1")
        if not self.evolution:
            object.__setattr__(self, "evolution", "accurate" if self.head == "positions" else COARSE)
        if self.evolution not in (COARSE, *PLANS) or (self.head == "positions") != (self.evolution in PLANS):
            raise ModelError(
                f"evolution {self.evolution!r} is not for a {self.head} network; a position network reads one of "
                f"{', '.join(PLANS)}, all others {COARSE}"
            )
        object.__setattr__(self, "channels", tuple(self.channels))
        check_channels(self.input_channels)
        if self.head == "instance" and "probability" in self.input_channels and not self.mask_threshold:
            raise ModelError("a network that sees the probability learns on predicted members; give a mask_threshold")

    @property
    def input_channels(self) -> tuple[str, ...]:
        """`channels`, or else the paper's, with the probability where an instance network sees it."""
        instance = PROBABILITY_CHANNELS if self.mask_threshold > 0 else POSITION_CHANNELS
        if self.head == "positions":
            return self.channels or CHANNEL_SETS[self.head]["evolved"]
        return self.channels or CHANNEL_SETS[self.head]["linear"] or instance

    @property
    def total_steps(self) -> int:
        """Steps over all stages."""
        return sum(steps for _, steps in self.stages)

    def side_at(self, step: int) -> int:
        """Crop side of a step, 0-based."""
        for side, steps in self.stages:
            if step < steps:
                return side
            step -= steps
        raise ModelError(f"step {step} lies beyond the last stage")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, 0-based."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        phase = (step - self.warmup) / max(self.total_steps - self.warmup, 1)
        return float(self.final_rate + 0.5 * (self.learning_rate - self.final_rate) * (1 + np.cos(np.pi * phase)))

    def architecture(self, side: int) -> dict[str, Any]:
        """Keywords of `build_network` for a crop side; 0 stands for the smallest that levels and margin allow."""
        stride = 2 ** (len(self.filters) - 1)
        common = {
            "side": side or stride * (2 * self.margin // stride + 1), "in_channels": len(self.input_channels),
            "head": self.head, "margin": self.margin, "filters": list(self.filters),
        }  # fmt: skip
        if self.head == "positions":
            return common
        return {**common, "input_skip": self.input_skip, "residual": self.residual}
