"""Losses of López-Cano et al. 2024: balanced cross-entropy (eq. 3) and the Weinberger loss (eqs. 4-7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..exceptions import ModelError

PULL_MARGIN, PUSH_MARGIN = 0.5, 1.5
"""delta_Pull and delta_Push of `weinberger`."""
WEIGHTS = (1.0, 1.0, 0.001)
"""c_Pull, c_Push and c_Reg of `weinberger`."""

EMBEDDING_UNIT = 8.0
"""Lattice sites that make one unit of the pseudo-space of `scaled_weinberger`."""
SCALED_PULL_MARGIN, SCALED_PUSH_MARGIN = 0.3, 1.0
SCALED_WEIGHTS = (1.0, 2.0, 0.05)
"""Weights of pull, push and anchor of `scaled_weinberger`."""

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
    max_instances: int = 1024, weights: tuple[float, float, float] = WEIGHTS, by_radius: bool = False
) -> Loss:
    """Weinberger loss, eqs. 4-7, with the hinge of De Brabandere et al. (2017), max(x - d, 0)^2.

    Parameters
    ----------
    max_instances : int
        Largest label that a crop may hold; labels are 1..K, 0 (background) is left out.
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

    def terms(crop: _Crop) -> tuple[Any, Any, Any]:
        ops, exists = crop.ops, crop.exists

        # eq. 4: sites inside the margin no longer attract
        excess = ops.maximum(crop.distance - PULL_MARGIN, 0.0) ** 2
        share = exists * crop.sites ** (1 / 3) if by_radius else exists
        pull = ops.sum(share * crop.mean(excess)) / ops.maximum(ops.sum(share), 1.0)

        # eq. 5: centres closer than twice the margin repel, ordered pairs A != B
        overlap = ops.maximum(2 * PUSH_MARGIN - crop.separation, 0.0) ** 2
        push = ops.sum(crop.pairs * overlap) / ops.maximum(crop.count * (crop.count - 1.0), 1.0)

        # eq. 6
        return pull, push, ops.sum(exists * crop.norm(crop.centres)) / crop.count

    return _instance_loss(terms, weights, max_instances)


def scaled_weinberger(max_instances: int = 1024, weights: tuple[float, float, float] = SCALED_WEIGHTS) -> Loss:
    """Weinberger loss whose margins grow with the instance, so that pseudo-space keeps the scale of Lagrangian space.

    With fixed margins a large protohalo must shrink far more than a small one, and neighbours must make room for each
    other. Here every instance contracts towards its own centre by the same factor, and clusters of all sizes have the
    same density. An instance of N sites has the radius R = (3 N / 4 pi)^(1/3), and the extent E, the radius of the ball
    that spreads as widely as its sites. Pull: sites farther than 0.3 E from the centre are attracted. Push: two centres
    closer than R_A + R_B repel. Anchor: squared distance of the centre from the Lagrangian one, in E.

    Parameters
    ----------
    max_instances : int
        As in `weinberger`.
    weights : tuple of float
        Of pull, push and anchor. The push is a sum over pairs, per instance. Pull and anchor are means over instances,
        which count as their R.

    Returns
    -------
    callable
        ``loss(y_true, y_pred)`` as `weinberger`; the embedding's unit is 8 sites.
    """

    def terms(crop: _Crop) -> tuple[Any, Any, Any]:
        ops = crop.ops
        axis = (np.arange(crop.side, dtype=np.float32) - 0.5 * (crop.side - 1)) / EMBEDDING_UNIT
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        places = ops.convert_to_tensor(grid)
        home = crop.mean(places)
        spread = crop.mean(ops.sum((places - crop.at_sites(home)) ** 2, axis=-1))
        # a halo that the crop's face cuts in pieces is far wider than its sites there would fill
        extent = ops.sqrt(5 / 3 * spread + (0.5 / EMBEDDING_UNIT) ** 2)
        radius = (crop.sites * (3 / (4 * np.pi))) ** (1 / 3) / EMBEDDING_UNIT

        excess = ops.maximum(crop.distance / crop.at_sites(extent) - SCALED_PULL_MARGIN, 0.0) ** 2
        # by number alone, the few large haloes would hardly count
        share = crop.exists * radius / ops.maximum(ops.sum(crop.exists * radius), 1e-6)
        pull = ops.sum(share * crop.mean(excess))

        reach = SCALED_PUSH_MARGIN * (radius[:, None] + radius[None, :])
        push = ops.sum(crop.pairs * ops.maximum(1.0 - crop.separation / reach, 0.0) ** 2) / crop.count
        return pull, push, ops.sum(share * ops.sum((crop.centres - home) ** 2, axis=-1) / extent**2)

    return _instance_loss(terms, weights, max_instances)


