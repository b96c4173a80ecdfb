"""How far a catalogue is from the haloes of a simulation: positions, velocities, spins, confidence, zoom regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..catalog import Catalog
from ..exceptions import RegionError, ScoringError
from ..prediction import Prediction
from ..zoom import zoom_region
from .compare import MATCH_IOU
from .scores import match_haloes

MASS_BINS = (11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 15.0)
CONFIDENCE_BINS = (0.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
PADDINGS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Sites."""


@dataclass(frozen=True, eq=False)
class SimulatedHaloes:
    """Haloes of a run at the redshift of the catalogue.

    Attributes
    ----------
    labels : int, (n, n, n)
        1..K on the initial lattice, 0 outside.
    position : float64, (K, 3)
        Mean of the members, comoving Mpc/h.
    velocity : float64, (K, 3)
        Peculiar, km/s.
    spin : float64, (K, 3), optional
        Angular momentum for each unit of mass about that position, in any unit: only its direction is used.
    """

    labels: NDArray[np.integer]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
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
        Length of the difference of the velocities, and of the simulated one, km/s.
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
    predicted = np.zeros(lattice.n_sites, dtype=np.int64)
    predicted[catalog.members] = np.repeat(np.arange(1, len(catalog.n_sites) + 1), catalog.n_sites)
    matches = match_haloes(predicted.reshape(lattice.shape), haloes.labels)
    true = np.flatnonzero(matches.iou > MATCH_IOU)
    mine = matches.label[true] - 1
    found = np.zeros(len(catalog.n_sites), dtype=bool)
    found[mine] = True
    inside = np.bincount(predicted, weights=haloes.labels.ravel() > 0, minlength=len(found) + 1)[1:]
    separation = lattice.minimum_image(catalog.position[mine] - haloes.position[true])
    return CatalogErrors(
        log10_mass=np.log10(matches.size[true] * site_mass),
        distance=np.linalg.norm(separation, axis=1),
        velocity_error=np.linalg.norm(catalog.velocity[mine] - haloes.velocity[true], axis=1),
        speed=np.linalg.norm(haloes.velocity[true], axis=1),
        spin_cosine=_cosine(catalog.spin[mine], None if haloes.spin is None else haloes.spin[true]),
        confidence=catalog.confidence,
        log10_predicted_mass=np.log10(catalog.n_sites * site_mass),
        found=found,
        purity=inside / catalog.n_sites,
    )


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if b is None:
        return np.full(len(a), np.nan)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.sum(a * b, axis=1), lengths, out=np.full(len(a), np.nan), where=lengths > 0)


def errors_by_mass(errors: CatalogErrors, edges: ArrayLike = MASS_BINS) -> dict[str, list[float | int | None]]:
    """Summary in bins of the simulated mass.

    Returns
    -------
    dict of list
        ``low``, ``high`` (log10 Msun/h), ``haloes``; ``distance_median`` and ``distance_rms`` (Mpc/h),
        ``velocity_median``, ``velocity_rms`` and ``speed_rms`` (km/s), ``spin_cosine_median``. None without haloes.
    """
    bounds = np.asarray(edges, dtype=float)
    table: dict[str, list[float | int | None]] = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist()}
    bins = np.digitize(errors.log10_mass, bounds) - 1
    members = [np.flatnonzero(bins == i) for i in range(len(bounds) - 1)]
    table["haloes"] = [len(one) for one in members]
    for name, values, summary in (
        ("distance_median", errors.distance, np.median),
        ("distance_rms", errors.distance, _rms),
        ("velocity_median", errors.velocity_error, np.median),
        ("velocity_rms", errors.velocity_error, _rms),
        ("speed_rms", errors.speed, _rms),
        ("spin_cosine_median", errors.spin_cosine, np.median),
    ):
        known = [values[one][np.isfinite(values[one])] for one in members]
        table[name] = [float(summary(one)) if one.size else None for one in known]
    return table


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def confidence_table(
    errors: CatalogErrors, least: float = 11.5, edges: ArrayLike = CONFIDENCE_BINS
) -> dict[str, list[float | int | None]]:
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
    table: dict[str, list[float | int | None]] = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist()}
    table["protohaloes"] = [len(one) for one in members]
    for name, values in (("confidence", errors.confidence), ("purity", errors.purity), ("found", errors.found)):
        table[name] = [float(np.mean(values[one])) if one.size else None for one in members]
    return table


