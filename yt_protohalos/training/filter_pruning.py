"""Weights of a V-Net from those of a wider one: the strongest filters, and the channels that it still sees.

A filter's strength is the (squared) norm of its own kernel times that of the kernels that read it. The narrowed
network is a start for training, not a network of the same accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError

LayerWeights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Kernel and bias by the layer's name."""

INPUT = "channels"


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


def narrow(
    weights: LayerWeights,
    sources: Mapping[str, Sequence[str]],
    filters: Mapping[str, int],
    channels: Sequence[str],
    new_channels: Sequence[str],
) -> LayerWeights:
    """Take the strongest filters of every layer, and of the input the channels wanted.

    Parameters
    ----------
    weights : LayerWeights
        Kernels (3, 3, 3, in, out), of the transposed convolutions ``up*_3`` (3, 3, 3, out, in), and biases (out,).
    sources : mapping
        `layer_sources` of the network.
    filters : mapping
        Outputs that each layer shall have.
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
            raise ModelError(f"layer {name} shall have {filters[name]} filters, but the start has {widths[name]}")
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
        narrowed = np.concatenate(rows, axis=3).astype(np.float32)
        result[name] = (_inputs_before_outputs(name, narrowed), weights[name][1][kept[name]])
    return result


def _inputs_before_outputs(name: str, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Axes (..., in, out) of any layer; its own inverse."""
    return kernel.swapaxes(3, 4) if _is_transposed(name) else kernel


def _is_transposed(name: str) -> bool:
    return name.startswith("up") and name.endswith("_3")


def _read_strength(
    name: str, kernels: Mapping[str, NDArray], sources: Mapping[str, Sequence[str]], widths: Mapping[str, int]
) -> NDArray[np.float64]:
    """Sum of squares with which later layers read each output; 1 for the last layer, which nobody reads."""
    total = np.zeros(widths[name])
    for reader, kernel in kernels.items():
        offset = 0
        for source in sources[reader]:
            if source == name:
                total += np.sum(np.square(kernel[..., offset : offset + widths[source], :]), axis=(0, 1, 2, 4))
            offset += widths[source]
    return total if total.any() else np.ones(widths[name])
