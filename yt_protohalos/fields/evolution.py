"""Approximate evolution of a linear field to its target time, in a few steps of growth factor.

A particle mesh with one cell per site and the BullFrog integrator (Rampf, List & Hahn 2024), which follows second-order
Lagrangian perturbation theory exactly before shell crossing and keeps collapsed matter together after it. The time is
the growth factor, 1 at the target, so that delta alone determines the result. Haloes are not resolved: the networks
refine the approximate final position of each site and the density there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

from .._utils.progress import Progress, track
from .._utils.system import available_cores
from .fourier import Spectrum, to_spectrum
from .lattice import Lattice
from .linear_field import LinearField

Allocate = Callable[[str, tuple[int, ...], type[np.generic]], NDArray[Any]]
"""Makes an array of a name, shape and dtype, e.g. mapped from disk."""

STEPS = 12
"""Steps of equal growth; networks are trained with fields of this number of steps and one mesh cell per site."""

SNAPSHOTS = (0.5, 0.75, 1.0)
"""Growth factors at which the density around every particle is kept; STEPS / 4 divides them."""

SMOOTHING = (0.0, 1.0, 2.0)
"""Gaussian widths, in sites, of the densities kept."""

DENSITY_NAMES = tuple(f"density_{100 * growth:.0f}_{width:.0f}" for growth in SNAPSHOTS for width in SMOOTHING)
ARRAYS = ("displacement", "velocity", "density")
"""Arrays that `evolve_field` makes."""
_LEAST_DENSITY = 0.01
SECOND_ORDER = -3.0 / 7.0
_STRIP = 8  # planes of sites whose densities are held in float32 at once


@dataclass(frozen=True)
class EvolvedField:
    """Final position of the sites of a lattice, and the density around it.

    Attributes
    ----------
    displacement : float32, (3, n, n, n)
        Final minus initial position, in sites.
    density : float16, (9, n, n, n), optional
        Natural logarithm of the density around each particle in units of the mean, in the order of `DENSITY_NAMES`:
        growth factors 0.5, 0.75 and 1, each as deposited (cloud in cell) and smoothed over 1 and 2 sites; None where
        no network reads it.
    velocity : float32, (3, n, n, n), optional
        Derivative of the displacement with respect to the growth factor, in sites, at growth factor 1; None where it
        was dropped to save memory.
    channels : dict, optional
        Other channels of networks by name, float16, (n, n, n) each.

    Examples
    --------
    >>> from yt_protohalos.fields.evolution import evolve_field
    >>> evolved = evolve_field(field)
    >>> evolved.displacement.shape, evolved.density.shape
    ((3, 32, 32, 32), (9, 32, 32, 32))
    """

    displacement: NDArray[np.float32]
    density: NDArray[np.float16] | None = None
    velocity: NDArray[np.float32] | None = None
    channels: Mapping[str, NDArray[np.float16]] = dataclass_field(default_factory=dict)

    @property
    def n(self) -> int:
        """Sites per side."""
        return int(self.displacement.shape[-1])


def in_memory(name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Array in memory, of any name."""
    return np.empty(shape, dtype)


def evolve_field(field: LinearField, progress: Progress = False, allocate: Allocate = in_memory) -> EvolvedField:
    """Evolve a linear field to its target redshift.

    Parameters
    ----------
    field : LinearField
    progress : bool or callable
        See `progress.track`.
    allocate : callable, optional
        ``allocate(name, shape, dtype)`` makes the arrays `ARRAYS`, 42 bytes per site together, e.g. mapped from disk;
        in memory by default. Three meshes of 4 bytes per site are always in memory.

    Returns
    -------
    EvolvedField
        Keep it, and pass it on to whatever needs it: it takes seconds to minutes to compute.

    Raises
    ------
    ExperimentError
        The field has a perturbation that is not periodic.

    Notes
    -----
    Rampf, List & Hahn 2024 (BullFrog), with second-order growth E = -3/7 D^2: drift half a step, kick
    ``v <- alpha v + (1 - alpha) g / D``, drift half a step, where alpha makes the velocity agree with second-order
    perturbation theory at the end of each step.

    Examples
    --------
    >>> from yt_protohalos.fields.evolution import evolve_field
    >>> evolved = evolve_field(field)
    >>> evolved.displacement.shape  # sites
    (3, 32, 32, 32)
    """
    delta, lattice = field.periodic_delta(), field.lattice
    velocity = allocate("velocity", (3, *lattice.shape), np.float32)
    moved = allocate("displacement", (3, *lattice.shape), np.float32)
    density = allocate("density", (len(DENSITY_NAMES), *lattice.shape), np.float16)
    spectrum = to_spectrum(delta.astype(np.float32, copy=False))
    for axis in range(3):
        velocity[axis] = _inverse_gradient(spectrum, lattice, axis)
        moved[axis] = 0
    del spectrum
    kept = {round(growth * STEPS): i for i, growth in enumerate(SNAPSHOTS)}
    step = 1.0 / STEPS
    half = np.float32(0.5 * step)
    for i in track(range(STEPS), "Evolving the linear field", progress=progress):
        start, middle, end = i * step, (i + 0.5) * step, (i + 1) * step
        by_slabs(drift, lattice.n, moved, velocity, half)
        _kick(velocity, moved, lattice, memory_of_velocity(start, middle, end), middle)
        by_slabs(drift, lattice.n, moved, velocity, half)
        if i + 1 in kept:
            log_densities(moved, lattice, density[kept[i + 1] * len(SMOOTHING) :])
    return EvolvedField(moved, density, velocity)


