"""The two frames of a catalogue file: where the haloes are in the end, or their regions in the initial conditions."""

from __future__ import annotations

from ..exceptions import CatalogError

EULERIAN, LAGRANGIAN = "eulerian", "lagrangian"
FRAMES = (EULERIAN, LAGRANGIAN)


def check_frame(frame: str) -> None:
    """Raise `CatalogError` for a frame that is not one of `FRAMES`."""
    if frame not in FRAMES:
        raise CatalogError(f"frame {frame!r} is unknown; use one of {', '.join(FRAMES)}")
