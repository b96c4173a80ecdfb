"""A warning where yt draws haloes over a plot of another frame; needs yt_astro_analysis, which draws them."""

from __future__ import annotations

import warnings
from typing import Any

from yt_astro_analysis.halo_analysis.halo_catalog.plot_modifications import HaloCatalogCallback

from ..catalog.frames import FRAMES, LAGRANGIAN
from ..exceptions import FrameWarning
from .comoving_axes import LatticeGrid


# yt makes the method annotate_halos of plots from the class that has this name last
class FrameCheckedHalos(HaloCatalogCallback):
    """Draw circles as `HaloCatalogCallback` does, with a `FrameWarning` for haloes of another frame than the plot."""

    _type_name = "halos"

    def __call__(self, plot: Any) -> None:
        """Draw the circles of one plot."""
        message = mixed_frames(plot.ds, self.halo_data.ds)
        if message is not None:
            warnings.warn(message, FrameWarning, stacklevel=2)
        super().__call__(plot)


def mixed_frames(plotted: Any, haloes: Any) -> str | None:
    """Warning about haloes drawn over a plot of a dataset of another frame or redshift, None where both fit."""
    frame = haloes.parameters.get("frame")
    on_lattice, lagrangian = isinstance(plotted, LatticeGrid), frame == LAGRANGIAN
    if on_lattice and not lagrangian:
        return (
            f"{haloes} holds haloes at z = {haloes.current_redshift:g}, but the plot shows the Lagrangian lattice at "
            f"z = {plotted.current_redshift:g}: centres and sizes of the circles are wrong; draw "
            'find_protohalos(ds, frame="lagrangian")'
        )
    # a catalogue of the Lagrangian frame may lie over the initial conditions themselves
    if frame in FRAMES and abs(plotted.current_redshift - haloes.current_redshift) > 1e-3 * (
        1 + plotted.current_redshift
    ):
        remedy = "a catalogue in the Eulerian frame" if lagrangian else "a catalogue at that redshift"
        return (
            f"{haloes} is at z = {haloes.current_redshift:g}, but the plot at z = {plotted.current_redshift:g}: sizes "
            f"of the circles are wrong; draw {remedy}"
        )
    return None
