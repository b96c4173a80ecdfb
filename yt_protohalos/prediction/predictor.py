"""From a linear field to protohaloes: two networks, a clustering and a stitching (paper, section 3, appendix D).

Nothing here holds more than two batches of crops beside the result cubes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.prefetch import pipeline
from .._utils.progress import Progress
from .._utils.system import available_cores
from ..exceptions import ModelError
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.lattice import Lattice, nearest_sites
from ..fields.linear_field import LinearField
from ..models.card import CONTACT_KEY, ModelCard, NetworkCard
from ..models.channels import ModelInput, sees_evolution
from ..models.registry import DEFAULT_MODEL, load_card, verify
from ..models.runtime import Network, best_precision, crops_at_once, load_network
from ..models.validity import check_range, measured_amplitude, model_side
from ..segmentation.labels import label_map, relabel_by_size
from ..segmentation.merging import join_in_contact
from ..segmentation.stitching import stitch
from ..segmentation.tiling import Crop, CropPlan
from .batches import Batch
from .communicator import Communicator, SerialCommunicator
from .inference import calibrated, run_network, separate_core
from .result import FIELD_SAMPLE, Prediction, field_sample
from .store import CropStore
from .streaming import (
    Blocks,
    evolve_once,
    finished_blocks,
    label_cubes,
    new_cube,
    open_store,
)

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")
IOU_THRESHOLD = 0.5

SERIAL = SerialCommunicator()
Embedded = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Output of the network on a crop, and the calibrated probability of its sites."""
_SHARED_PREDICTION = "prediction.h5"


