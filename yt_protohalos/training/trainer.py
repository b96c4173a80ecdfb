"""Train one network, with checkpoints and exact resume (López-Cano et al. 2024, section 2.7)."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from .._utils.progress import Progress, track
from ..exceptions import ModelError
from ..models.backend import import_keras, without_backend_lines
from ..models.channels import EVOLVED_POSITION
from ..models.position_network import build_network
from .dataset import LabelledField, Sampler, make_sample, measure_beta, measure_normalisation, random_crop
from .initial_weights import numbered_arrays, read_network, start_at_positions, start_with
from .losses import INSTANCE_LOSSES, balanced_cross_entropy
from .position_targets import position_loss
from .semantic_targets import add_membership
from .settings import TrainingSettings

LOG_COLUMNS = ("step", "side", "seconds", "learning_rate", "loss", "held_out_loss")
AVERAGE_EVERY = 10
"""Steps between two updates of the averaged weights."""


def train(
    settings: TrainingSettings,
    runs: Sequence[str | Path],
    held_out: Sequence[str | Path],
    folder: str | Path,
    semantic: str | Path | None = None,
    progress: Progress = True,
    seconds: float = float("inf"),
) -> Trainer:
    """Train a network on run files, or continue a training that was interrupted.

    Parameters
    ----------
    settings, folder, seconds
        As in `Trainer` and `Trainer.run`.
    runs, held_out : sequence of path
        Run files to train on, and others to measure the loss on.
    semantic : path or str, optional
        For an instance or contour network: the semantic network whose probability it sees, as a training folder (which
        is calibrated on `held_out`), a model folder or the name of a bundled model.
    progress : bool or callable

    Raises
    ------
    FileNotFoundError
        A run file does not exist.
    ModelError
        A run occurs twice, `semantic` is missing or not needed, or it needs held-out runs.
    """
    paths = [Path(path) for path in [*runs, *held_out]]
    names = [path.stem for path in paths]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"no run file {', '.join(missing)}; make runs with: protohalos simulate")
    if len(set(names)) < len(names):
        raise ModelError("two run files share a name; a run trains once, or is held out, not both")
    sees_probability = settings.mask_threshold > 0 or "probability" in settings.input_channels
    if sees_probability != (semantic is not None):
        raise ModelError(
            f"this {settings.head} network {'sees a' if sees_probability else 'sees no'} probability; "
            f"{'name its model with' if sees_probability else 'leave out'} --semantic (semantic= in Python)"
        )
    by_name = {path.stem: LabelledField.from_run(path) for path in paths}
    if semantic is not None:
        by_name = add_membership(semantic, by_name, names[len(runs) :], folder, progress=progress)
    chosen = [by_name[name] for name in names]
    trainer = Trainer(settings, chosen[: len(runs)], chosen[len(runs) :], folder)
    trainer.run(progress, seconds)
    return trainer


class Trainer:
    """Train a network in a folder that holds its checkpoint, log and settings.

    Parameters
    ----------
    settings : TrainingSettings
        Those of the folder if it holds a training already.
    runs, held_out : sequence of LabelledField
        Runs to train on, and others to measure the loss on.
    folder : path
        Created if needed; `run` resumes from a checkpoint in it.
    n_held_out_crops : int
        Crops of the held-out runs.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        runs: Sequence[LabelledField],
        held_out: Sequence[LabelledField],
        folder: str | Path,
        n_held_out_crops: int = 6,
    ) -> None:
        self.settings, self.folder, self.n_held_out_crops = settings, Path(folder), n_held_out_crops
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start = read_network(settings.start, settings.head) if settings.start else None
        self.constants = self._constants(runs)
        self.sampler = Sampler(runs, settings, self.constants["normalisation"])
        self.held_out = [run.with_targets(settings) for run in held_out]
        self.step, self.seconds = 0, 0.0
        self.average: list[NDArray[np.float32]] | None = None
        self.model: Any = None

    def _constants(self, runs: Sequence[LabelledField]) -> dict[str, Any]:
        """Share outside haloes and normalisation, measured once and stored, so that a resume uses the same."""
        path = self.folder / "settings.json"
        wanted = json.loads(json.dumps(asdict(self.settings)))
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            # a folder of an earlier version lacks later settings, and ran with their defaults
            known = json.loads(json.dumps({**asdict(TrainingSettings(self.settings.head)), **stored["settings"]}))
            # weights are float32 in every precision, so that another machine may continue with its own
            changed = [key for key in wanted if known[key] != wanted[key] and key != "dtype_policy"]
            if changed:
                raise ModelError(
                    f"{self.folder} holds a run with other {', '.join(changed)}; give the same settings or a new folder"
                )
            return dict(stored["constants"])
        side = self.settings.stages[-1][0]
        normalisation = measure_normalisation(runs, side)
        if self.start is not None:
            # the earlier network learned with its own scales
            normalisation |= self.start.normalisation
        constants = {"beta": measure_beta(runs, self.settings.head), "normalisation": normalisation}
        with atomic_path(path) as partial:
            partial.write_text(json.dumps({"settings": wanted, "constants": constants}, indent=1))
        return constants

    def run(self, progress: Progress = True, seconds: float = float("inf")) -> None:
        """Train until the last step, or for about `seconds` of wall time; resumes from the checkpoint."""
        total = self.settings.total_steps
        import_keras().utils.set_random_seed(self.settings.seed)
        self._build_or_restore()
        before, started = self.seconds, time.monotonic()
        saved = started
        steps = range(self.step, total)
        with ThreadPoolExecutor(1) as pool:
            # the next batch is made while the network trains on this one
            pending = [pool.submit(self.sampler.batch, step) for step in steps[:1]]
            for step in track(steps, f"Training the {self.settings.head} network", progress=progress):
                channels, target = pending.pop().result()
                pending = [pool.submit(self.sampler.batch, later) for later in range(step + 1, total)[:1]]
                self._train_step(step, channels, target)
                now = time.monotonic()
                self.seconds = before + now - started
                if now - saved > self.settings.checkpoint_seconds:
                    self._save_checkpoint()
                    saved = now
                if now - started > seconds:
                    break
        self._save_checkpoint()

    def _build(self, side: int) -> None:
        """Compile the network for a crop side, keeping weights and optimiser state."""
        settings, old = self.settings, self.model
        self.model = build_network(**settings.architecture(side), dtype_policy=settings.dtype_policy)
        if settings.head == "positions":
            loss = position_loss()
        elif settings.head == "instance":
            loss = INSTANCE_LOSSES[settings.instance_loss](settings.max_instances, weights=settings.loss_weights)
        else:
            loss = balanced_cross_entropy(self.constants["beta"])
        # a short memory of the second moment and a clip near the usual gradient: one odd crop must not undo many steps
        optimizer = import_keras().optimizers.Adam(
            settings.learning_rate, beta_2=0.99, global_clipnorm=settings.clip_norm
        )
        self.model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        optimizer.build(self.model.trainable_variables)
        if old is not None:
            self.model.set_weights(old.get_weights())
            for new_variable, variable in zip(optimizer.variables, old.optimizer.variables, strict=True):
                new_variable.assign(variable)
        elif self.start is not None:
            start_with(self.model, self.start, settings.architecture(side), settings.input_channels)
        elif settings.head == "instance":
            evolved = EVOLVED_POSITION[0] in settings.channels and settings.input_skip
            if evolved or settings.instance_loss == "scaled":
                start_at_positions(self.model, settings.input_channels)
        self._side, self._is_new = side, True

    def _train_step(self, step: int, channels: NDArray[np.float32], target: NDArray[Any]) -> None:
        side = channels.shape[1]
        if side != self._side:
            self._build(side)
        rate = self.settings.rate_at(step)
        self.model.optimizer.learning_rate.assign(rate)
        self.model.reset_metrics()  # older keras returns the mean over all batches so far
        # TensorFlow's remapper prints an error that is none while the first step is compiled
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

    def _update_average(self) -> None:
        if self.step % AVERAGE_EVERY:
            return
        weights = self.model.get_weights()
        if self.average is None:
            self.average = [w.copy() for w in weights]
            return
        # early on the mean follows the weights quickly, so that the random start is forgotten
        decay = min(self.settings.average_decay**AVERAGE_EVERY, self.step / (self.step + 20.0 * AVERAGE_EVERY))
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
            run, start = random_crop(self.held_out, rng)
            channels, target = make_sample(run, start, self._side, self.settings, self.constants["normalisation"])
            self.model.reset_metrics()
            losses.append(float(self.model.test_on_batch(channels[None], target[None])))
        self.model.set_weights(weights)
        return float(np.mean(losses))

    def _log(self, row: Sequence[Any]) -> None:
        with (self.folder / "log.csv").open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not file.tell():
                writer.writerow(LOG_COLUMNS)
            writer.writerow(row)

    def _save_checkpoint(self) -> None:
        arrays = {f"weight_{i:03d}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"optimizer_{i:03d}": np.asarray(v.numpy()) for i, v in enumerate(self.model.optimizer.variables)}
        arrays |= {f"average_{i:03d}": w for i, w in enumerate(self.average or [])}
        with atomic_path(self.folder / "checkpoint.npz") as partial, partial.open("wb") as file:
            np.savez(file, step=self.step, seconds=self.seconds, **arrays)

    def _build_or_restore(self) -> None:
        """Build the network, with weights and optimiser of the checkpoint if there is one."""
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            return self._build(self.settings.side_at(0))
        with np.load(path) as saved:
            self.step, self.seconds = int(saved["step"]), float(saved["seconds"])
            self._build(self.settings.side_at(min(self.step, self.settings.total_steps - 1)))
            self.model.set_weights(numbered_arrays(saved, "weight"))
            for variable, value in zip(
                self.model.optimizer.variables, numbered_arrays(saved, "optimizer"), strict=True
            ):
                variable.assign(value)
            self.average = numbered_arrays(saved, "average") or None
        self._trim_log()

    def _trim_log(self) -> None:
        """Remove the rows of steps that the checkpoint does not hold: they will be run again."""
        path = self.folder / "log.csv"
        if path.exists():
            columns, *rows = path.read_text(encoding="utf-8").splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= self.step]
            with atomic_path(path) as partial:
                partial.write_text("\n".join([columns, *kept]) + "\n", encoding="utf-8")
