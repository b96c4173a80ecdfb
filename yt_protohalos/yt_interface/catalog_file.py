"""Catalogue files in yt's ``halo_catalog`` format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yt
from numpy.typing import NDArray
from yt.data_objects.static_output import _cached_datasets
from yt.frontends.halo_catalog.data_structures import YTHaloCatalogDataset
from yt.frontends.ytdata.utilities import save_as_dataset
from yt.utilities.cosmology import Cosmology as YTCosmology

from .._utils.files import CATALOG_FORMAT, atomic_path, reserve_space
from ..catalog.catalog import LAGRANGIAN, Catalog
from ..catalog.columns import file_columns
from ..catalog.frames import EULERIAN
from ..catalog.frames import LAGRANGIAN as LAGRANGIAN_FRAME
from ..catalog.members import MEMBER_SITES
from ..exceptions import StoreError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction


def write_catalog(
    path: str | os.PathLike[str],
    catalog: Catalog,
    prediction: Prediction,
    field: LinearField,
    ids: NDArray[np.int64],
    provenance: dict[str, str],
    frame: str = EULERIAN,
) -> None:
    """Write a catalogue of at least one protohalo as yt's ``halo_catalog`` HDF5 file, whole or not at all.

    The group ``halos`` holds the `columns.COLUMNS`, the group ``particles`` the particle ID (``ids``, int64) and the
    row-major lattice site (``member_sites``) of every member. `provenance` holds more attributes of the file. The path
    must end in ``.0.h5``, so that yt finds the parts of the catalogue. In the frame ``"lagrangian"`` the file is at the
    redshift of the initial conditions.
    """
    attributes = catalog_attributes(catalog, prediction, field, frame) | provenance
    data: dict[str, Any] = {
        name: yt.YTArray(values, unit) if unit else values
        for name, (values, unit) in file_columns(
            catalog, field.cosmology.h, attributes["current_redshift"], frame
        ).items()
    }
    data |= {"ids": ids, MEMBER_SITES: catalog.members}
    groups = dict.fromkeys(data, ".") | {"ids": "particles", MEMBER_SITES: "particles"}
    try:
        reserve_space(Path(path).parent, sum(column.nbytes for column in data.values()))
        with atomic_path(Path(path)) as partial:
            save_as_dataset({}, str(partial), data, field_types=groups, extra_attrs=attributes)
    except (OSError, RuntimeError) as error:  # HDF5 raises the second where a file cannot be closed
        raise StoreError(f"catalogue {path} cannot be written ({error}); make room there, or give another") from error


def catalog_attributes(
    catalog: Catalog, prediction: Prediction, field: LinearField, frame: str = EULERIAN
) -> dict[str, Any]:
    """Attributes of a catalogue file: cosmology, redshift, units, provenance, and the definitions of its columns."""
    cosmology = field.cosmology
    halo_redshift = catalog.redshift
    z = prediction.redshift if frame == LAGRANGIAN_FRAME else halo_redshift
    side = field.box_size / (cosmology.h * (1 + z))
    background = YTCosmology(
        hubble_constant=cosmology.h, omega_matter=cosmology.omega_m, omega_lambda=cosmology.omega_lambda,
        omega_curvature=1 - cosmology.omega_m - cosmology.omega_lambda,
    )  # fmt: skip
    velocity = (
        "zero: not computed" if catalog.velocity_method == LAGRANGIAN else f"mean {catalog.velocity_method} velocity"
    )
    definitions = {
        "position_definition": f"z = {z:g} position, {catalog.position_method}",
        "velocity_definition": f"z = {z:g} peculiar velocity, {velocity}",
        "virial_radius_definition": "R_200m, proper: sphere of 200 times the mean matter density with the halo's mass",
    }
    if frame == LAGRANGIAN_FRAME:
        definitions = {
            "position_definition": "Lagrangian centre, mean of the sites",
            "velocity_definition": "zero: sites do not move",
            "virial_radius_definition": "Lagrangian radius, proper: sphere of mean matter density with the halo's mass",
        }
    # the code length must be 1 Mpc: yt wraps the positions of the file as if they were in code lengths
    return {
        "data_type": "halo_catalog", "num_halos": len(catalog), "dimensionality": 3,
        "current_redshift": z, "scale_factor": 1 / (1 + z), "current_time": background.t_from_z(z).to("Gyr"),
        "cosmological_simulation": 1, "hubble_constant": cosmology.h,
        "omega_matter": cosmology.omega_m, "omega_lambda": cosmology.omega_lambda,
        "domain_left_edge": yt.YTArray(np.zeros(3), "Mpc"), "domain_right_edge": yt.YTArray(np.full(3, side), "Mpc"),
        "length_unit": yt.YTQuantity(1, "Mpc"), "mass_unit": yt.YTQuantity(1, "Msun"),
        "time_unit": yt.YTQuantity(1, "Gyr"), "velocity_unit": yt.YTQuantity(1, "km/s"),
        "magnetic_unit": yt.YTQuantity(1, "gauss"),
        "frame": frame, "halo_redshift": halo_redshift, **definitions,
        "spin_definition": f"tidal torque theory per unit mass, extrapolated linearly to z = {halo_redshift:g}, proper",
        "tide_definition": f"d^2 phi / dq_i dq_j, laplacian(phi) = delta at z = {halo_redshift:g}, mean over ball of "
        "equal volume",
        "confidence_definition": f"mean {prediction.card.probability_definition}",
        "spherical_mass_definition": "M_200m, M_vir (Bryan & Norman 1998), M_200c: medians by mass and, where known, "
        "radius in the evolved field, calibrated on particle-mesh runs of 192^3 particles in 37.5 Mpc/h at z = 0",
        "initial_redshift": prediction.redshift, "sites_per_side": field.n, "site_offset": field.site_offset,
        "catalog_format": CATALOG_FORMAT, "package_version": prediction.package_version,
        "model": prediction.card.name, "model_version": prediction.card.version,
        "model_sha256": prediction.card.sha256, "min_sites": prediction.min_sites,
        "settings": json.dumps(prediction.settings),
    }  # fmt: skip


def load_catalog(path: str | os.PathLike[str]) -> YTHaloCatalogDataset:
    """Load a catalogue with yt, which may still have an older one of that path in its cache."""
    absolute = os.path.abspath(path)
    for key in [key for key in _cached_datasets if isinstance(key, tuple) and key[0] == absolute]:
        del _cached_datasets[key]
    return yt.load(absolute)
