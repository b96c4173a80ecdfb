"""Channels of a position network: what the evolved field says of every site.

None depends on the place of a crop, so that crops may have any size: displacements and velocities are given relative to
their mean over the neighbourhood.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..fields.evolution import EvolvedField, evolve_field, log_densities
from ..fields.fourier import to_cube, to_spectrum
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import COARSE, PLANS, MeshPlan, evolve_on_mesh, log_mesh_density
from ..models.channels import (
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


def evolve_with_channels(field: LinearField, plan: MeshPlan, progress: Progress = False) -> EvolvedField:
    """Evolve a linear field, and add the channels that a position network reads.

    Parameters
    ----------
    field : LinearField
    plan : MeshPlan
        For instance `particle_mesh.ACCURATE`.
    progress : bool or callable
        See `progress.track`.

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
    evolved = evolve_on_mesh(field, plan, progress)
    assert evolved.velocity is not None
    return replace(evolved, channels=position_channels(evolved.displacement, evolved.velocity, field.lattice, plan))


def position_channels(
    displacement: NDArray[np.float32], velocity: NDArray[np.float32], lattice: Lattice, plan: MeshPlan
) -> dict[str, NDArray[np.float16]]:
    """Channels of a position network from final positions.

    displacement, velocity : float32, (3, n, n, n), in sites, of `final_positions`
    plan : of the evolution, whose mesh gives the finest density
    returns : float16, (n, n, n), by name: logarithms of densities; displacement and velocity minus their Gaussian mean,
        in sites; log10 of the sites of friends-of-friends groups; vector to the centre of the group, in sites
    """
    channels: dict[str, NDArray[np.float16]] = {}
    densities = np.empty((len(FINAL_DENSITY), *lattice.shape), dtype=np.float16)
    log_densities(displacement, lattice, densities)
    channels |= dict(zip(FINAL_DENSITY, densities, strict=True))
    channels[MESH_DENSITY] = log_mesh_density(displacement, plan.cells_per_site)
    for names, vector in ((RELATIVE_DISPLACEMENT, displacement), (RELATIVE_VELOCITY, velocity)):
        for name, component in zip(names, vector, strict=True):
            channels[name] = _relative(component, lattice)
    points = final_points(displacement)
    for name, length in zip(GROUP_SIZES, LINKING_LENGTHS, strict=True):
        groups = friends_of_friends(points, float(lattice.n), length)
        sizes = np.bincount(groups, minlength=len(groups))
        channels[name] = np.log10(sizes[groups]).astype(np.float16).reshape(lattice.shape)
        if name == GROUP_SIZES[0]:
            centres = _centre_offsets(points, groups, sizes, lattice.n)
            channels |= {each: cube.reshape(lattice.shape) for each, cube in zip(GROUP_CENTRE, centres, strict=True)}
    return channels


def _relative(component: NDArray[np.float32], lattice: Lattice) -> NDArray[np.float16]:
    """Cube minus its Gaussian mean over the neighbourhood."""
    spectrum = to_spectrum(component)
    # axis by axis: the kernel in three dimensions would take another cube
    for k in lattice.wavenumbers():
        spectrum *= np.exp(-0.5 * (NEIGHBOURHOOD * lattice.spacing * k) ** 2).astype(np.float32)
    mean: NDArray[np.float32] = to_cube(spectrum, lattice.n)
    np.subtract(component, mean, out=mean)
    return mean.astype(np.float16)


def _centre_offsets(
    points: NDArray[np.float32], groups: NDArray[np.int64], sizes: NDArray[np.int64], n: int
) -> list[NDArray[np.float16]]:
    """Vector from each point to the mean of its group, three components; zero for small groups."""
    large = sizes[groups] >= SMALLEST_GROUP
    offsets = []
    for axis in range(3):
        # relative to one member, so that no group is torn apart by the period
        arm = points[:, axis] - points[groups, axis]
        arm -= n * np.round(arm / n)
        mean = np.bincount(groups, weights=arm, minlength=len(groups)) / np.maximum(sizes, 1)
        offsets.append(np.where(large, mean[groups] - arm, 0).astype(np.float16))
    return offsets