INSTANCE_LOSSES: dict[str, Callable[..., Loss]] = {
    "weinberger": weinberger, "weighted": partial(weinberger, by_radius=True), "scaled": scaled_weinberger
}  # fmt: skip


def loss_weights(loss: str, push_weight: float | None = None) -> tuple[float, float, float]:
    """Default weights of the three terms of an instance loss, with another weight of the push if one is given."""
    pull, push, third = SCALED_WEIGHTS if loss == "scaled" else WEIGHTS
    return pull, push if push_weight is None else push_weight, third


class _Crop:
    """Embedding (sites, d) and labels (sites,) of one crop; row 0 of what it holds per label is the background."""

    def __init__(self, points: Any, labels: Any, side: int, max_instances: int) -> None:
        from keras import ops

        self.ops, self.labels, self.side, self.rows = ops, labels, side, max_instances + 1
        counts = ops.segment_sum(ops.ones_like(points[:, 0]), labels, num_segments=self.rows)
        instance = ops.cast(ops.arange(self.rows) > 0, "float32")
        self.sites = ops.maximum(counts, 1.0)
        self.exists = ops.cast(counts > 0, "float32") * instance
        self.count = ops.maximum(ops.sum(self.exists), 1.0)
        self.centres = self.mean(points)
        self.distance = self.norm(points - self.at_sites(self.centres))
        self.separation = self.norm(self.centres[:, None, :] - self.centres[None, :, :])
        # 1 for each ordered pair of two instances that exist
        self.pairs = self.exists[:, None] * self.exists[None, :] * (1.0 - ops.eye(self.rows))

    def mean(self, values: Any) -> Any:
        """Mean over the sites of each label."""
        total = self.ops.segment_sum(values, self.labels, num_segments=self.rows)
        return total / (self.sites if len(values.shape) == 1 else self.sites[:, None])

    def at_sites(self, values: Any) -> Any:
        """Value of each site's label."""
        return self.ops.take(values, self.labels, axis=0)

    def norm(self, vector: Any) -> Any:
        """Euclidean norm over the last axis; the tiny constant keeps the gradient finite at zero."""
        return self.ops.sqrt(self.ops.sum(vector * vector, axis=-1) + 1e-12)


def _instance_loss(
    terms: Callable[[_Crop], tuple[Any, Any, Any]], weights: tuple[float, float, float], max_instances: int
) -> Loss:
    """Mean over the crops of a batch of the weighted sum of three terms."""
    if max_instances < 1:
        raise ModelError(f"max_instances {max_instances} is not positive; use the largest number of haloes in a crop")

    def loss(y_true: Any, y_pred: Any) -> Any:
        from keras import ops

        batch = y_pred.shape[0] if y_pred.shape[0] is not None else ops.shape(y_pred)[0]
        points = ops.cast(ops.reshape(y_pred, (batch, -1, y_pred.shape[-1])), "float32")
        labels = ops.cast(ops.reshape(y_true, (batch, -1)), "int32")
        losses = []
        for b in range(batch):
            crop = _Crop(points[b], labels[b], y_pred.shape[1], max_instances)
            losses.append(sum(weight * term for weight, term in zip(weights, terms(crop), strict=True)))
        return ops.mean(ops.stack(losses))

    return loss
