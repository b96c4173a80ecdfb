"""Compiled loops of the particle mesh over cells and particles; each works on a slab, so that threads share the box."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

GHOSTS = 5
"""Cells that repeat the first ones after each row of a potential, so that no particle's force wraps around there."""


@njit(cache=True, nogil=True)
def solve_poisson(
    spectrum: NDArray[np.complex64], k: NDArray[np.float32], half_k: NDArray[np.float32],
    window: NDArray[np.float32], half_window: NDArray[np.float32], norm: np.float32, first: int, last: int,
) -> None:  # fmt: skip
    """Divide a spectrum by -k^2 and filter it, for planes of its first axis."""
    for x in range(first, last):
        for y in range(len(k)):
            for z in range(len(half_k)):
                square = k[x] * k[x] + k[y] * k[y] + half_k[z] * half_k[z]
                if square > 0:
                    spectrum[x, y, z] *= -norm * window[x] * window[y] * half_window[z] / square
                else:
                    spectrum[x, y, z] = 0


@njit(cache=True, nogil=True, inline="always")
def _cell_below(site: int, moved: np.float32, cells_per_site: int, side: int) -> tuple[int, np.float32]:
    """Cell below a displaced site, and the share of the next cell."""
    cells = np.float32(cells_per_site) * moved
    whole = np.floor(cells)
    below = cells_per_site * site + int(whole)
    if below < 0 or below >= side:
        below %= side
    return below, cells - whole


@njit(cache=True, nogil=True)
def add_clouds(
    displacement: NDArray[np.float32], cells_per_site: int, mesh: NDArray[np.float32], first: int, last: int,
    first_plane: int, last_plane: int,
) -> None:  # fmt: skip
    """Add the sites of a slab to some planes of the mesh."""
    n, side, one = displacement.shape[1], len(mesh), np.float32(1.0)
    mass = np.float32(cells_per_site**3)
    for i in range(first, last):
        for j in range(n):
            for k in range(n):
                x, u = _cell_below(i, displacement[0, i, j, k], cells_per_site, side)
                x1 = x + 1 if x + 1 < side else 0
                has_near, has_far = first_plane <= x < last_plane, first_plane <= x1 < last_plane
                if not has_near and not has_far:
                    continue
                y, v = _cell_below(j, displacement[1, i, j, k], cells_per_site, side)
                z, w = _cell_below(k, displacement[2, i, j, k], cells_per_site, side)
                # unsigned indices, because signed ones are checked for their sign at every use
                y0, y1 = np.uint64(y), np.uint64(y + 1 if y + 1 < side else 0)
                z0, z1 = np.uint64(z), np.uint64(z + 1 if z + 1 < side else 0)
                if has_near:
                    x0, near = np.uint64(x), mass * (one - u)
                    mesh[x0, y0, z0] += near * (one - v) * (one - w)
                    mesh[x0, y0, z1] += near * (one - v) * w
                    mesh[x0, y1, z0] += near * v * (one - w)
                    mesh[x0, y1, z1] += near * v * w
                if has_far:
                    x0, far = np.uint64(x1), mass * u
                    mesh[x0, y0, z0] += far * (one - v) * (one - w)
                    mesh[x0, y0, z1] += far * (one - v) * w
                    mesh[x0, y1, z0] += far * v * (one - w)
                    mesh[x0, y1, z1] += far * v * w


@njit(cache=True, nogil=True, inline="always")
def _starts(cell: int, side: int, stride: int, starts: NDArray[np.uint64]) -> None:
    """Index in the flat mesh of the six cells from -2 to 3 of a cell, along one axis."""
    if cell >= 2 and cell + 3 < side:
        start = (cell - 2) * stride
        for o in range(6):
            starts[o] = start
            start += stride
    else:
        for o in range(6):
            starts[o] = ((cell + o - 2) % side) * stride


