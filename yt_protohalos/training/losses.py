"""Losses of López-Cano et al. 2024: balanced cross-entropy (eq. 3) and the Weinberger loss (eqs. 4-7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..exceptions import ModelError

PULL_MARGIN, PUSH_MARGIN = 0.5, 1.5
PULL_WEIGHT, PUSH_WEIGHT, REGULARISATION_WEIGHT = 1.0, 1.0, 0.001

EMBEDDING_UNIT = 8.0
"""Lattice sites that make one unit of the pseudo-space of `scaled_weinberger`."""
SCALED_PULL_MARGIN, SCALED_PUSH_MARGIN = 0.3, 1.0
SCALED_PULL_WEIGHT, SCALED_PUSH_WEIGHT, ANCHOR_WEIGHT = 1.0, 2.0, 0.05

Loss = Callable[[Any, Any], Any]


def balanced_cross_entropy(beta: float) -> Loss:
    """Balanced cross-entropy, eq. 3.

    Parameters
    ----------
    beta : float
        Share of sites outside haloes in the training set, in (0, 1).

    Returns
    -------
    callable
        ``loss(y_true, y_pred)``: y_true 0 or 1 and y_pred in [0, 1], same shape -> scalar mean.
    """
    if not 0 < beta < 1:
        raise ModelError(f"beta {beta} is not between 0 and 1; measure the share of sites outside haloes")

    def loss(y_true: Any, y_pred: Any) -> Any:
        from keras import ops

        y_true = ops.cast(y_true, "float32")
        y_pred = ops.clip(ops.cast(y_pred, "float32"), 1e-7, 1 - 1e-7)
        inside = beta * y_true * ops.log(y_pred)
        outside = (1 - beta) * (1 - y_true) * ops.log(1 - y_pred)
        return -ops.mean(inside + outside)

    return loss


def weinberger(
    max_instances: int = 1024,
    pull_margin: float = PULL_MARGIN,
    push_margin: float = PUSH_MARGIN,
    weights: tuple[float, float, float] = (PULL_WEIGHT, PUSH_WEIGHT, REGULARISATION_WEIGHT),
    by_radius: bool = False,
) -> Loss:
    """Weinberger loss, eqs. 4-7, with the hinge of De Brabandere et al. (2017), max(x - d, 0)^2.

    Parameters
    ----------
    max_instances : int
        Largest label that a crop may hold; labels are 1..K, 0 (background) is left out.
    pull_margin, push_margin : float
        delta_Pull and delta_Push.
    weights : tuple of float
        c_Pull, c_Push, c_Reg.
    by_radius : bool
        Let an instance of N sites count as N^(1/3) in the pull, instead of all alike as in eq. 4: a crop shows hundreds
        of small haloes and a few large ones, which must contract most.

    Returns
    -------
    callable
        ``loss(y_true, y_pred)``: integer labels (batch, n, n, n, 1) and embedding (batch, n, n, n, d) -> scalar, the
        mean over the batch. Crops without instances add nothing.
    """

    def crop_loss(points: Any, labels: Any, side: int) -> Any:
        from keras import ops

        sites, exists, n_instances, centres = _instances(points, labels, max_instances)

        # eq. 4: sites inside the margin no longer attract
        excess = ops.maximum(_norm(points - ops.take(centres, labels, axis=0)) - pull_margin, 0.0) ** 2
        share = exists * sites ** (1 / 3) if by_radius else exists
        mean_excess = ops.segment_sum(excess, labels, num_segments=max_instances + 1) / sites
        pull = ops.sum(share * mean_excess) / ops.maximum(ops.sum(share), 1.0)

        # eq. 5: centres closer than twice the margin repel, ordered pairs A != B
        separation, pairs = _pairs(centres, exists)
        overlap = ops.maximum(2 * push_margin - separation, 0.0) ** 2
        push = ops.sum(pairs * overlap) / ops.maximum(n_instances * (n_instances - 1.0), 1.0)

        # eq. 6
        regularisation = ops.sum(exists * _norm(centres)) / n_instances
        return weights[0] * pull + weights[1] * push + weights[2] * regularisation

    return _mean_over_crops(crop_loss, max_instances)


def scaled_weinberger(
    max_instances: int = 1024,
    pull_margin: float = SCALED_PULL_MARGIN,
    push_margin: float = SCALED_PUSH_MARGIN,
    weights: tuple[float, float, float] = (SCALED_PULL_WEIGHT, SCALED_PUSH_WEIGHT, ANCHOR_WEIGHT),
) -> Loss:
    """Weinberger loss whose margins grow with the instance, so that pseudo-space keeps the scale of Lagrangian space.

    With fixed margins a large protohalo must shrink far more than a small one, and neighbours must make room for each
    other. Here every instance contracts towards its own centre by the same factor, and clusters of all
    sizes have the same density. R is (3 N / 4 pi)^(1/3) for an instance of N sites, and E its extent: the radius of the
    ball that spreads as widely as its sites.

    Parameters
    ----------
    max_instances : int
        As in `weinberger`.
    pull_margin : float
        Distance from the centre, in E, within which a site no longer attracts.
    push_margin : float
        Separation of two centres, in R_A + R_B, beyond which they no longer repel.
    weights : tuple of float
        Of pull, push and anchor. The push is a sum over pairs, per instance. Pull and anchor (squared distance of the
        centre from the Lagrangian one, in E) are means over instances, which count as their R.

    Returns
    -------
    callable
        ``loss(y_true, y_pred)`` as `weinberger`; the embedding's unit is 8 sites.
    """

    def crop_loss(points: Any, labels: Any, side: int) -> Any:
        from keras import ops

        slots = max_instances + 1
        sites, exists, n_instances, centres = _instances(points, labels, max_instances)
        axis = (np.arange(side, dtype=np.float32) - 0.5 * (side - 1)) / EMBEDDING_UNIT
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        places = ops.convert_to_tensor(grid)
        home = ops.segment_sum(places, labels, num_segments=slots) / sites[:, None]
        squares = ops.sum((places - ops.take(home, labels, axis=0)) ** 2, axis=-1)
        spread = ops.segment_sum(squares, labels, num_segments=slots)
        # a halo that the crop's face cuts in pieces is far wider than its sites there would fill
        extent = ops.sqrt(5 / 3 * spread / sites + (0.5 / EMBEDDING_UNIT) ** 2)
        radius = (sites * (3 / (4 * np.pi))) ** (1 / 3) / EMBEDDING_UNIT

        distance = _norm(points - ops.take(centres, labels, axis=0)) / ops.take(extent, labels, axis=0)
        excess = ops.maximum(distance - pull_margin, 0.0) ** 2
        # by number alone, the few large haloes would hardly count
        share = exists * radius / ops.maximum(ops.sum(exists * radius), 1e-6)
        pull = ops.sum(share * ops.segment_sum(excess, labels, num_segments=slots) / sites)

        separation, pairs = _pairs(centres, exists)
        reach = push_margin * (radius[:, None] + radius[None, :])
        push = ops.sum(pairs * ops.maximum(1.0 - separation / reach, 0.0) ** 2) / n_instances

        anchor = ops.sum(share * ops.sum((centres - home) ** 2, axis=-1) / extent**2)
        return weights[0] * pull + weights[1] * push + weights[2] * anchor

    return _mean_over_crops(crop_loss, max_instances)


INSTANCE_LOSSES: dict[str, Callable[..., Loss]] = {
    "weinberger": weinberger, "weighted": partial(weinberger, by_radius=True), "scaled": scaled_weinberger
}  # fmt: skip


def loss_weights(loss: str, push_weight: float | None = None) -> tuple[float, float, float]:
    """Default weights of the three terms of an instance loss, with another weight of the push if one is given."""
    pull, push, third = PULL_WEIGHT, PUSH_WEIGHT, REGULARISATION_WEIGHT
    if loss == "scaled":
        pull, push, third = SCALED_PULL_WEIGHT, SCALED_PUSH_WEIGHT, ANCHOR_WEIGHT
    return pull, push if push_weight is None else push_weight, third


def _mean_over_crops(crop_loss: Callable[[Any, Any, int], Any], max_instances: int) -> Loss:
    """Loss of a batch from that of one crop: points (sites, d), labels (sites,) and sites per side."""
    if max_instances < 1:
        raise ModelError(f"max_instances {max_instances} is not positive; use the largest number of haloes in a crop")

    def loss(y_true: Any, y_pred: Any) -> Any:
        from keras import ops

        batch = y_pred.shape[0] if y_pred.shape[0] is not None else ops.shape(y_pred)[0]
        points = ops.cast(ops.reshape(y_pred, (batch, -1, y_pred.shape[-1])), "float32")
        labels = ops.cast(ops.reshape(y_true, (batch, -1)), "int32")
        return ops.mean(ops.stack([crop_loss(points[b], labels[b], y_pred.shape[1]) for b in range(batch)]))

    return loss


def _instances(points: Any, labels: Any, max_instances: int) -> tuple[Any, Any, Any, Any]:
    """Sites (at least 1), existence (1 or 0), number and centres of the instances; slot 0, the background, is none."""
    from keras import ops

    slots = max_instances + 1
    counts = ops.segment_sum(ops.ones_like(points[:, 0]), labels, num_segments=slots)
    exists = ops.cast(counts > 0, "float32") * ops.cast(ops.arange(slots) > 0, "float32")
    sites = ops.maximum(counts, 1.0)
    centres = ops.segment_sum(points, labels, num_segments=slots) / sites[:, None]
    return sites, exists, ops.maximum(ops.sum(exists), 1.0), centres


def _pairs(centres: Any, exists: Any) -> tuple[Any, Any]:
    """Separations of all centres, and 1 for each ordered pair of two instances that exist."""
    from keras import ops

    separation = _norm(centres[:, None, :] - centres[None, :, :])
    return separation, exists[:, None] * exists[None, :] * (1.0 - ops.eye(exists.shape[0]))


def _norm(vector: Any) -> Any:
    """Euclidean norm over the last axis; the tiny constant keeps the gradient finite at zero."""
    from keras import ops

    return ops.sqrt(ops.sum(vector * vector, axis=-1) + 1e-12)
