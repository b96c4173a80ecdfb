"""What a training begins with where it does not begin at random: an earlier network's weights, or positions."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from .dataset import input_channels
from .filter_pruning import LayerWeights, layer_sources, narrow
from .losses import EMBEDDING_UNIT

EVOLVED_EMBEDDING_UNIT = 2.0
"""Sites of evolved position that make one unit of the pseudo-space of `weinberger` at the start of a training."""


@dataclass(frozen=True)
class EarlierNetwork:
    """A trained network: architecture, weights by layer, channels, and the scales that they were divided by."""

    architecture: dict[str, Any]
    weights: LayerWeights
    channels: tuple[str, ...]
    normalisation: dict[str, float]


def read_network(source: str | Path, head: str) -> EarlierNetwork:
    """Network of a bundled model, a model folder or a training folder.

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
    settings, constants = stored["settings"], stored["constants"]
    channels = input_channels(settings["head"], settings.get("mask_threshold", 0), settings.get("channels", ()))
    stride = 2 ** (len(settings["filters"]) - 1)
    architecture = {
        "side": side or stride * (2 * settings["margin"] // stride + 1), "in_channels": len(channels),
        "head": settings["head"], "margin": settings["margin"], "filters": settings["filters"],
        "input_skip": settings["input_skip"], "residual": settings.get("residual", False),
    }  # fmt: skip
    model = build_vnet(**architecture)
    with np.load(folder / "checkpoint.npz") as saved:
        kind = "average_" if any(name.startswith("average_") for name in saved.files) else "weight_"
        model.set_weights([saved[name] for name in sorted(saved.files) if name.startswith(kind)])
    normalisation = {name: scale for name, scale in constants["normalisation"].items() if name in channels}
    return model, architecture, channels, normalisation


def begin_with(model: Any, earlier: EarlierNetwork, architecture: dict[str, Any], channels: tuple[str, ...]) -> None:
    """Give a new network the weights of an earlier one, narrowed where it has fewer filters or channels.

    Raises
    ------
    ModelError
        The networks differ in more than filters and channels, or residual blocks would have to be narrowed.
    """
    for key in ("head", "input_skip", "residual"):
        if architecture[key] != earlier.architecture[key]:
            raise ModelError(f"the start has {key} = {earlier.architecture[key]}, the new network {architecture[key]}")
    old, new = tuple(earlier.architecture["filters"]), tuple(architecture["filters"])
    if len(old) != len(new):
        raise ModelError(f"the start has {len(old)} levels, the new network {len(new)}; use filters of its length")
    if architecture["residual"] and old != new:
        raise ModelError(f"residual blocks cannot be narrowed from filters {old} to {new}; keep the start's filters")
    filters = {name: bias.shape[0] for name, (_, bias) in _by_layer(model).items()}
    sources = layer_sources(len(new), architecture["head"], architecture["input_skip"])
    narrowed = narrow(earlier.weights, sources, filters, earlier.channels, channels)
    for name, (kernel, bias) in narrowed.items():
        model.get_layer(name).set_weights([kernel, bias])


def _by_layer(model: Any) -> LayerWeights:
    found: dict[str, list[NDArray]] = {layer.name: layer.get_weights() for layer in model.layers}
    return {name: (weights[0], weights[1]) for name, weights in found.items() if weights}


def start_at_positions(model: Any, channels: Sequence[str]) -> None:
    """Let an instance network's embedding begin as a position that it is handed by its input skip.

    The evolved position where it is a channel, a halo's width on the scale of the margins of `weinberger`; else the
    Lagrangian one, in the unit of `scaled_weinberger`.
    """
    head = model.get_layer("instance")
    kernel, bias = (np.zeros(weight.shape, dtype=np.float32) for weight in head.get_weights())
    evolved = EVOLVED_POSITION[0] in channels
    names, scale = (
        (EVOLVED_POSITION, EVOLVED_POSITION_UNIT / EVOLVED_EMBEDDING_UNIT)
        if evolved
        else (LAGRANGIAN_POSITION, POSITION_UNIT / EMBEDDING_UNIT)
    )
    for axis, name in enumerate(names):
        kernel[0, 0, 0, kernel.shape[3] - len(channels) + channels.index(name), axis] = scale
    head.set_weights([kernel, bias])
