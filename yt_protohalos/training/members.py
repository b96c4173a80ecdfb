"""Members of haloes by particle ID: one halo for each particle, where a finder lists a particle several times.

Finders list the particles of a subhalo with it, and often with the halo around it too. Of whole haloes, each keeps the
particles of all its subhaloes; of subhaloes, the smallest object that lists a particle has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FormatError, InitialConditionsError

HALOES, SUBHALOES = "haloes", "subhaloes"
OBJECTS = (HALOES, SUBHALOES)
"""What becomes a label: a halo with all its subhaloes, or each halo and subhalo on its own."""
Listed = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Particle IDs, and the halo of each, negative outside haloes."""


@dataclass(frozen=True, eq=False)
class Members:
    """Particles of K objects, as a halo finder lists them.

    ids : int64, (N,), particle IDs
    objects : int64, (N,), object that lists each, 0..K-1
    parents : int64, (K,), object around each, -1 for none
    """

    ids: NDArray[np.int64]
    objects: NDArray[np.int64]
    parents: NDArray[np.int64]

    def of(self, kind: str, name: str) -> Listed:
        """IDs (M,), each once, and the object of each, (M,), if the objects are of this kind of `OBJECTS`.

        Raises
        ------
        InitialConditionsError
            An object lists an ID twice; `name` says whose file it is.
        FormatError
            An object lies around itself.
        """
        order = np.lexsort((self.objects, self.ids))
        ids, objects = self.ids[order], self.objects[order]
        repeats = int(np.count_nonzero((np.diff(ids) == 0) & (np.diff(objects) == 0)))
        if repeats:
            raise InitialConditionsError(
                f"{repeats} of the {len(ids)} particle IDs of {name} are repeats in one object; each object lists a "
                "particle once: write the file again (64-bit IDs cut to 32 bits look like this)"
            )
        if kind == HALOES:
            objects = outermost(self.parents, name)[objects]
        sizes = np.bincount(objects, minlength=len(self.parents))[objects]
        order = np.lexsort((-sizes if kind == HALOES else sizes, ids))
        first = np.concatenate([[True], np.diff(ids[order]) > 0]) if len(ids) else np.zeros(0, dtype=bool)
        chosen = order[first]
        return ids[chosen], objects[chosen]


def outermost(parents: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Outermost object around each, itself if there is none; `FormatError` if the objects of `name` form a circle."""
    result = np.arange(len(parents))
    # every pass goes one object further out
    for _ in range(len(parents) + 1):
        around = parents[result]
        if not np.any(around >= 0):
            return result
        result = np.where(around >= 0, around, result)
    raise FormatError(
        f"an object of {name} lies, over its hosts, in itself; its table of hosts is damaged, write it again"
    )


def parent_indices(numbers: NDArray[Any], hosts: NDArray[Any], objects: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the host of each object, -1 for none, from a table with the `numbers` of objects and of their hosts.

    objects : numbers of the objects, of which each must be in the table

    Raises `FormatError` for an object that is not in the table.
    """
    order = np.argsort(numbers)
    row = order[np.minimum(np.searchsorted(numbers, objects, sorter=order), len(order) - 1)] if len(order) else order
    missing = np.asarray(objects)[numbers[row] != objects] if len(order) else objects
    if len(missing):
        raise FormatError(
            f"{len(missing)} of {len(objects)} objects are not in the table of hosts (the first: {missing[0]}); give "
            "the table of the same snapshot"
        )
    index = {int(number): i for i, number in enumerate(objects)}
    # a host without a list of members is none
    return np.array([index.get(int(host), -1) for host in hosts[row]], dtype=np.int64)
