"""Protohaloes without a model: friends of friends in the final positions of the sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress
from ..exceptions import ModelError
from ..fields.evolution import EvolvedField
from ..fields.linear_field import LinearField
from ..fields.particle_mesh import MeshPlan
from ..fields.region import Region
from ..fields.units import Quantity
from ..models.fof_card import LINKING_LENGTH, MIN_SITES, FriendsOfFriendsCard, evolution_plan
from ..models.resolution import model_side
from ..models.validity import check_policy
from ..segmentation.friends_of_friends import group_sites
from ..segmentation.labels import relabel_by_size, touches_faces
from ..segmentation.overlap import OverlapGraph
from .communicator import SERIAL, Communicator
from .field_lattice import on_field_lattice
from .halo_motion import halo_motion
from .memory import enough_memory
from .result import FIELD_SAMPLE, Prediction, RegionPrediction, field_sample, provenance
from .store import predict_on_root

BYTES_PER_SITE = 70
"""Memory of the search for groups, with the displacements and velocities; the field itself does not count."""
_EVOLUTION_BYTES = 24, 4
"""Memory of the evolution: bytes per site, and per cell of its mesh."""


class FriendsOfFriendsPredictor:
    """Friends of friends in the final positions of the sites: for any lattice spacing, cosmology and amplitude.

    It takes the place of a `ProtohaloPredictor`. The probability of its predictions is 1 in groups and 0 outside: it is
    a mask. Two of these predictors are equal if they give the same predictions.

    Parameters
    ----------
    evolution : {"fast", "accurate"} or MeshPlan
        How the sites reach their final positions: `fields.particle_mesh.FAST`, `ACCURATE`, which takes three to four
        times as long, or another plan.
    linking_length : float
        Sites that end closer to each other than this are friends, in sites.
    min_sites : int
        Smallest protohalo kept, sites.

    Raises
    ------
    ModelError
        A value is not valid.

    Examples
    --------
    >>> predictor = ph.FriendsOfFriendsPredictor("accurate")
    >>> predictor.predict(field).n_protohalos > 0
    True
    """

    precision = "float32"

    def __init__(
        self,
        evolution: str | MeshPlan = "fast",
        linking_length: float = LINKING_LENGTH,
        min_sites: int = MIN_SITES,
    ) -> None:
        self.card = FriendsOfFriendsCard(evolution_plan(evolution), linking_length, min_sites)

    def __repr__(self) -> str:
        card = self.card
        return (
            f"FriendsOfFriendsPredictor(evolution {card.evolution}, linking length {card.linking_length:g} sites, "
            f"at least {card.min_sites} sites)"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FriendsOfFriendsPredictor) and self.card == other.card

    def __hash__(self) -> int:
        return hash(self.card)

    def predict(
        self,
        field: LinearField,
        *,
        threshold: float | None = None,
        progress: Progress = True,
        store: str | Path | None = None,
        on_spacing: str = "warn",
        on_range: str = "error",
        resolution: Quantity | None = None,
        communicator: Communicator = SERIAL,
    ) -> Prediction:
        """Find the protohaloes of a box.

        Parameters
        ----------
        field : LinearField
        threshold : None
            This method has none.
        progress : bool or callable
            See `progress.track`.
        store : path, optional
            Folder in which several ranks find the prediction. Nothing is kept for a run that resumes.
        on_spacing, on_range : {"warn", "error", "allow"}
            Without effect, because every spacing and every amplitude is valid.
        resolution : float, str, (float, str) or unyt_quantity, optional
            Lattice spacing, comoving Mpc/h or with a unit, of a coarser lattice on which the field is evolved.
        communicator : Communicator
            The processes that call this with the same arguments and a store that all see; rank 0 does the work.

        Returns
        -------
        Prediction

        Raises
        ------
        ModelError, ClusteringError, ExperimentError, OutOfMemoryError, LatticeError
            A threshold; a linking length of more than a third of the box; a perturbation that is not periodic; too
            little memory; a resolution finer than the lattice. All of these before the evolution starts.
        StoreError
            Several ranks have no store.
        """
        seen = self._seen(field, threshold, on_spacing, on_range, resolution)

        def make() -> Prediction:
            labels, evolved = self._labels(seen, progress)
            found = on_field_lattice(field, seen.lattice, self.card, labels, halo_motion(labels, seen, evolved))
            return Prediction(
                labels=found.labels,
                lattice=field.lattice,
                overlap=OverlapGraph.empty(),
                evolved=evolved if seen is field else None,
                motion=found.motion,
                **self._provenance(field, seen.n),
                **_masks(found.labels),
            )

        return predict_on_root(make, store, communicator)

    def predict_region(
        self,
        field: LinearField,
        region: Region,
        *,
        threshold: float | None = None,
        progress: Progress = True,
        on_spacing: str = "warn",
        on_range: str = "error",
        resolution: Quantity | None = None,
    ) -> RegionPrediction:
        """Find the protohaloes of a region of a box. The whole box is evolved, and the labels are cut from it.

        Parameters
        ----------
        field : LinearField
            Of the whole box.
        region : Region
        threshold, progress, on_spacing, on_range, resolution
            As in `predict`.

        Returns
        -------
        RegionPrediction
            On the lattice that was evolved.

        Raises
        ------
        ModelError, ClusteringError, ExperimentError, OutOfMemoryError, LatticeError
            As `predict`; the region is larger than the box or smaller than a site.

        Examples
        --------
        >>> part = ph.FriendsOfFriendsPredictor().predict_region(field, ph.Region((2, 2, 2), side=3.125))
        >>> part.labels.shape
        (16, 16, 16)
        """
        seen = self._seen(field, threshold, on_spacing, on_range, resolution)
        start, n = region.sites(seen.lattice, seen.site_offset)
        labels = relabel_by_size(seen.lattice.crop(self._labels(seen, progress)[0], start, (n,) * 3))
        return RegionPrediction(
            labels=labels,
            touches_border=touches_faces(labels) & (n < seen.n),
            region=region,
            start=start,
            lattice=seen.lattice,
            **self._provenance(field, seen.n),
            **_masks(labels),
        )

    def _seen(
        self, field: LinearField, threshold: float | None, on_spacing: str, on_range: str, resolution: Quantity | None
    ) -> LinearField:
        """The field on the lattice that is evolved, after all checks of a request."""
        check_policy("on_range", on_range)
        check_no_threshold(threshold, self.card.threshold)
        side = model_side(self.card, field, on_spacing, resolution)
        self.card.check_field(field, side)
        return field if side == field.n else field.resampled(side)

    def _labels(self, field: LinearField, progress: Progress) -> tuple[NDArray[np.int32], EvolvedField]:
        per_site, per_cell = _EVOLUTION_BYTES
        needed = max(BYTES_PER_SITE, per_site + per_cell * self.card.plan.cells_per_site**3)
        with enough_memory(
            "friends of friends", field.n, needed, "or method 'pseudo-space', which reads a box in crops"
        ):
            evolved = self.card.evolve(field, progress)
            return group_sites(evolved.displacement, self.card.linking_length, self.card.min_sites), evolved

    def _provenance(self, field: LinearField, side: int) -> dict[str, Any]:
        """Attributes of every prediction that follow from field, card and the sites per side that are evolved."""
        settings = {"threshold": self.card.threshold, "precision": self.precision, "model_side": side}
        return provenance(field, self.card, {**settings, **field.identity(), FIELD_SAMPLE: field_sample(field)})


def _masks(labels: NDArray[np.int32]) -> dict[str, Any]:
    mask = labels > 0
    return {"mask": mask, "probability": mask.astype(np.float32)}


def check_no_threshold(threshold: float | None, own: float | None = None) -> None:
    """Raise `ModelError` for a threshold, which friends of friends does not have; `own` is that of its card."""
    if threshold not in (None, own):
        raise ModelError(
            f"threshold {threshold!r} was given, but method 'fof' gives a mask and no probability; leave it out"
        )
