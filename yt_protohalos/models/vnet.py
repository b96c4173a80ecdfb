"""The V-Net of López-Cano et al. 2024 (section 2.6, figure 4), written with the Keras 3 API alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .backend import import_keras
from .network_card import PAPER_FILTERS, check_architecture

LEAKY_SLOPE = 0.1


def build_vnet(
    side: int = 144,
    in_channels: int = 2,
    head: str = "semantic",
    margin: int = 8,
    filters: Sequence[int] = PAPER_FILTERS,
    embedding: int = 3,
    input_skip: bool = False,
    residual: bool = False,
    dtype_policy: str | None = None,
    fine_policy: str | None = None,
) -> Any:
    """Build an untrained V-Net.

    Each level, of half the side of the one above, has a block of three convolutions with leaky ReLU on the way down and
    one on the way up; the last of a block is strided or transposed. Skips connect equal levels.

    Parameters
    ----------
    side : int
        Sites per side of the input crop; a multiple of the network's stride, 2^(levels - 1).
    in_channels : int
    head : {"semantic", "instance", "contour"}
        Membership probability (sigmoid), embedding in pseudo-space (linear) or probability of a contour (sigmoid).
    margin : int
        Sites dropped on each face of the output.
    filters : sequence of int
        Filters at each level, the deepest last.
    embedding : int
        Dimensions of the pseudo-space, for the instance head.
    input_skip : bool
        Hand the input channels to the output convolution too, so that the embedding need not carry the Lagrangian
        positions through every level.
    residual : bool
        Let the second convolution of every block add to what enters the block, starting from nothing (Milletari et al.
        2016; the zero start is that of Zhang et al. 2019).
    dtype_policy : str, optional
        Keras dtype policy of the inner layers, e.g. ``"mixed_bfloat16"``; float32 by default. The output is float32.
    fine_policy : str, optional
        The same for the convolutions that see every site; `dtype_policy` by default.

    Returns
    -------
    keras.Model
        float32 (batch, side, side, side, in_channels) -> float32 (batch, side - 2 margin, ..., 1 or `embedding`).

    Raises
    ------
    ModelError
        For a side, margin, head or filters that cannot be built.
    """
    check_architecture(
        {"side": side, "in_channels": in_channels, "head": head, "margin": margin, "filters": tuple(filters)}
    )
    keras = import_keras()
    layers = keras.layers
    coarse = dtype_policy or "float32"
    fine = fine_policy or coarse

    def convolve(x: Any, n_filters: int, name: str, dtype: str, stride: int = 1, shortcut: Any = None) -> Any:
        start = "he_normal" if shortcut is None else "zeros"
        x = layers.Conv3D(n_filters, 3, stride, "same", kernel_initializer=start, dtype=dtype, name=name)(x)
        if shortcut is not None:
            x = layers.Add(dtype=dtype, name=f"{name}_add")([x, shortcut])
        return layers.LeakyReLU(negative_slope=LEAKY_SLOPE, dtype=dtype, name=f"{name}_relu")(x)

    inputs = keras.Input((side, side, side, in_channels), dtype="float32", name="channels")
    x, skips = inputs, []
    for level, n_filters in enumerate(filters[:-1]):
        policy = fine if level == 0 else coarse
        # phi is smooth: its tides are differences that bfloat16 would round away, so the first layer is float32
        first = convolve(x, n_filters, f"down{level}_1", "float32" if level == 0 else policy)
        entered = first if level == 0 else x
        x = convolve(first, n_filters, f"down{level}_2", policy, shortcut=entered if residual else None)
        skips.append(x)
        x = convolve(x, filters[level + 1], f"down{level}_3", policy, stride=2)
    entered = x
    for level in range(len(filters) - 1, 0, -1):
        x = convolve(x, filters[level], f"up{level}_1", coarse)
        x = convolve(x, filters[level], f"up{level}_2", coarse, shortcut=entered if residual else None)
        # he_normal takes the wrong axis for the fan of a transposed kernel, and with stride 2 an output site meets only
        # an eighth of the kernel: with it the deep levels start nearly silent
        start = keras.initializers.VarianceScaling(scale=16.0, mode="fan_out", distribution="truncated_normal")
        x = layers.Conv3DTranspose(
            filters[level - 1], 3, 2, "same", kernel_initializer=start, dtype=coarse, name=f"up{level}_3"
        )(x)
        entered = layers.LeakyReLU(negative_slope=LEAKY_SLOPE, dtype=coarse, name=f"up{level}_3_relu")(x)
        policy = fine if level == 1 else coarse
        x = layers.Concatenate(dtype=policy, name=f"skip{level - 1}")([skips[level - 1], entered])
    x = convolve(x, filters[0], "up0_1", fine)
    x = convolve(x, filters[0], "up0_2", fine, shortcut=entered if residual else None)
    if input_skip:
        x = layers.Concatenate(dtype="float32", name="input_skip")([x, inputs])
    if margin:
        x = layers.Cropping3D(margin, dtype=fine if not input_skip else "float32", name="centre")(x)
    # the last layer is float32: probabilities near 0 and 1, and distances in pseudo-space, need its precision
    dimensions, activation = (embedding, None) if head == "instance" else (1, "sigmoid")
    x = layers.Conv3D(dimensions, 1, activation=activation, dtype="float32", name=head)(x)
    return keras.Model(inputs, x, name=f"vnet_{head}")
