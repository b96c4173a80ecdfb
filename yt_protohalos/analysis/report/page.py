"""One HTML page of a prediction that opens anywhere: slices, table, protohaloes in 3-D, mass function, settings.

The page is hand-written HTML, CSS and JavaScript on canvases, some 35 kB, where plotly.js alone is 4.5 MB. It holds all
that it shows. Its content security policy forbids every request and every script but its own, and the script writes
the data as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..._utils.files import atomic_path
from ...catalog.catalog import protohalo_catalog
from ...exceptions import StoreError
from ...prediction.result import Prediction
from ..drawing import AXES, LABEL_COLOURS, fullest_plane
from ..mass_function import expected_mass_function, protohalo_mass_function
from ..plots import FIT_POINTS, MASS_COLOURS, PROBABILITY_COLOURS, mass_limits
from .columns import COLUMNS, computed_columns, stored_columns
from .packing import LARGEST_TEXT, PROBABILITY_STEPS, pack_labels, pack_probability

LARGEST_TABLE = 20_000
"""Rows of the table: the largest protohaloes."""
REPORT_NAME = "report.html"
_SCRIPTS = ("data", "slices", "body", "numbers", "controls")
"""Parts of the page's script, ``assets/*.js``; later ones use earlier ones."""


def write_report(
    prediction: Prediction, path: str | Path, catalog_path: str | Path | None = None, title: str | None = None
) -> None:
    """Write the page of a prediction, whole or not at all; an existing file is replaced.

    Cubes have at most 256 sites per side, and at most 14 MB each as text: of larger ones every second, third, ... site
    along each axis is kept, and the page says so. With 20 000 rows of the table, a page has at most some 33 MB.

    Parameters
    ----------
    prediction : Prediction
    path : path
        HTML file.
    catalog_path : path, optional
        The catalogue that `find_protohalos` wrote for this prediction: positions, velocities, tides and spins come from
        it, and are left out without it.
    title : str, optional
        Subject of the page; by default the source that the catalogue names, or the model.

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
        Largest number of characters of each cube.

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
    data = _page_data(prediction, catalog_path, title, largest_text)
    style, script = _read("report.css"), "\n".join(_read(f"{part}.js") for part in _SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'"
    )
    return Template(_read("report.html")).substitute(
        title=html.escape(data["title"]), policy=policy, style=style, script=script, data=_script_safe(data)
    )


def _page_data(
    prediction: Prediction, catalog_path: str | Path | None, title: str | None, largest_text: int
) -> dict[str, Any]:
    """Everything that the page shows, as JSON values."""
    lattice, card = prediction.lattice, prediction.card
    columns, source = computed_columns(protohalo_catalog(prediction)), ""
    notes = ["No catalogue was given: final positions, velocities, tides and spins are left out."]
    if catalog_path is not None:
        stored, notes, source = stored_columns(Path(catalog_path), prediction)
        columns |= stored
    mass, density, error = protohalo_mass_function(prediction)
    filled = density > 0
    low, high = mass_limits(prediction)
    fit_mass = np.geomspace(low, 1.3 * high, FIT_POINTS)
    return {
        "title": title or source or f"model {card.name}, {lattice.n}³ sites",
        "facts": _facts(prediction),
        "n": lattice.n, "spacing": lattice.spacing, "boxSize": lattice.box_size, "offset": prediction.site_offset,
        "siteMass": prediction.site_mass_msun, "minSites": prediction.min_sites, "massLimits": mass_limits(prediction),
        "probabilitySteps": PROBABILITY_STEPS, "probabilityName": card.probability_name,
        "probabilityTitle": "Probability" if card.gives_probability else "Mask",
        "sizes": prediction.sizes[1:].tolist(),
        "plane": {axis: fullest_plane(prediction.labels, axis) for axis in AXES},
        "labels": asdict(pack_labels(prediction.labels, largest_text)),
        "probability": asdict(pack_probability(prediction.probability, largest_text)),
        "colours": {
            "mass": _colours(MASS_COLOURS), "probability": _colours(PROBABILITY_COLOURS),
            "label": [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in LABEL_COLOURS],
        },
        "columns": [column._asdict() for column in COLUMNS if column.name in columns],
        "rows": {name: _rounded(values[:LARGEST_TABLE]) for name, values in columns.items()},
        "notes": notes,
        "massFunction": {
            "mass": _rounded(mass[filled]), "density": _rounded(density[filled]), "error": _rounded(error[filled]),
            "fitMass": _rounded(fit_mass), "fit": _rounded(expected_mass_function(prediction, np.log10(fit_mass))),
        },
        "settings": _grouped(prediction.settings),
        "card": _grouped(card.values()),
    }  # fmt: skip


def _facts(prediction: Prediction) -> list[list[str]]:
    lattice, card = prediction.lattice, prediction.card
    inside = 1 - prediction.sizes[0] / lattice.n_sites
    return [
        ["Lattice", f"{lattice.n}³ sites, {lattice.spacing:.4g} Mpc/h apart"],
        ["Box", f"{lattice.box_size:.6g} Mpc/h"],
        ["Redshift", f"{prediction.target_redshift:.4g}, from z = {prediction.redshift:.4g}"],
        ["Model", f"{card.name}, version {card.version}"],
        ["Protohalos", f"{prediction.n_protohalos}, with {inside:.1%} of the mass"],
        ["Smallest", f"{prediction.min_sites} sites"],
        ["Units", "M☉ and comoving Mpc/h"],
        ["Made by", f"yt_protohalos {prediction.package_version or '(version not kept)'}"],
    ]


def _grouped(values: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles and rows of tables of JSON values: a first one without a title, then one for each object."""
    objects = {name: value for name, value in values.items() if isinstance(value, Mapping) and value}
    plain = {name: value for name, value in values.items() if name not in objects}
    return [("", list(_rows(plain))), *((name, list(_rows(value))) for name, value in objects.items())]


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of JSON values; names in nested objects are joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _rounded(values: ArrayLike) -> list[Any]:
    """JSON numbers of 5 significant digits, whole numbers as they are; None where there is no number."""
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.integer):
        return list(array.tolist())
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in array.tolist()]


def _colours(name: str) -> list[Any]:
    """256 colours of a matplotlib map, red, green and blue from 0 to 255."""
    from matplotlib import colormaps

    return list(np.rint(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(int).tolist())


def _script_safe(data: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever texts it holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _read(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """SHA-256 in base64, as a content security policy names an inline script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
