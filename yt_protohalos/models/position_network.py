"""The position network: membership of every site, and where the sites of one halo end together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .backend import import_keras
from .network_card import POSITION_FILTERS, check_architecture
from .vnet import LEAKY_SLOPE

OUTPUTS = 5
"""Logits of ending in a halo of the model's smallest size or more, and in any group; then three components of the
displacement from the evolved position to the halo's centre, in units of `channels.DISPLACEMENT_UNIT`."""


def build_position_network(
    side: int | None,
    in_channels: int,
    head: str = "positions",
    margin: int = 16,
    filters: Sequence[int] = POSITION_FILTERS,
    dtype_policy: str | None = None,
    fine_policy: str | None = None,
) -> Any:
    """Build an untrained position network, a U-Net whose finest level is thin.

    The input says most of what a site needs; the coarser levels, where convolutions cost an eighth and less, see its
    surroundings. Down: one convolution at the finest and two at the other levels, then one of stride 2. Up: a
    transposed convolution, and as many as on the way down. The input is handed to the last convolution too. On the way
    up, sites that no output needs are dropped early, which changes no output.

    Parameters
    ----------
    side : int or None
        Sites per side of the input crop; None for crops of any side that is a multiple of the network's stride,
        2^(levels - 1). No weight depends on it.
    in_channels : int
    head : {"positions"}
    margin : int
        Sites dropped on each face of the output.
    filters : sequence of int
        Filters at each level, the deepest last.
    dtype_policy : str, optional
        Keras dtype policy of the inner layers, e.g. ``"mixed_bfloat16"``; float32 by default. The output is float32.
    fine_policy : str, optional
        The same for the convolutions that see every site; `dtype_policy` by default.

    Returns
    -------
    keras.Model
        float32 (batch, side, side, side, in_channels) -> float32 (batch, side - 2 margin, ..., `OUTPUTS`).

    Raises
    ------
    ModelError
        For a side, margin or filters that cannot be built.
    """
    stride = 2 ** (len(filters) - 1)
    known = side or stride * (2 * margin // stride + 1)
    check_architecture(
        {"side": known, "in_channels": in_channels, "head": head, "margin": margin, "filters": tuple(filters)}
    )
    keras = import_keras()
    layers = keras.layers
    coarse = dtype_policy or "float32"
    fine = fine_policy or coarse
    last = len(filters) - 1

    def convolve(x: Any, level: int, name: str, stride: int = 1) -> Any:
        dtype = coarse if level else fine
        x = layers.Conv3D(
            filters[level], 3, stride, "same", kernel_initializer="he_normal", dtype=dtype, name=name
        )(x)  # fmt: skip
        return layers.LeakyReLU(negative_slope=LEAKY_SLOPE, dtype=dtype, name=f"{name}_relu")(x)

    def block(x: Any, level: int, name: str) -> Any:
        for number in range(convolutions(level)):
            x = convolve(x, level, f"{name}{level}_{number + 1}")
        return x

    def crop(x: Any, sites: int, name: str) -> Any:
        return layers.Cropping3D(sites, dtype=x.dtype, name=name)(x) if sites else x

    inputs = keras.Input((side, side, side, in_channels), dtype="float32", name="channels")
    x, skips = inputs, []
    for level in range(last):
        x = block(x, level, "down")
        skips.append(x)
        x = convolve(x, level + 1, f"stride{level + 1}", stride=2)
    x = block(x, last, "down")
    dropped, drops = 0, _dropped_sites(margin, last)
    for level in range(last - 1, -1, -1):
        dtype = coarse if level else fine
        x = crop(x, drops[level] // 2 - dropped, f"crop{level}")
        dropped = drops[level]
        x = layers.Conv3DTranspose(
            filters[level], 2, 2, "same", kernel_initializer="he_normal", dtype=dtype, name=f"grow{level}"
        )(x)  # fmt: skip
        x = layers.Concatenate(dtype=dtype, name=f"skip{level}")([x, crop(skips[level], dropped, f"crop_skip{level}")])
        x = block(x, level, "up")
    ends = [crop(x, margin - dropped, "centre"), crop(inputs, margin, "centre_input")]
    x = layers.Concatenate(dtype="float32", name="input_skip")(ends)
    # small weights, so that training begins from the evolved positions
    start = keras.initializers.RandomNormal(stddev=0.02)
    x = layers.Conv3D(OUTPUTS, 1, kernel_initializer=start, dtype="float32", name=head)(x)
    return keras.Model(inputs, x, name="position_network")


def convolutions(level: int) -> int:
    """Convolutions of a level on each way; the deepest level has them on the way down alone."""
    return 2 if level else 1


def _dropped_sites(margin: int, last: int) -> list[int]:
    """Sites that each level on the way up, the finest first, can drop on each face of its input: an even number."""
    drops = []
    for level in range(last):
        drops.append(max(0, margin - convolutions(level)) // 2 * 2)
        margin = drops[-1] // 2
    return drops


def build_network(**architecture: Any) -> Any:
    """Build the network of a card's architecture, by its head."""
    from .vnet import build_vnet

    build = build_position_network if architecture["head"] == "positions" else build_vnet
    return build(**architecture)