def memory_of_velocity(start: float, middle: float, end: float) -> float:
    """Share alpha of the old velocity in a kick (BullFrog): exact to second order in the linear field."""
    before, after = 2 * SECOND_ORDER * start, 2 * SECOND_ORDER * end
    position = SECOND_ORDER * start**2 + before * (middle - start)
    force = position / middle - middle
    return (after - force) / (before - force)


def _kick(
    velocity: NDArray[np.float32], moved: NDArray[np.float32], lattice: Lattice, memory: float, growth: float
) -> None:
    spectrum = to_spectrum(_deposit(moved))
    keep, gain = np.float32(memory), np.float32((1 - memory) / growth)
    for axis in range(3):
        pull = _inverse_gradient(spectrum, lattice, axis)
        by_slabs(_pull, lattice.n, pull, moved, velocity[axis], keep, gain)
        del pull  # before the next one is made


def _wavenumbers(lattice: Lattice) -> list[NDArray[np.float32]]:
    """Wavenumbers in radians per site, ready to broadcast."""
    return [(k * lattice.spacing).astype(np.float32) for k in lattice.wavenumbers()]


def _inverse_gradient(spectrum: Spectrum, lattice: Lattice, axis: int) -> NDArray[np.float32]:
    """One component of -grad(laplacian^-1(density)), in sites, of the spectrum of a density contrast."""
    k = _wavenumbers(lattice)
    odd = k[axis].copy()
    # the derivative of the Nyquist mode has no real representation
    odd[np.abs(odd) > np.pi * (1 - 1e-3)] = 0.0
    component = spectrum * (np.complex64(1j) * odd)
    # plane by plane: the squares of all wavenumbers would take half a cube
    for i, plane in enumerate(component):
        k2 = (k[0][i] ** 2 + k[1] ** 2 + k[2] ** 2)[0]
        if i == 0:
            k2[0, 0] = np.inf
        plane /= k2
    return _to_cube(component, lattice)


def _to_cube(spectrum: Spectrum, lattice: Lattice) -> NDArray[np.float32]:
    """Cube of a half spectrum, which is overwritten, as `fourier.to_cube` but scaled in single precision at the end."""
    cores = available_cores()
    spectrum = fft.ifftn(spectrum, axes=(0, 1), norm="forward", workers=cores, overwrite_x=True)
    cube: NDArray[np.float32] = fft.irfft(spectrum, n=lattice.n, axis=2, norm="forward", workers=cores)
    cube *= np.float32(1.0 / lattice.n_sites)
    return cube


def log_densities(
    moved: NDArray[np.float32], lattice: Lattice, result: NDArray[np.float16] | Sequence[NDArray[np.float16]]
) -> None:
    """Write the logarithm of the density around each particle, one for each width of `SMOOTHING`.

    moved : float32, (3, n, n, n), displacement in sites; result : at least three cubes, float16, (n, n, n)
    """
    mesh = _deposit(moved)
    spectrum = to_spectrum(mesh)
    k = _wavenumbers(lattice)
    for i, width in enumerate(SMOOTHING):
        if width:
            # axis by axis: the kernel in three dimensions would take another cube
            filtered = spectrum.copy()
            for along in k:
                filtered *= np.exp(-0.5 * (width * along) ** 2)
            mesh = _to_cube(filtered, lattice)
            del filtered
        by_slabs(write_log_density, lattice.n, mesh, moved, 1, result[i])
        del mesh  # before the next one is made


def write_log_density(
    mesh: NDArray[np.float32],
    moved: NDArray[np.float32],
    cells: int,
    result: NDArray[np.float16],
    first: int,
    last: int,
) -> None:
    """Write the logarithm of a density at the particles of a slab; the mesh has so many cells per site and axis."""
    # in strips: the float32 values of all sites would take another cube
    for start in range(first, last, _STRIP):
        stop = min(start + _STRIP, last)
        values = np.empty((stop - start, *result.shape[1:]), dtype=np.float32)
        _read_clouds(mesh, moved, cells, values, start, stop)
        result[start:stop] = np.log(np.maximum(values, _LEAST_DENSITY))


