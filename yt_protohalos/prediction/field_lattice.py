"""Results on the lattice that a method saw, brought back to the lattice of the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fields.lattice import Lattice, nearest_sites
from ..fields.linear_field import LinearField
from ..models.base_card import Card
from ..segmentation.labels import label_map, relabel_by_size
from .halo_motion import HaloMotion
from .result import smallest_protohalo


@dataclass(frozen=True, eq=False)
class OnFieldLattice:
    """Protohaloes on the lattice of a field. Each site has the values of the nearest site that the method saw.

    Attributes
    ----------
    labels : int32, (n, n, n)
        1..K by descending size, of those with at least the smallest mass.
    motion : HaloMotion or None
        By these labels.
    new_label : int64, (labels of the method + 1,)
        Label that each of the method's has now; 0 for those that are gone.
    """

    labels: NDArray[np.int32]
    motion: HaloMotion | None
    new_label: NDArray[np.int64]
    _index: tuple[NDArray[np.int64], ...] | None = None

    def values(self, cube: NDArray[Any]) -> NDArray[Any]:
        """A cube of the method on the lattice of the field."""
        return cube if self._index is None else cube[self._index]


def on_field_lattice(
    field: LinearField, seen: Lattice, card: Card, labels: NDArray[np.int32], motion: HaloMotion | None
) -> OnFieldLattice:
    """Bring labels 1..K, and the motion of their protohaloes, from the lattice that a method saw to that of a field."""
    count = int(labels.max(initial=0)) + 1
    if seen.n == field.n:
        return OnFieldLattice(labels, motion, np.arange(count))
    index = nearest_sites(field.lattice, seen, field.site_offset)
    mapped = labels[index]
    final = relabel_by_size(mapped, smallest_protohalo(card, field.n, seen.n))
    return OnFieldLattice(final, motion and motion.relabelled(mapped, final), label_map(mapped, final, count), index)
