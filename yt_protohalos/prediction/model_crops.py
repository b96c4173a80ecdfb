"""The crops that the networks of a model need for a whole box or for a region of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..exceptions import ExperimentError
from ..fields.lattice import Lattice, Triple
from ..fields.linear_field import LinearField
from ..fields.perturbations import DeformedField
from ..fields.region import Region, contains, overlaps
from ..models.card import ModelCard, NetworkCard
from ..segmentation.tiling import Crop, CropPlan


@dataclass(frozen=True)
class ModelCrops:
    """Crops of the networks of a model.

    semantic : crops whose cores do not overlap
    instance : crops of both lattices; empty for a model without an instance network
    plan : of the instance crops, by which their labels are stitched
    """

    semantic: list[Crop]
    instance: list[Crop]
    plan: CropPlan | None

    @classmethod
    def of_box(cls, card: ModelCard, n: int) -> ModelCrops:
        """All crops of a box of `n` sites per side."""
        if card.predicts_positions:
            return cls(position_plan(card, n).crops("a"), [], None)
        semantic = crop_plan(card, card.semantic, n).crops("a")
        if card.instance is None:
            return cls(semantic, [], None)
        plan = crop_plan(card, card.instance, n)
        return cls(semantic, [*plan.crops("a"), *plan.crops("b")], plan)

    @classmethod
    def of_region(cls, card: ModelCard, lattice: Lattice, start: Triple, n: int) -> ModelCrops:
        """Crops that a cube of `n` sites per side needs: instance crops with a core in it, semantic crops for these."""
        box = cls.of_box(card, lattice.n)
        if card.predicts_positions:
            near = [
                crop for crop in box.semantic if overlaps(lattice, crop.core_start, crop.core_shape, start, (n,) * 3)
            ]
            return replace(box, semantic=near)
        network = card.instance_network()
        instance = [
            crop for crop in box.instance if overlaps(lattice, crop.core_start, crop.core_shape, start, (n,) * 3)
        ]
        # the probability is needed where it is a channel, or else where members are separated
        blocks = [
            (crop.input_start, crop.input_shape) if network.sees_probability else (crop.output_start, crop.output_shape)
            for crop in instance
        ]
        semantic = [
            crop
            for crop in box.semantic
            if any(overlaps(lattice, crop.core_start, crop.core_shape, *block) for block in blocks)
        ]
        return replace(box, semantic=semantic, instance=instance)


def crop_plan(card: ModelCard, network: NetworkCard, n: int) -> CropPlan:
    """Plan of the crops of one of the networks of a model in a box of `n` sites per side."""
    core = card.core_of(network.architecture["head"])
    return CropPlan(n=n, crop=network.side, context=network.margin, core=core)


def position_plan(card: ModelCard, n: int) -> CropPlan:
    """Plan of crops of nearly equal cores that tile a box of `n` sites per side once.

    A position network takes crops of any side, so that no site is computed more often than its context asks for.
    """
    network = card.semantic
    core = -(-n // -(-n // card.core))
    stride = 2 ** (len(network.architecture["filters"]) - 1)
    side = -(-(core + 2 * network.margin) // stride) * stride
    return CropPlan(n=n, crop=side, context=network.margin, core=core)


def needed_sites(crops: ModelCrops, lattice: Lattice, start: Triple, n: int) -> tuple[Triple, int]:
    """First site and sites per side of a cube that holds a region of `n` sites per side and the input of its crops."""
    low, high = np.array(start), np.array(start) + n
    for crop in (*crops.semantic, *crops.instance):
        from_region = np.array(crop.core_start) + 0.5 * np.array(crop.core_shape) - (np.array(start) + 0.5 * n)
        # the image of the crop that is nearest to the region
        image = lattice.n * np.floor(from_region / lattice.n + 0.5).astype(np.int64)
        first = np.array(crop.input_start) - image
        low, high = np.minimum(low, first), np.maximum(high, first + crop.side)
    side = int((high - low).max())
    # the crops may reach farther along one axis than along another
    x, y, z = (low - (side - (high - low)) // 2).tolist()
    return (x, y, z), side


def check_plateau(field: LinearField, region: Region, crops: ModelCrops) -> None:
    """Raise `ExperimentError` unless all that the networks see of a region is inside the plateau of a perturbation."""
    plateau = field.plateau if isinstance(field, DeformedField) else None
    if plateau is None:
        return
    lattice, offset = field.lattice, field.site_offset
    start, side = needed_sites(crops, lattice, *region.sites(lattice, offset))
    if not contains(lattice, *plateau.sites(lattice, offset), start, (side,) * 3):
        needed = Region.of_sites(lattice, start, side, offset)
        raise ExperimentError(
            f"the perturbation is uniform within {plateau}, but the networks see {needed} when they predict {region}; "
            "add it within `needed_context` of the region, in a box that is large enough for that"
        )
