"""Channels of a position network: what the evolved field says of every site.

None depends on the place of a crop, so that crops may have any size: displacements and velocities are given relative to
their mean over the neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..fields.evolution import Allocate, EvolvedField, evolve_field, in_memory, log_densities
from ..fields.fourier import to_cube, to_spectrum
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import COARSE, PLANS, Forces, MeshPlan, final_positions, log_mesh_density
from ..models.channels import (
    FINAL_CHANNELS,
    FINAL_DENSITY,
    GROUP_CENTRE,
    GROUP_SIZES,
    MESH_DENSITY,
    RELATIVE_DISPLACEMENT,
    RELATIVE_VELOCITY,
    sees_evolution,
)
from ..segmentation.friends_of_friends import final_points, friends_of_friends

NEIGHBOURHOOD = 8.0
"""Gaussian width, in sites, of the mean to which displacements and velocities are relative."""
LINKING_LENGTHS = (0.25, 0.18)
"""Of the groups whose sizes are channels, in sites; the first is that of the groups whose centre is one."""
SMALLEST_GROUP = 8
"""Sites; the centre of a smaller group says nothing."""
CHANNEL_NAMES = (*FINAL_DENSITY, *FINAL_CHANNELS)
"""Channels of `evolve_with_channels`."""
ARRAYS = ("displacement", "velocity", *CHANNEL_NAMES)
"""Arrays that `evolve_with_channels` makes."""
_PART = 2**16  # sites whose groups are looked up at a time


def evolve(
    field: LinearField, channels: Collection[str], evolution: str, progress: Progress = False
) -> EvolvedField | None:
    """Evolve a field for networks with these channels; None if none of them comes from the evolved field.

    evolution : as a card states it: ``"coarse"`` is `evolve_field`, others are names of mesh plans
    """
    if not sees_evolution(channels):
        return None
    if evolution == COARSE:
        return evolve_field(field, progress)
    return evolve_with_channels(field, PLANS[evolution], progress)


def evolve_with_channels(
    field: LinearField,
    plan: MeshPlan,
    progress: Progress = False,
    allocate: Allocate = in_memory,
    forces: Forces | None = None,
) -> EvolvedField:
    """Evolve a linear field, and add the channels that a position network reads.

    Parameters
    ----------
    field : LinearField
    plan : MeshPlan
        For instance `particle_mesh.ACCURATE`.
    progress : bool or callable
        See `progress.track`.
    allocate : callable, optional
        ``allocate(name, shape, dtype)`` makes the arrays `ARRAYS`, 54 bytes per site together, e.g. mapped from disk;
        in memory by default. Beside them are at most 46 bytes per site in memory, or the mesh of the evolution if that
        is larger.
    forces : callable, optional
        As in `final_positions`.

    Returns
    -------
    EvolvedField
        With `channels`: float16 (n, n, n) each, 30 bytes per site together.

    Raises
    ------
    ExperimentError
        The field has a perturbation that is not periodic.

    Examples
    --------
    >>> from yt_protohalos.fields.particle_mesh import FAST
    >>> from yt_protohalos.prediction.evolved_channels import evolve_with_channels
    >>> evolve_with_channels(field, FAST).channels["group_size"].shape  # log10 of sites
    (32, 32, 32)
    """
    displacement, velocity = final_positions(field, plan, progress, allocate, forces)
    channels = position_channels(displacement, velocity, field.lattice, plan, allocate)
    return EvolvedField(displacement, velocity=velocity, channels=channels)


def position_channels(
    displacement: NDArray[np.float32],
    velocity: NDArray[np.float32],
    lattice: Lattice,
    plan: MeshPlan,
    allocate: Allocate = in_memory,
) -> dict[str, NDArray[np.float16]]:
    """Channels of a position network from final positions.

    displacement, velocity : float32, (3, n, n, n), in sites, of `final_positions`
    plan : of the evolution, whose mesh gives the finest density
    allocate : as in `evolve_with_channels`
    returns : float16, (n, n, n), by name: logarithms of densities; displacement and velocity minus their Gaussian mean,
        in sites; log10 of the sites of friends-of-friends groups; vector to the centre of the group, in sites
    """
    channels: dict[str, NDArray[np.float16]] = {}

    def new(name: str) -> NDArray[np.float16]:
        channels[name] = allocate(name, lattice.shape, np.float16)
        return channels[name]

    # what needs most memory comes first, while there are few channels
    log_mesh_density(displacement, plan.cells_per_site, new(MESH_DENSITY))
    _write_groups(displacement, new)
    log_densities(displacement, lattice, [new(name) for name in FINAL_DENSITY])
    for names, vector in ((RELATIVE_DISPLACEMENT, displacement), (RELATIVE_VELOCITY, velocity)):
        for name, component in zip(names, vector, strict=True):
            new(name)[:] = _relative(component, lattice)
    return channels


def _relative(component: NDArray[np.float32], lattice: Lattice) -> NDArray[np.float32]:
    """Cube minus its Gaussian mean over the neighbourhood."""
    spectrum = to_spectrum(component)
    # axis by axis: the kernel in three dimensions would take another cube
    for k in lattice.wavenumbers():
        spectrum *= np.exp(-0.5 * (NEIGHBOURHOOD * lattice.spacing * k) ** 2).astype(np.float32)
    mean: NDArray[np.float32] = to_cube(spectrum, lattice.n)
    np.subtract(component, mean, out=mean)
    return mean


def _write_groups(displacement: NDArray[np.float32], new: Callable[[str], NDArray[np.float16]]) -> None:
    """Write the sizes of the groups of both linking lengths, and the vectors to the centres of those of the first.

    new : makes a channel
    """
    points, n = final_points(displacement), displacement.shape[-1]
    for name, length in reversed([*zip(GROUP_SIZES, LINKING_LENGTHS, strict=True)]):
        groups = friends_of_friends(points, float(n), length)
        sizes = np.bincount(groups, minlength=len(groups))
        result = new(name).reshape(-1)
        for part in _parts(len(groups)):
            result[part] = np.log10(sizes[groups[part]])
        if name == GROUP_SIZES[0]:
            _write_centres(points, groups, sizes, n, [new(each).reshape(-1) for each in GROUP_CENTRE])
        del groups, sizes  # before the next ones are made


def _write_centres(
    points: NDArray[np.float32],
    groups: NDArray[np.int64],
    sizes: NDArray[np.int64],
    n: int,
    results: Sequence[NDArray[np.float16]],
) -> None:
    """Write the vector from each point to the mean of its group, three components; zero for small groups."""
    for axis, result in enumerate(results):
        along = points[:, axis]

        def arm(part: slice, along: NDArray[np.float32] = along) -> NDArray[np.float32]:
            # relative to one member, so that no group is torn apart by the period
            apart = along[part] - along[groups[part]]
            apart -= n * np.round(apart / n)
            return apart

        mean = np.zeros(len(groups))
        for part in _parts(len(groups)):
            np.add.at(mean, groups[part], arm(part).astype(np.float64))
        np.divide(mean, sizes, out=mean, where=sizes > 0)
        for part in _parts(len(groups)):
            own = groups[part]
            result[part] = np.where(sizes[own] >= SMALLEST_GROUP, mean[own] - arm(part), 0)


def _parts(count: int) -> Iterator[slice]:
    """Slices of at most `_PART` of so many sites."""
    return (slice(first, first + _PART) for first in range(0, count, _PART))
