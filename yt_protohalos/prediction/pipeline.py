"""The steps from what the networks see of a box to labels: membership, separation and stitching.

The whole box, a region, the tuning on validation runs and the training targets differ only in the crops and in the
segmentation that they pass. At most two batches of crops are in memory beside the cubes of the result.

Source: López-Cano et al. 2024, section 3 and appendix D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._utils.prefetch import run_stages
from .._utils.progress import Progress, track
from .._utils.system import available_cores
from ..exceptions import ModelError, StitchingError
from ..fields.lattice import Lattice
from ..models.card import CONTACT_KEY, ModelCard
from ..models.channels import ModelInput
from ..segmentation.labels import relabel_by_size
from ..segmentation.merging import join_in_contact
from ..segmentation.stitching import StitchResult, stitch
from ..segmentation.tiling import Crop, CropPlan
from .communicator import SERIAL, Communicator
from .inference import CropNetwork, calibrated, segment_core
from .store import CropStore

T = TypeVar("T")
Blocks = Iterator[tuple[Crop, NDArray[Any] | None]]
Embedded = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Output of the instance network on a crop, and the calibrated probability of the same sites."""

IOU_THRESHOLD = 0.5


class LabelCubes:
    """Labels of the cores of both lattices of crops; no label occurs in two crops.

    The two cubes, int32 (n, n, n), are kept in the store if there is one, else in memory.
    """

    def __init__(self, lattice: Lattice, store: CropStore | None = None) -> None:
        self._lattice = lattice
        self._cubes = {which: new_array(store, f"labels_{which}", lattice.shape, np.int32) for which in ("a", "b")}
        self._largest = 0

    def add(self, crop: Crop, block: NDArray[np.int32]) -> None:
        """Paste the labels 1..m of a core, 0 none; `StitchingError` if an int32 cannot count all labels."""
        largest = self._largest + int(block.max(initial=0))
        if largest >= np.iinfo(np.int32).max:
            raise StitchingError(
                f"crop {crop.key} brings the box to {largest} crop labels, and int32 counts to {2**31 - 1}; predict it "
                "in parts (predict_region)"
            )
        shifted = np.where(block > 0, block + np.int32(self._largest), 0)
        self._lattice.paste(self._cubes[crop.lattice], shifted, crop.core_start)
        self._largest = largest

    def stitch(self, plan: CropPlan) -> StitchResult:
        """Join the labels of both lattices."""
        return stitch(self._cubes["a"], self._cubes["b"], plan.octant_boundaries, iou_threshold=IOU_THRESHOLD)


@dataclass(frozen=True)
class Separation(Generic[T]):
    """Separation of the members in crops into protohaloes.

    The network runs on one batch of crops while the crops of the batch before are segmented in other threads.

    inputs : with the probability of every site that the crops reach
    threshold : members have a larger probability
    segment : ``segment(output, probability, crop)`` is the result for a crop, see `segment_core`
    """

    network: CropNetwork
    inputs: ModelInput
    threshold: float
    segment: Callable[[NDArray[np.float32], NDArray[np.float32], Crop], T]

    def run(self, crops: Iterable[Crop]) -> Iterator[tuple[Crop, T | None]]:
        """Yield each crop with its result, in the order of the crops; None where the core has no members."""
        batch = self.network.batch
        # a network on a GPU leaves the processor free
        return run_stages(batch.groups(crops), self._embed, self._segment, threads=min(batch.size, available_cores()))

    def _embed(self, crops: Sequence[Crop]) -> list[Embedded | None]:
        """Run the network on the crops that have members in their core."""
        probability = self.inputs.probability
        if probability is None:
            raise ModelError("protohaloes are separated among members; pass the probability of the box")
        around = {}
        for crop in crops:
            cube = self.inputs.field.lattice.crop(probability, crop.output_start, crop.output_shape)
            if (cube[crop.output_core] > np.float32(self.threshold)).any():
                around[crop.key] = cube
        outputs = iter(self.network.run(self.inputs, [crop for crop in crops if crop.key in around]))
        return [(next(outputs), around[crop.key]) if crop.key in around else None for crop in crops]

    def _segment(self, crop: Crop, embedded: Embedded | None) -> T | None:
        return None if embedded is None else self.segment(*embedded, crop)


