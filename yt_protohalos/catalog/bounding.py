"""Shapes that enclose a set of points: their convex hull and the ellipsoid of least volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from ..exceptions import RegionError

_ROUNDING = 1e-9
"""Points outside by this much, in units of the shape's own size, are on the surface."""
_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class Hull:
    """Convex hull of points.

    Attributes
    ----------
    vertices : float64, (V, 3)
    normals : float64, (F, 3)
        Outward unit normals of the faces.
    offsets : float64, (F,)
        Inside, ``normals @ x <= offsets``.
    volume : float

    Examples
    --------
    >>> from yt_protohalos.catalog.bounding import convex_hull
    >>> cube = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    >>> hull = convex_hull(cube)
    >>> hull.contains(np.array([[0.5, 0.5, 0.5], [2, 0, 0]]))
    array([ True, False])
    """

    vertices: NDArray[np.float64]
    normals: NDArray[np.float64]
    offsets: NDArray[np.float64]
    volume: float

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mask, (N,), of the points, (N, 3), that are inside or on the surface."""
        inside = np.ones(len(points), dtype=bool)
        # one face at a time, because all of them by all points would not fit
        for normal, offset in zip(self.normals, self.offsets, strict=True):
            inside &= points @ normal <= offset + self._slack
        return inside

    def count_integer_points(self) -> int:
        """Points with integer coordinates inside or on the surface."""
        _, _, first, last = self._integer_columns()
        return int(np.maximum(last - first + 1, 0).sum())

    def integer_points(self) -> NDArray[np.int64]:
        """Points with integer coordinates inside or on the surface, (N, 3)."""
        x, y, first, last = self._integer_columns()
        count = np.maximum(last - first + 1, 0).astype(np.int64).ravel()
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        columns = [np.repeat(each.ravel(), count).astype(np.int64) for each in (x, y, first)]
        return np.stack([columns[0], columns[1], columns[2] + within], axis=1)

    def _integer_columns(self) -> tuple[NDArray[np.float64], ...]:
        """Integer x and y of columns along the last axis, and the first and last integer z that the faces leave."""
        low, high = np.floor(self.vertices.min(axis=0)), np.ceil(self.vertices.max(axis=0))
        x, y = np.meshgrid(*(np.arange(low[i], high[i] + 1) for i in (0, 1)), indexing="ij")
        first, last = np.full(x.shape, low[2]), np.full(x.shape, high[2])
        for (a, b, c), offset in zip(self.normals, self.offsets, strict=True):
            rest = offset + self._slack - a * x - b * y
            if c == 0:
                last[rest < 0] = -np.inf
            elif c > 0:
                np.minimum(last, rest / c, out=last)
            else:
                np.maximum(first, rest / c, out=first)
        last = np.maximum(np.floor(last), low[2] - 1)
        return x, y, np.ceil(first), last

    @property
    def _slack(self) -> float:
        return float(_ROUNDING * np.ptp(self.vertices, axis=0).max())

    def mapped(self, scale: float, shift: NDArray[np.float64]) -> Hull:
        """Hull of the points ``scale * x + shift``, scale positive."""
        offsets = scale * self.offsets + self.normals @ shift
        return Hull(scale * self.vertices + shift, self.normals, offsets, scale**3 * self.volume)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid, ``(x - center)^T matrix (x - center) <= 1``.

    Attributes
    ----------
    center : float64, (3,)
    matrix : float64, (3, 3)
        Symmetric and positive.

    Examples
    --------
    >>> from yt_protohalos.catalog.bounding import minimum_ellipsoid
    >>> cube = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    >>> ellipsoid = minimum_ellipsoid(cube)
    >>> ellipsoid.center.round(3)
    array([0.5, 0.5, 0.5])
    """

    center: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @property
    def volume(self) -> float:
        """Volume in the cube of the unit of the points."""
        return float(4 / 3 * np.pi / np.sqrt(np.linalg.det(self.matrix)))

    @property
    def semi_axes(self) -> NDArray[np.float64]:
        """Semi-axes, (3,), descending."""
        return np.asarray(1 / np.sqrt(np.linalg.eigvalsh(self.matrix)))

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mask, (N,), of the points, (N, 3), that are inside or on the surface."""
        return _form(points - self.center, self.matrix) <= 1 + _ROUNDING

    def integer_points(self) -> NDArray[np.int64]:
        """Points with integer coordinates inside or on the surface, (N, 3)."""
        half = np.sqrt(np.diag(np.linalg.inv(self.matrix)))
        low, high = np.floor(self.center - half), np.ceil(self.center + half)
        axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return points[self.contains(points)].astype(np.int64)

    def mapped(self, scale: float, shift: NDArray[np.float64]) -> Ellipsoid:
        """Ellipsoid of the points ``scale * x + shift``, scale positive."""
        return Ellipsoid(scale * self.center + shift, self.matrix / scale**2)


def convex_hull(points: NDArray[Any]) -> Hull:
    """Convex hull of points.

    Parameters
    ----------
    points : float, (N, 3)
        In any unit of length.

    Returns
    -------
    Hull
        In the unit of the points.

    Raises
    ------
    RegionError
        All points lie in a plane.

    Examples
    --------
    >>> from yt_protohalos.catalog.bounding import convex_hull
    >>> cube = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    >>> round(convex_hull(cube).volume, 6)
    1.0
    """
    points = np.asarray(points, dtype=np.float64)
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        raise RegionError(
            f"{len(points)} points in one plane enclose no volume; pad the region by at least one site"
        ) from error
    # Qhull cuts a face into triangles, which share their plane
    planes = np.unique(np.round(hull.equations, 12), axis=0)
    return Hull(points[hull.vertices], planes[:, :3], -planes[:, 3], float(hull.volume))


def minimum_ellipsoid(points: NDArray[Any], tolerance: float = 1e-6) -> Ellipsoid:
    """Ellipsoid of least volume that encloses points.

    Parameters
    ----------
    points : float64, (N, 3)
        Not all in one plane. Vertices of the convex hull are enough.
    tolerance : float
        The volume exceeds the least by a factor of about 1 + 2 tolerance at most.

    Returns
    -------
    Ellipsoid
        All points are inside or on it.

    Raises
    ------
    RegionError
        All points lie in a plane.

    Notes
    -----
    Khachiyan 1996, with the steps away from points of Todd & Yildirim 2007: weights u of the points rise where the
    lifted quadratic form exceeds 4 and fall where it is below, until both are within the tolerance.

    Examples
    --------
    >>> from yt_protohalos.catalog.bounding import minimum_ellipsoid
    >>> cube = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    >>> bool(minimum_ellipsoid(cube).volume > 1)
    True
    """
    points = np.asarray(points, dtype=np.float64)
    middle, size = points.mean(axis=0), np.ptp(points, axis=0)
    if len(points) < 4 or np.linalg.matrix_rank((points - middle) / max(size.max(), 1e-300), tol=1e-9) < 3:
        raise RegionError(f"{len(points)} points in one plane enclose no volume; pad the region by at least one site")
    scaled = (points - middle) / size
    lifted = np.column_stack([scaled, np.ones(len(points))])
    weights = np.full(len(points), 1 / len(points))
    dimension = lifted.shape[1]
    for _ in range(_STEPS):
        form = _form(lifted, np.linalg.inv(lifted.T * weights @ lifted))
        far, near = int(np.argmax(form)), int(np.argmin(np.where(weights > 0, form, np.inf)))
        excess, lack = form[far] / dimension - 1, 1 - form[near] / dimension
        if max(excess, lack) <= tolerance:
            break
        if excess >= lack:
            step = (form[far] - dimension) / (dimension * (form[far] - 1))
            weights *= 1 - step
            weights[far] += step
        else:
            step = weights[near] / (1 - weights[near])
            if form[near] > 1:
                step = min(step, (dimension - form[near]) / (dimension * (form[near] - 1)))
            weights *= 1 + step
            # rounding must not leave a weight below zero
            weights[near] = max(weights[near] - step, 0.0)
    center = weights @ scaled
    moment = scaled.T * weights @ scaled - np.outer(center, center)
    matrix = np.linalg.inv(moment) / 3
    matrix /= _form(scaled - center, matrix).max()
    return Ellipsoid(center * size + middle, matrix / np.outer(size, size))


def _form(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quadratic form of each point, (N, d) -> (N,)."""
    return np.asarray(np.einsum("ij,ij->i", points @ matrix, points))
