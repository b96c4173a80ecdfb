"""How the shapes, tides and pieces of predicted protohaloes compare with those of the true Lagrangian regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..catalog.catalog import Catalog
from ..exceptions import ScoringError
from .catalog_scores import MASS_BINS, Table, in_bins, label_cube, matched_haloes, summary


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
        Separate pieces of every simulated and every predicted region, see `shapes.count_pieces`.
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
