"""Members of all protohaloes of a box, and means over them in parts, without an array of a value per member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_PART = 2**21  # members at a time


class LabelGroups:
    """Members of all protohaloes, grouped by protohalo and ascending within it.

    labels : int32, (n, n, n), 1..K
    n_sites : int64, (K,), the sites of each, all positive
    """

    def __init__(self, labels: NDArray[np.int32], n_sites: NDArray[np.int64]) -> None:
        self.n_sites = n_sites
        self.offset = np.concatenate([[0], np.cumsum(n_sites)]).astype(np.int64)
        self.members = np.empty(self.offset[-1], dtype=np.int64)
        _fill_members(labels.reshape(-1), self.offset[:-1].copy(), self.members)

    def parts(self) -> Iterator[GroupsPart]:
        """Consecutive protohaloes with some `_PART` members, so that no value of all members is in memory at once."""
        first = 0
        while first < len(self.n_sites):
            last = max(int(np.searchsorted(self.offset, self.offset[first] + _PART, side="right")) - 1, first + 1)
            yield GroupsPart(slice(first, last), self.members[self.offset[first] : self.offset[last]], self.n_sites)
            first = last

    def means_of(self, cube: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of a cube over the members of each, (n, n, n) -> (K,)."""
        flat, result = cube.reshape(-1), np.empty(len(self.n_sites))
        for part in self.parts():
            result[part.groups] = part.mean(flat[part.members])
        return result


class GroupsPart:
    """A slice of the protohaloes, their members, and reductions over those."""

    def __init__(self, groups: slice, members: NDArray[np.int64], n_sites: NDArray[np.int64]) -> None:
        self.groups, self.members, self._n_sites = groups, members, n_sites[groups]
        self.owner = np.repeat(np.arange(len(self._n_sites)), self._n_sites)

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of a value a member."""
        return np.bincount(self.owner, weights=values, minlength=len(self._n_sites)) / self._n_sites

    def span(self, values: NDArray[Any]) -> NDArray[Any]:
        """Largest minus smallest value a member."""
        first = np.cumsum(self._n_sites) - self._n_sites
        return np.maximum.reduceat(values, first) - np.minimum.reduceat(values, first)


@njit(cache=True, nogil=True)
def _fill_members(labels: NDArray[np.int32], place: NDArray[np.int64], members: NDArray[np.int64]) -> None:
    for site in range(len(labels)):
        if labels[site] > 0:
            members[place[labels[site] - 1]] = site
            place[labels[site] - 1] += 1
