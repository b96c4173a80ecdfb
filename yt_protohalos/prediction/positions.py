"""Output of a position network for every site of a box: memberships and final position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ..exceptions import ModelError
from ..models.channels import DISPLACEMENT_UNIT
from ..segmentation.tiling import Crop
from .inference import CropNetwork, calibrated
from .pipeline import Blocks, Pipeline, new_cube


@dataclass(frozen=True)
class SiteOutputs:
    """Output of a position network on a box.

    probability : float32, (n, n, n), calibrated probability of ending in a halo
    in_group : float32, (n, n, n), probability of ending in any group, also a smaller one
    displacement : float32, (3, n, n, n), predicted final minus initial position, in sites: of the sites of a halo, its
        centre minus their initial position
    """

    probability: NDArray[np.float32]
    in_group: NDArray[np.float32]
    displacement: NDArray[np.float32]


def site_outputs(
    pipeline: Pipeline, network: CropNetwork, crops: Sequence[Crop], calibration: Mapping[str, float]
) -> SiteOutputs:
    """Run a position network on crops whose cores tile the box; zero outside these cores.

    Raises `ModelError` without the evolved field.
    """
    inputs, store = pipeline.inputs, pipeline.store
    if inputs.evolved is None:
        raise ModelError("a position network corrects evolved positions; pass the evolved field")
    lattice = inputs.field.lattice
    blocks = pipeline.finished("positions", crops, partial(_outputs, pipeline, network), "Finding where the sites end")
    names = ("probability", "in_group", "displacement_x", "displacement_y", "displacement_z")
    with pipeline.communicator.barrier():
        if pipeline.communicator.is_root:
            cubes = [new_cube(store, name, lattice, np.float32) for name in names]
            for crop, block in blocks:
                assert block is not None
                memberships = calibrated(expit(block[..., 0]), **calibration), expit(block[..., 1])
                moves = (
                    lattice.crop(psi, crop.core_start, crop.core_shape) + block[..., 2 + axis] * DISPLACEMENT_UNIT
                    for axis, psi in enumerate(inputs.evolved.displacement)
                )
                for cube, values in zip(cubes, (*memberships, *moves), strict=True):
                    lattice.paste(cube, values.astype(np.float32), crop.core_start)
    if store is not None:
        cubes = [store.open(name) for name in names]
    return SiteOutputs(cubes[0], cubes[1], np.stack(cubes[2:]))


def _outputs(pipeline: Pipeline, network: CropNetwork, crops: Sequence[Crop]) -> Blocks:
    for group in network.batch.groups(crops):
        for crop, output in zip(group, network.run(pipeline.inputs, group), strict=True):
            yield crop, output[crop.output_core]
