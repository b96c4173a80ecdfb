"""Train one network, with checkpoints and exact resume (López-Cano et al. 2024, section 2.7)."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from .._utils.progress import Progress, track
from ..exceptions import ModelError
from ..models.backend import import_keras, without_backend_lines
from ..models.channels import EVOLVED_POSITION
from ..models.vnet import PAPER_FILTERS, build_vnet
from .dataset import (
    LabelledField,
    Sampler,
    input_channels,
    make_sample,
    measure_beta,
    measure_contour_beta,
    measure_normalisation,
)
from .initial_weights import begin_with, read_network, start_at_positions
from .losses import (
    PULL_WEIGHT,
    PUSH_WEIGHT,
    REGULARISATION_WEIGHT,
    balanced_cross_entropy,
    scaled_weinberger,
    weinberger,
)

LOG_COLUMNS = ("step", "side", "seconds", "learning_rate", "loss", "held_out_loss")

INSTANCE_LOSSES: dict[str, Callable[..., Any]] = {
    "weinberger": weinberger, "weighted": partial(weinberger, by_radius=True), "scaled": scaled_weinberger
}  # fmt: skip

MASK_THRESHOLD = 0.4
"""Probability above which sites teach an instance network: below the usual threshold, so that a user may lower it."""


@dataclass(frozen=True)
class TrainingSettings:
    """What defines a training run.

    Attributes
    ----------
    head : {"semantic", "instance", "contour"}
    stages : tuple of (side, steps)
        Crop side and number of steps of each stage; weights carry over, the network is fully convolutional.
    learning_rate, final_rate : float
        Adam's rate falls from the first to the last along a cosine over all steps, after `warmup` linear steps.
    clip_norm : float
        A gradient (over all weights) longer than this is shortened to it.
    average_decay : float
        Decay a step of the running mean of the weights that is shipped.
    instance_loss : {"weinberger", "weighted", "scaled"}
        `losses.weinberger` as in the paper or with `by_radius`; `losses.scaled_weinberger`, which wants `input_skip`.
    loss_weights : tuple of float
        c_Pull, c_Push, c_Reg of the Weinberger loss. The mean over all pairs of eq. 5 leaves each pair of neighbours
        1 / (C - 1) of the pull's weight, so that crops of hundreds of haloes want more than the paper's c_Push = 1.
    mask_threshold : float
        Above 0, the instance network learns on the sites that a semantic network puts above this probability (each with
        the nearest halo's label) and sees the probability; 0 for the paper's, the true members.
    channels : tuple of str
        Names of `networks.channels.CHANNELS`; empty for the paper's.
    start : str
        Bundled model, model folder or training folder whose weights and scales the training begins with, narrowed
        where this network has fewer filters or channels; empty for a random start.
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
    loss_weights: tuple[float, float, float] = (PULL_WEIGHT, PUSH_WEIGHT, REGULARISATION_WEIGHT)
    input_skip: bool = False
    residual: bool = False
    mask_threshold: float = 0.0
    channels: tuple[str, ...] = ()
    start: str = ""
    dtype_policy: str = "mixed_bfloat16"
    seed: int = 1
    max_instances: int = 1024
    validate_every: int = 200
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.stages or any(side < 1 or steps < 1 for side, steps in self.stages):
            raise ModelError(f"stages {self.stages} need a positive side and number of steps each, e.g. ((144, 8000),)")
        if self.instance_loss not in INSTANCE_LOSSES:
            raise ModelError(f"loss {self.instance_loss!r} is unknown; use one of {', '.join(INSTANCE_LOSSES)}")
        if not 0 < self.final_rate <= self.learning_rate or not 0 <= self.average_decay < 1 or self.batch < 1:
            raise ModelError("need 0 < final_rate <= learning_rate, 0 <= average_decay < 1 and batch >= 1")
        object.__setattr__(self, "channels", tuple(self.channels))
        names = input_channels(self.head, self.mask_threshold, self.channels)
        if self.head == "instance" and "probability" in names and not self.mask_threshold:
            raise ModelError("a network that sees the probability learns on predicted members; give a mask_threshold")

    @property
    def in_channels(self) -> int:
        """Number of channels."""
        return len(input_channels(self.head, self.mask_threshold, self.channels))

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
        return self.final_rate + 0.5 * (self.learning_rate - self.final_rate) * (1 + np.cos(np.pi * phase))

    def architecture(self, side: int) -> dict[str, Any]:
        """Keyword arguments of `build_vnet`."""
        return {
            "side": side, "in_channels": self.in_channels, "head": self.head,
            "margin": self.margin, "filters": list(self.filters), "input_skip": self.input_skip,
            "residual": self.residual,
        }  # fmt: skip


class Trainer:
    """Trains a network in a folder that holds its checkpoint, log and settings."""

    def __init__(
        self,
        settings: TrainingSettings,
        runs: Sequence[LabelledField],
        held_out: Sequence[LabelledField],
        folder: str | Path,
        n_held_out_crops: int = 6,
    ) -> None:
        self.settings, self.folder = settings, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start = read_network(settings.start, settings.head) if settings.start else None
        self.constants = self._constants(runs)
        self.sampler = Sampler(
            runs,
            settings.head,
            settings.margin,
            self.constants["normalisation"],
            settings.seed,
            settings.mask_threshold,
            settings.channels,
        )
        self.held_out = [run.with_evolution(settings.channels) for run in held_out]
        self.n_held_out_crops = n_held_out_crops
        self.step = 0
        self.seconds = 0.0
        self.average: list[NDArray] | None = None
        self.model: Any = None

    def _constants(self, runs: Sequence[LabelledField]) -> dict[str, Any]:
        """Share outside haloes and normalisation, measured once and kept, so that a resume uses the same."""
        path = self.folder / "settings.json"
        wanted = json.loads(json.dumps(asdict(self.settings)))
        if path.exists():
            stored = json.loads(path.read_text())
            # a folder of an earlier version lacks the settings that came later, and ran with what are their defaults
            known = {**asdict(TrainingSettings(self.settings.head)), **stored["settings"]}
            changed = [key for key in wanted if json.loads(json.dumps(known[key])) != wanted[key]]
            if changed:
                raise ModelError(
                    f"{self.folder} holds a run with other {', '.join(changed)}; give the same settings or a new folder"
                )
            return stored["constants"]
        side = self.settings.stages[-1][0]
        measure = measure_contour_beta if self.settings.head == "contour" else measure_beta
        constants: dict[str, Any] = {"beta": measure(runs), "normalisation": measure_normalisation(runs, side)}
        if self.start is not None:
            # an earlier network knows its channels by their scales then
            constants["normalisation"] |= self.start.normalisation
        with atomic_path(path) as partial:
            partial.write_text(json.dumps({"settings": wanted, "constants": constants}, indent=1))
        return constants

    def run(self, progress: Progress = True, seconds: float = float("inf")) -> None:
        """Train until the last step, or for about `seconds` of wall time; resumes from the checkpoint."""
        keras = import_keras()
        keras.utils.set_random_seed(self.settings.seed)
        self._build(self.settings.side_at(0))
        self._restore()
        started, saved = time.monotonic(), time.monotonic()
        remaining = range(self.step, self.settings.total_steps)
        before = self.seconds
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self._batch, self.step) if remaining else None
            for step in track(remaining, f"Training the {self.settings.head} network", progress=progress):
                assert pending is not None
                channels, target = pending.result()
                if step + 1 < self.settings.total_steps:
                    pending = pool.submit(self._batch, step + 1)
                self._train_step(step, channels, target)
                self.seconds = before + time.monotonic() - started
                if time.monotonic() - saved > self.settings.checkpoint_seconds:
                    self._save_checkpoint()
                    saved = time.monotonic()
                if time.monotonic() - started > seconds:
                    break
        self._save_checkpoint()

    @property
    def _channels(self) -> tuple[str, ...]:
        return input_channels(self.settings.head, self.settings.mask_threshold, self.settings.channels)

    @property
    def _starts_at_positions(self) -> bool:
        settings = self.settings
        evolved = EVOLVED_POSITION[0] in settings.channels and settings.input_skip
        return settings.head == "instance" and (settings.instance_loss == "scaled" or evolved)

    def _batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        return self.sampler.batch(step, self.settings.side_at(step), self.settings.batch)

    def _build(self, side: int) -> None:
        """Compile the network for a crop side, keeping weights and optimiser state."""
        keras = import_keras()
        old = self.model
        self.model = build_vnet(**self.settings.architecture(side), dtype_policy=self.settings.dtype_policy)
        loss = (
            INSTANCE_LOSSES[self.settings.instance_loss](
                self.settings.max_instances, weights=self.settings.loss_weights
            )
            if self.settings.head == "instance"
            else balanced_cross_entropy(self.constants["beta"])
        )
        # a short memory of the second moment and a clip near the usual gradient: one odd crop must not undo many steps
        optimizer = keras.optimizers.Adam(
            self.settings.learning_rate, beta_2=0.99, global_clipnorm=self.settings.clip_norm
        )
        self.model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        optimizer.build(self.model.trainable_variables)
        if old is None and self.start is not None:
            begin_with(self.model, self.start, self.settings.architecture(side), self._channels)
        elif old is None and self._starts_at_positions:
            start_at_positions(self.model, self._channels)
        if old is not None:
            self.model.set_weights(old.get_weights())
            for new_variable, variable in zip(optimizer.variables, old.optimizer.variables, strict=True):
                new_variable.assign(variable)
        self._predictor_side, self._is_new = side, True

    def _train_step(self, step: int, channels: NDArray[np.float32], target: NDArray[np.int32]) -> None:
        side = channels.shape[1]
        if side != self._predictor_side:
            self._build(side)
        rate = self.settings.rate_at(step)
        self.model.optimizer.learning_rate.assign(rate)
        self.model.reset_metrics()  # older keras returns the mean over all batches so far
        # while tensorflow compiles the first step, its remapper calls it an error that it left a part as it was
        with without_backend_lines() if self._is_new else nullcontext():
            loss = float(self.model.train_on_batch(channels, target))
        self._is_new = False
        if not np.isfinite(loss):
            raise ModelError(f"the loss at step {step} is {loss}; lower the learning rate ({rate:.2g}) and start again")
        self.step = step + 1
        self._update_average()
        held_out = ""
        if self.step % self.settings.validate_every == 0 or self.step == self.settings.total_steps:
            held_out = f"{self.held_out_loss():.6f}"
        self._log((self.step, side, f"{self.seconds:.1f}", f"{rate:.3e}", f"{loss:.6f}", held_out))

    def _update_average(self, every: int = 10) -> None:
        if self.step % every:
            return
        weights = self.model.get_weights()
        if self.average is None:
            self.average = [w.copy() for w in weights]
            return
        # early on the mean follows the weights quickly, so that the random start is forgotten
        decay = min(self.settings.average_decay**every, self.step / (self.step + 20.0 * every))
        for mean, weight in zip(self.average, weights, strict=True):
            mean += (1 - decay) * (weight - mean)

    def held_out_loss(self) -> float:
        """Mean loss of the averaged weights over fixed crops of the held-out runs; NaN without any."""
        if not self.held_out:
            return float("nan")
        weights = self.model.get_weights()
        if self.average is not None:
            self.model.set_weights(self.average)
        rng = np.random.default_rng(12345)
        losses = []
        for _ in range(self.n_held_out_crops):
            run = self.held_out[int(rng.integers(len(self.held_out)))]
            x, y, z = (int(s) for s in rng.integers(0, run.field.n, size=3))
            settings = self.settings
            channels, target = make_sample(
                run,
                (x, y, z),
                self._predictor_side,
                settings.margin,
                settings.head,
                self.constants["normalisation"],
                mask_threshold=settings.mask_threshold,
                channels=settings.channels,
            )
            self.model.reset_metrics()
            losses.append(float(self.model.test_on_batch(channels[None], target[None])))
        self.model.set_weights(weights)
        return float(np.mean(losses))

    def _log(self, row: Sequence[Any]) -> None:
        path = self.folder / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(LOG_COLUMNS)
            writer.writerow(row)

    def _save_checkpoint(self) -> None:
        arrays = {f"weight_{i:03d}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"optimizer_{i:03d}": np.asarray(v.numpy()) for i, v in enumerate(self.model.optimizer.variables)}
        arrays |= {f"average_{i:03d}": w for i, w in enumerate(self.average or [])}
        partial = self.folder / "checkpoint.partial.npz"
        np.savez(partial, step=self.step, seconds=self.seconds, **arrays)
        os.replace(partial, self.folder / "checkpoint.npz")

    def _restore(self) -> None:
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            return
        with np.load(path) as saved:
            self.step, self.seconds = int(saved["step"]), float(saved["seconds"])
            groups = {
                kind: [saved[name] for name in sorted(saved.files) if name.startswith(kind)]
                for kind in ("weight_", "optimizer_", "average_")
            }
        self._trim_log()
        self.model.set_weights(groups["weight_"])
        for variable, value in zip(self.model.optimizer.variables, groups["optimizer_"], strict=True):
            variable.assign(value)
        self.average = groups["average_"] or None
        if self.step < self.settings.total_steps and self.settings.side_at(self.step) != self._predictor_side:
            self._build(self.settings.side_at(self.step))

    def _trim_log(self) -> None:
        """Drop the rows of steps that the checkpoint does not hold: they will be run again."""
        path = self.folder / "log.csv"
        if not path.exists():
            return
        rows = path.read_text().splitlines()
        kept = [row for row in rows[1:] if int(row.split(",")[0]) <= self.step]
        partial = path.with_suffix(".partial")
        partial.write_text("\n".join([rows[0], *kept]) + "\n")
        os.replace(partial, path)
