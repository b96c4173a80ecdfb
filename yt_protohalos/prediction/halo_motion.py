"""Positions, velocities and radii of protohaloes at the target redshift, from their sites in the evolved field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fields.evolution import EvolvedField
from ..fields.lattice import unwrap, wrap
from ..fields.linear_field import LinearField
from ..segmentation.label_groups import LabelGroups
from ..segmentation.labels import label_map, label_sizes
from .evolved_radius import radii_200m


@dataclass(frozen=True, eq=False)
class HaloMotion:
    """Positions, velocities and radii of protohaloes 1..K at the target redshift.

    Attributes
    ----------
    position : float64, (K, 3)
        Mean final position of the sites, comoving Mpc/h in [0, box size).
    velocity : float64, (K, 3)
        Mean peculiar velocity of the sites, km/s.
    radius : float64, (K,), optional
        Radius about the densest place of the sites within which they are 200 times as dense as the mean, comoving Mpc/h
        (`evolved_radius.radii_200m`). None where it was not measured, as in files from before it was kept.

    Examples
    --------
    >>> prediction = ph.FriendsOfFriendsPredictor().predict(field, progress=False)
    >>> prediction.motion.position.shape == (prediction.n_protohalos, 3)
    True
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    radius: NDArray[np.float64] | None = None

    def relabelled(self, old: NDArray[np.int32], new: NDArray[np.int32]) -> HaloMotion:
        """Motion by new labels, of a cube where each of them takes the place of one of the old."""
        chosen = label_map(new, old)[1:] - 1
        radius = None if self.radius is None else self.radius[chosen]
        return HaloMotion(self.position[chosen], self.velocity[chosen], radius)


def halo_motion(labels: NDArray[np.int32], field: LinearField, evolved: EvolvedField | None) -> HaloMotion | None:
    """Motion of the protohaloes of a label cube; None where no evolved field with velocities is known.

    labels : int32, (n, n, n), 1..K; field : on that lattice; evolved : of that field
    """
    if evolved is None or evolved.velocity is None:
        return None
    return mean_motion(LabelGroups(labels, label_sizes(labels)[1:]), field, evolved.displacement, evolved.velocity)


def mean_motion(
    groups: LabelGroups, field: LinearField, displacement: NDArray[np.float32], velocity: NDArray[np.float32]
) -> HaloMotion:
    """Motion of protohaloes by the arrays of an `EvolvedField`, float32, (3, n, n, n), in sites."""
    lattice = field.lattice
    means, radius = np.empty((2, len(groups.n_sites), 3)), np.empty(len(groups.n_sites))
    for part in groups.parts():
        sites = lattice.sites(part.members)
        final = np.empty((len(part.members), 3))
        for axis in range(3):
            initial = unwrap(sites[:, axis], lattice.n, part.owner)
            final[:, axis] = initial + displacement[axis].reshape(-1)[part.members]
            means[0, part.groups, axis] = part.mean(final[:, axis])
            means[1, part.groups, axis] = part.mean(velocity[axis].reshape(-1)[part.members])
        radius[part.groups] = lattice.spacing * radii_200m(final, groups.n_sites[part.groups])
    position = wrap((means[0] + field.site_offset) * lattice.spacing, lattice.box_size)
    # v = a H f dx/dln D, and the growth factor of the evolved field is 1 at the target
    return HaloMotion(position, field.velocity_factor * lattice.spacing * means[1], radius)
