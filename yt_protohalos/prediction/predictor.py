"""From a linear field to protohaloes: a model that is loaded, checks a request and predicts a box or a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..exceptions import ModelError
from ..fields.evolution import ARRAYS, EvolvedField, evolve_field
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.region import Region
from ..fields.units import Quantity
from ..models.card import ModelCard
from ..models.channels import ModelInput, sees_evolution
from ..models.registry import DEFAULT_MODEL, load_card, verify
from ..models.resolution import checked_side
from ..models.runtime import Network, best_precision, crops_at_once, load_network
from ..models.validity import check_threshold, measured_amplitude
from ..segmentation.labels import label_map, relabel_by_size, touches_faces
from .communicator import SERIAL, Communicator
from .field_lattice import on_field_lattice
from .halo_motion import halo_motion
from .inference import Batch, CropNetwork
from .model_crops import ModelCrops, check_plateau, needed_sites
from .pipeline import IOU_THRESHOLD, Blocks, Pipeline
from .result import FIELD_SAMPLE, Prediction, RegionPrediction, field_sample, provenance
from .store import CropStore, evolve_in_store, open_store, predict_on_root

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")


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
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
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

    def __repr__(self) -> str:
        card = self.card
        return f"{type(self).__name__}(model {card.name!r}, method {card.method}, precision {self.precision})"

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT_MODEL, precision: str = "auto") -> ProtohaloPredictor:
        """Load a bundled model, or one from a folder, after verifying its weight files.

        Parameters
        ----------
        name : str or Path
            Name of a bundled model (`models.registry.available`) or a folder with ``card.json``.
        precision : {"auto", "float32", "mixed", "bfloat16"}
            Of the networks' inner layers. ``"mixed"`` computes a semantic network in bfloat16. Of a network that
            separates haloes it does so with the deeper levels, and those that see every site are float32;
            ``"bfloat16"`` is for all; ``"auto"`` is what `models.runtime.best_precision` says of the machine. The last
            layers are float32.

        Returns
        -------
        ProtohaloPredictor
            A `PositionPredictor` for a model with a position network.

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
        # what a membership loses by rounding is less than what positions and embeddings lose
        coarse = precision == "mixed" and not card.predicts_positions
        semantic = load_network(card.semantic, folder, "bfloat16" if coarse else precision)
        instance = None if card.instance is None else load_network(card.instance, folder, precision)
        networks = {"semantic": card.semantic, "instance": card.instance}
        batch = {head: crops_at_once(network) for head, network in networks.items() if network is not None}
        if card.predicts_positions:
            # that module imports this one
            from .position_predictor import PositionPredictor

            cls = PositionPredictor
        return cls(card, semantic, instance, precision, batch)

    @property
    def semantic_network(self) -> CropNetwork:
        """The semantic network, to run on crops."""
        return CropNetwork(self.semantic, self.card.semantic, self.batches["semantic"], self.card.symmetries)

    @property
    def instance_network(self) -> CropNetwork:
        """The instance network, to run on crops; `ModelError` if the model has none."""
        card = self.card.instance_network()
        assert self.instance is not None
        return CropNetwork(self.instance, card, self.batches["instance"])

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
        resolution: Quantity | None = None,
        probability: NDArray[np.float32] | None = None,
        communicator: Communicator = SERIAL,
    ) -> Prediction:
        """Find the protohaloes of a box.

        Parameters
        ----------
        field : LinearField
        evolved : EvolvedField, optional
            `evolve_field` of the field, if it is known already. Otherwise it is computed if the networks see it, and
            also if they see the field on another lattice.
        threshold : float, optional
            Semantic threshold on the calibrated probability; the card's by default.
        progress : bool or callable
            See `progress.track`.
        store : path, optional
            Folder for finished crops; a run with the same field, model and settings takes them from there.
        on_spacing : {"warn", "error", "allow"}
            What to do if the lattice spacing is not the model's; see `models.resolution.model_side`.
        on_range : {"error", "warn", "allow"}
            What to do if sigma_8, as stated or as measured from delta, is outside the model's range; see
            `models.validity`.
        resolution : float, str, (float, str) or unyt_quantity, optional
            Lattice spacing to which the field is reduced before a model of several spacings sees it, comoving Mpc/h or
            with a unit.
        probability : float32, (n, n, n), optional
            Calibrated probability of every site, if `probability` of this class has computed it before: the semantic
            network then does not run.
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
        network = self.instance_network
        settings = self._settings(field, threshold, on_spacing, on_range, resolution)
        side = settings["model_side"]
        crops = ModelCrops.of_box(self.card, side)
        if probability is not None:
            Lattice(side, field.box_size).check_cube(probability, "probability")
        model_field, crop_store = open_store(store, field, side, {**settings, "model": self.card.sha256}, communicator)
        evolved = self._evolved(model_field, evolved, progress, crop_store, communicator)
        pipeline = Pipeline(ModelInput(model_field, evolved, probability), crop_store, communicator, progress)
        if probability is None:
            pipeline = self._with_membership(pipeline, crops)
        blocks = pipeline.core_labels(network, self.card, crops.instance, settings["threshold"])
        prediction = predict_on_root(
            lambda: self._assemble(field, pipeline, blocks, crops, settings), store, communicator
        )
        return replace(prediction, evolved=evolved if side == field.n else None)

    def predict_region(
        self,
        field: LinearField,
        region: Region,
        *,
        evolved: EvolvedField | None = None,
        threshold: float | None = None,
        progress: Progress = True,
        on_spacing: str = "warn",
        on_range: str = "error",
        resolution: Quantity | None = None,
    ) -> RegionPrediction:
        """Find the protohaloes of a region of a box.

        The crops are those of the prediction of the whole box, so that away from the region's faces the result is the
        same. The cubes of the whole box are in memory, as there. A position network runs on all crops of the box,
        because its protohaloes are groups of final positions wherever these began; the region is cut from their labels,
        and takes as long as the box.

        Parameters
        ----------
        field : LinearField
            Of the whole box, which gives the crops their context.
        region : Region
        evolved, threshold, progress, on_spacing, on_range, resolution
            As in `predict`.

        Returns
        -------
        RegionPrediction
            On the lattice of the model.

        Raises
        ------
        OutOfRangeError, ModelError, TilingError, LatticeError
            As `predict`; the region is larger than the box or smaller than a site.
        ExperimentError
            The field has a perturbation whose plateau is smaller than what the networks see, or one that is not
            periodic and a network sees the evolved field. All of these before any network runs.

        Examples
        --------
        >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
        >>> part = predictor.predict_region(field, ph.Region((2, 2, 2), side=3.125))
        >>> part.labels.shape
        (16, 16, 16)
        """
        self.card.check_separation()
        settings = self._settings(field, threshold, on_spacing, on_range, resolution)
        side = settings["model_side"]
        model_field = field if side == field.n else field.resampled(side)
        lattice = model_field.lattice
        start, n = region.sites(lattice, field.site_offset)
        crops = ModelCrops.of_region(self.card, lattice, start, n)
        check_plateau(model_field, region, crops)
        cubes = self._region_cubes(model_field, evolved, crops, settings["threshold"], progress)
        return self._cut(field, lattice, region, *cubes, settings)

    def needed_context(self, field: LinearField, region: Region) -> Region:
        """The cube that the networks see when a region is predicted, which a plateau must hold.

        It lies about the region, and may be larger than the box; `field` has the model's lattice spacing.

        Examples
        --------
        >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
        >>> region = ph.Region((2, 2, 2), side=3.125)
        >>> predictor.needed_context(field, region).side > region.side
        True
        """
        start, n = region.sites(field.lattice, field.site_offset)
        crops = ModelCrops.of_region(self.card, field.lattice, start, n)
        return Region.of_sites(field.lattice, *needed_sites(crops, field.lattice, start, n), field.site_offset)

    def probability(
        self, field: LinearField, progress: Progress = True, evolved: EvolvedField | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n), for a field of the model's spacing."""
        if evolved is None and sees_evolution(self.card.semantic.channels):
            evolved = evolve_field(field, progress)
        crops = ModelCrops.of_box(self.card, field.n)
        return self._membership(Pipeline(ModelInput(field, evolved), progress=progress), crops)

    def calibration(self, field: LinearField) -> dict[str, float]:
        """Slope and intercept of `inference.calibrated` for a field; one Fourier sum if they need its amplitude."""
        sigma_8 = measured_amplitude(self.card, field)[0] if self.card.sees_amplitude else self.card.cosmology.sigma_8
        return self.card.calibration_at(sigma_8)

    def _settings(
        self, field: LinearField, threshold: float | None, on_spacing: str, on_range: str, resolution: Quantity | None
    ) -> dict[str, Any]:
        """Check a request, and return what its prediction depends on beside field and card, as JSON values."""
        value = check_threshold(self.card.threshold if threshold is None else threshold)
        side = checked_side(self.card, field, on_spacing, on_range, resolution)
        settings = {"threshold": value, "precision": self.precision, "iou_threshold": IOU_THRESHOLD}
        return {**settings, "model_side": side, **field.identity()}

    def _evolved(
        self, field: LinearField, known: EvolvedField | None, progress: Progress, store: CropStore | None = None,
        communicator: Communicator = SERIAL,
    ) -> EvolvedField | None:  # fmt: skip
        """The known evolved field, if it is on the lattice of the model, or else a new one if the networks see one."""
        if known is not None and known.n == field.n:
            return known
        if not self.card.sees_evolution:
            return None
        return evolve_in_store(partial(evolve_field, field, progress), ARRAYS, store, communicator)

    def _region_cubes(
        self, field: LinearField, evolved: EvolvedField | None, crops: ModelCrops, threshold: float, progress: Progress
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Probability and labels in cubes of the whole box, right for the region that the crops are for."""
        evolved = self._evolved(field, evolved, progress)
        pipeline = self._with_membership(Pipeline(ModelInput(field, evolved), progress=progress), crops)
        blocks = pipeline.core_labels(self.instance_network, self.card, crops.instance, threshold)
        assert crops.plan is not None and pipeline.inputs.probability is not None
        # stitched in the cubes of the whole box, where background has at least as many sites as it has there
        labels = pipeline.protohalos(pipeline.stitched(blocks, crops.plan).labels, self.card)
        return pipeline.inputs.probability, labels

    def _cut(
        self, field: LinearField, lattice: Lattice, region: Region, probability: NDArray[np.float32],
        labels: NDArray[np.int32], settings: dict[str, Any],
    ) -> RegionPrediction:  # fmt: skip
        """The part of cubes of the whole box, on the lattice of the model, that lies in a region."""
        start, n = region.sites(lattice, field.site_offset)
        inside = lattice.crop(probability, start, (n,) * 3)
        labels = relabel_by_size(lattice.crop(labels, start, (n,) * 3))
        return RegionPrediction(
            probability=inside,
            mask=inside > np.float32(settings["threshold"]),
            labels=labels,
            touches_border=touches_faces(labels) & (n < lattice.n),
            region=region,
            start=start,
            lattice=lattice,
            **provenance(field, self.card, settings),
        )

    def _membership(self, pipeline: Pipeline, crops: ModelCrops) -> NDArray[np.float32]:
        calibration = pipeline.communicator.broadcast(lambda: self.calibration(pipeline.inputs.field))
        return pipeline.membership(self.semantic_network, crops.semantic, calibration)

    def _with_membership(self, pipeline: Pipeline, crops: ModelCrops) -> Pipeline:
        return replace(pipeline, inputs=replace(pipeline.inputs, probability=self._membership(pipeline, crops)))

    def _assemble(
        self, field: LinearField, pipeline: Pipeline, blocks: Blocks, crops: ModelCrops, settings: dict[str, Any]
    ) -> Prediction:
        """Stitch the labels of all cores and bring everything to the lattice of the field."""
        inputs, probability = pipeline.inputs, pipeline.inputs.probability
        assert probability is not None and crops.plan is not None
        stitched = pipeline.stitched(blocks, crops.plan)
        labels = pipeline.protohalos(stitched.labels, self.card)
        final = label_map(stitched.labels, labels)
        motion = halo_motion(labels, inputs.field, inputs.evolved)
        mask = probability > np.float32(settings["threshold"])
        found = on_field_lattice(field, inputs.field.lattice, self.card, labels, motion)
        final = found.new_label[final]
        return Prediction(
            probability=found.values(probability),
            mask=found.values(mask),
            labels=found.labels,
            lattice=field.lattice,
            overlap=stitched.overlap.labelled(final[stitched.component]),
            motion=found.motion,
            **provenance(field, self.card, {**settings, FIELD_SAMPLE: field_sample(field)}),
        )
