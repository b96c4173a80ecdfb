"""From a linear field to protohaloes: two networks, a clustering and a stitching (paper, section 3, appendix D).

Nothing here holds more than one crop beside the result cubes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray

from .clustering import cluster_embedding
from .exceptions import ModelError
from .lattice import Lattice
from .linear_field import LinearField
from .merging import merge_groups
from .models.card import MERGING_KEYS, ModelCard, NetworkCard
from .models.limits import check_amplitude, check_cosmology, model_side
from .models.loading import Network, computes_bfloat16, load_network
from .models.registry import DEFAULT_MODEL, load_card, verify
from .networks.channels import crop_cubes, network_input, sees_evolution
from .networks.symmetry import spread_symmetries
from .prediction import Prediction
from .progress import Progress, track
from .stitching import relabel_by_size, remove_small, stitch
from .store import CropStore, field_identity
from .tiling import Crop, CropPlan

PRECISIONS = ("auto", "float32", "mixed", "bfloat16")
IOU_THRESHOLD = 0.5
_OUTPUT_CHANNELS = {"semantic": 1, "instance": 3}


class ProtohaloPredictor:
    """A model ready to run.

    Parameters
    ----------
    card : ModelCard
    semantic, instance : callable
        float32 (batch, side, side, side, channels) -> float32 (batch, out, out, out, 1 or 3), with the sides of the
        card: probability in [0, 1] of the semantic, embedding of the instance network.
    precision : {"float32", "mixed", "bfloat16"}
        What the callables compute in; recorded with every prediction.
    """

    def __init__(self, card: ModelCard, semantic: Network, instance: Network, precision: str = "float32") -> None:
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
        instance = load_network(card.instance, folder, "bfloat16" if precision == "bfloat16" else "float32")
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

        Returns
        -------
        Prediction
            On the lattice of `field`, whatever lattice the model saw.

        Raises
        ------
        OutOfRangeError, ModelError, TilingError, StoreError
            Before any network runs.
        """
        settings = self.settings(threshold)
        check_cosmology(self.card, field.cosmology, on_range)
        check_amplitude(self.card, field, on_range)
        side = model_side(self.card, field.lattice, on_spacing)
        semantic_plan = self._plan(self.card.semantic, side)
        instance_plan = self._plan(self.card.instance, side)
        settings["model_side"] = side
        seen = field if side == field.n else field.resampled(side)
        if probability is not None:
            seen.lattice.check_cube(probability, "probability")
        if sees_evolution((*self.card.semantic.channels, *self.card.instance.channels)):
            seen.evolved(progress)
        crops = None
        if store is not None:
            crops = CropStore(store, {**field_identity(seen), "model": self.card.sha256, **settings})

        if probability is None:
            probability = self._probability(seen, semantic_plan, crops, progress)
        mask = probability > np.float32(settings["threshold"])
        labels_a, labels_b = self._crop_labels(seen, probability, mask, instance_plan, crops, progress)
        stitched = stitch(labels_a, labels_b, instance_plan.octant_boundaries, iou_threshold=IOU_THRESHOLD)
        del labels_a, labels_b
        labels = remove_small(stitched.labels, self.card.min_sites)
        final = _label_map(stitched.labels, labels)

        if side != field.n:
            index = nearest_sites(field.lattice, seen.lattice, field.site_offset)
            probability, mask, mapped = probability[index], mask[index], labels[index]
            labels = relabel_by_size(mapped)
            final = _label_map(mapped, labels, int(final.max(initial=0)) + 1)[final]
        _label_nodes(stitched.graph, final[stitched.component])
        return Prediction(
            probability=probability,
            mask=mask,
            labels=labels.astype(np.int32, copy=False),
            lattice=field.lattice,
            cosmology=field.cosmology,
            redshift=float(field.redshift),
            site_offset=float(field.site_offset),
            graph=stitched.graph,
            settings=settings,
            card=self.card,
        )

    def probability(self, field: LinearField, progress: Progress = True) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n), for a field of the model's spacing."""
        return self._probability(field, self._plan(self.card.semantic, field.n), None, progress)

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

    def _plan(self, network: NetworkCard, n: int) -> CropPlan:
        return CropPlan(n=n, crop=network.side, margin=network.margin, core=self.card.core)

    def _probability(
        self, field: LinearField, plan: CropPlan, crops: CropStore | None, progress: Progress
    ) -> NDArray[np.float32]:
        """Calibrated probability of every site, float32 (n, n, n)."""
        probability = np.empty(field.lattice.shape, dtype=np.float32)
        for crop in track(plan.crops("a"), "Finding protohalo sites", progress=progress):
            name = f"probability_{crop.key}"
            block = None if crops is None else crops.load(name)
            if block is None:
                output = evaluate(self.semantic, self.card.semantic, field, crop, self.card.symmetries)[..., 0]
                block = calibrated(output[crop.output_core], **self.card.calibration)
                if crops is not None:
                    crops.save(name, block)
            field.lattice.paste(probability, block, crop.core_start)
        return probability

    def _crop_labels(
        self,
        field: LinearField,
        probability: NDArray[np.float32],
        mask: NDArray[np.bool_],
        plan: CropPlan,
        crops: CropStore | None,
        progress: Progress,
    ) -> tuple[NDArray, NDArray]:
        """Labels of both lattices, (n, n, n) each, 0 none; no label occurs in two crops."""
        # every label holds a site of its own in its lattice, so there are at most 2 n^3
        kind = np.int32 if 2 * field.lattice.n_sites < 2**31 else np.int64
        cubes = {which: np.zeros(field.lattice.shape, dtype=kind) for which in ("a", "b")}
        offset = 0
        for crop in track([*plan.crops("a"), *plan.crops("b")], "Separating protohalos", progress=progress):
            name = f"labels_{crop.key}"
            block = None if crops is None else crops.load(name)
            if block is None:
                block = self._label_crop(field, probability, mask, crop)
                if crops is not None:
                    crops.save(name, block)
            field.lattice.paste(cubes[crop.lattice], np.where(block > 0, block + kind(offset), 0), crop.core_start)
            offset += int(block.max(initial=0))
        return cubes["a"], cubes["b"]

    def _label_crop(
        self, field: LinearField, probability: NDArray[np.float32], mask: NDArray[np.bool_], crop: Crop
    ) -> NDArray[np.int32]:
        """Labels 1..m of one core, 0 none; clustered with all masked sites the network saw, so images stay apart."""
        seen = field.lattice.crop(mask, crop.output_start, crop.output_shape)
        if not seen[crop.output_core].any():
            return np.zeros(crop.core_shape, dtype=np.int32)
        embedding = evaluate(self.instance, self.card.instance, field, crop, probability=probability)
        return label_core(embedding, seen, crop, self.card.clustering)


