"""How far a catalogue is from the haloes of a simulation: positions, velocities, spins, confidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..catalog.catalog import Catalog
from ..exceptions import ScoringError
from .matching import MATCH_IOU
from .scores import Matches, match_haloes

MASS_BINS = (11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 15.0)
CONFIDENCE_BINS = (0.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
Table = dict[str, list[float | int | None]]
"""Columns of one entry per bin; None without data."""


@dataclass(frozen=True, eq=False)
class SimulatedHaloes:
    """Haloes of a run at the redshift of the catalogue.

    Attributes
    ----------
    labels : int, (n, n, n)
        1..K on the initial lattice, 0 outside.
    position : float64, (K, 3)
        Mean of the members, comoving Mpc/h.
    velocity : float64, (K, 3), optional
        Peculiar, km/s.
    spin : float64, (K, 3), optional
        Angular momentum for each unit of mass about that position, in any unit: only its direction is used.
    """

    labels: NDArray[np.integer]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64] | None = None
    spin: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n_haloes = int(self.labels.max(initial=0))
        for name in ("position", "velocity", "spin"):
            value = getattr(self, name)
            if value is not None and np.shape(value) != (n_haloes, 3):
                raise ScoringError(
                    f"{name} has shape {np.shape(value)}, the labels name {n_haloes} haloes; give ({n_haloes}, 3)"
                )


@dataclass(frozen=True, eq=False)
class CatalogErrors:
    """Of haloes that a catalogue has, one entry (of M) a match with an intersection over union above 0.5.

    Attributes
    ----------
    log10_mass : float64, (M,)
        Of the simulated halo, Msun/h.
    distance : float64, (M,)
        Between predicted and simulated position, comoving Mpc/h.
    velocity_error, speed : float64, (M,)
        Length of the difference of the velocities, and of the simulated one, km/s; NaN where that is unknown.
    spin_cosine : float64, (M,)
        Cosine of the angle between the two spins; NaN where either is unknown.
    confidence, log10_predicted_mass : float64, (P,)
        Of every predicted halo.
    found : bool, (P,)
        Whether it is one of the matches.
    purity : float64, (P,)
        Share of its sites that end in any halo.
    """

    log10_mass: NDArray[np.float64]
    distance: NDArray[np.float64]
    velocity_error: NDArray[np.float64]
    speed: NDArray[np.float64]
    spin_cosine: NDArray[np.float64]
    confidence: NDArray[np.float64]
    log10_predicted_mass: NDArray[np.float64]
    found: NDArray[np.bool_]
    purity: NDArray[np.float64]

    @classmethod
    def pooled(cls, several: Sequence[CatalogErrors]) -> CatalogErrors:
        """Of several boxes together."""
        return cls(*(np.concatenate([getattr(one, item.name) for one in several]) for item in fields(cls)))


def catalog_errors(catalog: Catalog, haloes: SimulatedHaloes, site_mass: float) -> CatalogErrors:
    """Compare a catalogue with the simulation of the same initial conditions.

    Parameters
    ----------
    catalog : Catalog
    haloes : SimulatedHaloes
        On the lattice of the catalogue.
    site_mass : float
        Msun/h.

    Raises
    ------
    ScoringError
        The labels are on another lattice.
    """
    lattice = catalog.lattice
    if haloes.labels.shape != lattice.shape:
        raise ScoringError(f"labels have shape {haloes.labels.shape}, the catalogue {lattice.shape}; use one lattice")
    predicted = label_cube(catalog)
    matches, true, mine = matched_haloes(predicted, haloes.labels)
    found = np.zeros(len(catalog.n_sites), dtype=bool)
    found[mine] = True
    inside = np.bincount(predicted.ravel(), weights=haloes.labels.ravel() > 0, minlength=len(found) + 1)[1:]
    separation = lattice.minimum_image(catalog.position[mine] - haloes.position[true])
    velocity = np.full((len(true), 3), np.nan) if haloes.velocity is None else haloes.velocity[true]
    return CatalogErrors(
        log10_mass=np.log10(matches.size[true] * site_mass),
        distance=np.linalg.norm(separation, axis=1),
        velocity_error=np.linalg.norm(catalog.velocity[mine] - velocity, axis=1),
        speed=np.linalg.norm(velocity, axis=1),
        spin_cosine=_cosine(catalog.spin[mine], None if haloes.spin is None else haloes.spin[true]),
        confidence=catalog.confidence,
        log10_predicted_mass=np.log10(catalog.n_sites * site_mass),
        found=found,
        purity=inside / catalog.n_sites,
    )


def label_cube(catalog: Catalog) -> NDArray[np.int64]:
    """Labels 1..K of a catalogue's members on its lattice, 0 outside, int64 (n, n, n)."""
    labels = np.zeros(catalog.lattice.n_sites, dtype=np.int64)
    labels[catalog.members] = np.repeat(np.arange(1, len(catalog) + 1), catalog.n_sites)
    return labels.reshape(catalog.lattice.shape)


