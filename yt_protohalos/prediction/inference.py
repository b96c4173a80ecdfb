"""Run a network on crops, and turn its output into probabilities or into the labels of a core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ..exceptions import ModelError, OutOfMemoryError
from ..models.card import MERGING_KEYS, ModelCard, NetworkCard
from ..models.channels import ModelInput, network_input
from ..models.position_network import OUTPUTS
from ..models.runtime import Network
from ..models.symmetry import spread_symmetries
from ..segmentation.clustering import cluster_embedding
from ..segmentation.merging import merge_groups
from ..segmentation.tiling import Crop
from ..segmentation.watershed import find_seeds, flood

Item = TypeVar("Item")

_OUTPUT_CHANNELS = {"semantic": 1, "instance": 3, "contour": 1, "positions": OUTPUTS}
_MEMORY_MESSAGES = ("RESOURCE_EXHAUSTED", "OUT OF MEMORY", "FAILED TO ALLOCATE")
_ONEDNN_OUT_OF_MEMORY = "Status: 1,"  # what tensorflow says of oneDNN, in an AbortedError
_MEMORY_ERRORS = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise a lack of memory in an error of any backend, by its name or message: no backend is imported.

    tensorflow raises ResourceExhaustedError, torch OutOfMemoryError, jax XlaRuntimeError with RESOURCE_EXHAUSTED.
    """
    named = any(kind.__name__ in _MEMORY_ERRORS for kind in type(error).__mro__)
    named |= type(error).__name__ == "AbortedError" and _ONEDNN_OUT_OF_MEMORY in str(error)
    return named or (isinstance(error, RuntimeError) and any(text in str(error).upper() for text in _MEMORY_MESSAGES))


