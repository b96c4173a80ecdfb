"""Prediction with a position network: one network, one pass over the box, and groups of predicted final positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..exceptions import ClusteringError
from ..fields.evolution import Allocate, EvolvedField
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import PLANS, MeshPlan
from ..fields.units import Quantity
from ..models.channels import ModelInput
from ..segmentation.overlap import OverlapGraph
from ..segmentation.position_groups import group_positions
from .communicator import SERIAL, Communicator
from .device_mesh import best_forces
from .evolved_channels import ARRAYS, evolve_with_channels
from .field_lattice import on_field_lattice
from .halo_motion import halo_motion
from .memory import enough_memory
from .model_crops import ModelCrops
from .pipeline import Pipeline
from .positions import SiteOutputs, site_outputs
from .predictor import ProtohaloPredictor
from .result import FIELD_SAMPLE, Prediction, field_sample, provenance
from .store import CropStore, evolve_in_store, open_store, predict_on_root

BYTES_PER_SITE = {"in memory": 82, "in a store": 50}
"""Memory of all steps, by where the evolved field lies; neither the linear field nor the network counts. Up to 60 % of
the sites are candidates for groups."""
_EVOLUTION_BYTES = {"in memory": 26, "in a store": 0}
"""Memory of the evolution per site, to which 4 bytes for each cell of its mesh are added."""
_REMEDIES = {
    "in memory": "a store (with a dataset, the cache), method 'fof' with the evolution 'fast', which has one mesh cell "
    "per site, or a model that reads the box in crops, e.g. 'planck-v4'",
    # friends of friends of the whole box would take more
    "in a store": "or a model that reads the box in crops, e.g. 'planck-v4'",
}


class PositionPredictor(ProtohaloPredictor):
    """A model whose one network predicts the membership of every site, and where it ends.

    `ProtohaloPredictor.from_pretrained` returns it for such a model. The members of a mask are the sites of a large
    probability; the protohaloes are groups of predicted final positions, and may hold sites outside the mask: a small
    halo that is likely to exist, but whose sites are uncertain one by one, is found with its whole mass.

    Parameters
    ----------
    card, precision, batch
        As in `ProtohaloPredictor`; of the batch ``"semantic"`` alone counts.
    semantic : callable
        float32 (batch, side, side, side, channels) -> float32 (batch, out, out, out, 5), for any side that is a
        multiple of the network's stride: logits of ending in a halo and in any group, and the displacement from the
        evolved position to the centre of the halo, in units of `channels.DISPLACEMENT_UNIT`.
    instance : None
        There is no second network.

    Examples
    --------
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
    >>> type(predictor).__name__
    'PositionPredictor'
    >>> predictor.site_outputs(field, progress=False).displacement.shape  # sites
    (3, 32, 32, 32)
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
        resolution: Quantity | None = None,
        probability: NDArray[np.float32] | None = None,
        communicator: Communicator = SERIAL,
    ) -> Prediction:
        """Find the protohaloes of a box.

        Parameters
        ----------
        field, threshold, progress, store, on_spacing, on_range, resolution, communicator
            As in `ProtohaloPredictor.predict`.
        evolved : EvolvedField, optional
            `evolve_with_channels` of the field by the plan of the card, if it is known already. Otherwise it is made
            once for all ranks and kept in the store, 54 bytes per site.
        probability : float32, (n, n, n), optional
            Takes the place of the calibrated probability in the result; the network runs all the same.

        Returns
        -------
        Prediction

        Raises
        ------
        OutOfRangeError, ModelError, TilingError, StoreError, ClusteringError, ExperimentError, OutOfMemoryError
            Before the field is evolved. The known evolved field has no channels of the network (`ModelError`); the
            linking length is more than a third of the box; a perturbation is not periodic; too little memory.
        """
        settings = self._settings(field, threshold, on_spacing, on_range, resolution)
        side = settings["model_side"]
        if probability is not None:
            Lattice(side, field.box_size).check_cube(probability, "probability")
        model_field, crop_store = open_store(store, field, side, {**settings, "model": self.card.sha256}, communicator)
        evolved = self._evolved(model_field, evolved, progress, crop_store, communicator)
        pipeline = Pipeline(ModelInput(model_field, evolved), crop_store, communicator, progress)
        outputs = self._outputs(pipeline, ModelCrops.of_box(self.card, side))
        # the channels are not needed any more, and groups take their memory
        del pipeline
        evolved = EvolvedField(evolved.displacement, velocity=evolved.velocity)

        def make() -> Prediction:
            assert outputs is not None
            members = outputs.probability if probability is None else probability
            mask, labels = members > np.float32(settings["threshold"]), self.labels(outputs)
            motion = halo_motion(labels, model_field, evolved)
            found = on_field_lattice(field, model_field.lattice, self.card, labels, motion)
            return Prediction(
                probability=found.values(np.asarray(members)),
                mask=found.values(mask),
                labels=found.labels,
                lattice=field.lattice,
                overlap=OverlapGraph.empty(),
                motion=found.motion,
                **provenance(field, self.card, {**settings, FIELD_SAMPLE: field_sample(field)}),
            )

        prediction = predict_on_root(make, store, communicator)
        return replace(prediction, evolved=evolved if side == field.n else None)

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
        outputs = self._outputs(
            Pipeline(ModelInput(field, evolved), progress=progress), ModelCrops.of_box(self.card, field.n)
        )
        assert outputs is not None
        return outputs

    def _settings(
        self, field: LinearField, threshold: float | None, on_spacing: str, on_range: str, resolution: Quantity | None
    ) -> dict[str, Any]:
        settings = super()._settings(field, threshold, on_spacing, on_range, resolution)
        length, side = self.card.clustering["linking_length"], settings["model_side"]
        if length > side / 3:
            raise ClusteringError(
                f"linking length {length:g} of model {self.card.name!r} is more than a third of the {side} sites per "
                "side; use a larger box"
            )
        field.periodic_delta()
        return settings

    def _evolved(
        self, field: LinearField, known: EvolvedField | None, progress: Progress, store: CropStore | None = None,
        communicator: Communicator = SERIAL,
    ) -> EvolvedField:  # fmt: skip
        """The known evolved field, if it is on the lattice of the model, or else a new one."""
        if known is not None and known.n == field.n:
            ModelInput(field, known).evolved_cubes(self.card.semantic.channels)
            return known
        plan = PLANS[self.card.evolution]

        def evolve(allocate: Allocate) -> EvolvedField:
            with enough_memory("a prediction of final positions", field.n, *needed_memory(plan, store is not None)):
                return evolve_with_channels(field, plan, progress, allocate, best_forces(plan, field.n))

        return evolve_in_store(evolve, ARRAYS, store, communicator)

    def _outputs(self, pipeline: Pipeline, crops: ModelCrops) -> SiteOutputs | None:
        calibration = pipeline.communicator.broadcast(lambda: self.calibration(pipeline.inputs.field))
        return site_outputs(pipeline, self.semantic_network, crops.semantic, calibration)

    def _region_cubes(
        self, field: LinearField, evolved: EvolvedField | None, crops: ModelCrops, threshold: float, progress: Progress
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        # of all crops of the box: the sites of a group may begin anywhere
        outputs = self.site_outputs(field, progress, evolved)
        return outputs.probability, self.labels(outputs)

    def labels(self, outputs: SiteOutputs) -> NDArray[np.int32]:
        """Protohaloes among the sites of a box, int32 (n, n, n), by the settings of the card; see `group_positions`."""
        settings = self.card.clustering
        return group_positions(
            outputs.displacement, outputs.in_group > np.float32(settings["in_group"]),
            settings["linking_length"], settings["core_length"], int(settings["min_core"]), self.card.min_sites,
            outputs.in_group > np.float32(settings["member"]),
        )  # fmt: skip


def needed_memory(plan: MeshPlan, stored: bool) -> tuple[int, str]:
    """Bytes per site that a prediction needs, and what to do if there are not as many; for `enough_memory`.

    stored : whether the evolved field lies in a store
    """
    place = "in a store" if stored else "in memory"
    evolution = _EVOLUTION_BYTES[place] + 4 * plan.cells_per_site**3
    return max(BYTES_PER_SITE[place], evolution), _REMEDIES[place]
