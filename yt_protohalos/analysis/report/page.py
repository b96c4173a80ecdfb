"""One HTML page of a prediction that opens anywhere: slices, table, protohaloes in 3-D, mass function, settings.

The page is hand-written HTML, CSS and JavaScript on canvases, some 35 kB, where plotly.js alone is 4.5 MB. All that it
shows lies in it. Its content security policy forbids every request, and any script but its own; the data are JSON that
the script writes as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._utils.files import atomic_path, open_hdf5
from ...catalog.catalog import Catalog, protohalo_catalog
from ...catalog.members import check_catalog_format
from ...exceptions import CatalogError, StoreError
from ...prediction.result import Prediction
from ..mass_function import protohalo_mass_function
from ..plots import MASS_COLOURS, PROBABILITY_COLOURS, chosen_plane
from .packing import LARGEST_TEXT, pack_labels, pack_probability

LARGEST_TABLE = 20_000
"""Rows of the table: the largest protohaloes."""
REPORT_NAME = "report.html"
_SCRIPTS = ("data", "slices", "body", "numbers", "controls")
"""Parts of the page's script, ``assets/*.js``; later ones use earlier ones."""
_DIGITS = 5
_AXES = "xyz"


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    name : str
        In the data, e.g. ``"mass"``.
    title, unit : str
        As the page shows them.
    form : str
        ``"whole"``, ``"power"`` (mantissa and power of ten) or the number of decimals.
    meaning : str
        One sentence, shown when the pointer rests on the title.
    """

    name: str
    title: str
    unit: str
    form: str
    meaning: str


COLUMNS = (
    Column("id", "ID", "", "whole", "Identifier, by descending mass"),
    Column("mass", "Mass", "M☉", "power", "Lagrangian mass"),
    Column("sites", "Sites", "", "whole", "Lattice sites"),
    Column("radius", "R200m", "Mpc/h", "3", "Radius of a sphere of 200 times the mean matter density with this mass"),
    *(Column(f"center_{a}", f"Centre {a}", "Mpc/h", "2", f"Lagrangian centre along {a}") for a in _AXES),
    Column("b_a", "b/a", "", "2", "Axis ratio of the Lagrangian region, intermediate to longest"),
    Column("c_a", "c/a", "", "2", "Axis ratio of the Lagrangian region, shortest to longest"),
    Column("pieces", "Pieces", "", "whole", "Disconnected pieces of the Lagrangian region"),
    Column("confidence", "Confidence", "", "2", "Mean membership probability of the sites"),
    *(Column(f"position_{a}", f"Final {a}", "Mpc/h", "2", f"Predicted position along {a}") for a in _AXES),
    Column("speed", "Speed", "km/s", "0", "Length of the predicted peculiar velocity"),
    *(
        Column(f"tide_{i}", f"Tide λ{i}", "", "2", "Eigenvalue of the tidal tensor at the scale of the protohalo")
        for i in (1, 2, 3)
    ),
    Column("spin", "Spin", "km/s Mpc/h", "1", "Angular momentum per unit mass by tidal torque theory"),
)
"""From position on, known from a stored catalogue alone, for they need the linear field."""


def write_report(
    prediction: Prediction, path: str | Path, catalog_path: str | Path | None = None, title: str | None = None
) -> None:
    """Write the page of a prediction, whole or not at all; an existing file is replaced.

    Cubes have at most 256 sites per side, and at most 14 MB each as text: of larger ones every second, third, ... site
    along each axis is kept, which the page says. With 20 000 rows of the table, a page has at most some 33 MB.

    Parameters
    ----------
    prediction : Prediction
    path : path
        HTML file.
    catalog_path : path, optional
        The catalogue that `find_protohalos` wrote for this prediction: positions, velocities, tides and spins come from
        it, and are left out without it.
    title : str, optional
        What the prediction is of; by default the catalogue's source, or the model.

    Raises
    ------
    StoreError
        The page cannot be written, or the catalogue cannot be read.
    CatalogError
        The catalogue is of another prediction.

    Examples
    --------
    >>> from yt_protohalos.analysis.report.page import write_report
    >>> write_report(prediction, "report.html", "protohalos/protohalos.0.h5")
    """
    text = report_page(prediction, catalog_path, title)
    try:
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"report {path} cannot be written ({error}); give a path you may write to") from error


def report_page(
    prediction: Prediction,
    catalog_path: str | Path | None = None,
    title: str | None = None,
    largest_text: int = LARGEST_TEXT,
) -> str:
    """The page that `write_report` writes.

    Parameters
    ----------
    prediction, catalog_path, title
        As in `write_report`.
    largest_text : int
        Bound of the characters of each cube.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    StoreError, CatalogError
        As `write_report`, for the catalogue.

    Examples
    --------
    >>> from yt_protohalos.analysis.report.page import report_page
    >>> report_page(prediction)[:15]
    '<!DOCTYPE html>'
    """
    data = report_data(prediction, catalog_path, title, largest_text)
    style, script = _read("report.css"), "\n".join(_read(f"{part}.js") for part in _SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'"
    )
    return Template(_read("report.html")).substitute(
        title=html.escape(data["title"]), policy=policy, style=style, script=script, data=script_safe(data)
    )


def script_safe(data: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever texts it holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def report_data(
    prediction: Prediction,
    catalog_path: str | Path | None = None,
    title: str | None = None,
    largest_text: int = LARGEST_TEXT,
) -> dict[str, Any]:
    """Everything that the page shows, JSON values."""
    stored = stored_columns(Path(catalog_path), prediction) if catalog_path is not None else StoredColumns.none()
    columns = {**computed_columns(protohalo_catalog(prediction)), **stored.columns}
    lattice = prediction.lattice
    mass, density, error = protohalo_mass_function(prediction)
    filled = density > 0
    return {
        "title": title or stored.source or f"model {prediction.card.name}, {lattice.n}³ sites",
        "facts": _facts(prediction),
        "n": lattice.n, "spacing": lattice.spacing, "boxSize": lattice.box_size, "offset": prediction.site_offset,
        "siteMass": prediction.site_mass_msun, "minSites": prediction.card.min_sites,
        "sizes": prediction.sizes[1:].tolist(),
        "plane": {axis: chosen_plane(prediction, axis, None) for axis in _AXES},
        "labels": asdict(pack_labels(prediction.labels, largest_text)),
        "probability": asdict(pack_probability(prediction.probability, largest_text)),
        "colours": {name: _colours(name) for name in (MASS_COLOURS, PROBABILITY_COLOURS)},
        "columns": [asdict(column) for column in COLUMNS if column.name in columns],
        "rows": {name: _rounded(values[:LARGEST_TABLE]) for name, values in columns.items()},
        "notes": stored.notes,
        "massFunction": {
            "mass": _rounded(mass[filled]), "density": _rounded(density[filled]), "error": _rounded(error[filled])
        },
        "settings": _grouped(prediction.settings),
        "card": _grouped(asdict(prediction.card)),
    }  # fmt: skip


def computed_columns(catalog: Catalog) -> dict[str, NDArray]:
    """Columns that the labels and probabilities alone give, (K,) each; lengths in Mpc/h."""
    long = catalog.semi_axes[:, 0]
    return {
        "id": catalog.identifier, "mass": catalog.mass, "sites": catalog.n_sites, "radius": catalog.radius_200m,
        **{f"center_{axis}": catalog.lagrangian_center[:, i] for i, axis in enumerate(_AXES)},
        "b_a": catalog.semi_axes[:, 1] / long, "c_a": catalog.semi_axes[:, 2] / long,
        "pieces": catalog.n_pieces, "confidence": catalog.confidence,
    }  # fmt: skip


@dataclass(frozen=True)
class StoredColumns:
    """What a stored catalogue adds: columns (K,), the source of the initial conditions, and what its columns mean."""

    columns: dict[str, NDArray[np.float64]]
    source: str
    notes: list[str]

    @classmethod
    def none(cls) -> StoredColumns:
        """Nothing, and a note that says so."""
        return cls({}, "", ["No catalogue was given: final positions, velocities, tides and spins are left out."])


def stored_columns(path: Path, prediction: Prediction) -> StoredColumns:
    """Columns of a stored catalogue that need the linear field; lengths in Mpc/h.

    Raises
    ------
    StoreError
        The file cannot be read as a catalogue of this package.
    CatalogError
        It is of another prediction.
    """
    try:
        with open_hdf5(path) as file:
            check_catalog_format(file, path)
            h = float(file.attrs["hubble_constant"])
            # catalogues hold proper Mpc
            comoving = h * (1 + float(file.attrs["current_redshift"]))
            sizes = file["particle_number"][()]
            position = {f"position_{axis}": file[f"particle_position_{axis}"][()] * comoving for axis in _AXES}
            velocity = np.stack([file[f"particle_velocity_{axis}"][()] for axis in _AXES])
            tide = {f"tide_{i}": file[f"tidal_eigenvalue_{i}"][()] for i in (1, 2, 3)}
            spin = file["spin_magnitude"][()] * h
            source = str(file.attrs.get("source", ""))
            notes = [str(file.attrs[f"{name}_definition"]) for name in ("position", "velocity", "tide", "spin")]
    except StoreError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"catalogue {path} cannot be read ({error}); rebuild it with `protohalos catalog`") from error
    if not np.array_equal(sizes, prediction.sizes[1:]):
        raise CatalogError(f"{path} is not the catalogue of this prediction; rebuild it with `protohalos catalog`")
    columns = {**position, "speed": np.linalg.norm(velocity, axis=0), **tide, "spin": spin}
    titles = ("Final", "Speed", "Tide", "Spin")
    return StoredColumns(columns, source, [f"{t}: {n}." for t, n in zip(titles, notes, strict=True)])


def _facts(prediction: Prediction) -> list[list[str]]:
    lattice, card = prediction.lattice, prediction.card
    inside = 1 - prediction.sizes[0] / lattice.n_sites
    return [
        ["Lattice", f"{lattice.n}³ sites, {lattice.spacing:.4g} Mpc/h apart"],
        ["Box", f"{lattice.box_size:.6g} Mpc/h"],
        ["Redshift", f"{prediction.target_redshift:.4g}, from z = {prediction.redshift:.4g}"],
        ["Model", f"{card.name}, version {card.version}"],
        ["Protohalos", f"{prediction.n_protohalos}, with {inside:.1%} of the mass"],
        ["Smallest", f"{card.min_sites} sites"],
        ["Made by", f"yt_protohalos {prediction.package_version or '(version not kept)'}"],
    ]


def _grouped(values: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Names and texts of JSON values: first, without a title, those that are no objects, then each object."""
    plain = {name: value for name, value in values.items() if not (isinstance(value, Mapping) and value)}
    return [("", _flat(plain)), *((name, _flat(value)) for name, value in values.items() if name not in plain)]


def _flat(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of JSON values; nested objects are opened, their names joined by dots."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += [(f"{name}.{inner}", text) for inner, text in _flat(value)]
        else:
            rows.append((str(name), value if isinstance(value, str) else json.dumps(value)))
    return rows


def _rounded(values: ArrayLike) -> list[float | int | None]:
    """JSON numbers of `_DIGITS` significant digits, whole ones as they are; None where there is no number."""
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.integer):
        return array.tolist()
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in array.tolist()]


def _colours(name: str) -> list[list[int]]:
    """256 colours of a matplotlib map, red, green and blue from 0 to 255."""
    from matplotlib import colormaps

    return np.rint(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(int).tolist()


def _read(name: str) -> str:
    return (files("yt_protohalos") / "analysis" / "report" / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """SHA-256 in base64, as a content security policy names an inline script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
