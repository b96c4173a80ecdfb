"""Targets and loss of a position network: membership of every site, and where it should end.

The sites of a halo should end at its centre, so that they are found together; all other sites where they end in the
simulation. Groups smaller than the smallest halo count as groups too: a network that had to guess which of them are
large enough would shrink the small haloes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fields.lattice import Lattice
from ..models.channels import DISPLACEMENT_UNIT
from ..segmentation.labels import label_sizes
from .friends_of_friends import friends_of_friends
from .run_files import halo_means

MIN_GROUP = 25
"""Sites of the smallest group."""
TARGETS = ("member", "in_group", "to_x", "to_y", "to_z", "radius")
GROUP_WEIGHT, POSITION_WEIGHT = 0.5, 0.5
"""Weights of the second and third part of the loss; that of membership is 1."""
OUTSIDE_WEIGHT = 0.15
"""Weight of a site outside groups in the position part; that of a member is 1."""
OUTSIDE_SCALE = 4.0
"""Unit of the distances of sites outside groups, sites; those of members are in radii of their group."""
SMALLEST_SCALE = 1.5
_ROUNDING = 1e-4  # keeps the gradient of the distance finite at zero


def position_targets(
    labels: NDArray[np.int32],
    positions: NDArray[np.float32],
    displacement: NDArray[np.float32],
    lattice: Lattice,
) -> NDArray[np.float16]:
    """Targets of every site.

    labels : int32, (n, n, n), haloes of the smallest size and more, 0 outside
    positions : float32, (n^3, 3), final positions in the simulation, comoving Mpc/h
    displacement : float32, (3, n, n, n), of the evolved field, in sites
    returns : float16, (6, n, n, n), in the order of `TARGETS`: 0 or 1 twice; displacement from the evolved position to
        the group's centre or the final position, in sites; radius of a sphere of as many sites as the group, in sites,
        0 outside
    """
    groups = friends_of_friends(positions, lattice, min_sites=MIN_GROUP)
    centres = np.concatenate([np.zeros((1, 3)), halo_means(groups, positions, lattice)]) / lattice.spacing
    targets = np.empty((len(TARGETS), *lattice.shape), dtype=np.float16)
    targets[0], targets[1] = labels > 0, groups > 0
    sites = np.indices(lattice.shape, dtype=np.float32, sparse=True)
    for axis in range(3):
        own = positions[:, axis].reshape(lattice.shape) / np.float32(lattice.spacing)
        wanted = np.where(groups > 0, centres[groups, axis].astype(np.float32), own)
        move = wanted - sites[axis] - displacement[axis]
        targets[2 + axis] = move - lattice.n * np.round(move / lattice.n)
    radius = np.cbrt(3 / (4 * np.pi) * label_sizes(groups))
    radius[0] = 0
    targets[5] = radius[groups]
    return targets


def position_loss() -> Callable[[Any, Any], Any]:
    """Loss of a position network.

    The sum of the cross-entropies of the two memberships and of the mean distance from the wanted final position. It is
    the distance and not its square: among several possible haloes a site decides for one rather than for the middle
    between them. Members count alike, in radii of their group, so that large haloes contract too.

    Returns
    -------
    callable
        ``loss(y_true, y_pred)``: `position_targets` (batch, n, n, n, 6) and network output (batch, n, n, n, 5) ->
        scalar.
    """

    def loss(y_true: Any, y_pred: Any) -> Any:
        from keras import ops

        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")

        def cross_entropy(i: int) -> Any:
            true, logit = y_true[..., i], y_pred[..., i]
            return ops.mean(ops.maximum(logit, 0.0) - logit * true + ops.log1p(ops.exp(-ops.abs(logit))))

        inside = y_true[..., 1]
        scale = inside * ops.maximum(y_true[..., 5], SMALLEST_SCALE) + (1.0 - inside) * OUTSIDE_SCALE
        error = y_pred[..., 2:5] * DISPLACEMENT_UNIT - y_true[..., 2:5]
        distance = ops.sqrt(ops.sum(error * error, axis=-1) / (scale * scale) + _ROUNDING)
        weight = inside + OUTSIDE_WEIGHT * (1.0 - inside)
        position = ops.sum(weight * distance) / ops.sum(weight)
        return cross_entropy(0) + GROUP_WEIGHT * cross_entropy(1) + POSITION_WEIGHT * position

    return loss
