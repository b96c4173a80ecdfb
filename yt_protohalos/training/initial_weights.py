"""First weights of a training that does not start at random: those of an earlier network, or positions.

A network with fewer filters starts with the strongest filters of the earlier one. The strength of a filter is the norm
of its kernel times that of the kernels that read it. The result is a start for training; it is less accurate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError
from ..models.channels import EVOLVED_POSITION, EVOLVED_POSITION_UNIT, LAGRANGIAN_POSITION, POSITION_UNIT
from ..models.position_network import build_network, convolutions
from ..models.registry import load_card, verify
from ..models.runtime import load_model
from .losses import EMBEDDING_UNIT
from .settings import TrainingSettings

EVOLVED_EMBEDDING_UNIT = 2.0
"""Sites of evolved position that make one unit of the pseudo-space of `weinberger` at the start of a training."""
INPUT = "channels"
"""Name of the input layer."""

LayerWeights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network in float32, with its architecture, channels, and the scales that divide them."""

    model: Any
    architecture: dict[str, Any]
    channels: tuple[str, ...]
    normalisation: dict[str, float]

    @property
    def weights(self) -> LayerWeights:
        """Kernel and bias by the layer's name."""
        return _by_layer(self.model)


def read_network(source: str | Path, head: str) -> TrainedNetwork:
    """Read a network of a bundled model, a model folder or a training folder.

    Raises
    ------
    ModelError
        `source` is none of these, or its network has another head.
    """
    folder = Path(source)
    if (folder / "checkpoint.npz").is_file():
        network = read_checkpoint(folder, side=0)
    else:
        card, folder = load_card(source)
        verify(card, folder)
        stored = card.semantic if head == "semantic" else card.instance_network()
        model = load_model(stored, folder, "float32")
        network = TrainedNetwork(model, dict(stored.architecture), stored.channels, dict(stored.normalisation))
    if network.architecture["head"] != head:
        raise ModelError(
            f"{source} holds a {network.architecture['head']} network; a {head} network cannot start with it"
        )
    return network


def read_checkpoint(folder: Path, side: int, margin: int | None = None) -> TrainedNetwork:
    """Read the averaged weights of a training folder's checkpoint; `ModelError` if it has none.

    side : crop side of the network; 0 for the smallest that its levels and margin allow
    margin : sites that the network drops on each face, if not as many as in training
    """
    if not (folder / "checkpoint.npz").exists():
        raise ModelError(f"{folder} holds no checkpoint.npz; train first")
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    settings = TrainingSettings(**stored["settings"])
    channels, architecture = settings.input_channels, settings.architecture(side)
    if margin is not None:
        architecture["margin"] = margin
    model = build_network(**architecture)
    with np.load(folder / "checkpoint.npz") as saved:
        model.set_weights(numbered_arrays(saved, "average") or numbered_arrays(saved, "weight"))
    scales = stored["constants"]["normalisation"]
    used = {name: scale for name, scale in scales.items() if name in channels}
    return TrainedNetwork(model, architecture, channels, used)


def numbered_arrays(saved: Any, kind: str) -> list[NDArray[Any]]:
    """Arrays ``KIND_000``, ``KIND_001`` and so on of a checkpoint."""
    return [saved[name] for name in sorted(saved.files) if name.startswith(f"{kind}_")]


def start_with(model: Any, earlier: TrainedNetwork, architecture: dict[str, Any], channels: tuple[str, ...]) -> None:
    """Give a new network the weights of an earlier one, without the filters and channels that it does not have.

    Raises `ModelError` if they differ in more than filters and channels, or residual blocks would lose filters.
    """
    for key in ("head", "input_skip", "residual"):
        # a position network has neither choice
        found, wanted = earlier.architecture.get(key), architecture.get(key)
        if found != wanted:
            raise ModelError(f"the start has {key} = {found}, the new network {wanted}")
    old, new = tuple(earlier.architecture["filters"]), tuple(architecture["filters"])
    if len(old) != len(new):
        raise ModelError(f"the start has {len(old)} levels, the new network {len(new)}; use filters of its length")
    if architecture.get("residual") and old != new:
        raise ModelError(f"residual blocks cannot be pruned from filters {old} to {new}; keep the start's filters")
    filters = {name: bias.shape[0] for name, (_, bias) in _by_layer(model).items()}
    sources = layer_sources(len(new), architecture["head"], architecture.get("input_skip", False))
    pruned = prune_filters(earlier.weights, sources, filters, earlier.channels, channels)
    for name, (kernel, bias) in pruned.items():
        model.get_layer(name).set_weights([kernel, bias])


def _by_layer(model: Any) -> LayerWeights:
    found: dict[str, list[NDArray[np.float32]]] = {layer.name: layer.get_weights() for layer in model.layers}
    return {name: (weights[0], weights[1]) for name, weights in found.items() if weights}