def label_core(
    embedding: NDArray[np.float32], seen: NDArray[np.bool_], crop: Crop, clustering: Mapping[str, float]
) -> NDArray[np.int32]:
    """Cluster the members of a crop, join fragments and keep what lies in the core.

    embedding : float32, (out, out, out, 3); seen : bool, (out, out, out), the members
    clustering : n_dens, n_ngb and persistence of `cluster_embedding`; width_ratio and distance of `merge_groups`,
        without which it is left out
    returns : int32, core shape, labels 1..m, 0 none
    """
    points = embedding[seen]
    return join_core(points, group_members(points, clustering), seen, crop, clustering)


def group_members(points: NDArray[np.float32], clustering: Mapping[str, float]) -> NDArray[np.int32]:
    """Groups of `cluster_embedding` with the settings of a card, int32, (N,)."""
    return cluster_embedding(
        points,
        n_dens=int(clustering["n_dens"]),
        n_ngb=int(clustering["n_ngb"]),
        persistence=float(clustering["persistence"]),
    )


def join_core(
    points: NDArray[np.float32],
    groups: NDArray[np.int32],
    seen: NDArray[np.bool_],
    crop: Crop,
    clustering: Mapping[str, float],
) -> NDArray[np.int32]:
    """Second half of `label_core`: join fragments and number what lies in the core."""
    limits = {name: float(clustering[name]) for name in MERGING_KEYS if name in clustering}
    labels = np.zeros(seen.shape, dtype=np.int32)
    labels[seen] = 1 + (merge_groups(points, groups, **limits) if limits else groups)
    core = labels[crop.output_core]
    kept = np.unique(core[core > 0])
    return np.where(core > 0, 1 + np.searchsorted(kept, core), 0).astype(np.int32)


