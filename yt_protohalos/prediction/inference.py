"""One crop: run a network on it, calibrate its output, and turn an embedding into the labels of a core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError
from ..models.card import MERGING_KEYS, ModelCard, NetworkCard
from ..models.channels import ModelInput, network_input
from ..models.runtime import Network
from ..models.symmetry import spread_symmetries
from ..segmentation.clustering import cluster_embedding
from ..segmentation.merging import merge_groups
from ..segmentation.tiling import Crop
from ..segmentation.watershed import find_seeds, flood

_OUTPUT_CHANNELS = {"semantic": 1, "instance": 3, "contour": 1}


def separate_core(
    card: ModelCard, output: NDArray[np.float32], near: NDArray[np.float32], threshold: float, crop: Crop
) -> NDArray[np.int32]:
    """Labels of a crop's core by the method of a model.

    output : float32, (out, out, out, 3 or 1), of the separating network: embedding, or probability of a contour
    near : float32, (out, out, out), calibrated probability of the same sites
    threshold : of the members
    returns : int32, core shape, labels 1..m, 0 none
    """
    seen = near > np.float32(threshold)
    if card.method == "watershed":
        return flood_core(output[..., 0], near, seen, crop, card.clustering)
    return label_core(output, seen, crop, card.clustering)


def flood_core(
    contour: NDArray[np.float32],
    near: NDArray[np.float32],
    seen: NDArray[np.bool_],
    crop: Crop,
    thresholds: Mapping[str, float],
) -> NDArray[np.int32]:
    """Watershed of all that a crop sees, of which the core is kept; arguments as `separate_core` and `label_core`.

    thresholds : foreground and contour of `find_seeds`
    """
    seeds = find_seeds(near, contour, thresholds["foreground"], thresholds["contour"])
    return _core_of(flood(near, seeds, seen), crop)


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
    return _core_of(labels, crop)


def _core_of(labels: NDArray[np.int32], crop: Crop) -> NDArray[np.int32]:
    """What lies in the core of a crop, numbered 1..m."""
    core = labels[crop.output_core]
    kept = np.unique(core[core > 0])
    return np.where(core > 0, 1 + np.searchsorted(kept, core), 0).astype(np.int32)


def run_network(
    network: Network, card: NetworkCard, inputs: ModelInput, crops: Sequence[Crop], symmetries: int = 1
) -> NDArray[np.float32]:
    """Run a network on several periodic crops at once.

    symmetries : of the cube, over which the logit of a semantic network is averaged
    returns : float32, (batch, out, out, out, 1 or 3)

    Raises
    ------
    ModelError
        The output has another shape, or values that are not finite.
    """
    channels = []
    for crop in crops:
        cubes = inputs.crop(card.channels, crop.input_start, card.side)
        channels.append(network_input(cubes, card.channels, card.normalisation))
    if symmetries == 1:
        return _run(network, card, channels)
    total = np.zeros((len(crops), *(card.output_side,) * 3, 1), dtype=np.float64)
    for symmetry in spread_symmetries(symmetries):
        outputs = _run(network, card, [symmetry.apply(each) for each in channels])
        for each, output in zip(total, outputs, strict=True):
            each += symmetry.undo(_logit(output))
    return (1 / (1 + np.exp(-total / symmetries))).astype(np.float32)


def _run(network: Network, card: NetworkCard, channels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    # a batch of one needs no copy
    batch = channels[0][None] if len(channels) == 1 else np.stack(channels)
    output = np.asarray(network(batch), dtype=np.float32)
    head = card.architecture["head"]
    expected = (len(channels), *(card.output_side,) * 3, _OUTPUT_CHANNELS[head])
    if output.shape != expected:
        raise ModelError(f"the {head} network returned shape {output.shape}; its card promises {expected}")
    if not np.isfinite(output).all():
        raise ModelError(
            f"the {head} network returned values that are not finite; retrain it or use precision='float32'"
        )
    return output


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
