"""Progenitors: links from the protohaloes of one redshift to those of the next lower one.

All redshifts share the lattice of the initial conditions, so that a protohalo and its descendant are sets of the same
sites, and no particle has to be followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..exceptions import CatalogError
from ..prediction.result import Prediction
from ..segmentation.labels import contingency

NO_DESCENDANT = -1


@dataclass(frozen=True, eq=False)
class ProgenitorLinks:
    """Links of protohaloes through a stack of redshifts.

    Levels count from the highest redshift, 0, to the lowest. Identifiers are labels minus 1, by descending size.

    Attributes
    ----------
    redshifts : tuple of float
        Of each level, descending.
    n_sites : tuple of int64, (K,)
        Of each level, the sites of its protohaloes.
    descendant : tuple of int64, (K,)
        Of each level, the identifier on the next level that each becomes; -1 where most of its sites are in none, and
        on the last level.
    shared : tuple of int64, (K,)
        Of each level, the sites that each has in common with its descendant, 0 without one.

    Examples
    --------
    >>> stack = [ph.predict(ds, "amplitude-v1", redshift=z) for z in (0, 0.3)]
    >>> links = ph.progenitor_links(stack)
    >>> branch = links.trunk(0)  # identifiers, from z = 0 back
    """

    redshifts: tuple[float, ...]
    n_sites: tuple[NDArray[np.int64], ...]
    descendant: tuple[NDArray[np.int64], ...]
    shared: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.redshifts)

    def progenitors(self, level: int, identifier: int) -> NDArray[np.int64]:
        """Identifiers on the level before of the protohaloes that become this one, by descending size.

        Raises
        ------
        CatalogError
            There is no such protohalo.
        """
        level = self._checked(level, identifier)
        if level == 0:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.descendant[level - 1] == identifier)

    def trunk(self, identifier: int, level: int = -1) -> NDArray[np.int64]:
        """Identifiers along the largest progenitors, from a protohalo of a level back as far as there are any.

        Raises
        ------
        CatalogError
            There is no such protohalo.
        """
        level = self._checked(level, identifier)
        found = [identifier]
        while len(before := self.progenitors(level, found[-1])):
            # identifiers are by descending size
            found.append(int(before[0]))
            level -= 1
        return np.array(found, dtype=np.int64)

    def _checked(self, level: int, identifier: int) -> int:
        """Return the level counted from 0; raise `CatalogError` unless it has the identifier."""
        if not -len(self) <= level < len(self):
            raise CatalogError(f"no level {level}; the {len(self)} redshifts are levels 0 to {len(self) - 1}")
        count = len(self.n_sites[level])
        if not 0 <= identifier < count:
            raise CatalogError(
                f"no protohalo {identifier} at z = {self.redshifts[level]:g}; it has {count}, numbered from 0"
            )
        return level % len(self)


def progenitor_links(predictions: Iterable[Prediction]) -> ProgenitorLinks:
    """Link each protohalo to its descendant at the next lower redshift.

    The descendant is the protohalo that holds the largest share of the sites, unless more of them are in none. Of equal
    shares the larger protohalo's counts.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of one box at two or more redshifts (`target_redshift`), in any order.

    Returns
    -------
    ProgenitorLinks

    Raises
    ------
    CatalogError
        There are fewer than two, two of one redshift, or they are on different lattices.

    Examples
    --------
    >>> stack = [ph.predict(ds, "amplitude-v1", redshift=z) for z in (0, 0.3)]
    >>> links = ph.progenitor_links(stack)
    >>> links.redshifts
    (0.3, 0.0)
    """
    stack = sorted(predictions, key=lambda prediction: -prediction.target_redshift)
    redshifts = check_redshifts([prediction.target_redshift for prediction in stack])
    if len({(one.lattice, one.site_offset) for one in stack}) > 1:
        raise CatalogError(
            f"the predictions are on {len({one.lattice for one in stack})} lattices; give those of one box"
        )
    links = [link_labels(one.labels, other.labels) for one, other in pairwise(stack)]
    return linked_levels(redshifts, [one.sizes[1:] for one in stack], links)


def linked_levels(
    redshifts: Iterable[float],
    n_sites: Iterable[NDArray[np.int64]],
    links: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> ProgenitorLinks:
    """`ProgenitorLinks` of what `link_labels` found between neighbouring levels."""
    sizes, pairs = tuple(n_sites), list(links)
    last = len(sizes[-1])
    pairs.append((np.full(last, NO_DESCENDANT, dtype=np.int64), np.zeros(last, dtype=np.int64)))
    descendant, shared = zip(*pairs, strict=True)
    return ProgenitorLinks(tuple(redshifts), sizes, descendant, shared)


def check_redshifts(redshifts: Iterable[float]) -> tuple[float, ...]:
    """Target redshifts in descending order; raise `CatalogError` if there are fewer than two, or one of them twice."""
    found = tuple(sorted(redshifts, reverse=True))
    if len(found) < 2 or len(set(found)) < len(found):
        raise CatalogError(
            f"redshifts {', '.join(f'{z:g}' for z in found) or 'none'} make no tree; give two or more different ones"
        )
    return found


def link_labels(
    earlier: NDArray[np.integer], later: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Arrays `descendant` and `shared` of `ProgenitorLinks` for two levels of labels, 1..K by descending size."""
    count = int(earlier.max(initial=0))
    descendant = np.full(count, NO_DESCENDANT, dtype=np.int64)
    shared = np.zeros(count, dtype=np.int64)
    label, other, sites = contingency(earlier, later)
    # the largest share of each label first; of equal ones, none comes last and the larger protohalo first
    order = np.lexsort((other, other == 0, -sites, label))
    _, first = np.unique(label[order], return_index=True)
    label, other, sites = (column[order][first] for column in (label, other, sites))
    linked = (label > 0) & (other > 0)
    descendant[label[linked] - 1], shared[label[linked] - 1] = other[linked] - 1, sites[linked]
    return descendant, shared