class Batch:
    """Number of crops that a network takes at once, halved when they do not fit the memory."""

    def __init__(self, size: int = 1) -> None:
        self.size = max(1, int(size))

    def groups(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Consecutive items, `size` at a time."""
        rest = iter(items)
        while group := list(islice(rest, self.size)):
            yield group

    @contextmanager
    def halve_if_full(self, n_crops: int) -> Iterator[None]:
        """Halve the size if `n_crops` crops do not fit the memory; `OutOfMemoryError` if one alone does not fit."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if n_crops == 1:
                message = " ".join(str(error).split())[:200]
                raise OutOfMemoryError(
                    f"one crop does not fit the memory of the network ({type(error).__name__}: {message}); end what "
                    "else uses that memory, take a GPU with more, or run on the CPU (CUDA_VISIBLE_DEVICES=-1)"
                ) from error
            self.size = max(1, n_crops // 2)


@dataclass(frozen=True)
class CropNetwork:
    """A network that is run on crops of a box.

    network : float32 (batch, side, side, side, channels) -> float32 (batch, out, out, out, 1 or 3)
    symmetries : number of symmetries of the cube over which the logit of a semantic network is averaged
    """

    network: Network
    card: NetworkCard
    batch: Batch = field(default_factory=Batch)
    symmetries: int = 1

    def run(self, inputs: ModelInput, crops: Sequence[Crop]) -> list[NDArray[np.float32]]:
        """Run the network on periodic crops, as many at once as the memory takes; float32 (out, out, out, 1 or 3) each.

        Raises `ModelError` for an output of another shape or not finite, `OutOfMemoryError` if one crop does not fit.
        """
        outputs: list[NDArray[np.float32]] = []
        while len(outputs) < len(crops):
            part = crops[len(outputs) : len(outputs) + self.batch.size]
            with self.batch.halve_if_full(len(part)):
                channels = self._channels(inputs, part)
                if self.symmetries == 1:
                    outputs += list(self._checked(self.network(channels), part))
                else:
                    outputs += list(self._averaged(channels, part))
        return outputs

    def _channels(self, inputs: ModelInput, crops: Sequence[Crop]) -> NDArray[np.float32]:
        card = self.card
        channels = [
            network_input(inputs.crop(card.channels, crop.input_start, crop.side), card.channels, card.normalisation)
            for crop in crops
        ]
        # a batch of one needs no copy
        return channels[0][None] if len(channels) == 1 else np.stack(channels)

    def _checked(self, output: NDArray[np.float32], crops: Sequence[Crop]) -> NDArray[np.float32]:
        output, head = np.asarray(output, dtype=np.float32), self.card.architecture["head"]
        expected = (len(crops), *crops[0].output_shape, _OUTPUT_CHANNELS[head])
        if output.shape != expected:
            raise ModelError(f"the {head} network returned shape {output.shape}; its card promises {expected}")
        if not np.isfinite(output).all():
            raise ModelError(
                f"the {head} network returned values that are not finite; retrain it or use precision='float32'"
            )
        return output

    def _averaged(self, channels: NDArray[np.float32], crops: Sequence[Crop]) -> NDArray[np.float32]:
        """Mean over symmetries of the cube, of the logit."""
        total = np.zeros((len(crops), *crops[0].output_shape, 1), dtype=np.float64)
        for symmetry in spread_symmetries(self.symmetries):
            batch = np.stack([symmetry.apply(each) for each in channels])
            outputs = self._checked(self.network(batch), crops)
            for each, output in zip(total, outputs, strict=True):
                each += symmetry.undo(bounded_logit(output))
        return np.asarray(expit(total / self.symmetries), dtype=np.float32)


def bounded_logit(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logit in double precision; beyond 1e-6 from 0 and 1 a float32 sigmoid says nothing, and is cut."""
    return np.asarray(logit(np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)))


def calibrated(probability: NDArray[np.float32], slope: float, intercept: float) -> NDArray[np.float32]:
    """Turn the probability of a balanced network into a frequency, logit(p) = slope logit(raw) + intercept.

    probability : float32, any shape, network output in [0, 1]
    returns : float32, same shape, in (0, 1)
    """
    return np.asarray(expit(slope * bounded_logit(probability) + intercept), dtype=np.float32)


def segment_core(
    card: ModelCard,
    output: NDArray[np.float32],
    probability: NDArray[np.float32],
    threshold: float,
    crop: Crop,
    candidates: Sequence[Mapping[str, float]] = ({},),
) -> list[NDArray[np.int32]]:
    """Segment the members in a crop by the method of a model, and keep the labels in its core.

    output : float32, (out, out, out, 3 or 1), of the instance network: embedding, or probability of a contour
    probability : float32, (out, out, out), calibrated; that of members is above `threshold`
    candidates : settings that replace those of the card
    returns : labels 1..m, 0 none, int32 of the shape of the core, for each candidate
    """
    members = probability > np.float32(threshold)
    points = output[members]
    groups: dict[tuple[float, ...], NDArray[np.int32]] = {}
    labels = []
    for candidate in candidates:
        settings = {**card.clustering, **candidate}
        if card.method == "watershed":
            seeds = find_seeds(probability, output[..., 0], settings["foreground"], settings["contour"])
            labels.append(_core_of(flood(probability, seeds, members), crop))
            continue
        # candidates that differ in the merging alone share their groups
        key = tuple(value for name, value in sorted(settings.items()) if name not in MERGING_KEYS)
        if key not in groups:
            groups[key] = group_members(points, settings)
        labels.append(join_core(points, groups[key], members, crop, settings))
    return labels


def group_members(points: NDArray[np.float32], clustering: Mapping[str, float]) -> NDArray[np.int32]:
    """Groups of `cluster_embedding` with the settings of a card, int32, (N,)."""
    return cluster_embedding(
        points,
        n_dens=int(clustering["n_dens"]),
        n_ngb=int(clustering["n_ngb"]),
        persistence=float(clustering["persistence"]),
    )


def join_core(
    points: NDArray[np.float32],
    groups: NDArray[np.int32],
    members: NDArray[np.bool_],
    crop: Crop,
    clustering: Mapping[str, float],
) -> NDArray[np.int32]:
    """Join fragments by `merge_groups`, if its limits are among the settings, and keep the labels in the core."""
    limits = {name: float(clustering[name]) for name in MERGING_KEYS if name in clustering}
    labels = np.zeros(members.shape, dtype=np.int32)
    labels[members] = 1 + (merge_groups(points, groups, **limits) if limits else groups)
    return _core_of(labels, crop)


def _core_of(labels: NDArray[np.int32], crop: Crop) -> NDArray[np.int32]:
    """Labels in the core of a crop, numbered 1..m."""
    core = labels[crop.output_core]
    kept = np.unique(core[core > 0])
    return np.where(core > 0, 1 + np.searchsorted(kept, core), 0).astype(np.int32)
