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
from .matching import MATCH_IOU, Matches, match_haloes

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


@dataclass(frozen=True, eq=False)
class ShapeErrors:
    """Of matched haloes, intersection over union above 0.5, one entry (of M) each; the pieces are of all.

    Attributes
    ----------
    log10_mass : float64, (M,)
        Of the simulated halo, Msun/h.
    axis_ratios, true_axis_ratios : float64, (M, 2)
        b/a and c/a of the predicted region and of the halo's own members on the initial lattice.
    axis_cosines : float64, (M, 3)
        Cosine, from 0 to 1, of the angle between the two regions' axes a, b and c.
    eigenvalues, true_eigenvalues : float64, (M, 3)
        Of the tidal tensors at the two centres and scales, descending; NaN without a field.
    log10_true_mass, log10_predicted_mass : float64, (T,) and (P,)
        Of every simulated and every predicted halo, Msun/h.
    true_pieces, pieces : int64, (T,) and (P,)
        Separate pieces of every simulated and every predicted region, see `segmentation.labels.count_pieces`.
    """

    log10_mass: NDArray[np.float64]
    axis_ratios: NDArray[np.float64]
    true_axis_ratios: NDArray[np.float64]
    axis_cosines: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    true_eigenvalues: NDArray[np.float64]
    log10_true_mass: NDArray[np.float64]
    true_pieces: NDArray[np.int64]
    log10_predicted_mass: NDArray[np.float64]
    pieces: NDArray[np.int64]

    @classmethod
    def pooled(cls, several: Sequence[ShapeErrors]) -> ShapeErrors:
        """Of several boxes together."""
        return cls(*(np.concatenate([getattr(one, item.name) for one in several]) for item in fields(cls)))


def shape_errors(catalog: Catalog, true: Catalog, site_mass: float) -> ShapeErrors:
    """Compare the regions of a catalogue with the Lagrangian regions of a simulation's haloes.

    Parameters
    ----------
    catalog : Catalog
    true : Catalog
        What `protohalo_catalog` says of the simulation's labels on the same lattice and field.
    site_mass : float
        Msun/h.

    Raises
    ------
    ScoringError
        The two are on different lattices.
    """
    if catalog.lattice != true.lattice:
        raise ScoringError(f"catalogues are on {catalog.lattice} and {true.lattice}; use one lattice")
    theirs, mine = matched_haloes(label_cube(catalog), label_cube(true))[1:]
    return ShapeErrors(
        log10_mass=np.log10(true.n_sites[theirs] * site_mass),
        axis_ratios=_ratios(catalog, mine),
        true_axis_ratios=_ratios(true, theirs),
        # an axis has no sign; rounding may exceed 1
        axis_cosines=np.minimum(np.abs(np.sum(catalog.axes[mine] * true.axes[theirs], axis=2)), 1.0),
        eigenvalues=catalog.tidal_eigenvalues[mine],
        true_eigenvalues=true.tidal_eigenvalues[theirs],
        log10_true_mass=np.log10(true.n_sites * site_mass),
        true_pieces=true.n_pieces,
        log10_predicted_mass=np.log10(catalog.n_sites * site_mass),
        pieces=catalog.n_pieces,
    )


def _ratios(catalog: Catalog, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    axes = catalog.semi_axes[chosen]
    return axes[:, 1:] / axes[:, :1]


def shapes_by_mass(errors: ShapeErrors, edges: ArrayLike = MASS_BINS) -> Table:
    """Summary in bins of mass.

    Returns
    -------
    dict of list
        ``low``, ``high`` (log10 Msun/h) and matched ``haloes``. Of the axis ratios ``b_a`` and ``c_a`` and of the tidal
        eigenvalues ``lambda_1`` to ``lambda_3``: the mean of the simulated (``true_c_a``), the mean of predicted minus
        simulated (``c_a_offset``) and the standard deviation of that difference (``c_a_scatter``). Median cosines
        between the axes, ``major_cosine`` and ``minor_cosine``: 0.5 for axes that know nothing of each other. Shares
        of the predicted and of the simulated haloes, matched or not, of more than one piece (``several_pieces``,
        ``true_several_pieces``). None without haloes.
    """
    bounds = np.asarray(edges, dtype=float)
    table: Table = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist()}
    members = in_bins(errors.log10_mass, bounds)
    table["haloes"] = [len(one) for one in members]
    quantities = [
        *zip(("b_a", "c_a"), errors.axis_ratios.T, errors.true_axis_ratios.T, strict=True),
        *zip(("lambda_1", "lambda_2", "lambda_3"), errors.eigenvalues.T, errors.true_eigenvalues.T, strict=True),
    ]
    for name, found, true in quantities:
        table[f"true_{name}"] = summary(true, members, np.mean)
        table[f"{name}_offset"] = summary(found - true, members, np.mean)
        table[f"{name}_scatter"] = summary(found - true, members, np.std)
    for name, axis in (("major_cosine", 0), ("minor_cosine", 2)):
        table[name] = summary(errors.axis_cosines[:, axis], members, np.median)
    table["several_pieces"] = summary(errors.pieces > 1, in_bins(errors.log10_predicted_mass, bounds), np.mean)
    table["true_several_pieces"] = summary(errors.true_pieces > 1, in_bins(errors.log10_true_mass, bounds), np.mean)
    return table


def format_shapes(table: Mapping[str, Sequence]) -> str:
    """The table as text."""
    names = {"b_a": "b/a", "c_a": "c/a", "lambda_1": "lambda 1", "lambda_2": "lambda 2", "lambda_3": "lambda 3"}
    shares = {
        "major_cosine": "cos a", "minor_cosine": "cos c",
        "several_pieces": "pieces", "true_several_pieces": "(true)",
    }  # fmt: skip
    lines = [
        "haloes matched: mean axis ratios and tidal eigenvalues of the simulated, mean and scatter of predicted minus "
        "simulated, median cosines of the axes; shares of all haloes that have several pieces",
        f"{'log10 M':12s}  number"
        + "".join(f"{title:>20s}" for title in names.values())
        + "".join(f"{title:>8s}" for title in shares.values()),
    ]
    for i, number in enumerate(table["haloes"]):
        triples = [[table[form.format(name)][i] for form in ("true_{}", "{}_offset", "{}_scatter")] for name in names]
        cells = ["-" if None in three else "{:.2f} {:+.2f} +- {:.2f}".format(*three) for three in triples]
        rest = [table[name][i] for name in shares]
        lines.append(
            f"{table['low'][i]:.1f} to {table['high'][i]:.1f}{number:8d}"
            + "".join(f"{cell:>20s}" for cell in cells)
            + "".join(f"{'-' if value is None else format(value, '.3f'):>8s}" for value in rest)
        )
    return "\n".join(lines)
