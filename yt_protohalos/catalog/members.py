"""Lattice sites of one protohalo, read from a stored catalogue, a stored prediction or a folder with one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from .._utils.files import CATALOG_FORMAT, format_remedy, open_hdf5
from ..exceptions import CatalogError, ProtohaloError, StoreError
from ..fields.lattice import Lattice
from ..prediction.result import PREDICTION_NAME, Prediction

MEMBER_SITES = "member_sites"
"""Dataset of a stored catalogue beside the member IDs: row-major lattice site of each member."""
SITE_INDICES = "row-major site indices"
"""Attribute ``member_ids`` of a catalogue whose member IDs are lattice sites."""

LAGRANGIAN_NAME = "lagrangian"
"""Name of a catalogue in the Lagrangian frame, which may lie beside that of the haloes."""

_CATALOG_SUFFIX = ".0.h5"


@dataclass(frozen=True, eq=False)
class LatticeRegion:
    """Sites of one protohalo.

    site_offset : site i sits at ``(i + site_offset) * spacing``
    members : (M,), row-major indices
    h : Hubble constant in 100 km/s/Mpc, where it is known
    model : name of the model that predicted it, where it is known
    """

    lattice: Lattice
    site_offset: float
    members: NDArray[np.int64]
    h: float | None = None
    model: str | None = None


def stored_region(path: Path, halo_id: int) -> LatticeRegion:
    """Sites of a protohalo of a stored catalogue, of a stored prediction, or of a folder with one of them.

    Catalogues written before they held lattice sites need the prediction beside them, unless their member IDs are site
    indices. Raises `CatalogError` if there is no such protohalo or no file says which sites it has, and `StoreError` if
    the file is missing or cannot be read.
    """
    path = (catalog_in(path) or path / PREDICTION_NAME) if path.is_dir() else path
    if not path.is_file():
        raise StoreError(f"{path} does not exist; give a folder or catalogue that `protohalos find` wrote")
    try:
        with open_hdf5(path) as file:
            if file.attrs.get("data_type") == "halo_catalog":
                check_catalog_format(file, path)
                return _of_catalog(file, path, halo_id)
        return _of_stored_prediction(path, halo_id)
    except ProtohaloError:
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"catalogue {path} cannot be read ({error}); run `protohalos find` again") from error


def check_catalog_format(file: h5py.File, path: Path) -> None:
    """Raise `StoreError` for the catalogue of a later version."""
    found = file.attrs.get("catalog_format", CATALOG_FORMAT)
    if not np.array_equal(found, CATALOG_FORMAT):
        remedy = format_remedy(found, CATALOG_FORMAT, "run `protohalos find` again")
        raise StoreError(f"catalogue {path} has format {found}, {remedy}")


def catalog_in(folder: Path) -> Path | None:
    """Path of the catalogue in a folder, None without one; raise `CatalogError` if there are several.

    One in the Lagrangian frame counts only where it is alone.
    """
    found = sorted(folder.glob(f"*{_CATALOG_SUFFIX}"))
    if len(found) > 1:
        found = [path for path in found if path.name != LAGRANGIAN_NAME + _CATALOG_SUFFIX]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise CatalogError(f"{folder} holds {len(found)} catalogues ({names}); give the path of one")
    return found[0] if found else None


def _of_catalog(file: h5py.File, path: Path, halo_id: int) -> LatticeRegion:
    sizes = file["particle_number"][()].astype(np.int64) if "particle_number" in file else None
    if sizes is None or "sites_per_side" not in file.attrs:
        raise CatalogError(f"{path} is a halo catalogue without lattice sites; give one that `protohalos find` wrote")
    _check_identifier(halo_id, len(sizes))
    beside = path.with_name(PREDICTION_NAME)
    members = file["particles"]
    if MEMBER_SITES in members:
        sites = members[MEMBER_SITES]
    elif file.attrs.get("member_ids") == SITE_INDICES:
        sites = members["ids"]
    elif beside.is_file():
        return _of_stored_prediction(beside, halo_id, sizes)
    else:
        raise CatalogError(
            f"{path} has the particle IDs of its protohalos but not their lattice sites, and there is no "
            f"{PREDICTION_NAME} beside it; run `protohalos find` again to make both"
        )
    start = int(file["particle_index_start"][halo_id])
    # the box of the file is proper Mpc at its redshift
    proper = np.asarray(file.attrs["domain_right_edge"], dtype=float)[0]
    h = float(file.attrs["hubble_constant"])
    side = proper * h / float(file.attrs.get("scale_factor", 1.0))
    lattice = Lattice(int(file.attrs["sites_per_side"]), side)
    found = sites[start : start + int(sizes[halo_id])].astype(np.int64)
    model = file.attrs.get("model")
    return LatticeRegion(lattice, float(file.attrs["site_offset"]), found, h, None if model is None else str(model))


def _of_stored_prediction(path: Path, halo_id: int, sizes: NDArray[np.int64] | None = None) -> LatticeRegion:
    prediction = Prediction.load(path)
    if sizes is not None and not np.array_equal(sizes, prediction.sizes[1:]):
        raise CatalogError(
            f"{path} is not the prediction of the catalogue beside it; run `protohalos find` again to make both"
        )
    return predicted_region(prediction, halo_id)


def predicted_region(prediction: Prediction, halo_id: int) -> LatticeRegion:
    """Sites of a protohalo of a prediction; `CatalogError` if there is none of that identifier."""
    _check_identifier(halo_id, prediction.n_protohalos)
    members = np.flatnonzero(prediction.labels.ravel() == halo_id + 1)
    return LatticeRegion(
        prediction.lattice, prediction.site_offset, members, prediction.cosmology.h, prediction.card.name
    )


def _check_identifier(halo_id: int, count: int) -> None:
    if not count:
        raise CatalogError(f"no protohalo {halo_id}; the prediction found none at all")
    if not 0 <= halo_id < count:
        raise CatalogError(f"no protohalo {halo_id}; identifiers run from 0 to {count - 1}")
