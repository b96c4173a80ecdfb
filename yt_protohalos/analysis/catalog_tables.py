"""Tables of the differences between catalogues and simulations, in bins of mass or confidence, and their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .catalog_scores import CatalogComparison, CatalogErrors, Floats, ShapeErrors

MASS_BINS = (11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 15.0)
CONFIDENCE_BINS = (0.0, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
Table = dict[str, list[Any]]
"""Columns of one entry per bin; None without data."""


def errors_by_mass(errors: CatalogErrors, edges: ArrayLike = MASS_BINS) -> Table:
    """Summarise errors in bins of the simulated mass.

    Returns
    -------
    dict of list
        ``low``, ``high`` (log10 Msun/h), ``haloes``; ``distance_median``, ``distance_16``, ``distance_84`` and
        ``distance_rms`` (Mpc/h), the same of ``velocity`` (km/s) and ``speed_rms`` beside it, ``spin_cosine_median``
        and ``spin_cosine_mean``, 0 for independent spins. None without haloes.
    """
    members, table = _bins(errors.log10_mass, edges)
    table["haloes"] = [len(one) for one in members]
    for name, values in (("distance", errors.distance), ("velocity", errors.velocity_error)):
        table[f"{name}_median"] = _summary(values, members, np.median)
        for percent in (16, 84):
            table[f"{name}_{percent}"] = _summary(values, members, partial(np.percentile, q=percent))
        table[f"{name}_rms"] = _summary(values, members, _rms)
    table["speed_rms"] = _summary(errors.speed, members, _rms)
    table["spin_cosine_median"] = _summary(errors.spin_cosine, members, np.median)
    table["spin_cosine_mean"] = _summary(errors.spin_cosine, members, np.mean)
    return table


def confidence_table(errors: CatalogErrors, least: float = 11.5, edges: ArrayLike = CONFIDENCE_BINS) -> Table:
    """Compare the confidence of protohaloes with their purity, in bins of confidence.

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
        share that is ``found`` in the simulation. None without any.
    """
    kept = errors.log10_predicted_mass >= least
    # the last bin contains its upper edge too
    last = np.nextafter(np.max(edges), -np.inf)
    members, table = _bins(np.clip(errors.confidence[kept], np.min(edges), last), edges)
    table["protohaloes"] = [len(one) for one in members]
    for name in ("confidence", "purity", "found"):
        table[name] = _summary(getattr(errors, name)[kept], members, np.mean)
    return table


def shapes_by_mass(errors: ShapeErrors, edges: ArrayLike = MASS_BINS) -> Table:
    """Summarise shapes in bins of mass.

    Returns
    -------
    dict of list
        ``low``, ``high`` (log10 Msun/h) and matched ``haloes``. Of the axis ratios ``b_a`` and ``c_a`` and of the tidal
        eigenvalues ``lambda_1`` to ``lambda_3``: the mean of the simulated (``true_c_a``), the mean of predicted minus
        simulated (``c_a_offset``) and the standard deviation of that difference (``c_a_scatter``). Median cosines
        between the axes, ``major_cosine`` and ``minor_cosine``: 0.5 for independent axes. Shares of the predicted and
        of the simulated haloes, matched or not, of more than one piece (``several_pieces``, ``true_several_pieces``).
        None without haloes.
    """
    members, table = _bins(errors.log10_mass, edges)
    table["haloes"] = [len(one) for one in members]
    quantities = [
        *zip(("b_a", "c_a"), errors.axis_ratios.T, errors.true_axis_ratios.T, strict=True),
        *zip(("lambda_1", "lambda_2", "lambda_3"), errors.eigenvalues.T, errors.true_eigenvalues.T, strict=True),
    ]
    for name, found, true in quantities:
        table[f"true_{name}"] = _summary(true, members, np.mean)
        table[f"{name}_offset"] = _summary(found - true, members, np.mean)
        table[f"{name}_scatter"] = _summary(found - true, members, np.std)
    for name, axis in (("major_cosine", 0), ("minor_cosine", 2)):
        table[name] = _summary(errors.axis_cosines[:, axis], members, np.median)
    table["several_pieces"] = _summary(errors.pieces > 1, _bins(errors.log10_predicted_mass, edges)[0], np.mean)
    table["true_several_pieces"] = _summary(errors.true_pieces > 1, _bins(errors.log10_true_mass, edges)[0], np.mean)
    return table


def _bins(values: Floats, edges: ArrayLike) -> tuple[list[NDArray[np.intp]], Table]:
    """Indices of the values in each bin, which excludes its upper edge, and a table of the edges."""
    bounds = np.asarray(edges, dtype=float)
    bins = np.digitize(values, bounds) - 1
    table = {"low": bounds[:-1].tolist(), "high": bounds[1:].tolist()}
    return [np.flatnonzero(bins == i) for i in range(len(bounds) - 1)], table


def _summary(
    values: NDArray[Any], members: Sequence[NDArray[np.intp]], measure: Callable[[NDArray[Any]], Any]
) -> list[float | None]:
    """A measure of the finite values of each bin, None without any."""
    known = [values[one][np.isfinite(values[one])] for one in members]
    return [float(measure(one)) if one.size else None for one in known]


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def catalog_tables(several: Sequence[CatalogComparison]) -> dict[str, Table]:
    """Pool the comparisons of several runs: a table of errors by mass, by confidence, with true members, of shapes."""
    predicted, true, shapes = zip(*several, strict=True)
    errors = CatalogErrors.pooled(predicted)
    return {
        "by_mass": errors_by_mass(errors),
        "by_confidence": confidence_table(errors),
        "by_mass_true_members": errors_by_mass(CatalogErrors.pooled(true)),
        "shapes": shapes_by_mass(ShapeErrors.pooled(shapes)),
    }


def format_catalog_tables(tables: Mapping[str, Table]) -> str:
    """Print the result of `catalog_tables`."""
    return (
        f"{format_catalog(tables['by_mass'], tables['by_confidence'])}\n\n"
        "the same with the true members: what is left is the error of their approximate motion\n"
        f"{format_catalog(tables['by_mass_true_members'])}\n\n{format_shapes(tables['shapes'])}"
    )


def format_catalog(by_mass: Mapping[str, Sequence[Any]], confidence: Mapping[str, Sequence[Any]] | None = None) -> str:
    """Print errors by mass, and below them the purity by confidence."""
    lines = [
        "haloes matched     number   position error [Mpc/h]                velocity error [km/s]                their"
        "      mean spin",
        "log10 M                        median     16 %     84 %      rms    median     16 %     84 %      rms"
        "    speed    cosine",
    ]
    names = [f"{name}_{measure}" for name in ("distance", "velocity") for measure in ("median", "16", "84", "rms")]
    for i, number in enumerate(by_mass["haloes"]):
        cells = "".join(f"{_cell(by_mass[name][i]):>9s}" for name in (*names, "speed_rms", "spin_cosine_mean"))
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


def format_shapes(table: Mapping[str, Sequence[Any]]) -> str:
    """Print a table of `shapes_by_mass`."""
    names = {"b_a": "b/a", "c_a": "c/a", "lambda_1": "lambda 1", "lambda_2": "lambda 2", "lambda_3": "lambda 3"}
    shares = dict(major_cosine="cos a", minor_cosine="cos c", several_pieces="pieces", true_several_pieces="(true)")
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