def start_at_positions(model: Any, channels: Sequence[str]) -> None:
    """Let the embedding of an instance network start as a position that its input skip hands to it.

    It is the evolved position if that is a channel, with the width of a halo on the scale of the margins of
    `weinberger`; else the Lagrangian position, in the unit of `scaled_weinberger`.
    """
    head = model.get_layer("instance")
    kernel, bias = (np.zeros(weight.shape, dtype=np.float32) for weight in head.get_weights())
    names, scale = LAGRANGIAN_POSITION, POSITION_UNIT / EMBEDDING_UNIT
    if EVOLVED_POSITION[0] in channels:
        names, scale = EVOLVED_POSITION, EVOLVED_POSITION_UNIT / EVOLVED_EMBEDDING_UNIT
    for axis, name in enumerate(names):
        kernel[0, 0, 0, kernel.shape[3] - len(channels) + channels.index(name), axis] = scale
    head.set_weights([kernel, bias])


def layer_sources(levels: int, head: str, input_skip: bool) -> dict[str, tuple[str, ...]]:
    """Layers (or `INPUT`) whose outputs each convolution of `build_network` reads, in the order of concatenation."""
    last = levels - 1
    if head == "positions":
        return _position_sources(last)
    sources: dict[str, tuple[str, ...]] = {}
    for level in range(last):
        sources[f"down{level}_1"] = (INPUT,) if level == 0 else (f"down{level - 1}_3",)
        sources[f"down{level}_2"] = (f"down{level}_1",)
        sources[f"down{level}_3"] = (f"down{level}_2",)
    for level in range(last, -1, -1):
        below = f"down{last - 1}_3" if level == last else f"up{level + 1}_3"
        sources[f"up{level}_1"] = (below,) if level == last else (f"down{level}_2", below)
        sources[f"up{level}_2"] = (f"up{level}_1",)
        if level:
            sources[f"up{level}_3"] = (f"up{level}_2",)
    sources[head] = ("up0_2", INPUT) if input_skip else ("up0_2",)
    return sources


def _position_sources(last: int) -> dict[str, tuple[str, ...]]:
    sources: dict[str, tuple[str, ...]] = {}

    def block(name: str, level: int, reads: tuple[str, ...]) -> tuple[str, ...]:
        for number in range(1, convolutions(level) + 1):
            sources[f"{name}{level}_{number}"] = reads
            reads = (f"{name}{level}_{number}",)
        return reads

    reads: tuple[str, ...] = (INPUT,)
    skips = []
    for level in range(last):
        skips.append(block("down", level, reads))
        sources[f"stride{level + 1}"] = skips[level]
        reads = (f"stride{level + 1}",)
    reads = block("down", last, reads)
    for level in range(last - 1, -1, -1):
        sources[f"grow{level}"] = reads
        reads = block("up", level, (f"grow{level}", *skips[level]))
    sources["positions"] = (*reads, INPUT)
    return sources


def prune_filters(
    weights: LayerWeights,
    sources: Mapping[str, Sequence[str]],
    filters: Mapping[str, int],
    channels: Sequence[str],
    new_channels: Sequence[str],
) -> LayerWeights:
    """Keep the strongest filters of every layer, and the wanted channels of the input.

    weights : kernels (..., in, out), of the transposed ones ``up*_3`` and ``grow*`` (..., out, in), and biases (out,)
    sources : `layer_sources` of the network
    filters : number of outputs that each layer keeps; `ModelError` if one has fewer
    channels, new_channels : of the old network and of the new one; those that the old one lacks start at zero
    """
    kernels = {name: _inputs_before_outputs(name, kernel) for name, (kernel, _) in weights.items()}
    widths = {name: kernel.shape[-1] for name, kernel in kernels.items()} | {INPUT: len(channels)}
    # part of each kernel that reads each source
    parts: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, kernel in kernels.items():
        ends = np.cumsum([widths[source] for source in sources[name]])
        parts[name] = dict(zip(sources[name], np.split(kernel, ends[:-1], axis=3), strict=True))
    kept = {INPUT: np.array([channels.index(name) if name in channels else -1 for name in new_channels], dtype=int)}
    for name, kernel in kernels.items():
        if filters[name] > widths[name]:
            raise ModelError(f"layer {name} needs {filters[name]} filters, but the start has {widths[name]}")
        written = np.sum(np.square(kernel), axis=(0, 1, 2, 3))
        read = np.zeros(widths[name])
        for reader in parts.values():
            if name in reader:
                read += np.sum(np.square(reader[name]), axis=(0, 1, 2, 4))
        # no layer reads the last one
        strength = np.sqrt(written * read if read.any() else written)
        kept[name] = np.sort(np.argsort(-strength, kind="stable")[: filters[name]])
    result: LayerWeights = {}
    for name in kernels:
        rows = []
        for source, part in parts[name].items():
            taken = part[..., kept[source], :][..., kept[name]]
            taken[..., kept[source] < 0, :] = 0
            rows.append(taken)
        pruned = np.concatenate(rows, axis=3).astype(np.float32)
        result[name] = (_inputs_before_outputs(name, pruned), weights[name][1][kept[name]])
    return result


def _inputs_before_outputs(name: str, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Axes (..., in, out) of any layer; its own inverse."""
    transposed = name.startswith("grow") or (name.startswith("up") and name.endswith("_3"))
    return kernel.swapaxes(3, 4) if transposed else kernel
