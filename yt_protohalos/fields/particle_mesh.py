"""Final positions of the sites, by a particle mesh that may be finer than the lattice.

The same BullFrog steps in growth time as in `evolution`, with four differences that bring out small haloes: a start
from second-order perturbation theory, steps that shorten towards the end, forces from differences of the potential (two
transforms for each step), and a filter. With more cells than particles a mesh sees the particle lattice itself, so the
filter cuts the force before the wavenumber of that lattice, 2 pi per site. Where it does not cut, it may undo the
smoothing by the clouds. Late, when collapsed regions hold most of the small-scale power and the lattice is gone there,
another filter may let more of it through.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._utils.progress import Progress, track
from .._utils.system import available_cores
from ..exceptions import EvolutionError
from .evolution import (
    SECOND_ORDER,
    Allocate,
    EvolvedField,
    by_slabs,
    drift,
    in_memory,
    memory_of_velocity,
    write_log_density,
)
from .fourier import displacement_component, potential, second_order_source
from .linear_field import LinearField
from .mesh_loops import GHOSTS, add_clouds, kick_and_drift, solve_poisson


@dataclass(frozen=True)
class MeshPlan:
    """Mesh, steps and force filter of an evolution.

    Parameters
    ----------
    cells_per_site : int
        Mesh cells per lattice site along each axis.
    steps : int
    start : float
        Growth factor, in units of the one at the target time, up to which second-order perturbation theory is used.
    shortening : float
        Exponent p of the growth factors after step i of m, ``1 - (1 - start) (1 - i / m)**p``: 1 for equal steps,
        larger for steps that shorten.
    cut : float
        The force is multiplied by ``exp(-(k / cut)**2)``, with k in radians per site.
    sharpening : int
        Power of the inverse cloud-in-cell window that multiplies the force: 0 for none, 2 for the window of the
        deposit, 4 for those of the deposit and of the reading.
    late_start : float
        Growth factor from which the next two take the place of `cut` and `sharpening`; 1 for never.
    late_cut, late_sharpening : float, int

    Raises
    ------
    EvolutionError
        A value that leaves no mesh, no steps, no time or no force.

    Examples
    --------
    >>> from yt_protohalos.fields.particle_mesh import MeshPlan
    >>> plan = MeshPlan(cells_per_site=2, steps=4, start=0.2, shortening=1.0, cut=5.0, sharpening=0)
    >>> plan.growth
    array([0.2, 0.4, 0.6, 0.8, 1. ])
    """

    cells_per_site: int
    steps: int
    start: float
    shortening: float
    cut: float
    sharpening: int
    late_start: float = 1.0
    late_cut: float = 8.0
    late_sharpening: int = 2

    def __post_init__(self) -> None:
        if self.cells_per_site < 1 or self.steps < 1 or not 0 <= self.start < 1:
            raise EvolutionError(
                f"{self} has no mesh, no steps or no time; use at least one cell per site, at least one step and a "
                "start from 0 to below 1"
            )
        filters = min(self.cut, self.late_cut) > 0 and min(self.sharpening, self.late_sharpening) >= 0
        if not (filters and self.shortening >= 1 and self.late_start >= 0):
            raise EvolutionError(
                f"{self} has no force; use positive cuts, a shortening of at least 1, and sharpenings and a late_start "
                "of at least 0"
            )

    @property
    def growth(self) -> NDArray[np.float64]:
        """Growth factors at the edges of the steps, (steps + 1,), from the start to 1."""
        left = 1 - np.arange(self.steps + 1) / self.steps
        return 1 - (1 - self.start) * left**self.shortening


FAST = MeshPlan(cells_per_site=1, steps=16, start=0.1, shortening=2.0, cut=4.0, sharpening=4)
"""Of the plans with one cell per site, the one whose friends-of-friends groups match most haloes of 155 sites and more
on five tuning runs; see ``benchmarks/evolution.py``."""
ACCURATE = MeshPlan(
    cells_per_site=2, steps=32, start=0.04, shortening=2.0, cut=5.0, sharpening=0,
    late_start=0.5, late_cut=8.0, late_sharpening=2,
)  # fmt: skip
"""Two cells per site: more sites on the right side, at eight times the mesh and three to four times the time. A start
at 0 matches simulations of 2.67 mesh cells a spacing a little better, whose early forces are soft, and those of 5.33
cells worse; see ``docs/validation.md``."""
PLANS = {"fast": FAST, "accurate": ACCURATE}
"""Plans of evolution by name."""
COARSE = "coarse"
"""Name of the evolution of `evolution.evolve_field`, which networks up to planck-v4 read."""


@dataclass(frozen=True)
class Filter:
    """Filter of the force, ``exp(-(k / cut)**2)`` over the cloud-in-cell window to the power of `sharpening`."""

    cut: float
    sharpening: int

    def along(self, frequency: NDArray[np.float64], cells_per_site: int) -> NDArray[np.float32]:
        """Factor along one axis, for frequencies per cell; the filter is the product of three of them."""
        per_site = 2 * np.pi * frequency * cells_per_site
        return (np.exp(-((per_site / self.cut) ** 2)) * np.sinc(frequency) ** -self.sharpening).astype(np.float32)


class ParticleMesh(Protocol):
    """Particles that the forces of a mesh move; all lengths are in sites, growth factors in units of the last one."""

    def drift(self, time: float) -> None:
        """Move the particles for a difference `time` of growth factors."""

    def kick_and_drift(self, force: Filter, memory: float, gain: float, time: float) -> None:
        """Kick them, ``v <- memory v + gain g``, with the acceleration g where they are, and move them."""

    def finish(self) -> None:
        """Write displacement and velocity into the arrays that were given."""


Forces: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.float32], int], ParticleMesh]
"""Makes a `ParticleMesh` of displacement and velocity, float32 (3, n, n, n), and cells per site."""


class ProcessorMesh:
    """`ParticleMesh` by compiled loops on all cores, which works on the given arrays themselves."""

    def __init__(self, displacement: NDArray[np.float32], velocity: NDArray[np.float32], cells_per_site: int) -> None:
        self._displacement, self._velocity, self._cells = displacement, velocity, cells_per_site
        self._mesh = _padded_mesh(cells_per_site * displacement.shape[1])

    def drift(self, time: float) -> None:
        """Move the particles."""
        by_slabs(drift, self._displacement.shape[1], self._displacement, self._velocity, np.float32(time))

    def kick_and_drift(self, force: Filter, memory: float, gain: float, time: float) -> None:
        """Kick the particles and move them."""
        side = len(self._mesh)
        _deposit(self._displacement, self._cells, self._mesh)
        _to_potential(self._mesh, *(force.along(f(side), self._cells) for f in (fft.fftfreq, fft.rfftfreq)))
        by_slabs(
            kick_and_drift, self._displacement.shape[1], self._mesh, self._displacement, self._velocity, self._cells,
            np.float32(memory), np.float32(gain), np.float32(time),
        )  # fmt: skip

    def finish(self) -> None:
        """Do nothing: the arrays hold the last step."""


def final_positions(
    field: LinearField,
    plan: MeshPlan = FAST,
    progress: Progress = False,
    allocate: Allocate = in_memory,
    forces: Forces | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evolve a linear field to its target redshift.

    Parameters
    ----------
    field : LinearField
    plan : MeshPlan
    progress : bool or callable
        See `progress.track`.
    allocate : callable, optional
        ``allocate(name, shape, dtype)`` makes the arrays ``"displacement"`` and ``"velocity"``, as for `evolve_field`.
    forces : callable, optional
        What moves the particles: `ProcessorMesh`, the default, or `prediction.device_mesh.DeviceMesh`.

    Returns
    -------
    displacement, velocity : float32, (3, n, n, n)
        Final minus initial position in sites, and its derivative with respect to the growth factor, which is 1 at the
        target time.

    Raises
    ------
    ExperimentError
        The field has a perturbation that is not periodic.

    Notes
    -----
    Rampf, List & Hahn 2024 (BullFrog): drift half a step, kick ``v <- alpha v + (1 - alpha) g / D``, drift half a step.
    In memory are 24 bytes per site and one mesh of 4 bytes per cell.

    Examples
    --------
    >>> from yt_protohalos.fields.particle_mesh import FAST, final_positions
    >>> displacement, velocity = final_positions(field, FAST)
    >>> displacement.shape  # sites
    (3, 32, 32, 32)
    """
    field.periodic_delta()
    displacement, velocity = (
        allocate(name, (3, *field.lattice.shape), np.float32) for name in ("displacement", "velocity")
    )
    _perturbation_theory(field, plan.start, displacement, velocity)
    particles = (forces or ProcessorMesh)(displacement, velocity, plan.cells_per_site)
    early = Filter(plan.cut, plan.sharpening)
    late = Filter(plan.late_cut, plan.late_sharpening)
    growth = plan.growth
    middles = 0.5 * (growth[1:] + growth[:-1])
    # half a step, then from the middle of each step to that of the next one, at last another half
    drifts = np.diff([growth[0], *middles, growth[-1]])
    particles.drift(drifts[0])
    steps = list(zip(growth, middles, growth[1:], drifts[1:], strict=False))
    for start, middle, end, time in track(steps, "Evolving the linear field", progress=progress):
        memory = memory_of_velocity(start, middle, end)
        force = early if middle < plan.late_start else late
        particles.kick_and_drift(force, memory, (1 - memory) / middle, time)
    particles.finish()
    return displacement, velocity


