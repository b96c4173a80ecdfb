"""Datasets whose plots have axes in comoving Mpc/h, unless the user chooses another unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from yt.frontends.stream.api import StreamDataset

AXES_UNIT = "Mpccm/h"


class ComovingAxes:
    """Base of datasets for which yt takes comoving Mpc/h where it chooses a unit of length itself."""

    def get_smallest_appropriate_unit(self, v: Any, quantity: str = "distance", return_quantity: bool = False) -> Any:
        """Return comoving Mpc/h for lengths, or a power of ten for scale bars; otherwise what yt chooses."""
        if quantity != "distance":
            return super().get_smallest_appropriate_unit(v, quantity, return_quantity)  # type: ignore[misc]
        if not return_quantity:
            return AXES_UNIT
        # scale bars show whole numbers
        unit = AXES_UNIT if v.to_value(AXES_UNIT) >= 1 else f"k{AXES_UNIT[1:]}"
        return self.quan(10.0 ** np.floor(np.log10(float(v.to_value(unit)))), unit)  # type: ignore[attr-defined]


class LatticeGrid(ComovingAxes, StreamDataset):
    """Grid on the Lagrangian lattice, made by `lattice_dataset`."""