def zoom_containment(
    prediction: Prediction,
    true_labels: NDArray[np.integer],
    paddings: Sequence[float] = PADDINGS,
    largest: int = 20,
) -> dict[str, NDArray[np.float64]]:
    """Share of the sites of simulated haloes that the zoom regions of their protohaloes hold.

    Parameters
    ----------
    prediction : Prediction
    true_labels : int, (n, n, n)
        1..K by descending size, 0 outside.
    paddings : sequence of float
        Of `zoom_region`, sites.
    largest : int
        Simulated haloes to look at, those without a match left out.

    Returns
    -------
    dict of float64, (H, number of paddings)
        ``region`` and ``convex_hull``: the share inside; ``region_volume`` and ``convex_hull_volume``: the volume of
        the shape in units of the halo's own; NaN where a region is too large for the box.
    """
    lattice = prediction.lattice
    matches = match_haloes(prediction.labels, true_labels)
    order = np.argsort(-matches.size, kind="stable")
    chosen = order[matches.iou[order] > MATCH_IOU][:largest].tolist()
    rows: dict[str, list[list[float]]] = {
        name: [] for name in ("region", "convex_hull", "region_volume", "convex_hull_volume")
    }
    for i in chosen:
        sites = lattice.sites(np.flatnonzero(true_labels.ravel() == i + 1))
        found = [dict(_contained(prediction, int(matches.label[i]) - 1, sites, padding)) for padding in paddings]
        for name, values in rows.items():
            values.append([one.get(name, np.nan) for one in found])
    return {name: np.array(values).reshape(len(chosen), len(paddings)) for name, values in rows.items()}


def _contained(
    prediction: Prediction, halo_id: int, sites: NDArray[np.int64], padding: float
) -> Iterator[tuple[str, float]]:
    lattice = prediction.lattice
    try:
        region = zoom_region(prediction, halo_id, padding)
    except RegionError:
        return
    held = np.isin(lattice.flat_index(sites), lattice.flat_index(region.sites))
    yield "region", float(held.mean())
    yield "region_volume", len(region.sites) / len(sites)
    first = region.points[0]
    box = (sites + prediction.site_offset) / lattice.n
    near = first + (box - first) - np.floor(box - first + 0.5)
    yield "convex_hull", float(region.hull.contains(near).mean())
    yield "convex_hull_volume", region.enclosed["convex_hull"] / len(sites)


def format_catalog(by_mass: Mapping[str, Sequence], confidence: Mapping[str, Sequence]) -> str:
    """Both tables as text."""
    lines = [
        "haloes matched     number   position error [Mpc/h]     velocity error [km/s]    their      spin",
        "log10 M                        median        rms        median        rms       speed    cosine",
    ]
    names = ("distance_median", "distance_rms", "velocity_median", "velocity_rms", "speed_rms", "spin_cosine_median")
    for i, number in enumerate(by_mass["haloes"]):
        values = [by_mass[name][i] for name in names]
        cells = "".join(f"{_cell(value):>11s}" for value in values)
        lines.append(f"{by_mass['low'][i]:.1f} to {by_mass['high'][i]:.1f} {number:12d}{cells}")
    lines += ["", "confidence         number        mean     purity      found"]
    for i, number in enumerate(confidence["protohaloes"]):
        cells = "".join(f"{_cell(confidence[name][i]):>11s}" for name in ("confidence", "purity", "found"))
        lines.append(f"{confidence['low'][i]:.2f} to {confidence['high'][i]:.2f} {number:10d} {cells}")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.3f}"