def evolve_on_mesh(field: LinearField, plan: MeshPlan, progress: Progress = False) -> EvolvedField:
    """Evolved field of `final_positions`: positions and velocities, without densities."""
    displacement, velocity = final_positions(field, plan, progress)
    return EvolvedField(displacement, velocity=velocity)


def _perturbation_theory(
    field: LinearField, growth: float, displacement: NDArray[np.float32], velocity: NDArray[np.float32]
) -> None:
    """Write displacement and velocity of second-order Lagrangian perturbation theory, in sites."""
    for axis in range(3):
        velocity[axis] = displacement_component(field.phi, field.lattice, axis) / np.float32(field.spacing)
    np.multiply(velocity, np.float32(growth), out=displacement)
    if growth:
        second = potential(second_order_source(field.phi, field.lattice), field.lattice)
        for axis in range(3):
            # the second-order displacement is along +grad, displacement_component along -grad
            component = displacement_component(second, field.lattice, axis) / np.float32(-field.spacing)
            displacement[axis] += np.float32(SECOND_ORDER * growth**2) * component
            velocity[axis] += np.float32(2 * SECOND_ORDER * growth) * component


def _padded_mesh(side: int) -> NDArray[np.float32]:
    """Mesh with room for its half spectrum and for `GHOSTS` along the last axis."""
    return np.empty((side, side, 2 * ((side + GHOSTS + 1) // 2)), dtype=np.float32)


def _deposit(displacement: NDArray[np.float32], cells_per_site: int, mesh: NDArray[np.float32]) -> None:
    """Write the density in units of the mean on a mesh, which may be padded, cloud in cell.

    Slabs of sites that cannot reach the same cells are added at the same time. Where they are fewer than the cores,
    several threads add the same slab, each to other planes of the mesh. The order of the sums, and so every bit of the
    result, depends on the field alone.
    """
    n, cores = displacement.shape[1], available_cores()
    by_slabs(_clear, len(mesh), mesh)
    reach = int(max(-displacement[0].min(), displacement[0].max())) + 2
    n_slabs = 2 * (n // (2 * 2 * reach)) or 1
    edges = [n * i // n_slabs for i in range(n_slabs + 1)]
    slabs = list(pairwise(edges))
    with ThreadPoolExecutor(cores) as pool:
        for these in (slabs[::2], slabs[1::2]):
            n_parts = -(-cores // max(1, len(these)))
            parts = list(pairwise(len(mesh) * i // n_parts for i in range(n_parts + 1)))
            tasks = [
                pool.submit(add_clouds, displacement, cells_per_site, mesh, *slab, *planes)
                for slab in these
                for planes in parts
            ]
            for done in tasks:
                done.result()


def _clear(mesh: NDArray[np.float32], first: int, last: int) -> None:
    mesh[first:last] = 0


def log_mesh_density(displacement: NDArray[np.float32], cells_per_site: int, result: NDArray[np.float16]) -> None:
    """Write the logarithm of the density around each site, in units of the mean, on a mesh finer than the lattice.

    displacement : float32, (3, n, n, n), in sites; result : float16, (n, n, n)
    """
    mesh = np.empty((len(result) * cells_per_site,) * 3, dtype=np.float32)
    _deposit(displacement, cells_per_site, mesh)
    by_slabs(write_log_density, len(result), mesh, displacement, cells_per_site, result)


def _to_potential(mesh: NDArray[np.float32], window: NDArray[np.float32], half_window: NDArray[np.float32]) -> None:
    """Replace the density on a padded mesh by the filtered potential, in cells squared.

    The half spectrum takes the place of the mesh. `fft.rfftn` and `fft.irfftn` cannot do that and would hold three
    meshes; getting this memory from the system takes longer than the transforms.
    """
    side, cores = len(mesh), available_cores()
    spectrum = mesh.view(np.complex64)[:, :, : side // 2 + 1]
    k, half_k = (2 * np.pi * f(side).astype(np.float32) for f in (fft.fftfreq, fft.rfftfreq))
    by_slabs(_transform_rows, side, mesh, spectrum)
    # complex transforms that may overwrite their input write the result there
    result = fft.fftn(spectrum, axes=(0, 1), workers=cores, overwrite_x=True)
    by_slabs(solve_poisson, side, result, k, half_k, window, half_window, np.float32(1 / side**3))
    result = fft.ifftn(result, axes=(0, 1), norm="forward", workers=cores, overwrite_x=True)
    by_slabs(_transform_rows_back, side, result, mesh)


def _transform_rows(mesh: NDArray[np.float32], spectrum: NDArray[np.complex64], first: int, last: int) -> None:
    for i in range(first, last):
        spectrum[i] = fft.rfft(mesh[i, :, : len(mesh)], axis=1)


def _transform_rows_back(spectrum: NDArray[np.complex64], mesh: NDArray[np.float32], first: int, last: int) -> None:
    side = len(mesh)
    for i in range(first, last):
        mesh[i, :, :side] = fft.irfft(spectrum[i], n=side, axis=1, norm="forward")
        mesh[i, :, side : side + GHOSTS] = mesh[i][:, np.arange(GHOSTS) % side]
