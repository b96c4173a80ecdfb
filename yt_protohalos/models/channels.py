"""Channels of a network's input, by name.

==================================  ====================================================================================
``delta``, ``phi``                  linear overdensity and gauge-free potential, over their scales
``q_x``, ``q_y``, ``q_z``           Lagrangian position from the crop's centre, in units of 64 sites
``x_x``, ``x_y``, ``x_z``           evolved position from the crop's centre, in units of 8 sites
``stretch_1``, ``stretch_3``        log(1 + largest evolved distance, in sites, to the six sites 1 or 3 sites away)
``density_50_0``, ...               log density around the evolved site over 3 (`evolution.DENSITY_NAMES`)
``probability``                     calibrated membership probability of the semantic network
``mesh_density``                    log density around the evolved site on the mesh of its evolution, over 3
``u_x``, ``u_y``, ``u_z``           displacement relative to the neighbourhood's mean, in units of 4 sites
``v_x``, ``v_y``, ``v_z``           velocity, likewise
``group_size``, ``core_size``       log10 of the sites of its friends-of-friends group, of two linking lengths, over 2
``c_x``, ``c_y``, ``c_z``           vector from the evolved site to the centre of its group, in units of 4 sites
==================================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError
from ..fields.evolution import DENSITY_NAMES, EvolvedField
from ..fields.lattice import Triple
from ..fields.linear_field import LinearField
from .symmetry import Symmetry

FIELD_CHANNELS = ("delta", "phi")
LAGRANGIAN_POSITION = ("q_x", "q_y", "q_z")
EVOLVED_POSITION = ("x_x", "x_y", "x_z")
STRETCH_STEPS = {"stretch_1": 1, "stretch_3": 3}
"""Number of sites between the two whose evolved distance is the channel: small in a halo, large between haloes."""
POSITION_CHANNELS = (*FIELD_CHANNELS, *LAGRANGIAN_POSITION)
PROBABILITY_CHANNELS = (*POSITION_CHANNELS, "probability")
EVOLVED_SEMANTIC = (*FIELD_CHANNELS, *DENSITY_NAMES)
EVOLVED_INSTANCE = (*POSITION_CHANNELS, *EVOLVED_POSITION, *DENSITY_NAMES[-3:], "probability")
FINAL_DENSITY = DENSITY_NAMES[-3:]
MESH_DENSITY = "mesh_density"
RELATIVE_DISPLACEMENT = ("u_x", "u_y", "u_z")
RELATIVE_VELOCITY = ("v_x", "v_y", "v_z")
GROUP_SIZES = ("group_size", "core_size")
GROUP_CENTRE = ("c_x", "c_y", "c_z")
FINAL_CHANNELS = (MESH_DENSITY, *RELATIVE_DISPLACEMENT, *RELATIVE_VELOCITY, *GROUP_SIZES, *GROUP_CENTRE)
CHANNELS = (
    *POSITION_CHANNELS, *EVOLVED_POSITION, *STRETCH_STEPS, *DENSITY_NAMES, "probability", *FINAL_CHANNELS
)  # fmt: skip
"""All channels, in the order of a network's input."""

CHANNEL_SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "semantic": {"linear": FIELD_CHANNELS, "evolved": EVOLVED_SEMANTIC, "delta": ("delta",), "phi": ("phi",)},
    "instance": {"linear": (), "evolved": EVOLVED_INSTANCE},
    "contour": {
        "linear": (*FIELD_CHANNELS, "probability"),
        "evolved": ("delta", *STRETCH_STEPS, *DENSITY_NAMES, "probability"),
    },
    "positions": {"evolved": ("delta", *FINAL_DENSITY, *FINAL_CHANNELS)},
}
"""Choices of ``protohalos train --channels``; other settings choose those of the linear instance network."""

POSITION_UNIT = 64.0
"""Unit of the Lagrangian position channels, lattice sites, for every side of the crop."""
EVOLVED_POSITION_UNIT = 8.0
"""Unit of the evolved position channels, lattice sites: the width of a large halo at the target time."""
LOG_DENSITY_UNIT = 3.0
DISPLACEMENT_UNIT = 4.0
"""Unit of the relative displacements, velocities and group centres, and of predicted displacements, lattice sites."""
LOG_SIZE_UNIT = 2.0

