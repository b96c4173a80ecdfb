"""A plain pipeline that follows the paper step by step, with the networks of a model of method "pseudo-space".

It runs every network in float32 on one crop of 144 sites a core of 64, clusters the unsorted points of each crop with a
k-d tree of scipy (two workers) and stitches with networkx. It shares the code of the grouping with the package, so that
what differs is what the project did about speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stages import Clock

PLAIN_SIDE, PLAIN_CORE = 144, 64


def plain_groups(points: np.ndarray, clustering: dict[str, float]) -> np.ndarray:
    """Appendix B on points as they come: one query of a k-d tree, then the grouping that the package uses too."""
    from scipy.spatial import cKDTree

    from yt_protohalos.segmentation.clustering import _grow_groups

    if len(points) == 0:
        return np.empty(0, dtype=np.int32)
    n_dens, n_ngb = (min(int(clustering[name]), len(points)) for name in ("n_dens", "n_ngb"))
    exact = points.astype(np.float64)
    distance, index = cKDTree(exact).query(exact, k=np.arange(1, max(n_dens, n_ngb) + 1), workers=2)
    with np.errstate(divide="ignore"):
        density = 3 * n_dens / (4 * np.pi * distance[:, n_dens - 1] ** 3)
    order = np.argsort(-density, kind="stable")
    neighbours = np.ascontiguousarray(index[:, :n_ngb].astype(np.int32))
    location = np.arange(len(points), dtype=np.int32)
    return _grow_groups(order, density, location, neighbours, float(clustering["persistence"]))


def plain_stitch(a: np.ndarray, b: np.ndarray, core: int, threshold: float = 0.5) -> np.ndarray:
    """Appendix D with networkx: overlaps by octant, connected components, the larger label where they disagree."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(np.unique(a[a > 0]).tolist())
    graph.add_nodes_from(np.unique(b[b > 0]).tolist())
    half = core // 2
    for x in range(0, len(a), half):
        for y in range(0, len(a), half):
            for z in range(0, len(a), half):
                octant = (slice(x, x + half), slice(y, y + half), slice(z, z + half))
                first, second = a[octant].ravel(), b[octant].ravel()
                sizes = [dict(zip(*(v.tolist() for v in np.unique(one, return_counts=True)), strict=True))
                         for one in (first, second)]  # fmt: skip
                both = (first > 0) & (second > 0)
                pairs, shared = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
                for (p, q), common in zip(pairs.T.tolist(), shared.tolist(), strict=True):
                    if common / (sizes[0][p] + sizes[1][q] - common) >= threshold:
                        graph.add_edge(p, q)
    component = np.zeros(max(int(a.max()), int(b.max())) + 1, dtype=np.int64)
    for number, members in enumerate(networkx.connected_components(graph), start=1):
        component[list(members)] = number
    first, second = component[a], component[b]
    sizes_all = np.bincount(first.ravel(), minlength=component.max() + 1)
    larger = np.where(sizes_all[second] > sizes_all[first], second, first)
    return np.where(first == 0, second, np.where(second == 0, first, larger))


def plain_predict(predictor: Any, field: Any, evolved: Any, clock: Clock) -> np.ndarray:
    """Labels of a box by the paper's steps in their order, one crop after the other."""
    from yt_protohalos.models.channels import ModelInput
    from yt_protohalos.prediction.inference import CropNetwork, calibrated, join_core
    from yt_protohalos.segmentation.labels import relabel_by_size
    from yt_protohalos.segmentation.tiling import CropPlan

    card, lattice = predictor.card, field.lattice
    probability = np.empty(lattice.shape, dtype=np.float32)
    inputs = ModelInput(field, evolved, probability)
    semantic, instance = CropNetwork(predictor.semantic, card.semantic), CropNetwork(predictor.instance, card.instance)
    plan = CropPlan(lattice.n, PLAIN_SIDE, card.semantic.margin, PLAIN_CORE)
    with clock.stage("semantic network"):
        for crop in plan.crops("a"):
            output = semantic.run(inputs, [crop])[0][..., 0][crop.output_core]
            lattice.paste(probability, calibrated(output, **predictor.calibration(field)), crop.core_start)
    mask = probability > np.float32(card.threshold)
    plan = CropPlan(lattice.n, PLAIN_SIDE, card.instance.margin, PLAIN_CORE)
    cubes, offset = {which: np.zeros(lattice.shape, dtype=np.int64) for which in ("a", "b")}, 0
    for crop in [*plan.crops("a"), *plan.crops("b")]:
        seen = lattice.crop(mask, crop.output_start, crop.output_shape)
        with clock.stage("instance network"):
            points = instance.run(inputs, [crop])[0][seen]
        with clock.stage("clustering"):
            block = join_core(points, plain_groups(points, card.clustering), seen, crop, card.clustering)
        lattice.paste(cubes[crop.lattice], np.where(block > 0, block + offset, 0), crop.core_start)
        offset += int(block.max(initial=0))
    with clock.stage("stitching"):
        return relabel_by_size(plain_stitch(cubes["a"], cubes["b"], PLAIN_CORE), card.min_sites)


def plain_predictor(model: str) -> Any:
    """The model with both networks built for crops of the plain side, in float32."""
    from dataclasses import replace

    from yt_protohalos.models.registry import load_card
    from yt_protohalos.models.runtime import load_network
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    card, folder = load_card(model)
    cards = {}
    for role in ("semantic", "instance"):
        network = getattr(card, role)
        cards[role] = replace(network, architecture={**network.architecture, "side": PLAIN_SIDE})
    networks = [load_network(cards[role], folder, "float32") for role in ("semantic", "instance")]
    return ProtohaloPredictor(replace(card, core=PLAIN_CORE, symmetries=1, **cards), *networks)
