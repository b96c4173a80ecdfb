"""Protohaloes as groups of predicted final positions: friends of friends, divided by their dense cores.

One linking length does not serve all haloes: one that is long enough for small haloes joins large ones by bridges. Here
the longer one finds the groups. Where the shorter one finds several cores in a group, each core is a halo, and every
other site of the group goes to the core nearest to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .._utils.system import available_cores
from .friends_of_friends import final_points, friends_of_friends
from .labels import relabel_by_size

_NEAREST = 8  # core sites looked at for one of the same group


def group_positions(
    displacement: NDArray[np.float32],
    candidates: NDArray[np.bool_],
    linking_length: float,
    core_length: float,
    min_core: int,
    min_sites: int,
) -> NDArray[np.int32]:
    """Label the sites whose predicted final positions form a halo.

    Parameters
    ----------
    displacement : float32, (3, n, n, n)
        Predicted final minus initial position, in sites.
    candidates : bool, (n, n, n)
        Sites that may belong to a halo.
    linking_length : float
        Candidates that end closer to each other than this are in one group, in sites.
    core_length : float
        The same for the cores that divide a group; shorter.
    min_core : int
        Sites of the smallest core.
    min_sites : int
        Smaller protohaloes are left out.

    Returns
    -------
    int32, (n, n, n)
        0 outside protohaloes, 1..K by descending size.

    Raises
    ------
    ClusteringError
        As `friends_of_friends`.

    Examples
    --------
    >>> from yt_protohalos.fields.particle_mesh import final_positions
    >>> from yt_protohalos.segmentation.position_groups import group_positions
    >>> displacement = final_positions(field)[0]
    >>> everywhere = np.ones(field.lattice.shape, dtype=bool)
    >>> labels = group_positions(displacement, everywhere, 0.25, 0.12, min_core=100, min_sites=155)
    >>> labels.shape
    (32, 32, 32)
    """
    linked = LinkedPositions(displacement, candidates)
    return linked.labels(linking_length, core_length, min_core, min_sites)


class LinkedPositions:
    """Candidates, and their friends-of-friends groups of every linking length that was asked for.

    displacement, candidates : as `group_positions` takes them
    """

    def __init__(self, displacement: NDArray[np.float32], candidates: NDArray[np.bool_]) -> None:
        self._candidates, self._period = candidates, float(displacement.shape[-1])
        self._points = final_points(displacement)[candidates.ravel()]
        self._groups: dict[float, NDArray[np.int64]] = {}

    def labels(self, linking_length: float, core_length: float, min_core: int, min_sites: int) -> NDArray[np.int32]:
        """Labels of `group_positions`; groups are found once for each length."""
        groups, cores = self._linked(linking_length), self._linked(core_length)
        labels = np.zeros(self._candidates.shape, dtype=np.int64)
        labels[self._candidates] = 1 + _divided(self._points, self._period, groups, cores, min_core)
        return relabel_by_size(labels, min_sites)

    def _linked(self, length: float) -> NDArray[np.int64]:
        if length not in self._groups:
            self._groups[length] = friends_of_friends(self._points, self._period, length)
        return self._groups[length]


def _divided(
    points: NDArray[np.float32], period: float, groups: NDArray[np.int64], cores: NDArray[np.int64], min_core: int
) -> NDArray[np.int64]:
    """Groups, in which every point carries the number of its core where there are several.

    groups, cores : for each point the lowest index of its group, and of its core
    """
    sizes = np.bincount(cores, minlength=len(cores))
    # a core is in one group, because its linking length is shorter; its lowest point stands for it
    large = np.flatnonzero(sizes >= min_core)
    several = np.bincount(groups[large], minlength=len(groups))[groups] > 1
    in_core = several & (sizes[cores] >= min_core)
    result = np.where(in_core, cores, groups)
    rest = np.flatnonzero(several & ~in_core)
    if not len(rest):
        return result
    inside = np.flatnonzero(in_core)
    nearest = min(_NEAREST, len(inside))
    tree = cKDTree(_wrapped(points[inside], period), boxsize=period)
    found = tree.query(_wrapped(points[rest], period), k=nearest, workers=available_cores())[1]
    near = inside[np.reshape(found, (len(rest), nearest))]
    same = groups[near] == groups[rest][:, None]
    # the first of the same group, or else the largest core of that group
    chosen = cores[near[np.arange(len(rest)), np.argmax(same, axis=1)]]
    order = large[np.lexsort((sizes[large], groups[large]))]
    largest = np.empty(len(groups), dtype=np.int64)
    largest[groups[order]] = order
    result[rest] = np.where(same.any(axis=1), chosen, largest[groups[rest]])
    return result


def _wrapped(points: NDArray[np.float32], period: float) -> NDArray[np.float64]:
    """Points in [0, period), which a remainder may round up to."""
    wrapped = np.mod(points.astype(np.float64), period)
    wrapped[wrapped >= period] = 0.0
    return wrapped