def matched_haloes(
    predicted: NDArray[np.integer], true: NDArray[np.integer]
) -> tuple[Matches, NDArray[np.intp], NDArray[np.int64]]:
    """Matches of two cubes of labels, and the indices from 0 of the true and the predicted haloes that match."""
    matches = match_haloes(predicted, true)
    theirs = np.flatnonzero(matches.iou > MATCH_IOU)
    return matches, theirs, matches.label[theirs] - 1


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if b is None:
        return np.full(len(a), np.nan)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.sum(a * b, axis=1), lengths, out=np.full(len(a), np.nan), where=lengths > 0)


def errors_by_mass(errors: CatalogErrors, edges: ArrayLike = MASS_BINS) -> Table:
    """Summary in bins of the simulated mass.

    Returns
    -------
    dict of list
        ``low``, ``high`` (log10 Msun/h), ``haloes``; ``distance_median``, ``distance_16``, ``distance_84`` and
        ``distance_rms`` (Mpc/h), the same of ``velocity`` (km/s) and ``speed_rms`` beside it, ``spin_cosine_median``
        and ``spin_cosine_mean``, 0 for spins that know nothing of each other. None without haloes.
    """
    bounds = np.asarray(edges, dtype=float)
    members = in_bins(errors.log10_mass, bounds)
    table: Table = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist(), "haloes": [len(one) for one in members]}
    for name, values in (("distance", errors.distance), ("velocity", errors.velocity_error)):
        table[f"{name}_median"] = summary(values, members, np.median)
        for percent in (16, 84):
            table[f"{name}_{percent}"] = summary(values, members, partial(np.percentile, q=percent))
        table[f"{name}_rms"] = summary(values, members, _rms)
    table["speed_rms"] = summary(errors.speed, members, _rms)
    table["spin_cosine_median"] = summary(errors.spin_cosine, members, np.median)
    table["spin_cosine_mean"] = summary(errors.spin_cosine, members, np.mean)
    return table


def in_bins(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of the values in each bin; the upper edge of a bin belongs to the next."""
    bins = np.digitize(values, bounds) - 1
    return [np.flatnonzero(bins == i) for i in range(len(bounds) - 1)]


def summary(
    values: NDArray, members: Sequence[NDArray[np.intp]], measure: Callable[[NDArray], Any]
) -> list[float | int | None]:
    """A measure of the finite values of each bin, None without any."""
    known = [values[one][np.isfinite(values[one])] for one in members]
    return [float(measure(one)) if one.size else None for one in known]


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def confidence_table(errors: CatalogErrors, least: float = 11.5, edges: ArrayLike = CONFIDENCE_BINS) -> Table:
    """What the confidence of a protohalo is worth, in bins of it.

    Parameters
    ----------
    errors : CatalogErrors
    least : float
        log10 of the smallest predicted mass that counts, Msun/h.
    edges : array_like of float
        Of the confidence.

    Returns
    -------
    dict of list
        ``low``, ``high``, ``protohaloes``; their mean ``confidence``, the mean ``purity`` that it promises, and the
        share that is ``found`` in the simulation with an intersection over union above 0.5. None without any.
    """
    bounds = np.asarray(edges, dtype=float)
    kept = errors.log10_predicted_mass >= least
    # the last bin has its upper edge too
    bins = np.clip(np.digitize(errors.confidence, bounds) - 1, 0, len(bounds) - 2)
    members = [np.flatnonzero(kept & (bins == i)) for i in range(len(bounds) - 1)]
    table: Table = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist()}
    table["protohaloes"] = [len(one) for one in members]
    for name, values in (("confidence", errors.confidence), ("purity", errors.purity), ("found", errors.found)):
        table[name] = [float(np.mean(values[one])) if one.size else None for one in members]
    return table


def format_catalog(by_mass: Mapping[str, Sequence], confidence: Mapping[str, Sequence] | None = None) -> str:
    """Errors by mass as text, and below them what the confidence is worth."""
    lines = [
        "haloes matched     number   position error [Mpc/h]                velocity error [km/s]                their"
        "      mean spin",
        "log10 M                        median     16 %     84 %      rms    median     16 %     84 %      rms"
        "    speed    cosine",
    ]
    names = [f"{name}_{measure}" for name in ("distance", "velocity") for measure in ("median", "16", "84", "rms")]
    for i, number in enumerate(by_mass["haloes"]):
        values = [by_mass[name][i] for name in (*names, "speed_rms", "spin_cosine_mean")]
        cells = "".join(f"{_cell(value):>9s}" for value in values)
        lines.append(f"{by_mass['low'][i]:.1f} to {by_mass['high'][i]:.1f} {number:12d}  {cells}")
    if confidence is None:
        return "\n".join(lines)
    lines += ["", "confidence         number        mean     purity      found"]
    for i, number in enumerate(confidence["protohaloes"]):
        cells = "".join(f"{_cell(confidence[name][i]):>11s}" for name in ("confidence", "purity", "found"))
        lines.append(f"{confidence['low'][i]:.2f} to {confidence['high'][i]:.2f} {number:10d} {cells}")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.3f}"