def by_slabs(work: Callable[..., None], n: int, *arguments: Any) -> None:
    """Call ``work(*arguments, first, last)`` for slabs of sites that cover the lattice, on all cores."""
    edges = slab_edges(n)
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        slabs = [pool.submit(work, *arguments, first, last) for first, last in pairwise(edges)]
    for slab in slabs:
        slab.result()


def slab_edges(n: int) -> list[int]:
    """First site of each slab of `by_slabs`, and `n` at the end."""
    edges: list[int] = np.linspace(0, n, min(n, available_cores()) + 1).astype(int).tolist()
    return edges


def _deposit(moved: NDArray[np.float32]) -> NDArray[np.float32]:
    """Density in units of the mean of particles displaced from their sites, cloud in cell."""
    mesh = np.zeros(moved.shape[1:], dtype=np.float32)
    _add_clouds(moved, mesh)
    return mesh


@njit(cache=True, nogil=True)
def drift(moved: NDArray[np.float32], velocity: NDArray[np.float32], time: np.float32, first: int, last: int) -> None:
    """Move the particles of a slab."""
    for axis in range(3):
        for i in range(first, last):
            moved[axis, i] += time * velocity[axis, i]


@njit(cache=True, nogil=True, inline="always")
def cell_below(position: float, n: int) -> tuple[int, int, np.float32]:
    """Cell below a position, the next one, and the share of the next; all periodic."""
    below = int(np.floor(position))
    share = np.float32(position - below)
    # a remainder without a division
    below -= n * int(np.floor(position * (1.0 / n)))
    # wrap positions that rounding left one period off
    below = below + n if below < 0 else below
    below = below - n if below >= n else below
    above = below + 1
    return below, above - n if above == n else above, share


@njit(cache=True, nogil=True)
def _add_clouds(moved: NDArray[np.float32], mesh: NDArray[np.float32]) -> None:
    n = mesh.shape[0]
    one = np.float32(1.0)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                x, x1, u = cell_below(i + moved[0, i, j, k], n)
                y, y1, v = cell_below(j + moved[1, i, j, k], n)
                z, z1, w = cell_below(k + moved[2, i, j, k], n)
                mesh[x, y, z] += (one - u) * (one - v) * (one - w)
                mesh[x, y, z1] += (one - u) * (one - v) * w
                mesh[x, y1, z] += (one - u) * v * (one - w)
                mesh[x, y1, z1] += (one - u) * v * w
                mesh[x1, y, z] += u * (one - v) * (one - w)
                mesh[x1, y, z1] += u * (one - v) * w
                mesh[x1, y1, z] += u * v * (one - w)
                mesh[x1, y1, z1] += u * v * w


@njit(cache=True, nogil=True)
def _read_clouds(
    mesh: NDArray[np.float32], moved: NDArray[np.float32], cells: int, result: NDArray[np.float32],
    first: int, last: int,
) -> None:  # fmt: skip
    """Cloud-in-cell interpolation of a mesh at the particles of a slab, (last - first, n, n)."""
    for i in range(first, last):
        for j in range(result.shape[1]):
            for k in range(result.shape[2]):
                result[i - first, j, k] = _at_particle(mesh, moved, cells, i, j, k)


@njit(cache=True, nogil=True)
def _pull(
    mesh: NDArray[np.float32], moved: NDArray[np.float32], velocity: NDArray[np.float32],
    keep: np.float32, gain: np.float32, first: int, last: int,
) -> None:  # fmt: skip
    """One component of a kick."""
    for i in range(first, last):
        for j in range(mesh.shape[1]):
            for k in range(mesh.shape[2]):
                velocity[i, j, k] = velocity[i, j, k] * keep + gain * _at_particle(mesh, moved, 1, i, j, k)


@njit(cache=True, nogil=True, inline="always")
def _at_particle(
    mesh: NDArray[np.float32], moved: NDArray[np.float32], cells: int, i: int, j: int, k: int
) -> np.float32:
    n = mesh.shape[0]
    one = np.float32(1.0)
    x, x1, u = cell_below(cells * (i + moved[0, i, j, k]), n)
    y, y1, v = cell_below(cells * (j + moved[1, i, j, k]), n)
    z, z1, w = cell_below(cells * (k + moved[2, i, j, k]), n)
    near = (one - v) * ((one - w) * mesh[x, y, z] + w * mesh[x, y, z1])
    near += v * ((one - w) * mesh[x, y1, z] + w * mesh[x, y1, z1])
    far = (one - v) * ((one - w) * mesh[x1, y, z] + w * mesh[x1, y, z1])
    far += v * ((one - w) * mesh[x1, y1, z] + w * mesh[x1, y1, z1])
    value: np.float32 = (one - u) * near + u * far
    return value
