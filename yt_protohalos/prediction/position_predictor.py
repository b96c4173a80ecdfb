"""Prediction with a position network: one network, one pass over the box, and groups of predicted final positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..fields.evolution import EvolvedField
from ..fields.lattice import Lattice, nearest_sites
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import PLANS
from ..fields.region import Region
from ..models.channels import ModelInput
from ..segmentation.labels import relabel_by_size
from ..segmentation.overlap import OverlapGraph
from ..segmentation.position_groups import group_positions
from .communicator import SERIAL, Communicator
from .evolved_channels import evolve_with_channels
from .model_crops import ModelCrops, check_plateau
from .pipeline import Pipeline
from .positions import SiteOutputs, site_outputs
from .predictor import ProtohaloPredictor
from .result import FIELD_SAMPLE, Prediction, RegionPrediction, field_sample, provenance
from .store import open_store, predict_on_root


class PositionPredictor(ProtohaloPredictor):
    """A model whose one network predicts the membership of every site, and where it ends.

    `ProtohaloPredictor.from_pretrained` returns it for such a model. The members of a mask are the sites of a large
    probability; the protohaloes are groups of predicted final positions, and may hold sites outside the mask: a small
    halo that is likely to exist, but whose sites are uncertain one by one, is found with its whole mass.
    """

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
        field, threshold, progress, store, on_spacing, on_range, communicator
            As in `ProtohaloPredictor.predict`.
        evolved : EvolvedField, optional
            `evolve_with_channels` of the field by the plan of the card, if it is known already.
        probability : float32, (n, n, n), optional
            Takes the place of the calibrated probability in the result; the network runs all the same.

        Returns
        -------
        Prediction

        Raises
        ------
        OutOfRangeError, ModelError, TilingError, StoreError, ExperimentError
            Before the network runs.
        """
        settings = self._settings(field, threshold, on_spacing, on_range)
        side = settings["model_side"]
        if probability is not None:
            Lattice(side, field.box_size).check_cube(probability, "probability")
        model_field, crop_store = open_store(store, field, side, {**settings, "model": self.card.sha256}, communicator)
        evolved = self._evolved(model_field, evolved, progress)
        pipeline = Pipeline(ModelInput(model_field, evolved), crop_store, communicator, progress)
        outputs = self._outputs(pipeline, ModelCrops.of_box(self.card, side))

        def make() -> Prediction:
            members = outputs.probability if probability is None else probability
            mask, labels = members > np.float32(settings["threshold"]), self.labels(outputs)
            if side != field.n:
                index = nearest_sites(field.lattice, model_field.lattice, field.site_offset)
                members, mask, labels = members[index], mask[index], relabel_by_size(labels[index])
            return Prediction(
                probability=np.asarray(members),
                mask=mask,
                labels=labels,
                lattice=field.lattice,
                overlap=OverlapGraph.empty(),
                **provenance(field, self.card, {**settings, FIELD_SAMPLE: field_sample(field)}),
                evolved=EvolvedField(evolved.displacement, velocity=evolved.velocity) if side == field.n else None,
            )

        return predict_on_root(make, store, communicator)

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
    ) -> RegionPrediction:
        """Find the protohaloes of a region of a box: those of the whole box, cut at the faces of the region.

        Parameters, result and errors are those of `ProtohaloPredictor.predict_region`.
        """
        settings = self._settings(field, threshold, on_spacing, on_range)
        side = settings["model_side"]
        model_field = field if side == field.n else field.resampled(side)
        lattice = model_field.lattice
        start, n = region.sites(lattice, field.site_offset)
        check_plateau(model_field, region, ModelCrops.of_region(self.card, lattice, start, n))
        evolved = self._evolved(model_field, evolved, progress)
        pipeline = Pipeline(ModelInput(model_field, evolved), progress=progress)
        outputs = self._outputs(pipeline, ModelCrops.of_box(self.card, side))
        return self._cut(field, lattice, region, outputs.probability, self.labels(outputs), settings)

    def probability(
        self, field: LinearField, progress: Progress = True, evolved: EvolvedField | None = None
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n), for a field of the model's spacing."""
        return self.site_outputs(field, progress, evolved).probability

    def site_outputs(
        self, field: LinearField, progress: Progress = True, evolved: EvolvedField | None = None
    ) -> SiteOutputs:
        """Everything that the network says of the sites of a field of the model's spacing."""
        evolved = self._evolved(field, evolved, progress)
        pipeline = Pipeline(ModelInput(field, evolved), progress=progress)
        return self._outputs(pipeline, ModelCrops.of_box(self.card, field.n))

    def _evolved(self, field: LinearField, known: EvolvedField | None, progress: Progress) -> EvolvedField:
        """The evolved field that is known, if it has the channels of the network on this lattice, or else a new one."""
        if known is not None and known.n == field.n and known.channels:
            return known
        return evolve_with_channels(field, PLANS[self.card.evolution], progress)

    def _outputs(self, pipeline: Pipeline, crops: ModelCrops) -> SiteOutputs:
        calibration = pipeline.communicator.broadcast(lambda: self.calibration(pipeline.inputs.field))
        return site_outputs(pipeline, self.semantic_network, crops.semantic, calibration)

    def labels(self, outputs: SiteOutputs) -> NDArray[np.int32]:
        """Protohaloes among the sites of a box, int32 (n, n, n), by the settings of the card; see `group_positions`."""
        settings = self.card.clustering
        return group_positions(
            outputs.displacement, outputs.in_group > np.float32(settings["in_group"]),
            settings["linking_length"], settings["core_length"], int(settings["min_core"]), self.card.min_sites,
        )  # fmt: skip
