"""Prediction of a region: only the crops that it takes, of a box that may be much larger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress, track
from ..exceptions import ExperimentError, LatticeError
from ..fields.cosmology import Cosmology
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.lattice import Lattice, Triple
from ..fields.linear_field import LinearField
from ..fields.perturbations import DeformedField
from ..fields.region import Region, contains, overlaps
from ..models.card import ModelCard
from ..models.channels import ModelInput
from ..models.validity import check_range, model_side
from ..segmentation.labels import relabel_by_size, touches_faces
from ..segmentation.stitching import stitch
from ..segmentation.tiling import Crop
from .predictor import IOU_THRESHOLD, ProtohaloPredictor
from .result import LabelledSites
from .streaming import label_cubes


@dataclass(frozen=True, eq=False)
class RegionPrediction(LabelledSites):
    """Protohaloes of a cubic part of a box.

    Attributes
    ----------
    probability : float32, (m, m, m)
        Calibrated probability that a site ends in a halo.
    mask : bool, (m, m, m)
        Where the probability exceeds the semantic threshold.
    labels : int32, (m, m, m)
        0 none, 1..K protohaloes by descending number of sites in the region.
    touches_border : bool, (K,)
        Whether label i + 1 has sites on a face of the region: it may go on outside, so its mass is a lower bound.
        All False where the region is the whole box.
    region : Region
    start : tuple of int
        Site of the box that ``[0, 0, 0]`` of the cubes is; any integers.
    lattice : Lattice
        Of the box, as the model saw it.
    cosmology : Cosmology
    redshift, site_offset : float
        As in `Prediction`.
    settings : dict
        Everything chosen for this run, JSON values.
    card : ModelCard
    target_redshift : float
        As in `Prediction`.

    Examples
    --------
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v4")
    >>> part = ph.predict_region(predictor, field, ph.Region((2, 2, 2), side=3.125))
    >>> whole = part.label_mass[1:][~part.touches_border]  # Msun
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    touches_border: NDArray[np.bool_]
    region: Region
    start: Triple
    lattice: Lattice
    cosmology: Cosmology
    redshift: float
    site_offset: float
    settings: dict[str, Any] = field(repr=False)
    card: ModelCard = field(repr=False)
    target_redshift: float = 0.0

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if len(shape) != 3 or len(set(shape)) != 1 or not self.probability.shape == self.mask.shape == shape:
            raise LatticeError(
                f"probability {self.probability.shape}, mask {self.mask.shape} and labels {shape} are not one cube; "
                "give (m, m, m) each"
            )

    @property
    def n(self) -> int:
        """Sites of the region per side, m."""
        return len(self.labels)


def predict_region(
    predictor: ProtohaloPredictor,
    field: LinearField,
    region: Region,
    *,
    evolved: EvolvedField | None = None,
    threshold: float | None = None,
    progress: Progress = True,
    on_spacing: str = "warn",
    on_range: str = "error",
) -> RegionPrediction:
    """Find the protohaloes of a region of a box.

    The crops are those of the prediction of the whole box, so that away from the region's faces the result is the same.
    The cubes of the whole box are in memory, as there.

    Parameters
    ----------
    predictor : ProtohaloPredictor
    field : LinearField
        Of the whole box, which gives the crops their context.
    region : Region
    evolved, threshold, progress, on_spacing, on_range
        As in `ProtohaloPredictor.predict`.

    Returns
    -------
    RegionPrediction
        On the lattice of the model.

    Raises
    ------
    OutOfRangeError, ModelError, TilingError
        As `ProtohaloPredictor.predict`.
    LatticeError
        The region is larger than the box or smaller than a site.
    ExperimentError
        The field has a perturbation whose plateau is smaller than what the networks see, or one that is not periodic
        and a network sees the evolved field. All of these before any network runs.

    Examples
    --------
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v4")
    >>> part = ph.predict_region(predictor, field, ph.Region((2, 2, 2), side=3.125))
    >>> part.labels.shape
    (16, 16, 16)
    """
    card = predictor.card
    settings = predictor.settings(threshold)
    check_range(card, field, on_range)
    side = model_side(card, field.lattice, on_spacing)
    seen = field if side == field.n else field.resampled(side)
    semantic, instance = _crops(predictor, seen, region)
    _check_plateau(seen, region, [*semantic, *instance])
    if evolved is None or evolved.n != side:
        evolved = evolve_field(seen, progress) if card.sees_evolution else None
    lattice = seen.lattice
    # zero where no crop needs it
    probability = np.zeros(lattice.shape, dtype=np.float32)
    calibration = predictor.calibration(seen)
    inputs = ModelInput(seen, evolved, probability)
    found = predictor.probability_of_cores(inputs, semantic, calibration)
    for crop, block in track(found, "Finding protohalo sites", total=len(semantic), progress=progress):
        lattice.paste(probability, block, crop.core_start)

    computed = predictor.label_cores(inputs, instance, settings["threshold"])
    blocks = track(computed, "Separating protohalos", total=len(instance), progress=progress)
    plan = predictor.plan(card.instance_network(), side)
    # stitched in cubes of the whole box, where background has at least the sites that it has there
    stitched = stitch(*label_cubes(lattice, blocks), plan.octant_boundaries, iou_threshold=IOU_THRESHOLD)
    start, n = region.sites(lattice, seen.site_offset)
    labels = relabel_by_size(lattice.crop(predictor.finished_labels(stitched.labels, inputs), start, (n,) * 3))
    inside = lattice.crop(probability, start, (n,) * 3)
    return RegionPrediction(
        probability=inside,
        mask=inside > np.float32(settings["threshold"]),
        labels=labels,
        touches_border=touches_faces(labels) & (n < lattice.n),
        region=region,
        start=start,
        lattice=lattice,
        cosmology=field.cosmology,
        redshift=float(field.redshift),
        site_offset=float(field.site_offset),
        settings={**settings, "model_side": side, **seen.identity()},
        card=card,
        target_redshift=float(field.target_redshift),
    )


