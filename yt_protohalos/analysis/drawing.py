"""Common parts of the pictures: figures without pyplot, and slices through a cube of sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import LatticeError
from ..prediction.result import LabelledSites

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

AXES = "xyz"
LABEL_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
"""Colours that tell labels apart and mean nothing else: those of Okabe & Ito, without black."""


@dataclass(frozen=True)
class Slice:
    """A plane of a cube of sites, drawn with the first of the two other axes to the right and the second upwards.

    An image of it is an array (side, side), indexed [up, right] as `imshow` expects it. `axis` is the normal of the
    plane, `side` the number of sites per side of the cube, `spacing` their distance in comoving Mpc/h, and `first_site`
    the position of the cube's site [0, 0, 0] in units of it. Raises `LatticeError` if there is no such axis or plane.
    """

    axis: str
    index: int
    side: int
    spacing: float
    first_site: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_axis(self.axis)
        if not 0 <= self.index < self.side:
            raise LatticeError(f"plane {self.index} is outside the cube; use 0 to {self.side - 1}")

    @classmethod
    def through(cls, prediction: LabelledSites, axis: str, index: int | None = None) -> Slice:
        """Plane of the labels of a box or region; by default the one with most protohalo sites."""
        if index is None:
            index = fullest_plane(prediction.labels, axis)
        # the labels of a region begin at a site of the box
        first_site = tuple(site + prediction.site_offset for site in getattr(prediction, "start", (0, 0, 0)))
        return cls(axis, index, len(prediction.labels), prediction.lattice.spacing, first_site)

    @property
    def position(self) -> float:
        """Position of the plane along its normal, Mpc/h."""
        return (self.first_site[AXES.index(self.axis)] + self.index) * self.spacing

    @property
    def axis_names(self) -> tuple[str, str]:
        """Names of the axes to the right and upwards."""
        right, up = (name for name in AXES if name != self.axis)
        return right, up

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper edge of the picture, Mpc/h; pixels are centred on the sites."""
        left, bottom = ((self.first_site[AXES.index(name)] - 0.5) * self.spacing for name in self.axis_names)
        width = self.side * self.spacing
        return left, left + width, bottom, bottom + width

    def image(self, cube: NDArray[Any]) -> NDArray[Any]:
        """Image of the plane of a cube."""
        return np.asarray(np.take(cube, self.index, axis=AXES.index(self.axis)).T)

    def show(self, ax: Axes, image: NDArray[Any], **style: Any) -> AxesImage:
        """Draw an image; `style` is passed to `imshow`."""
        return ax.imshow(image, origin="lower", extent=self.extent, interpolation="nearest", **style)

    def outline(self, ax: Axes, image: NDArray[Any], **style: Any) -> None:
        """Draw the borders between labels of an image; `style` is passed to `LineCollection`."""
        from matplotlib.collections import LineCollection

        lines = []
        for axis, along in ((1, (0, 1)), (0, (1, 0))):
            row, column = np.nonzero(np.diff(image, axis=axis))
            end = np.stack([column + 1, row + 1], axis=1)
            lines.append(np.stack([end - along, end], axis=1))
        left, _, bottom, _ = self.extent
        ax.add_collection(LineCollection(list((left, bottom) + self.spacing * np.concatenate(lines)), **style))


def fullest_plane(labels: NDArray[np.integer], axis: str) -> int:
    """Plane of a cube of labels, 0 outside, with most labelled sites."""
    _check_axis(axis)
    return int(np.argmax(np.count_nonzero(np.moveaxis(labels, AXES.index(axis), 0), axis=(1, 2))))


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **layout: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """Make a figure and a flat array of its axes without pyplot; sizes in inches, `layout` is passed to `subplots`."""
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **layout).ravel()


def _check_axis(axis: str) -> None:
    if axis not in tuple(AXES):
        raise LatticeError(f"axis {axis!r} is unknown; use x, y or z")
