"""Cubes as text for a page that needs no other file: thinned where they are large, compressed, in base64."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 256
"""Sites per side of a packed cube: 67 MB of labels in the browser's memory."""
LARGEST_TEXT = 14_000_000
"""Characters of a packed cube."""
PROBABILITY_STEPS = 100
"""Probabilities are kept to the nearest hundredth: finer ones make the page larger and no pixel different."""


@dataclass(frozen=True)
class PackedCube:
    """Every `stride`-th site of a cube along each axis, from site 0 on; `side` sites per side, ceil(n / stride).

    `text` holds them as a zlib stream in base64, row-major and little-endian, of `type` uint8, uint16 or uint32.
    """

    stride: int
    side: int
    type: str
    text: str


def pack_labels(labels: NDArray[np.integer], largest_text: int = LARGEST_TEXT) -> PackedCube:
    """Pack labels 0..K, (n, n, n), in the shortest unsigned integer that holds them."""
    return _packed(labels, "uint16" if labels.max(initial=0) < 2**16 else "uint32", largest_text)


def pack_probability(probability: NDArray[np.floating], largest_text: int = LARGEST_TEXT) -> PackedCube:
    """Pack probabilities in [0, 1], (n, n, n), as whole multiples of ``1 / PROBABILITY_STEPS``."""
    steps = np.empty(probability.shape, dtype=np.uint8)
    for plane, values in zip(steps, probability, strict=True):
        plane[...] = np.rint(np.clip(values, 0.0, 1.0) * PROBABILITY_STEPS)
    return _packed(steps, "uint8", largest_text)


def _packed(cube: NDArray[Any], name: str, largest_text: int) -> PackedCube:
    """Pack with the smallest stride that respects `LARGEST_SIDE` and `largest_text`; at least one site remains."""
    little_endian = np.dtype(name).newbyteorder("<")
    stride = -(-len(cube) // LARGEST_SIDE)
    while True:
        kept = cube[::stride, ::stride, ::stride].astype(little_endian)
        text = base64.b64encode(zlib.compress(kept.tobytes())).decode()
        if len(text) <= largest_text or len(kept) == 1:
            return PackedCube(stride, len(kept), name, text)
        stride += 1