def needed_context(predictor: ProtohaloPredictor, field: LinearField, region: Region) -> Region:
    """The cube that the networks see when a region is predicted: what a plateau must hold.

    About the region, and possibly larger than the box.

    Parameters
    ----------
    predictor : ProtohaloPredictor
    field : LinearField
        Of the model's lattice spacing.
    region : Region

    Returns
    -------
    Region

    Examples
    --------
    >>> from yt_protohalos.prediction.regional import needed_context
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v4")
    >>> region = ph.Region((2, 2, 2), side=3.125)
    >>> needed_context(predictor, field, region).side > region.side
    True
    """
    start, n = _needed_sites(field, region, [crop for crops in _crops(predictor, field, region) for crop in crops])
    return Region.of_sites(field.lattice, start, n, field.site_offset)


def _needed_sites(field: LinearField, region: Region, crops: list[Crop]) -> tuple[Triple, int]:
    """First site and sites per side of a cube that holds the input of all crops."""
    n_box = field.lattice.n
    start, n = region.sites(field.lattice, field.site_offset)
    low, high = np.array(start), np.array(start) + n
    for crop in crops:
        from_region = np.array(crop.core_start) + 0.5 * np.array(crop.core_shape) - (np.array(start) + 0.5 * n)
        # the image of the crop that is nearest to the region
        image = n_box * np.floor(from_region / n_box + 0.5).astype(np.int64)
        first = np.array(crop.input_start) - image
        low, high = np.minimum(low, first), np.maximum(high, first + crop.side)
    side = int((high - low).max())
    # the crops may reach farther along one axis than along another
    x, y, z = (low - (side - (high - low)) // 2).tolist()
    return (x, y, z), side


def _crops(predictor: ProtohaloPredictor, field: LinearField, region: Region) -> tuple[list[Crop], list[Crop]]:
    """Semantic and instance crops that a region takes: those with a core in it, and those whose output these see."""
    lattice, card = field.lattice, predictor.card
    network = card.instance_network()
    start, n = region.sites(lattice, field.site_offset)
    plan = predictor.plan(network, lattice.n)
    instance = [
        crop
        for crop in (*plan.crops("a"), *plan.crops("b"))
        if overlaps(lattice, crop.core_start, crop.core_shape, start, (n,) * 3)
    ]
    semantic = []
    for crop in predictor.plan(card.semantic, lattice.n).crops("a"):
        for user in instance:
            seen = (user.input_start, user.input_shape)
            if not network.sees_probability:
                seen = (user.output_start, user.output_shape)
            if overlaps(lattice, crop.core_start, crop.core_shape, *seen):
                semantic.append(crop)
                break
    return semantic, instance


def _check_plateau(field: LinearField, region: Region, crops: list[Crop]) -> None:
    """Refuse to predict what is not inside the plateau of a perturbation with all that the networks see."""
    plateau = field.plateau if isinstance(field, DeformedField) else None
    if plateau is None:
        return
    first, n = plateau.sites(field.lattice, field.site_offset)
    start, side = _needed_sites(field, region, crops)
    if not contains(field.lattice, first, n, start, (side,) * 3):
        needed = Region.of_sites(field.lattice, start, side, field.site_offset)
        raise ExperimentError(
            f"the perturbation is uniform within {plateau}, but the networks see {needed} when they predict {region}; "
            "add it within `needed_context` of the region, in a box that is large enough for that"
        )