def evaluate(
    network: Network,
    card: NetworkCard,
    field: LinearField,
    crop: Crop,
    symmetries: int = 1,
    probability: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Run a network on one periodic crop.

    symmetries : of the cube, over which the logit of a semantic network is averaged
    probability : float32, (n, n, n), calibrated, of the whole box; only a network that sees it needs it
    returns : float32, (out, out, out, 1 or 3)

    Raises
    ------
    ModelError
        The output has another shape, or values that are not finite.
    """
    cubes = crop_cubes(field, card.channels, crop.input_start, card.side, probability)
    channels = network_input(cubes, card.channels, card.normalisation)
    if symmetries == 1:
        return _run(network, card, channels)
    total = np.zeros((*(card.output_side,) * 3, 1), dtype=np.float64)
    for symmetry in spread_symmetries(symmetries):
        total += symmetry.undo(_logit(_run(network, card, symmetry.apply(channels))))
    return (1 / (1 + np.exp(-total / symmetries))).astype(np.float32)


def _run(network: Network, card: NetworkCard, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    output = np.asarray(network(channels[None]), dtype=np.float32)
    head = card.architecture["head"]
    expected = (1, *(card.output_side,) * 3, _OUTPUT_CHANNELS[head])
    if output.shape != expected:
        raise ModelError(f"the {head} network returned shape {output.shape}; its card promises {expected}")
    if not np.isfinite(output).all():
        raise ModelError(
            f"the {head} network returned values that are not finite; retrain it or use precision='float32'"
        )
    return output[0]


def _logit(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    # beyond 1e-6 a float32 sigmoid says nothing, and 0 and 1 have no logit
    raw = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(raw) - np.log1p(-raw)


def calibrated(probability: NDArray[np.float32], slope: float, intercept: float) -> NDArray[np.float32]:
    """Probability of the balanced network turned into a frequency, logit(p) = slope logit(raw) + intercept.

    probability : float32, any shape, network output in [0, 1]
    returns : float32, same shape, in (0, 1)
    """
    logit = slope * _logit(probability) + intercept
    return (1 / (1 + np.exp(-logit))).astype(np.float32)


def nearest_sites(lattice: Lattice, seen: Lattice, site_offset: float) -> tuple[NDArray[np.int64], ...]:
    """Open index mesh of the site of `seen` nearest to each site of `lattice`, both with the same site offset."""
    positions = (np.arange(lattice.n) + site_offset) * lattice.spacing
    return np.ix_(*(seen.nearest_site(positions, site_offset),) * 3)


def _label_map(old: NDArray, new: NDArray, size: int = 0) -> NDArray[np.int64]:
    """New label of each old one, (largest old + 1,) or longer; 0 for labels that are gone."""
    table = np.zeros(max(int(old.max(initial=0)) + 1, size), dtype=np.int64)
    table[old.ravel()] = new.ravel()
    return table


def _label_nodes(graph: networkx.Graph, final: NDArray[np.int64]) -> None:
    """Write the final label of each crop label into the graph."""
    for node, data in graph.nodes(data=True):
        data["label"] = int(final[node])
