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
from ..models.registry import load_card, verify
from ..models.runtime import load_model
from ..models.vnet import build_vnet
from .losses import EMBEDDING_UNIT
from .settings import TrainingSettings

EVOLVED_EMBEDDING_UNIT = 2.0
"""Sites of evolved position that make one unit of the pseudo-space of `weinberger` at the start of a training."""
INPUT = "channels"
"""Name of the input layer."""

LayerWeights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Kernel and bias by the layer's name."""


@dataclass(frozen=True)
class EarlierNetwork:
    """A trained network: architecture, weights by layer, channels, and the scales that divide them."""

    architecture: dict[str, Any]
    weights: LayerWeights
    channels: tuple[str, ...]
    normalisation: dict[str, float]


def read_network(source: str | Path, head: str) -> EarlierNetwork:
    """Read a network of a bundled model, a model folder or a training folder.

    Raises
    ------
    ModelError
        `source` is none of these, or its network has another head.
    """
    folder = Path(source)
    if (folder / "checkpoint.npz").is_file():
        model, architecture, channels, normalisation = read_checkpoint(folder, side=0)
    else:
        card, folder = load_card(source)
        verify(card, folder)
        network = card.semantic if head == "semantic" else card.instance_network()
        model, architecture = load_model(network, folder, "float32"), dict(network.architecture)
        channels, normalisation = network.channels, dict(network.normalisation)
    if architecture["head"] != head:
        raise ModelError(f"{source} holds a {architecture['head']} network; a {head} network cannot start with it")
    return EarlierNetwork(architecture, _by_layer(model), tuple(channels), normalisation)


def read_checkpoint(folder: Path, side: int) -> tuple[Any, dict[str, Any], tuple[str, ...], dict[str, float]]:
    """Averaged weights of a training folder's checkpoint in a float32 network.

    side : crop side of the network; 0 for the smallest that its levels and margin allow

    Returns
    -------
    model, architecture, channels, normalisation

    Raises
    ------
    ModelError
        The folder has no checkpoint.
    """
    if not (folder / "checkpoint.npz").exists():
        raise ModelError(f"{folder} holds no checkpoint.npz; train first")
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    settings = TrainingSettings(**stored["settings"])
    channels, architecture = settings.input_channels, settings.architecture(side)
    model = build_vnet(**architecture)
    with np.load(folder / "checkpoint.npz") as saved:
        kind = "average_" if any(name.startswith("average_") for name in saved.files) else "weight_"
        model.set_weights([saved[name] for name in sorted(saved.files) if name.startswith(kind)])
    scales = stored["constants"]["normalisation"]
    return model, architecture, channels, {name: scale for name, scale in scales.items() if name in channels}


def start_with(model: Any, earlier: EarlierNetwork, architecture: dict[str, Any], channels: tuple[str, ...]) -> None:
    """Give a new network the weights of an earlier one, without the filters and channels that it does not have.

    Raises
    ------
    ModelError
        The networks differ in more than filters and channels, or residual blocks would lose filters.
    """
    for key in ("head", "input_skip", "residual"):
        if architecture[key] != earlier.architecture[key]:
            raise ModelError(f"the start has {key} = {earlier.architecture[key]}, the new network {architecture[key]}")
    old, new = tuple(earlier.architecture["filters"]), tuple(architecture["filters"])
    if len(old) != len(new):
        raise ModelError(f"the start has {len(old)} levels, the new network {len(new)}; use filters of its length")
    if architecture["residual"] and old != new:
        raise ModelError(f"residual blocks cannot be pruned from filters {old} to {new}; keep the start's filters")
    filters = {name: bias.shape[0] for name, (_, bias) in _by_layer(model).items()}
    sources = layer_sources(len(new), architecture["head"], architecture["input_skip"])
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
    """Layers (or `INPUT`) whose outputs each convolution of `build_vnet` reads, in the order of concatenation."""
    last = levels - 1
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


def prune_filters(
    weights: LayerWeights,
    sources: Mapping[str, Sequence[str]],
    filters: Mapping[str, int],
    channels: Sequence[str],
    new_channels: Sequence[str],
) -> LayerWeights:
    """Keep the strongest filters of every layer, and the wanted channels of the input.

    Parameters
    ----------
    weights : LayerWeights
        Kernels (3, 3, 3, in, out), of the transposed convolutions ``up*_3`` (3, 3, 3, out, in), and biases (out,).
    sources : mapping
        `layer_sources` of the network.
    filters : mapping
        Number of outputs that each layer keeps.
    channels, new_channels : sequence of str
        Input channels of the old network and of the new one. Channels that the old one lacks start at zero.

    Returns
    -------
    LayerWeights

    Raises
    ------
    ModelError
        A layer would need more filters than there are.
    """
    kernels = {name: _inputs_before_outputs(name, kernel) for name, (kernel, _) in weights.items()}
    widths = {name: kernel.shape[-1] for name, kernel in kernels.items()} | {INPUT: len(channels)}
    kept = {INPUT: np.array([channels.index(name) if name in channels else -1 for name in new_channels], dtype=int)}
    for name, kernel in kernels.items():
        if filters[name] > widths[name]:
            raise ModelError(f"layer {name} needs {filters[name]} filters, but the start has {widths[name]}")
        strength = np.sqrt(
            np.sum(np.square(kernel), axis=(0, 1, 2, 3)) * _read_strength(name, kernels, sources, widths)
        )
        strongest = np.argsort(-strength, kind="stable")[: filters[name]]
        kept[name] = np.sort(strongest) if filters[name] < widths[name] else np.arange(widths[name])
    result: LayerWeights = {}
    for name, kernel in kernels.items():
        rows, offset = [], 0
        for source in sources[name]:
            part = kernel[..., offset : offset + widths[source], :]
            missing = kept[source] < 0
            taken = np.where(missing[:, None], np.float32(0), part[..., np.maximum(kept[source], 0), :])
            rows.append(taken[..., kept[name]])
            offset += widths[source]
        pruned = np.concatenate(rows, axis=3).astype(np.float32)
        result[name] = (_inputs_before_outputs(name, pruned), weights[name][1][kept[name]])
    return result


def _inputs_before_outputs(name: str, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Axes (..., in, out) of any layer; its own inverse."""
    transposed = name.startswith("up") and name.endswith("_3")
    return kernel.swapaxes(3, 4) if transposed else kernel


def _read_strength(
    name: str,
    kernels: Mapping[str, NDArray[np.float32]],
    sources: Mapping[str, Sequence[str]],
    widths: Mapping[str, int],
) -> NDArray[np.float64]:
    """Sum of squares with which later layers read each output; 1 for the last layer, which no layer reads."""
    total = np.zeros(widths[name])
    for reader, kernel in kernels.items():
        offset = 0
        for source in sources[reader]:
            if source == name:
                total += np.sum(np.square(kernel[..., offset : offset + widths[source], :]), axis=(0, 1, 2, 4))
            offset += widths[source]
    return total if total.any() else np.ones(widths[name])