@njit(cache=True, nogil=True, inline="always")
def _slope_weights(share: np.float32, weights: NDArray[np.float32]) -> None:
    """Weights of six cells, from -2 to 3, in the slope between cells 0 and 1: differences of fourth order at both."""
    near, far, rest = np.float32(2 / 3), np.float32(1 / 12), np.float32(1.0) - share
    weights[0], weights[1], weights[2] = far * rest, far * share - near * rest, -near * share
    weights[3], weights[4], weights[5] = near * rest, near * share - far * rest, -far * share


@njit(cache=True, nogil=True, inline="always")
def _slope_across(
    flat: NDArray[np.float32], starts: NDArray[np.uint64], weights: NDArray[np.float32], row: np.uint64,
    next_row: np.uint64, share: np.float32, share_z: np.float32,
) -> np.float32:  # fmt: skip
    """Slope along the first or second axis; rows of the other one, from the cell of the third on."""
    one, step = np.float32(1.0), np.uint64(1)
    rest, here, there = one - share, np.float32(0), np.float32(0)
    for o in range(6):
        a, b = starts[o] + row, starts[o] + next_row
        here += weights[o] * (rest * flat[a] + share * flat[b])
        there += weights[o] * (rest * flat[a + step] + share * flat[b + step])
    return (one - share_z) * here + share_z * there


@njit(cache=True, nogil=True)
def kick_and_drift(
    force: NDArray[np.float32], displacement: NDArray[np.float32], velocity: NDArray[np.float32], cells_per_site: int,
    keep: np.float32, gain: np.float32, time: np.float32, first: int, last: int,
) -> None:  # fmt: skip
    """Kick the particles of a slab, ``velocity <- keep velocity - gain grad(potential)``, and move them.

    force : potential on a mesh whose rows end with `GHOSTS`
    """
    n, side, one = displacement.shape[1], len(force), np.float32(1.0)
    gain, flat, row = gain / np.float32(cells_per_site), force.ravel(), force.shape[2]
    xs, ys = np.empty(6, np.uint64), np.empty(6, np.uint64)
    along_x, along_y, along_z = np.empty(6, np.float32), np.empty(6, np.float32), np.empty(6, np.float32)
    for i in range(first, last):
        for j in range(n):
            for k in range(n):
                x, u = _cell_below(i, displacement[0, i, j, k], cells_per_site, side)
                y, v = _cell_below(j, displacement[1, i, j, k], cells_per_site, side)
                z, w = _cell_below(k, displacement[2, i, j, k], cells_per_site, side)
                _starts(x, side, side * row, xs)
                _starts(y, side, row, ys)
                _slope_weights(u, along_x)
                _slope_weights(v, along_y)
                _slope_weights(w, along_z)
                # with the ghosts, the six cells of any row lie one after the other
                cell = np.uint64(z + side if z < 2 else z)
                pull_x = _slope_across(flat, xs, along_x, ys[2] + cell, ys[3] + cell, v, w)
                pull_y = _slope_across(flat, ys, along_y, xs[2] + cell, xs[3] + cell, u, w)
                near, near_far, far_near, far = (one - u) * (one - v), (one - u) * v, u * (one - v), u * v
                cell -= np.uint64(2)
                a, b, c, d = xs[2] + ys[2] + cell, xs[2] + ys[3] + cell, xs[3] + ys[2] + cell, xs[3] + ys[3] + cell
                pull_z = np.float32(0)
                for o in range(np.uint64(6)):
                    pull_z += along_z[o] * (
                        near * flat[a + o] + near_far * flat[b + o] + far_near * flat[c + o] + far * flat[d + o]
                    )
                velocity[0, i, j, k] = keep * velocity[0, i, j, k] - gain * pull_x
                velocity[1, i, j, k] = keep * velocity[1, i, j, k] - gain * pull_y
                velocity[2, i, j, k] = keep * velocity[2, i, j, k] - gain * pull_z
                displacement[0, i, j, k] += time * velocity[0, i, j, k]
                displacement[1, i, j, k] += time * velocity[1, i, j, k]
                displacement[2, i, j, k] += time * velocity[2, i, j, k]