VECTORS = (EVOLVED_POSITION, RELATIVE_DISPLACEMENT, RELATIVE_VELOCITY, GROUP_CENTRE)
"""Channels that turn with the crop."""
_UNITS = {
    **dict.fromkeys((*DENSITY_NAMES, MESH_DENSITY), LOG_DENSITY_UNIT),
    **dict.fromkeys((*RELATIVE_DISPLACEMENT, *RELATIVE_VELOCITY, *GROUP_CENTRE), DISPLACEMENT_UNIT),
    **dict.fromkeys(GROUP_SIZES, LOG_SIZE_UNIT),
}

Cube: TypeAlias = NDArray[np.floating]
Cubes: TypeAlias = dict[str, Cube]


def check_channels(channels: Sequence[str]) -> None:
    """Raise `ModelError` if channels are unknown, repeated or out of order, or are not all three of a position."""
    if not channels or tuple(channels) != tuple(name for name in CHANNELS if name in channels):
        raise ModelError(f"channels {tuple(channels)} are unknown or out of order; use some of {', '.join(CHANNELS)}")
    for triple in (LAGRANGIAN_POSITION, *VECTORS):
        if 0 < len({*triple} & {*channels}) < 3:
            raise ModelError(f"channels {tuple(channels)} hold a part of a position; name {', '.join(triple)} or none")


def sees_evolution(channels: Collection[str]) -> bool:
    """Return True if any of the channels comes from the evolved field."""
    return not {*EVOLVED_POSITION, *STRETCH_STEPS, *DENSITY_NAMES, *FINAL_CHANNELS}.isdisjoint(channels)


