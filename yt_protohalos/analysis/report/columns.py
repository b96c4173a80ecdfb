"""Columns of the report's table: those of the labels alone, and those that a stored catalogue adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._utils.files import open_hdf5
from ...catalog.catalog import Catalog
from ...catalog.frames import LAGRANGIAN
from ...catalog.members import check_catalog_format
from ...exceptions import CatalogError, StoreError
from ...prediction.result import Prediction
from ..drawing import AXES


class Column(NamedTuple):
    """Name in the data, title and unit on the page, number format, and a sentence for the pointer that rests on it.

    The format is ``"whole"``, ``"power"`` (mantissa and power of ten) or the number of decimals.
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
    *(Column(f"center_{a}", f"Centre {a}", "Mpc/h", "2", f"Lagrangian centre along {a}") for a in AXES),
    Column("b_a", "b/a", "", "2", "Axis ratio of the Lagrangian region, intermediate to longest"),
    Column("c_a", "c/a", "", "2", "Axis ratio of the Lagrangian region, shortest to longest"),
    Column("pieces", "Pieces", "", "whole", "Disconnected pieces of the Lagrangian region"),
    Column("confidence", "Confidence", "", "2", "Mean membership probability of the sites; 1 if the method gives none"),
    *(Column(f"position_{a}", f"Final {a}", "Mpc/h", "2", f"Predicted position along {a}") for a in AXES),
    Column("speed", "Speed", "km/s", "0", "Length of the predicted peculiar velocity"),
    *(
        Column(f"tide_{i}", f"Tide λ{i}", "", "2", "Eigenvalue of the tidal tensor at the scale of the protohalo")
        for i in (1, 2, 3)
    ),
    Column("spin", "Spin", "km/s Mpc/h", "1", "Angular momentum per unit mass by tidal torque theory"),
)
"""All columns, in their order; those from position on need the linear field, so they come from a stored catalogue."""


def computed_columns(catalog: Catalog) -> dict[str, NDArray[Any]]:
    """Columns of a catalogue that was made without a linear field, (K,) each; lengths in Mpc/h."""
    long, middle, short = catalog.semi_axes.T
    return {
        "id": catalog.identifier, "mass": catalog.mass, "sites": catalog.n_sites, "radius": catalog.radius_200m,
        **{f"center_{axis}": catalog.lagrangian_center[:, i] for i, axis in enumerate(AXES)},
        "b_a": middle / long, "c_a": short / long, "pieces": catalog.n_pieces, "confidence": catalog.confidence,
    }  # fmt: skip


def stored_columns(path: Path, prediction: Prediction) -> tuple[dict[str, NDArray[Any]], list[str], str]:
    """Read the columns of a stored catalogue that need the linear field, (K,) each; lengths in Mpc/h.

    Returns the columns, notes that say how they are defined, and the source of the initial conditions. Raises
    `StoreError` if the file is not a catalogue of this package, and `CatalogError` if it is that of another prediction.
    """
    try:
        with open_hdf5(path) as file:
            check_catalog_format(file, path)
            attributes = dict(file.attrs)
            if attributes.get("frame") == LAGRANGIAN:
                raise CatalogError(f"{path} is in the Lagrangian frame; give the catalogue of the haloes")
            h, redshift = float(attributes["hubble_constant"]), float(attributes["current_redshift"])
            sizes = file["particle_number"][()]
            # catalogues hold proper Mpc
            columns = {f"position_{a}": file[f"particle_position_{a}"][()] * h * (1 + redshift) for a in AXES}
            columns["speed"] = np.linalg.norm([file[f"particle_velocity_{a}"][()] for a in AXES], axis=0)
            columns |= {f"tide_{i}": file[f"tidal_eigenvalue_{i}"][()] for i in (1, 2, 3)}
            columns["spin"] = file["spin_magnitude"][()] * h
        titles = {"Final": "position", "Speed": "velocity", "Tide": "tide", "Spin": "spin"}
        notes = [f"{title}: {attributes[f'{name}_definition']}." for title, name in titles.items()]
    except (CatalogError, StoreError):
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"catalogue {path} cannot be read ({error}); rebuild it with `protohalos catalog`") from error
    if not np.array_equal(sizes, prediction.sizes[1:]):
        raise CatalogError(f"{path} is not the catalogue of this prediction; rebuild it with `protohalos catalog`")
    return columns, notes, str(attributes.get("source", ""))