@dataclass(frozen=True)
class Pipeline:
    """The steps from what the networks see of a box to labels, for any crops.

    store : where finished crops are kept, from which an interrupted run resumes
    communicator : the processes that share the crops; more than one needs a store
    """

    inputs: ModelInput
    store: CropStore | None = None
    communicator: Communicator = SERIAL
    progress: Progress = True

    def membership(
        self, network: CropNetwork, crops: Sequence[Crop], calibration: Mapping[str, float] | None = None
    ) -> NDArray[np.float32]:
        """Membership probability of every site, float32 (n, n, n); 0 outside the cores of the crops.

        calibration : slope and intercept of `calibrated`; without them it is the output of the network itself
        """
        lattice = self.inputs.field.lattice
        compute = partial(self._probabilities, network, calibration)
        blocks = self.finished("probability", crops, compute, "Finding protohalo sites")
        with self.communicator.barrier():
            if self.communicator.is_root:
                probability = new_array(self.store, "probability", lattice.shape, np.float32)
                for crop, block in blocks:
                    assert block is not None
                    lattice.paste(probability, block, crop.core_start)
        return probability if self.store is None else self.store.open("probability")

    def _probabilities(
        self, network: CropNetwork, calibration: Mapping[str, float] | None, crops: Sequence[Crop]
    ) -> Blocks:
        for group in network.batch.groups(crops):
            for crop, output in zip(group, network.run(self.inputs, group), strict=True):
                core = output[crop.output_core][..., 0]
                yield crop, core if calibration is None else calibrated(core, **calibration)

    def core_labels(self, network: CropNetwork, card: ModelCard, crops: Sequence[Crop], threshold: float) -> Blocks:
        """Labels 1..m of the core of each crop, 0 none, int32, core shape.

        Members are separated in all of the network's output, so that the periodic images of a halo stay apart.
        """

        def segment(output: NDArray[np.float32], probability: NDArray[np.float32], crop: Crop) -> NDArray[np.int32]:
            return segment_core(card, output, probability, threshold, crop)[0]

        separation = Separation(network, self.inputs, threshold, segment)
        return self.finished("labels", crops, separation.run, "Separating protohalos")

    def stitched(self, blocks: Blocks, plan: CropPlan) -> StitchResult:
        """Join the labels of the cores of both lattices."""
        cubes = LabelCubes(self.inputs.field.lattice, self.store)
        for crop, block in blocks:
            if block is not None:
                cubes.add(crop, block)
        return cubes.stitch(plan)

    def protohalos(self, stitched: NDArray[np.int32], card: ModelCard) -> NDArray[np.int32]:
        """Remove small labels, join protohaloes that end in contact, and number 1..K by descending size."""
        labels = relabel_by_size(stitched, card.min_sites)
        contact = card.clustering.get(CONTACT_KEY, 0.0)
        if not contact:
            return labels
        if self.inputs.evolved is None:
            raise ModelError("the model joins protohaloes by their final positions; pass the evolved field")
        return join_in_contact(labels, self.inputs.evolved.displacement, contact)

    def finished(
        self, kind: str, crops: Sequence[Crop], compute: Callable[[Sequence[Crop]], Blocks], title: str
    ) -> Blocks:
        """The block of every crop, in their order; with a store, all are computed before this returns."""
        store, communicator = self.store, self.communicator
        if store is None:
            return track(compute(crops), title, total=len(crops), progress=self.progress)
        with communicator.barrier():
            own = [crop for crop in communicator.share(crops) if f"{kind}_{crop.key}" not in store]
            progress = self.progress if communicator.is_root else False
            for crop, block in track(compute(own), title, total=len(own), progress=progress):
                # a crop without members has no labels
                store.save(f"{kind}_{crop.key}", np.zeros(crop.core_shape, np.int32) if block is None else block)
        return ((crop, store.take(f"{kind}_{crop.key}")) for crop in crops)


def new_array(store: CropStore | None, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Array of zeros to be filled by cores, on disk if there is a store."""
    return np.zeros(shape, dtype) if store is None else store.create(name, shape, dtype)