def checked_threshold(value: float) -> float:
    """Return a semantic threshold as a float; `ModelError` if it is not a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
        raise ModelError(f"threshold {value!r} is not between 0 and 1; it is a probability, e.g. 0.5")
    return float(value)


class ProtohaloPredictor:
    """A model ready to run.

    Parameters
    ----------
    card : ModelCard
    semantic, instance : callable
        float32 (batch, side, side, side, channels) -> float32 (batch, out, out, out, 1 or 3), with the sides of the
        card: probability in [0, 1] of the semantic, embedding of the instance network, which may be None where the card
        has none.
    precision : {"float32", "mixed", "bfloat16"}
        What the callables compute in; recorded with every prediction.
    batch : mapping, optional
        Crops that ``"semantic"`` and ``"instance"`` take at once, 1 by default; halved where memory runs out. More is
        faster on a GPU alone. No label depends on it, beyond the rounding of the backend.

    Examples
    --------
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v4")
    >>> prediction = predictor.predict(field)
    """

    def __init__(
        self,
        card: ModelCard,
        semantic: Network,
        instance: Network | None,
        precision: str = "float32",
        batch: Mapping[str, int] | None = None,
    ) -> None:
        if precision not in PRECISIONS[1:]:
            raise ModelError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS[1:])}")
        self.card = card
        self.semantic = semantic
        self.instance = instance
        self.precision = precision
        self.batches = {head: Batch((batch or {}).get(head, 1)) for head in ("semantic", "instance")}

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT_MODEL, precision: str = "auto") -> ProtohaloPredictor:
        """Load a bundled model, or one from a folder, after verifying its weight files.

        Parameters
        ----------
        name : str or Path
            Name of a bundled model (`models.registry.available`) or a folder with ``card.json``.
        precision : {"auto", "float32", "mixed", "bfloat16"}
            Of the networks' inner layers. ``"mixed"`` computes the semantic network in bfloat16 and of the instance
            network the deeper levels, those that see every site in float32; ``"bfloat16"`` all of both;
            ``"auto"`` what `models.runtime.best_precision` says of the machine. First and last layers are float32.

        Raises
        ------
        UnknownModelError, ModelError, ModelIntegrityError
            No such model; card not valid; weights missing, altered or of another network.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        card, folder = load_card(name)
        verify(card, folder)
        if precision == "auto":
            precision = best_precision()
        semantic = load_network(card.semantic, folder, "float32" if precision == "float32" else "bfloat16")
        instance = None if card.instance is None else load_network(card.instance, folder, precision)
        networks = {"semantic": card.semantic, "instance": card.instance}
        batch = {head: crops_at_once(network) for head, network in networks.items() if network is not None}
        return cls(card, semantic, instance, precision, batch)

    def predict(
        self,
        field: LinearField,
        *,
        evolved: EvolvedField | None = None,
        threshold: float | None = None,
        progress: Progress = True,
        store: str | Path | None = None,
        on_spacing: str = "warn",
        on_range: str = "error",
        probability: NDArray[np.float32] | None = None,
        communicator: Communicator = SERIAL,
    ) -> Prediction:
        """Find the protohaloes of a box.

        Parameters
        ----------
        field : LinearField
        evolved : EvolvedField, optional
            `evolve_field` of the field, if it is there already. Otherwise it is computed where the networks see it;
            also where they see the field on another lattice.
        threshold : float, optional
            Semantic threshold on the calibrated probability; the card's by default.
        progress : bool or callable
            See `progress.track`.
        store : path, optional
            Folder for finished crops; a run with the same field, model and settings takes them from there.
        on_spacing : {"warn", "error", "allow"}
            What to do when the lattice spacing is not the model's; see `models.validity.model_side`.
        on_range : {"error", "warn", "allow"}
            What to do when sigma_8, as stated or as measured from delta, is outside the model's range; see
            `models.validity`.
        probability : float32, (n, n, n), optional
            Calibrated probability of every site, where `probability` of this class has computed it before: the
            semantic network then does not run.
        communicator : Communicator
            The processes that share the crops, each calling this with the same arguments and a store that all see.

        Returns
        -------
        Prediction
            On every rank, on the lattice of `field`, whatever lattice the model saw.

        Raises
        ------
        OutOfRangeError, ModelError, TilingError, StoreError
            Before any network runs.
        """
        settings = self.settings(threshold)
        network = self.card.instance_network()
        check_range(self.card, field, on_range)
        side = model_side(self.card, field.lattice, on_spacing)
        semantic_plan = self.plan(self.card.semantic, side)
        instance_plan = self.plan(network, side)
        settings["model_side"] = side
        settings.update(field.identity())
        if probability is not None:
            Lattice(side, field.box_size).check_cube(probability, "probability")
        seen, crops = open_store(store, field, side, {**settings, "model": self.card.sha256}, communicator)
        if evolved is None or evolved.n != side:
            evolved = evolve_once(seen, crops, communicator, progress) if self.card.sees_evolution else None
        inputs = ModelInput(seen, evolved, probability)
        if probability is None:
            probability = self._probability(inputs, semantic_plan, crops, progress, communicator)
            inputs = replace(inputs, probability=probability)
        labels = self._core_labels(inputs, settings["threshold"], instance_plan, crops, progress, communicator)
        prediction = None
        with communicator.barrier():
            if communicator.is_root:
                prediction = self._assemble(field, inputs, labels, instance_plan, settings, crops)
                if crops is not None and communicator.size > 1:
                    prediction.save(crops.folder / _SHARED_PREDICTION)
        if prediction is None:
            assert crops is not None
            prediction = Prediction.load(crops.folder / _SHARED_PREDICTION)
            prediction = replace(prediction, evolved=evolved if side == field.n else None)
        return prediction

    def _assemble(
        self,
        field: LinearField,
        inputs: ModelInput,
        blocks: Blocks,
        plan: CropPlan,
        settings: dict[str, Any],
        crops: CropStore | None,
    ) -> Prediction:
        """Stitch the labels of all cores and bring everything to the lattice of the field."""
        seen, probability = inputs.field, inputs.probability
        assert probability is not None
        labels_a, labels_b = label_cubes(seen.lattice, blocks, crops)
        stitched = stitch(labels_a, labels_b, plan.octant_boundaries, iou_threshold=IOU_THRESHOLD)
        del labels_a, labels_b
        labels = self.finished_labels(stitched.labels, inputs)
        final = label_map(stitched.labels, labels)
        mask = probability > np.float32(settings["threshold"])
        if seen.n != field.n:
            index = nearest_sites(field.lattice, seen.lattice, field.site_offset)
            probability, mask, mapped = probability[index], mask[index], labels[index]
            labels = relabel_by_size(mapped)
            final = label_map(mapped, labels, int(final.max(initial=0)) + 1)[final]
        return Prediction(
            probability=probability,
            mask=mask,
            labels=labels.astype(np.int32, copy=False),
            lattice=field.lattice,
            cosmology=field.cosmology,
            redshift=float(field.redshift),
            site_offset=float(field.site_offset),
            overlap=stitched.overlap.labelled(final[stitched.component]),
            settings={**settings, FIELD_SAMPLE: field_sample(field)},
            card=self.card,
            target_redshift=float(field.target_redshift),
            evolved=inputs.evolved if seen.n == field.n else None,
        )

    def finished_labels(self, stitched: NDArray[np.int32], inputs: ModelInput) -> NDArray[np.int32]:
        """Stitched labels without the small ones, and with what ends in contact joined; 1..K by descending size."""
        labels = relabel_by_size(stitched, self.card.min_sites)
        contact = self.card.clustering.get(CONTACT_KEY, 0.0)
        if not contact:
            return labels
        if inputs.evolved is None:
            raise ModelError("the model joins protohaloes by their final positions; pass the evolved field")
        return join_in_contact(labels, inputs.evolved.displacement, contact)

    def probability(
        self, field: LinearField, progress: Progress = True, evolved: EvolvedField | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n), for a field of the model's spacing."""
        if evolved is None and sees_evolution(self.card.semantic.channels):
            evolved = evolve_field(field, progress)
        return self._probability(
            ModelInput(field, evolved), self.plan(self.card.semantic, field.n), None, progress, SERIAL
        )

    def calibration(self, field: LinearField) -> dict[str, float]:
        """Slope and intercept of `evaluation.calibrated` for a field; one Fourier sum where they need its amplitude."""
        sigma_8 = measured_amplitude(self.card, field)[0] if self.card.sees_amplitude else self.card.cosmology.sigma_8
        return self.card.calibration_at(sigma_8)

    def probability_of_cores(
        self, inputs: ModelInput, every: Iterable[Crop], calibration: Mapping[str, float]
    ) -> Blocks:
        """Calibrated probability of the sites of the core of each semantic crop, float32, core shape, in their order.

        calibration : slope and intercept, of `calibration`
        """

        def compute(crops: list[Crop]) -> list[NDArray[np.float32]]:
            outputs = run_network(self.semantic, self.card.semantic, inputs, crops, self.card.symmetries)[..., 0]
            return [
                calibrated(each[crop.output_core], **calibration) for crop, each in zip(crops, outputs, strict=True)
            ]

        batch = self.batches["semantic"]
        for crops in batch.groups(every):
            yield from zip(crops, batch.run(compute, crops), strict=True)

    def label_cores(self, inputs: ModelInput, every: Iterable[Crop], threshold: float) -> Blocks:
        """Labels 1..m of the core of each instance crop, 0 none, int32, core shape, in the order of the crops.

        Separated with all the members that the network saw, so that the images of a halo stay apart. While the crops of
        one batch are clustered, the network runs on the next.

        inputs : with a probability that is right wherever the crops reach
        """
        probability = inputs.probability
        assert probability is not None
        batch = self.batches["instance"]

        def compute(crops: list[Crop]) -> list[NDArray[np.float32]]:
            network, card = self.instance, self.card.instance_network()
            assert network is not None
            return list(run_network(network, card, inputs, crops))

        def embed(crops: Sequence[Crop]) -> list[Embedded | None]:
            near = {}
            for crop in crops:
                seen = inputs.lattice.crop(probability, crop.output_start, crop.output_shape)
                if (seen[crop.output_core] > np.float32(threshold)).any():
                    near[crop.key] = seen
            needed = [crop for crop in crops if crop.key in near]
            embedded = dict(zip(near, batch.run(compute, needed), strict=True))
            return [(embedded[crop.key], near[crop.key]) if crop.key in near else None for crop in crops]

        def separate(crop: Crop, embedded: Embedded | None) -> NDArray[np.int32]:
            if embedded is None:
                return np.zeros(crop.core_shape, dtype=np.int32)
            return separate_core(self.card, *embedded, threshold, crop)

        # a network on a GPU leaves the cores free
        return pipeline(batch.groups(every), embed, separate, threads=min(batch.size, available_cores()))

    def settings(self, threshold: float | None = None) -> dict[str, Any]:
        """What a prediction depends on beside field and card, JSON values: part of every store and cache key.

        Raises
        ------
        ModelError
            The threshold is not between 0 and 1.
        """
        value = checked_threshold(self.card.threshold if threshold is None else threshold)
        return {"threshold": value, "precision": self.precision, "iou_threshold": IOU_THRESHOLD}

    def plan(self, network: NetworkCard, n: int) -> CropPlan:
        """Crops of one of the networks in a box of `n` sites per side."""
        core = self.card.core_of(network.architecture["head"])
        return CropPlan(n=n, crop=network.side, margin=network.margin, core=core)

    def _probability(
        self,
        inputs: ModelInput,
        plan: CropPlan,
        crops: CropStore | None,
        progress: Progress,
        communicator: Communicator,
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n)."""
        every = list(plan.crops("a"))
        calibration = communicator.broadcast(lambda: self.calibration(inputs.field))

        def compute(todo: Sequence[Crop]) -> Blocks:
            return self.probability_of_cores(inputs, todo, calibration)

        blocks = finished_blocks(
            "probability", every, compute, crops, communicator, "Finding protohalo sites", progress
        )
        with communicator.barrier():
            if communicator.is_root:
                probability = new_cube(crops, "probability", inputs.lattice, np.float32)
                for crop, block in blocks:
                    inputs.lattice.paste(probability, block, crop.core_start)
        return probability if crops is None else crops.open("probability")

    def _core_labels(
        self,
        inputs: ModelInput,
        threshold: float,
        plan: CropPlan,
        crops: CropStore | None,
        progress: Progress,
        communicator: Communicator,
    ) -> Blocks:
        """Labels of each core of both lattices, see `label_cores`."""

        def compute(todo: Sequence[Crop]) -> Blocks:
            return self.label_cores(inputs, todo, threshold)

        every = [*plan.crops("a"), *plan.crops("b")]
        return finished_blocks("labels", every, compute, crops, communicator, "Separating protohalos", progress)
