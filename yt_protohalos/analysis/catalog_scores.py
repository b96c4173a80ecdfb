"""Differences between a catalogue and the haloes of a simulation: positions, velocities, spins, shapes, confidence.

A halo is matched when it shares more than half of the union of sites with a predicted one (IoU above 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..catalog.catalog import Catalog, protohalo_catalog
from ..exceptions import ScoringError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction
from .matching import MATCH_IOU, match_haloes
from .metrics import ratio

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SimulatedHaloes:
    """Haloes of a run at the redshift of the catalogue.

    Attributes
    ----------
    labels : int, (n, n, n)
        1..K on the initial lattice, 0 outside.
    position, velocity : float64, (K, 3)
        Means of the members: comoving Mpc/h; peculiar km/s, optional.
    spin : float64, (K, 3), optional
        Angular momentum per unit of mass about that position, in any unit: only its direction is used.
    """

    labels: NDArray[np.integer]
    position: Floats
    velocity: Floats | None = None
    spin: Floats | None = None

    def __post_init__(self) -> None:
        n_haloes = int(self.labels.max(initial=0))
        for name in ("position", "velocity", "spin"):
            value = getattr(self, name)
            if value is not None and np.shape(value) != (n_haloes, 3):
                raise ScoringError(
                    f"{name} has shape {np.shape(value)}, the labels name {n_haloes} haloes; give ({n_haloes}, 3)"
                )


class _Errors:
    """Base of the dataclasses of errors, one array per attribute."""

    @classmethod
    def pooled(cls, several: Sequence[Self]) -> Self:
        """Join the errors of several boxes."""
        names = [item.name for item in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: np.concatenate([getattr(one, name) for one in several]) for name in names})


@dataclass(frozen=True, eq=False)
class CatalogErrors(_Errors):
    """Errors of a catalogue, of M matched haloes and P predicted ones.

    Attributes
    ----------
    log10_mass, distance : (M,)
        Mass of the simulated halo, Msun/h; from the predicted to its position, comoving Mpc/h.
    velocity_error, speed : (M,)
        Length of the difference of velocities, and of the simulated one, km/s; NaN if unknown.
    spin_cosine : (M,)
        Cosine of the angle between the two spins; NaN if either is unknown.
    confidence, log10_predicted_mass, purity : (P,)
        Of every predicted halo; mass in Msun/h; share of its sites that end in any halo.
    found : bool, (P,)
        True for a match.
    """

    log10_mass: Floats
    distance: Floats
    velocity_error: Floats
    speed: Floats
    spin_cosine: Floats
    confidence: Floats
    log10_predicted_mass: Floats
    found: NDArray[np.bool_]
    purity: Floats


@dataclass(frozen=True, eq=False)
class ShapeErrors(_Errors):
    """Shapes, tides and pieces of M matched regions, and of all T simulated and P predicted ones.

    Attributes
    ----------
    log10_mass : (M,)
        Of the simulated halo, Msun/h.
    axis_ratios, true_axis_ratios : (M, 2)
        b/a and c/a of the predicted region and of the halo's own members on the initial lattice.
    axis_cosines : (M, 3)
        Cosine, from 0 to 1, of the angle between the two regions' axes a, b and c.
    eigenvalues, true_eigenvalues : (M, 3)
        Of the tidal tensors at the two centres and scales, descending; NaN without a field.
    log10_true_mass, log10_predicted_mass : (T,) and (P,)
        Msun/h.
    true_pieces, pieces : (T,) and (P,)
        Separate pieces of a region, see `segmentation.labels.count_pieces`.
    """

    log10_mass: Floats
    axis_ratios: Floats
    true_axis_ratios: Floats
    axis_cosines: Floats
    eigenvalues: Floats
    true_eigenvalues: Floats
    log10_true_mass: Floats
    true_pieces: NDArray[np.int64]
    log10_predicted_mass: Floats
    pieces: NDArray[np.int64]


def catalog_errors(catalog: Catalog, haloes: SimulatedHaloes, site_mass_msun_h: float) -> CatalogErrors:
    """Compare a catalogue with the simulation of the same initial conditions; `ScoringError` if lattices differ."""
    lattice = catalog.lattice
    if haloes.labels.shape != lattice.shape:
        raise ScoringError(f"labels have shape {haloes.labels.shape}, the catalogue {lattice.shape}; use one lattice")
    predicted = label_cube(catalog)
    true, mine = matched_indices(predicted, haloes.labels)
    found = np.zeros(len(catalog.n_sites), dtype=bool)
    found[mine] = True
    inside = np.bincount(predicted.ravel(), weights=haloes.labels.ravel() > 0, minlength=len(found) + 1)[1:]
    separation = lattice.minimum_image(catalog.position[mine] - haloes.position[true])
    velocity, spin = (np.full((len(true), 3), np.nan) if one is None else one[true]
                      for one in (haloes.velocity, haloes.spin))  # fmt: skip
    return CatalogErrors(
        log10_mass=np.log10(np.bincount(haloes.labels.ravel())[1:][true] * site_mass_msun_h),
        distance=np.linalg.norm(separation, axis=1),
        velocity_error=np.linalg.norm(catalog.velocity[mine] - velocity, axis=1),
        speed=np.linalg.norm(velocity, axis=1),
        spin_cosine=_cosine(catalog.spin[mine], spin),
        confidence=catalog.confidence,
        log10_predicted_mass=np.log10(catalog.n_sites * site_mass_msun_h),
        found=found,
        purity=inside / catalog.n_sites,
    )


def shape_errors(catalog: Catalog, true: Catalog, site_mass_msun_h: float) -> ShapeErrors:
    """Compare the regions of a catalogue with the Lagrangian regions of a simulation's haloes.

    true : result of `protohalo_catalog` for the simulation's labels and the same field
    raises : `ScoringError` if the two are on different lattices
    """
    if catalog.lattice != true.lattice:
        raise ScoringError(f"catalogues are on {catalog.lattice} and {true.lattice}; use one lattice")
    theirs, mine = matched_indices(label_cube(catalog), label_cube(true))
    axes, true_axes = catalog.semi_axes[mine], true.semi_axes[theirs]
    return ShapeErrors(
        log10_mass=np.log10(true.n_sites[theirs] * site_mass_msun_h),
        axis_ratios=axes[:, 1:] / axes[:, :1],
        true_axis_ratios=true_axes[:, 1:] / true_axes[:, :1],
        # an axis has no sign; rounding may exceed 1
        axis_cosines=np.minimum(np.abs(np.sum(catalog.axes[mine] * true.axes[theirs], axis=2)), 1.0),
        eigenvalues=catalog.tidal_eigenvalues[mine],
        true_eigenvalues=true.tidal_eigenvalues[theirs],
        log10_true_mass=np.log10(true.n_sites * site_mass_msun_h),
        true_pieces=true.n_pieces,
        log10_predicted_mass=np.log10(catalog.n_sites * site_mass_msun_h),
        pieces=catalog.n_pieces,
    )


def label_cube(catalog: Catalog) -> NDArray[np.int64]:
    """Labels 1..K of a catalogue's members on its lattice, 0 outside, int64 (n, n, n)."""
    labels = np.zeros(catalog.lattice.n_sites, dtype=np.int64)
    labels[catalog.members] = np.repeat(np.arange(1, len(catalog) + 1), catalog.n_sites)
    return labels.reshape(catalog.lattice.shape)


def matched_indices(
    predicted: NDArray[np.integer], true: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Indices from 0 of the true and of the predicted haloes that match."""
    matches = match_haloes(predicted, true)
    theirs = np.flatnonzero(matches.iou > MATCH_IOU)
    return theirs, matches.label[theirs] - 1


def _cosine(a: Floats, b: Floats) -> Floats:
    return ratio(np.sum(a * b, axis=1), np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


CatalogComparison = tuple[CatalogErrors, CatalogErrors, ShapeErrors]
"""Errors of the catalogue, of a catalogue made from the true members, and of the shapes."""


def compare_catalog(prediction: Prediction, field: LinearField, haloes: SimulatedHaloes) -> CatalogComparison:
    """Compare the catalogue of a prediction with the haloes of a simulation of the same field."""
    if prediction.card.sees_evolution and prediction.evolved is None:
        prediction = replace(prediction, evolved=prediction.card.evolve(field))
    found = protohalo_catalog(prediction, field)
    true = protohalo_catalog(replace(prediction, labels=haloes.labels.astype("int32"), motion=None), field)
    mass = field.site_mass_msun_h
    return catalog_errors(found, haloes, mass), catalog_errors(true, haloes, mass), shape_errors(found, true, mass)
