"""From a linear field to protohaloes: two networks, a clustering and a stitching (paper, section 3, appendix D).

Nothing here holds more than one crop beside the result cubes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contact import join_in_contact
from .evaluation import calibrated, evaluate, separate_core
from .evolution import EvolvedField, evolve_field
from .exceptions import ModelError, StoreError
from .lattice import Lattice
from .linear_field import LinearField
from .models.card import CONTACT_KEY, ModelCard, NetworkCard
from .models.limits import check_range, measured_amplitude, model_side
from .models.loading import Network, computes_bfloat16, load_network
from .models.registry import DEFAULT_MODEL, load_card, verify
from .overlapped import overlapped
from .prediction import FIELD_SAMPLE, Prediction, field_sample
from .progress import Progress, track
from .stitching import relabel_by_size, remove_small, stitch
from .store import CropStore, field_identity
from .teamwork import Alone, Team
from .tiling import Crop, CropPlan

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")
IOU_THRESHOLD = 0.5
MAPPED_SIDE = 384
"""Sites a side from which a prediction with a store reads delta and phi from disk, where the crops need them."""

ALONE = Alone()
Blocks = Iterator[tuple[Crop, NDArray]]
_SHARED_PREDICTION = "prediction.h5"


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
    """

    def __init__(
        self, card: ModelCard, semantic: Network, instance: Network | None, precision: str = "float32"
    ) -> None:
        if precision not in PRECISIONS[1:]:
            raise ModelError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS[1:])}")
        self.card = card
        self.semantic = semantic
        self.instance = instance
        self.precision = precision

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT_MODEL, precision: str = "auto") -> ProtohaloPredictor:
        """Load a bundled model, or one from a folder, after verifying its weight files.

        Parameters
        ----------
        name : str or Path
            Name of a bundled model (`models.registry.available`) or a folder with ``card.json``.
        precision : {"auto", "float32", "mixed", "bfloat16"}
            ``"mixed"`` computes the semantic network in bfloat16 and the instance network in float32, because rounding
            makes lumps in pseudo-space that the clustering takes for haloes; ``"auto"`` is that where the processor or
            a GPU computes in bfloat16, else float32.

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
            precision = "mixed" if computes_bfloat16() else "float32"
        semantic = load_network(card.semantic, folder, "float32" if precision == "float32" else "bfloat16")
        kind = "bfloat16" if precision == "bfloat16" else "float32"
        instance = None if card.instance is None else load_network(card.instance, folder, kind)
        return cls(card, semantic, instance, precision)

    def predict(
        self,
        field: LinearField,
        *,
        threshold: float | None = None,
        progress: Progress = True,
        store: str | Path | None = None,
        on_spacing: str = "warn",
        on_range: str = "error",
        probability: NDArray[np.float32] | None = None,
        team: Team = ALONE,
    ) -> Prediction:
        """Find the protohaloes of a box.

        Parameters
        ----------
        field : LinearField
        threshold : float, optional
            Semantic threshold on the calibrated probability; the card's by default.
        progress : bool or callable
            See `progress.track`.
        store : path, optional
            Folder for finished crops; a run with the same field, model and settings takes them from there.
        on_spacing : {"warn", "error", "allow"}
            What to do when the lattice spacing is not the model's; see `models.limits.model_side`.
        on_range : {"error", "warn", "allow"}
            What to do when sigma_8, as stated or as measured from delta, is outside the model's range; see
            `models.limits`.
        probability : float32, (n, n, n), optional
            Calibrated probability of every site, where `probability` of this class has computed it before: the
            semantic network then does not run.
        team : Team
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
        seen = field if side == field.n else field.resampled(side)
        settings.update(seen.identity())
        if probability is not None:
            seen.lattice.check_cube(probability, "probability")
        crops = self._open(store, {**field_identity(seen), "model": self.card.sha256, **settings}, team)
        if crops is not None and seen.n >= MAPPED_SIDE:
            _map_field(seen, crops, team)
        if self.card.sees_evolution:
            _evolve(seen, crops, team, progress)

        if probability is None:
            probability = self._probability(seen, semantic_plan, crops, progress, team)
        labels = self._core_labels(seen, probability, settings["threshold"], instance_plan, crops, progress, team)
        prediction = None
        with team.together():
            if team.is_root:
                prediction = self._assemble(field, seen, probability, labels, instance_plan, settings, crops)
                if crops is not None and team.size > 1:
                    prediction.save(crops.folder / _SHARED_PREDICTION)
        if prediction is None:
            assert crops is not None
            prediction = Prediction.load(crops.folder / _SHARED_PREDICTION)
        return prediction

    def _open(self, store: str | Path | None, settings: dict[str, Any], team: Team) -> CropStore | None:
        """The store of finished crops; several ranks find each other's work there, so they must have one."""
        if store is None:
            if team.size > 1:
                raise StoreError(f"{team.size} ranks share their crops on disk; give a store, a folder that all see")
            return None
        with team.together():
            if team.is_root:
                CropStore(store, settings)
        return CropStore(store, settings)

    def _assemble(
        self,
        field: LinearField,
        seen: LinearField,
        probability: NDArray[np.float32],
        blocks: Blocks,
        plan: CropPlan,
        settings: dict[str, Any],
        crops: CropStore | None,
    ) -> Prediction:
        """Stitch the labels of all cores and bring everything to the lattice of the field."""
        labels_a, labels_b = label_cubes(seen.lattice, blocks, crops)
        stitched = stitch(labels_a, labels_b, plan.octant_boundaries, iou_threshold=IOU_THRESHOLD)
        del labels_a, labels_b
        labels = self.finished_labels(stitched.labels, seen)
        final = _label_map(stitched.labels, labels)
        mask = probability > np.float32(settings["threshold"])
        if seen.n != field.n:
            index = nearest_sites(field.lattice, seen.lattice, field.site_offset)
            probability, mask, mapped = probability[index], mask[index], labels[index]
            labels = relabel_by_size(mapped)
            final = _label_map(mapped, labels, int(final.max(initial=0)) + 1)[final]
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
        )

    def finished_labels(self, stitched: NDArray[np.int32], seen: LinearField) -> NDArray[np.int32]:
        """Stitched labels without the small ones, and with what ends in contact joined; 1..K by descending size."""
        labels = remove_small(stitched, self.card.min_sites)
        contact = self.card.clustering.get(CONTACT_KEY, 0.0)
        return join_in_contact(labels, seen.evolved().displacement, contact) if contact else labels

    def probability(self, field: LinearField, progress: Progress = True) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n), for a field of the model's spacing."""
        return self._probability(field, self.plan(self.card.semantic, field.n), None, progress)

    def calibration(self, field: LinearField) -> dict[str, float]:
        """Slope and intercept of `evaluation.calibrated` for a field; one Fourier sum where they need its amplitude."""
        sigma_8 = measured_amplitude(self.card, field)[0] if self.card.sees_amplitude else self.card.cosmology.sigma_8
        return self.card.calibration_at(sigma_8)

    def probability_of_core(
        self, field: LinearField, crop: Crop, calibration: Mapping[str, float]
    ) -> NDArray[np.float32]:
        """Calibrated probability of the sites of the core of a semantic crop, float32, core shape.

        calibration : slope and intercept, of `calibration`
        """
        output = evaluate(self.semantic, self.card.semantic, field, crop, self.card.symmetries)[..., 0]
        return calibrated(output[crop.output_core], **calibration)

    def label_cores(
        self, field: LinearField, every: Iterable[Crop], probability: NDArray[np.float32], threshold: float
    ) -> Blocks:
        """Labels 1..m of the core of each instance crop, 0 none, int32, core shape, in the order of the crops.

        Separated with all the members that the network saw, so that the images of a halo stay apart. While one crop is
        clustered, the network runs on the next.

        probability : float32, (n, n, n), calibrated, right wherever the crops reach
        """

        def embed(crop: Crop) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
            network, card = self.instance, self.card.instance_network()
            assert network is not None
            near = field.lattice.crop(probability, crop.output_start, crop.output_shape)
            if not (near[crop.output_core] > np.float32(threshold)).any():
                return None
            return evaluate(network, card, field, crop, probability=probability), near

        def separate(crop: Crop, embedded: tuple[NDArray[np.float32], NDArray[np.float32]] | None) -> NDArray[np.int32]:
            if embedded is None:
                return np.zeros(crop.core_shape, dtype=np.int32)
            return separate_core(self.card, *embedded, threshold, crop)

        return overlapped(every, embed, separate)

    def settings(self, threshold: float | None = None) -> dict[str, Any]:
        """What a prediction depends on beside field and card, JSON values: part of every store and cache key.

        Raises
        ------
        ModelError
            The threshold is not between 0 and 1.
        """
        value = self.card.threshold if threshold is None else threshold
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
            raise ModelError(f"threshold {value!r} is not between 0 and 1; it is a probability, e.g. 0.5")
        return {"threshold": float(value), "precision": self.precision, "iou_threshold": IOU_THRESHOLD}

    def plan(self, network: NetworkCard, n: int) -> CropPlan:
        """Crops of one of the networks in a box of `n` sites a side."""
        core = self.card.core_of(network.architecture["head"])
        return CropPlan(n=n, crop=network.side, margin=network.margin, core=core)

    def _probability(
        self, field: LinearField, plan: CropPlan, crops: CropStore | None, progress: Progress, team: Team = ALONE
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n)."""
        every = list(plan.crops("a"))
        calibration = self.calibration(field)

        def compute(todo: Sequence[Crop]) -> Blocks:
            return ((crop, self.probability_of_core(field, crop, calibration)) for crop in todo)

        blocks = _blocks("probability", every, compute, crops, team, "Finding protohalo sites", progress)
        with team.together():
            if team.is_root:
                probability = _cube(crops, "probability", field.lattice, np.float32)
                for crop, block in blocks:
                    field.lattice.paste(probability, block, crop.core_start)
        return probability if crops is None else crops.open("probability")

    def _core_labels(
        self,
        field: LinearField,
        probability: NDArray[np.float32],
        threshold: float,
        plan: CropPlan,
        crops: CropStore | None,
        progress: Progress,
        team: Team,
    ) -> Blocks:
        """Labels of each core of both lattices, see `label_cores`."""

        def compute(todo: Sequence[Crop]) -> Blocks:
            return self.label_cores(field, todo, probability, threshold)

        every = [*plan.crops("a"), *plan.crops("b")]
        return _blocks("labels", every, compute, crops, team, "Separating protohalos", progress)


def _blocks(
    kind: str,
    every: Sequence[Crop],
    compute: Callable[[Sequence[Crop]], Blocks],
    crops: CropStore | None,
    team: Team,
    title: str,
    progress: Progress,
) -> Blocks:
    """The finished block of every crop, in their order; with a store, all are computed before this returns."""
    if crops is None:
        return track(compute(every), title, total=len(every), progress=progress)
    with team.together():
        own = list(team.share(every))
        todo = [crop for crop in own if f"{kind}_{crop.key}" not in crops]
        shown = progress if team.is_root else False
        for crop, block in track(compute(todo), title, total=len(todo), progress=shown):
            crops.save(f"{kind}_{crop.key}", block)
    return ((crop, crops.take(f"{kind}_{crop.key}")) for crop in every)


def _map_field(field: LinearField, crops: CropStore, team: Team) -> None:
    """Keep delta and phi in the store, where ranks share one copy and memory may let go of what no crop needs."""
    with team.together():
        if team.is_root:
            field.move(crops.keep)
    field.move(crops.keep)


def _evolve(field: LinearField, crops: CropStore | None, team: Team, progress: Progress) -> None:
    """Evolve the field once for all ranks and, with a store, for all starts."""
    if crops is None:
        field.evolved(progress)
        return
    with team.together():
        # a store begun before velocities were kept has none
        if team.is_root and not ("evolved_density" in crops and "evolved_velocity" in crops):
            delta = field.periodic_delta()
            evolve_field(delta, field.lattice, progress, lambda name, *kind: crops.create(f"evolving_{name}", *kind))
            # the density comes last, so that it says that all are whole
            for name in ("displacement", "velocity", "density"):
                crops.rename(f"evolving_{name}", f"evolved_{name}")
    field.adopt(EvolvedField(*(crops.open(f"evolved_{name}") for name in ("displacement", "density", "velocity"))))


def label_cubes(lattice: Lattice, blocks: Blocks, crops: CropStore | None = None) -> tuple[NDArray, NDArray]:
    """Labels of both lattices, (n, n, n) each, 0 none and outside all blocks; no label occurs in two crops."""
    # every label holds a site of its own in its lattice, so there are at most 2 n^3
    kind = np.int32 if 2 * lattice.n_sites < 2**31 else np.int64
    cubes = {which: _cube(crops, f"labels_{which}", lattice, kind) for which in ("a", "b")}
    offset = 0
    for crop, block in blocks:
        lattice.paste(cubes[crop.lattice], np.where(block > 0, block + kind(offset), 0), crop.core_start)
        offset += int(block.max(initial=0))
    return cubes["a"], cubes["b"]


def _cube(crops: CropStore | None, name: str, lattice: Lattice, dtype: type[np.generic]) -> NDArray:
    """Cube to be filled by cores, on disk where there is a store."""
    return np.zeros(lattice.shape, dtype) if crops is None else crops.create(name, lattice.shape, dtype)


def nearest_sites(lattice: Lattice, seen: Lattice, site_offset: float) -> tuple[NDArray[np.int64], ...]:
    """Open index mesh of the site of `seen` nearest to each site of `lattice`, both with the same site offset."""
    positions = (np.arange(lattice.n) + site_offset) * lattice.spacing
    return np.ix_(*(seen.nearest_site(positions, site_offset),) * 3)


def _label_map(old: NDArray, new: NDArray, size: int = 0) -> NDArray[np.int64]:
    """New label of each old one, (largest old + 1,) or longer; 0 for labels that are gone."""
    table = np.zeros(max(int(old.max(initial=0)) + 1, size), dtype=np.int64)
    table[old.ravel()] = new.ravel()
    return table
