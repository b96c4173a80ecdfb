"""Common parts of the pictures: figures without pyplot, slices through a cube of sites, and outlines of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import LatticeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

AXES = "xyz"


@dataclass(frozen=True)
class Slice:
    """A plane of a cube of sites, drawn with the first of the two other axes to the right and the second upwards.

    Attributes
    ----------
    axis : {"x", "y", "z"}
        Normal of the plane.
    index : int
        Plane of the cube, from 0.
    side : int
        Sites per side of the cube.
    spacing : float
        Comoving distance of neighbouring sites, Mpc/h.
    first_site : tuple of three float
        Position of the site [0, 0, 0] of the cube, in units of the spacing.

    Raises
    ------
    LatticeError
        The axis or the plane does not exist.
    """

    axis: str
    index: int
    side: int
    spacing: float
    first_site: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        check_axis(self.axis)
        if not 0 <= self.index < self.side:
            raise LatticeError(f"plane {self.index} is outside the cube; use 0 to {self.side - 1}")

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
        """Plane of a cube, (side, side), indexed [up, right] as `imshow` expects it."""
        return np.asarray(np.take(cube, self.index, axis=AXES.index(self.axis)).T)

    def show(self, ax: Axes, image: NDArray[Any], **style: Any) -> AxesImage:
        """Draw an image of the plane; `style` is passed to `imshow`."""
        return ax.imshow(image, origin="lower", extent=self.extent, interpolation="nearest", **style)

    def outline(self, ax: Axes, image: NDArray[Any], **style: Any) -> None:
        """Draw the borders of labels in an image of the plane; `style` is passed to `LineCollection`."""
        left, _, bottom, _ = self.extent
        draw_outlines(ax, image, self.spacing, (left, bottom), **style)


def check_axis(axis: str) -> None:
    """Raise `LatticeError` unless the axis is x, y or z."""
    if axis not in tuple(AXES):
        raise LatticeError(f"axis {axis!r} is unknown; use x, y or z")


def fullest_plane(labels: NDArray[np.integer], axis: str) -> int:
    """Plane of a cube of labels, 0 outside, with most labelled sites."""
    check_axis(axis)
    others = tuple(i for i in range(3) if AXES[i] != axis)
    return int(np.argmax(np.count_nonzero(labels, axis=others)))


def draw_outlines(
    ax: Axes, image: NDArray[np.integer], spacing: float, corner: tuple[float, float], **style: Any
) -> None:
    """Draw lines between neighbouring sites of different labels.

    Parameters
    ----------
    ax : matplotlib Axes
    image : int, (rows, columns)
        Labels of a plane, indexed [up, right].
    spacing : float
        Distance of neighbouring sites in the units of the axes.
    corner : tuple of float
        Left and lower edge of the picture.
    **style
        Passed to matplotlib's `LineCollection`.
    """
    from matplotlib.collections import LineCollection

    lines = []
    for direction, along in ((1, (0, 1)), (0, (1, 0))):
        row, column = np.nonzero(np.diff(image, axis=direction))
        end = np.stack([column + 1, row + 1], axis=1)
        lines.append(np.stack([end - along, end], axis=1))
    ax.add_collection(LineCollection(list(np.array(corner) + spacing * np.concatenate(lines)), **style))


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **layout: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """Make a figure and a flat array of its axes without pyplot; sizes in inches, `layout` is passed to `subplots`."""
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **layout).ravel()
