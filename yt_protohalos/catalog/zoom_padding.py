"""The padding that holds a halo: what simulations say of the regions of each bundled model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import RegionError
from .zoom_files import SHAPES

TABLES = "zoom_padding.json"
"""In the package's data; ``examples/zoom_check.py`` measures it."""
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class PaddingTable:
    """Share of haloes whose region held them, by padding.

    Attributes
    ----------
    model : str
    haloes : int
        Number of protohaloes that were compared with the simulated halo that they become.
    smallest : int
        Sites of the smallest of them.
    spacing : float
        Of the simulation, comoving Mpc/h.
    paddings : float64, (P,)
        Sites.
    contain : float64, (C,)
        Shares of the particles of a halo, ascending.
    held : dict of float64, (C, P)
        By shape: share of the haloes of which at least ``contain`` started inside.
    """

    model: str
    haloes: int
    smallest: int
    spacing: float
    paddings: NDArray[np.float64]
    contain: NDArray[np.float64]
    held: Mapping[str, NDArray[np.float64]]

    def padding(self, shape: str, contain: float, confidence: float) -> float:
        """Smallest measured padding, in sites, with which the region held a share of the halo.

        Parameters
        ----------
        shape : {"region", "convex_hull", "ellipsoid"}
        contain : float
            Share of the particles of the halo.
        confidence : float
            Share of the haloes for which this was so.

        Raises
        ------
        RegionError
            One of both is no share, or no measured padding was enough.
        """
        held = self._held(shape, contain, confidence)
        enough = np.flatnonzero(held >= confidence)
        if not len(enough):
            raise RegionError(
                f"contain {contain:g} with confidence {confidence:g}: a {shape} of {self.model} with the "
                f"largest measured padding, {self.paddings[-1]:g} sites, held that much of {held[-1]:.0%} of "
                f"{self.haloes} haloes; ask for less or another shape, or give a padding"
            )
        return float(self.paddings[enough[0]])

    def _held(self, shape: str, contain: float, confidence: float) -> NDArray[np.float64]:
        """Share of the haloes that held at least `contain`, by padding; what was measured next above `contain`."""
        if shape not in SHAPES:
            raise RegionError(f"shape {shape!r} is unknown; use one of {', '.join(SHAPES)}")
        # 99.9 % is more than 0.999 by rounding
        row = int(np.searchsorted(self.contain, contain - _ROUNDING))
        if not (contain > 0 and row < len(self.contain) and 0 < confidence < 1):
            raise RegionError(
                f"contain {contain:g} with confidence {confidence:g} was not measured; contain goes up to "
                f"{self.contain[-1]:g}, and confidence is below 1"
            )
        return np.asarray(self.held[shape][row])


@cache
def _tables() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(__package__.partition(".")[0]).joinpath("data", TABLES).read_text())
    return found


def padding_table(model: str | None) -> PaddingTable:
    """The table of a model; `RegionError` if none was measured."""
    known = _tables()
    if model not in known:
        raise RegionError(
            f"no padding was measured for model {model!r}, only for {', '.join(known)}; give the padding yourself, or "
            "measure it with examples/zoom_check.py"
        )
    entry = known[model]
    held = {shape: np.array(entry["held"][shape]) for shape in SHAPES}
    return PaddingTable(
        str(model), entry["haloes"], entry["smallest"], entry["spacing"], np.array(entry["paddings"], dtype=float),
        np.array(entry["contain"]), held,
    )  # fmt: skip