def remove_gauge(phi: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean and the least-squares gradient of a potential crop; neither moves anything physical.

    phi : float32, (s, s, s), any unit
    returns : same shape and unit
    """
    result = phi - np.float32(phi.mean(dtype=np.float64))
    for axis in range(3):
        ramp = _ramp(axis, phi.shape)
        if ramp.size > 1:
            profile = result.mean(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
            slope = float(np.dot(profile, ramp.ravel()) / np.dot(ramp.ravel(), ramp.ravel()))
            result = result - (slope * ramp).astype(np.float32)
    return result


@dataclass(frozen=True, eq=False)
class ModelInput:
    """Fields of a box from which the input of the networks is cut.

    Attributes
    ----------
    field : LinearField
        On the lattice of the model.
    evolved : EvolvedField, optional
        `evolve_field` of the field; needed if any of its channels is used.
    probability : float32, (n, n, n), optional
        Calibrated membership probability of every site; needed if it is a channel.

    Examples
    --------
    >>> from yt_protohalos.models.channels import ModelInput
    >>> cubes = ModelInput(field).crop(("delta", "phi"), start=(-4, 0, 0), side=16)
    >>> cubes["phi"].shape
    (16, 16, 16)
    """

    field: LinearField
    evolved: EvolvedField | None = None
    probability: NDArray[np.float32] | None = None

    def crop(self, channels: Sequence[str], start: Triple, side: int) -> Cubes:
        """Take the periodic crops of which the channels are made, `side` sites per side from the site `start`.

        Returns
        -------
        dict
            Arrays (side, side, side) by the name of a channel, without the Lagrangian positions; those of the evolved
            position hold the displacement, in sites.

        Raises
        ------
        ModelError
            A channel needs the evolved field or the probability, and it is missing.
        """

        def crop(cube: Cube, around: int = 0) -> Cube:
            x, y, z = (first - around for first in start)
            return self.field.lattice.crop(cube, (x, y, z), (side + 2 * around,) * 3)

        cubes: Cubes = {name: self.field.crop(name, start, side) for name in FIELD_CHANNELS if name in channels}
        if sees_evolution(channels):
            evolved = self.evolved_cubes(channels)
            cubes |= {name: crop(cube) for name, cube in evolved.items() if name in channels}
            for name, step in STRETCH_STEPS.items():
                if name in channels:
                    cubes[name] = stretch([crop(evolved[along], step) for along in EVOLVED_POSITION], step)
        if "probability" in channels:
            if self.probability is None:
                raise ModelError("the membership probability is a channel; pass that of the box")
            cubes["probability"] = crop(self.probability)
        return cubes

    def evolved_cubes(self, channels: Collection[str]) -> dict[str, Cube]:
        """Cubes of the evolved field by channel; `ModelError` if one of `channels` is missing."""
        if self.evolved is None:
            raise ModelError("the evolved field is a channel; pass `evolve_field` of the linear field")
        cubes: dict[str, Cube] = dict(zip(EVOLVED_POSITION, self.evolved.displacement, strict=True))
        if self.evolved.density is not None:
            cubes |= zip(DENSITY_NAMES, self.evolved.density, strict=True)
        cubes |= self.evolved.channels
        missing = [name for name in (*DENSITY_NAMES, *FINAL_CHANNELS) if name in channels and name not in cubes]
        if missing:
            raise ModelError(
                f"the evolved field lacks the channels {', '.join(missing)}; evolve it as the model's card says"
            )
        return cubes


def stretch(displacement: Sequence[NDArray[np.float32]], step: int) -> NDArray[np.float32]:
    """Find the largest evolved distance of each site from the six sites `step` away along the axes.

    displacement : three float32 cubes (s, s, s), in sites
    returns : float32, (s - 2 step, ...), log(1 + distance in sites)
    """
    inner = slice(step, -step)
    own = [psi[inner, inner, inner] for psi in displacement]
    largest = np.zeros_like(own[0])
    for axis in range(3):
        for sign in (-step, step):
            there = [inner] * 3
            there[axis] = slice(step + sign, displacement[0].shape[axis] - step + sign)
            apart = [psi[tuple(there)] - own[i] for i, psi in enumerate(displacement)]
            apart[axis] += np.float32(sign)
            np.maximum(largest, apart[0] ** 2 + apart[1] ** 2 + apart[2] ** 2, out=largest)
    return np.log1p(np.sqrt(largest))


def transform(cubes: Cubes, symmetry: Symmetry) -> Cubes:
    """Apply a symmetry of the cube to crops of scalars, and to vectors as such."""
    result = {name: symmetry.apply(cube) for name, cube in cubes.items()}
    for names in VECTORS:
        if names[0] in cubes:
            turned = symmetry.turn([result[name] for name in names])
            result |= zip(names, turned, strict=True)
    return result


def network_input(
    cubes: Mapping[str, Cube], channels: Sequence[str], normalisation: Mapping[str, float]
) -> NDArray[np.float32]:
    """Stack the channels of one crop.

    Parameters
    ----------
    cubes : mapping
        From `ModelInput.crop`: overdensity at z = 0, potential in comoving (Mpc/h)^2 and so on.
    channels : sequence of str
        Names, in the order wanted.
    normalisation : mapping
        ``{"delta": scale, "phi": scale}`` of those that are channels, from the model card.

    Returns
    -------
    float32, (side, side, side, len(channels))

    Raises
    ------
    ModelError
        If a scale is missing or not positive.

    Examples
    --------
    >>> from yt_protohalos.models.channels import ModelInput, network_input
    >>> cubes = ModelInput(field).crop(("delta", "phi"), start=(0, 0, 0), side=16)
    >>> network_input(cubes, ("delta", "phi"), {"delta": 5.0, "phi": 10.0}).shape
    (16, 16, 16, 2)
    """
    shape = next(iter(cubes.values())).shape
    stacked = np.empty((*shape, len(channels)), dtype=np.float32)
    for i, name in enumerate(channels):
        stacked[..., i] = _channel(name, cubes, shape, normalisation)
    return stacked


def _channel(name: str, cubes: Mapping[str, Cube], shape: Triple, normalisation: Mapping[str, float]) -> Cube:
    if name in LAGRANGIAN_POSITION:
        return _ramp(LAGRANGIAN_POSITION.index(name), shape) / POSITION_UNIT
    cube = cubes[name]
    if name in EVOLVED_POSITION:
        ramp = _ramp(EVOLVED_POSITION.index(name), shape).astype(np.float32)
        return (ramp + cube) / np.float32(EVOLVED_POSITION_UNIT)
    if name in _UNITS:
        return cube / np.float32(_UNITS[name])
    if name not in FIELD_CHANNELS:
        return cube
    scale = normalisation.get(name)
    if scale is None or not scale > 0:
        raise ModelError(f"normalisation of {name} is {scale}; the card needs a positive scale for each channel")
    return (remove_gauge(cube) if name == "phi" else cube) / np.float32(scale)


def _ramp(axis: int, shape: Sequence[int]) -> NDArray[np.float64]:
    """Distance from the centre of a crop along one axis, sites; an array of length 1 along the other axes."""
    distance = np.arange(shape[axis], dtype=np.float64) - 0.5 * (shape[axis] - 1)
    return distance.reshape([-1 if a == axis else 1 for a in range(3)])
