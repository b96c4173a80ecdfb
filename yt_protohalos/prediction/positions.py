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
from .pipeline import Blocks, Pipeline, new_array


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
) -> SiteOutputs | None:
    """Run a position network on crops whose cores tile the box; zero outside these cores. None on all ranks but 0.

    Raises `ModelError` without the evolved field.
    """
    inputs, store = pipeline.inputs, pipeline.store
    if inputs.evolved is None:
        raise ModelError("a position network corrects evolved positions; pass the evolved field")
    lattice, evolved = inputs.field.lattice, inputs.evolved.displacement
    blocks = pipeline.finished("positions", crops, partial(_outputs, pipeline, network), "Finding where the sites end")
    outputs = None
    with pipeline.communicator.barrier():
        if pipeline.communicator.is_root:
            probability, in_group = (
                new_array(store, name, lattice.shape, np.float32) for name in ("probability", "in_group")
            )
            displacement = new_array(store, "displacement", evolved.shape, np.float32)
            for crop, block in blocks:
                assert block is not None
                lattice.paste(probability, calibrated(expit(block[..., 0]), **calibration), crop.core_start)
                lattice.paste(in_group, expit(block[..., 1]), crop.core_start)
                for axis in range(3):
                    moved = lattice.crop(evolved[axis], crop.core_start, crop.core_shape)
                    moved += block[..., 2 + axis] * np.float32(DISPLACEMENT_UNIT)
                    lattice.paste(displacement[axis], moved, crop.core_start)
            outputs = SiteOutputs(probability, in_group, displacement)
    return outputs


def _outputs(pipeline: Pipeline, network: CropNetwork, crops: Sequence[Crop]) -> Blocks:
    for group in network.batch.groups(crops):
        for crop, output in zip(group, network.run(pipeline.inputs, group), strict=True):
            yield crop, output[crop.output_core]
