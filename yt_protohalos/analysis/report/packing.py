"""Cubes as text: thinned where they are large, deflated, in base64, for a page that a browser reads by itself."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 256
"""Sites per side of a packed cube: 67 MB of labels in the browser's memory."""
LARGEST_TEXT = 14_000_000
"""Characters of a packed cube."""
PROBABILITY_STEPS = 100
"""Probabilities are kept to the nearest hundredth: finer ones make the page larger and no pixel different."""

_TYPES = {"uint8": "<u1", "uint16": "<u2", "uint32": "<u4"}


@dataclass(frozen=True)
class PackedCube:
    """Every `stride`-th site of a cube along each axis, from site 0 on.

    Attributes
    ----------
    stride : int
    side : int
        Sites per side that are kept, ceil(n / stride).
    type : str
        ``"uint8"``, ``"uint16"`` or ``"uint32"``, little-endian, row-major.
    text : str
        The bytes as a zlib stream in base64.
    """

    stride: int
    side: int
    type: str
    text: str

    def unpacked(self) -> NDArray[np.unsignedinteger]:
        """The kept sites, (side, side, side)."""
        raw = zlib.decompress(base64.b64decode(self.text))
        return np.frombuffer(raw, dtype=_TYPES[self.type]).reshape((self.side,) * 3)


def pack_labels(labels: NDArray[np.integer], largest_text: int = LARGEST_TEXT) -> PackedCube:
    """Pack labels 0..K, (n, n, n), in the shortest unsigned integer that holds them."""
    name = "uint16" if labels.max(initial=0) < 2**16 else "uint32"
    return _packed(labels, name, largest_text)


def pack_probability(probability: NDArray[np.floating], largest_text: int = LARGEST_TEXT) -> PackedCube:
    """Pack probabilities in [0, 1], (n, n, n), as whole multiples of ``1 / PROBABILITY_STEPS``."""
    steps = np.empty(probability.shape, dtype=np.uint8)
    for plane, values in zip(steps, probability, strict=True):
        plane[...] = np.rint(np.clip(values, 0.0, 1.0) * PROBABILITY_STEPS)
    return _packed(steps, "uint8", largest_text)


def _packed(cube: NDArray, name: str, largest_text: int) -> PackedCube:
    """With the smallest stride that respects `LARGEST_SIDE` and `largest_text`; one site always remains."""
    stride = -(-len(cube) // LARGEST_SIDE)
    while True:
        kept = cube[::stride, ::stride, ::stride].astype(_TYPES[name])
        text = base64.b64encode(zlib.compress(kept.tobytes())).decode()
        if len(text) <= largest_text or len(kept) == 1:
            return PackedCube(stride, len(kept), name, text)
        stride += 1
