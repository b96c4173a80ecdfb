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
from .friends_of_friends import friends_of_friends
from .labels import relabel_by_size

_NEAREST = 8  # core sites looked at for one of the same group
_PART = 2**16  # sites that look for their core at a time


def group_positions(
    displacement: NDArray[np.float32],
    candidates: NDArray[np.bool_],
    linking_length: float,
    core_length: float,
    min_core: int,
    min_sites: int,
    members: NDArray[np.bool_] | None = None,
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
    members : bool, (n, n, n), optional
        Candidates that stay in their protohalo. The others link sites, and are left out of it afterwards; by default
        none is.

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
    numbers = LinkedPositions(displacement, candidates).numbers(linking_length, core_length, min_core)
    return labels_of_members(numbers, candidates, members, min_sites)


class LinkedPositions:
    """Candidates, and their friends-of-friends groups of every linking length that was asked for.

    displacement, candidates : as `group_positions` takes them
    """

    def __init__(self, displacement: NDArray[np.float32], candidates: NDArray[np.bool_]) -> None:
        self._period = float(displacement.shape[-1])
        self._points = _candidate_points(displacement, candidates)
        self._groups: dict[float, NDArray[np.int64]] = {}

    def numbers(self, linking_length: float, core_length: float, min_core: int) -> NDArray[np.int64]:
        """Number of the halo of each candidate, from 1, for `labels_of_members`; groups are found once per length."""
        groups, cores = self._linked(linking_length), self._linked(core_length)
        numbers = _divided(self._points, self._period, groups, cores, min_core)
        numbers += 1
        return numbers

    def _linked(self, length: float) -> NDArray[np.int64]:
        if length not in self._groups:
            self._groups[length] = friends_of_friends(self._points, self._period, length)
        return self._groups[length]


def labels_of_members(
    numbers: NDArray[np.int64], candidates: NDArray[np.bool_], members: NDArray[np.bool_] | None, min_sites: int
) -> NDArray[np.int32]:
    """Labels of `group_positions` from the number of the halo of each candidate."""
    labels = np.zeros(candidates.shape, np.int32 if len(numbers) < np.iinfo(np.int32).max else np.int64)
    labels[candidates] = numbers
    if members is not None:
        labels *= members
    return relabel_by_size(labels, min_sites)


def _candidate_points(displacement: NDArray[np.float32], candidates: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Final positions of the candidates, (N, 3), in sites."""
    points = np.empty((3, np.count_nonzero(candidates)), dtype=np.float32)
    start = 0
    for x, chosen in enumerate(candidates):
        sites = np.full(np.count_nonzero(chosen), x), *np.nonzero(chosen)
        stop = start + len(sites[0])
        for along, site, moved in zip(points, sites, displacement[:, x], strict=True):
            along[start:stop] = site.astype(np.float32) + moved[chosen]
        start = stop
    return points.T


def _divided(
    points: NDArray[np.float32], period: float, groups: NDArray[np.int64], cores: NDArray[np.int64], min_core: int
) -> NDArray[np.int64]:
    """Groups, in which every point carries the number of its core where there are several.

    groups, cores : for each point the lowest index of its group, and of its core
    """
    sizes = np.bincount(cores, minlength=len(cores))
    # a core is in one group, because its linking length is shorter; its lowest point stands for it
    large = np.flatnonzero(sizes >= min_core)
    several = (np.bincount(groups[large], minlength=len(groups)) > 1)[groups]
    in_core = several & (sizes >= min_core)[cores]
    result = np.where(in_core, cores, groups)
    rest = np.flatnonzero(several & ~in_core)
    if not len(rest):
        return result
    order = large[np.lexsort((sizes[large], groups[large]))]
    del sizes, several
    largest = np.empty(len(groups), dtype=np.int64)
    largest[groups[order]] = order
    inside = np.flatnonzero(in_core)
    nearest = min(_NEAREST, len(inside))
    tree = cKDTree(_wrapped(points[inside], period), boxsize=period)
    for first in range(0, len(rest), _PART):
        part = rest[first : first + _PART]
        found = tree.query(_wrapped(points[part], period), k=nearest, workers=available_cores())[1]
        near = inside[np.reshape(found, (len(part), nearest))]
        same = groups[near] == groups[part][:, None]
        # the first of the same group, or else the largest core of that group
        chosen = cores[near[np.arange(len(part)), np.argmax(same, axis=1)]]
        result[part] = np.where(same.any(axis=1), chosen, largest[groups[part]])
    return result


def _wrapped(points: NDArray[np.float32], period: float) -> NDArray[np.float64]:
    """Points in [0, period), which a remainder may round up to."""
    wrapped = np.mod(points.astype(np.float64), period)
    wrapped[wrapped >= period] = 0.0
    return wrapped
