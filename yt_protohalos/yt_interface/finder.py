"""Protohalo catalogues in yt's halo-catalogue format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yt
from numpy.typing import NDArray
from yt.data_objects.static_output import Dataset, _cached_datasets
from yt.data_objects.time_series import DatasetSeries
from yt.frontends.halo_catalog.data_structures import YTHaloCatalogDataset
from yt.frontends.ytdata.utilities import save_as_dataset
from yt.utilities.cosmology import Cosmology as YTCosmology
from yt.utilities.logger import ytLogger

from .._utils.files import CATALOG_FORMAT, atomic_path, check_writable, reserve_space
from .._utils.progress import Progress
from ..catalog.catalog import LAGRANGIAN, Catalog, protohalo_catalog
from ..catalog.members import MEMBER_SITES, SITE_INDICES
from ..exceptions import CatalogError, StoreError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction
from .fields import lattice_particle_types
from .linear import linear_field, particle_sites
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction

CATALOG_NAME = "protohalos"
_AXES = "xyz"


@takes_options
class ProtohaloFinder:
    """Halo finder whose haloes are those the initial conditions will form.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    output_dir : path
        Folder of the catalogue, ``<output_dir>/<name>.0.h5``; made if it does not exist.
    name : str
        First part of the file name. yt takes every ``<name>*.h5`` in the folder for a part of the catalogue.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError, CatalogError
        Before any network runs.

    Examples
    --------
    >>> catalog = ph.ProtohaloFinder(ds, output_dir="protohalos").run()
    >>> mass = catalog.all_data()["halos", "particle_mass"].to("Msun")
    """

    def __init__(
        self,
        ds: Dataset,
        output_dir: str | os.PathLike[str] = CATALOG_NAME,
        *,
        name: str = CATALOG_NAME,
        model: str | Path | None = None,
        progress: Progress = True,
        **options: Unpack[OptionKeywords],
    ) -> None:
        self.path = _catalog_path(output_dir, name)
        self.ds = ds
        self.progress = progress
        self.box = box_prediction(ds, PredictionOptions.read(model, options))

    def run(self) -> YTHaloCatalogDataset:
        """Predict if needed, write the catalogue and load it.

        Raises
        ------
        CatalogError
            No protohalo was found: yt cannot read a catalogue without haloes, so none is written.
        """
        prediction = self.box.get(self.progress)
        communicator = MPICommunicator()
        with communicator.barrier():
            if communicator.is_root:
                _describe(self.ds, self.box.field, prediction, self.path)
        return load_catalog(self.path)


def _describe(ds: Dataset, field: LinearField, prediction: Prediction, path: Path) -> None:
    """Write the catalogue of a dataset's prediction."""
    catalog = protohalo_catalog(prediction, field)
    if not len(catalog):
        raise CatalogError(
            f"no protohalo of at least {prediction.card.min_sites} sites "
            f"({prediction.card.min_sites * prediction.site_mass_msun:.3g} Msun) was found in {ds}; "
            "use a larger box, a lower threshold, or predict(ds) for the probabilities"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    ids, source = member_ids(ds, field, catalog.members)
    write_catalog(path, catalog, prediction, field, ids, {"member_ids": source, "source": str(ds)})
    ytLogger.info("Wrote %d protohaloes to %s", len(catalog), path)


def rebuild_catalog(
    ds: Dataset, prediction: Prediction, output_dir: str | os.PathLike[str] = CATALOG_NAME, *, name: str = CATALOG_NAME
) -> YTHaloCatalogDataset:
    """Write the catalogue of a prediction in hand, for example one that was stored, without running any network.

    Parameters
    ----------
    ds : yt Dataset
        The initial conditions that the prediction was made from: positions, velocities, tides, spins and particle IDs
        come from them.
    prediction : Prediction
        As `Prediction.load` reads it.
    output_dir, name
        As in `ProtohaloFinder`.

    Returns
    -------
    YTHaloCatalogDataset
        As `find_protohalos` returns it.

    Raises
    ------
    InitialConditionsError
        The initial conditions are not those of the prediction.
    CatalogError
        There are no protohaloes, or the folder cannot be written.

    Examples
    --------
    >>> prediction = ph.Prediction.load("protohalos/prediction.h5")
    >>> catalog = ph.rebuild_catalog(ph.load("ics.hdf5"), prediction, "protohalos")
    """
    path = _catalog_path(output_dir, name)
    field = linear_field(ds)
    prediction.check_field(field)
    _describe(ds, field, prediction, path)
    return load_catalog(path)


def _catalog_path(output_dir: str | os.PathLike[str], name: str) -> Path:
    if not name or Path(name).name != name:
        raise CatalogError(f"catalogue name {name!r} is not a plain file name; give one without folders")
    path = Path(output_dir).expanduser() / f"{name}.0.h5"
    check_writable(path.parent)
    return path


@takes_options
def find_protohalos(
    ds: Dataset,
    output_dir: str | os.PathLike[str] = CATALOG_NAME,
    *,
    name: str = CATALOG_NAME,
    model: str | Path | None = None,
    progress: Progress = True,
    **options: Unpack[OptionKeywords],
) -> YTHaloCatalogDataset:
    """Find the protohaloes of initial conditions and write them as a halo catalogue.

    Parameters
    ----------
    ds, output_dir, name, progress
        As in `ProtohaloFinder`.
    model, **options
        As in `PredictionOptions`.

    Returns
    -------
    YTHaloCatalogDataset
        The catalogue, as ``yt.load`` reads it back, at the `redshift` of the options; fields in `write_catalog`.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError
        Before any network runs.
    CatalogError
        There are no protohaloes, or the folder cannot be written.

    Examples
    --------
    >>> catalog = ph.find_protohalos(ds, output_dir="protohalos")
    >>> ids = catalog.halo("halos", 0)["member_ids"]
    """
    return ProtohaloFinder(ds, output_dir, name=name, model=model, progress=progress, **options).run()


def find_for_halo_catalog(halo_catalog: Any, **finder_kwargs: Any) -> None:
    """Finding method ``"protohalos"`` of yt_astro_analysis: write the catalogue in the folder of the `HaloCatalog`.

    Parameters
    ----------
    halo_catalog : yt_astro_analysis HaloCatalog
    **finder_kwargs
        Keywords of `find_protohalos` except `output_dir` and `name`, from ``HaloCatalog(finder_kwargs=...)``.
    """
    data = halo_catalog.data_ds
    datasets: Any = data if isinstance(data, DatasetSeries) else [data]
    for ds in datasets:
        halo_catalog._source_ds = ds
        find_protohalos(ds, Path(halo_catalog.output_dir), name=halo_catalog.output_basename, **finder_kwargs)


def write_catalog(
    path: str | os.PathLike[str],
    catalog: Catalog,
    prediction: Prediction,
    field: LinearField,
    ids: NDArray[np.int64],
    provenance: dict[str, str],
) -> None:
    """Write a catalogue as yt's ``halo_catalog`` HDF5 file, whole or not at all.

    Fields of ``halos``: ``particle_identifier`` (0..K-1 by descending mass), ``particle_mass`` (Msun),
    ``virial_radius`` (radius of 200 times the mean matter density, Mpc), ``particle_position_{xyz}`` (Mpc) and
    ``particle_velocity_{xyz}`` (km/s) at the target redshift, ``lagrangian_center_{xyz}`` (Mpc),
    ``extent_{xyz}`` (Mpc), ``inertia_{xx,yy,zz,xy,xz,yz}`` (Mpc^2), ``semi_axis_a`` (Mpc), ``axis_ratio_b_a``,
    ``axis_ratio_c_a``, ``major_axis_{xyz}``, ``minor_axis_{xyz}``, ``n_pieces``, ``tidal_{xx,yy,zz,xy,xz,yz}``,
    ``tidal_eigenvalue_{123}``, ``spin_magnitude`` (km/s Mpc), ``spin_direction_{xyz}`` (0 where there is no spin),
    ``confidence`` and ``n_sites``, as `Catalog` defines them, except that every length is proper at that redshift, as
    Mpc means in yt: ``.to("Mpccm")`` makes it comoving. Of each member, the particle ID (``ids``) and the row-major
    lattice site (``member_sites``).

    Parameters
    ----------
    path : path
        Ends in ``.0.h5``, or yt does not find its parts.
    catalog : Catalog
        With at least one protohalo.
    prediction : Prediction
    field : LinearField
        The field of the prediction.
    ids : int64, (M,)
        Particle IDs of ``catalog.members``.
    provenance : dict of str
        More attributes of the file.
    """
    data = columns(catalog, field.cosmology.h)
    data["ids"] = np.asarray(ids, dtype=np.int64)
    data[MEMBER_SITES] = catalog.members
    groups = dict.fromkeys(data, ".") | {"ids": "particles", MEMBER_SITES: "particles"}
    attributes = catalog_attributes(catalog, prediction, field) | provenance
    try:
        reserve_space(Path(path).parent, sum(column.nbytes for column in data.values()))
        with atomic_path(Path(path)) as partial:
            save_as_dataset({}, str(partial), data, field_types=groups, extra_attrs=attributes)
    except (OSError, RuntimeError) as error:  # HDF5 raises the second where a file cannot be closed
        raise StoreError(f"catalogue {path} cannot be written ({error}); make room there, or give another") from error


def load_catalog(path: str | os.PathLike[str]) -> YTHaloCatalogDataset:
    """``yt.load`` of a catalogue that may have replaced one that yt still remembers."""
    absolute = os.path.abspath(path)
    for key in [key for key in _cached_datasets if isinstance(key, tuple) and key[0] == absolute]:
        del _cached_datasets[key]
    return yt.load(absolute)


def member_ids(ds: Dataset, field: LinearField, members: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Particle IDs of lattice sites.

    Returns
    -------
    int64, same shape as `members`, and what they are: particle IDs, or row-major site indices where the dataset has
    no particles with IDs.

    Raises
    ------
    CatalogError
        The particles do not occupy each site once.
    """
    types = [ptype for ptype in lattice_particle_types(ds) if (ptype, "particle_index") in ds.field_info]
    if not types:
        return members, SITE_INDICES
    ptype = types[0]
    of_site = np.zeros(field.lattice.n_sites, dtype=np.int64)
    # as many as there are up to 255, so that a byte per site is enough
    found = np.zeros(field.lattice.n_sites, dtype=np.uint8)
    for part in ds.all_data().chunks([], "io"):
        sites = particle_sites(ds, ptype, part)
        of_site[sites] = part[ptype, "particle_index"].to_value("").astype(np.int64)
        once, counts = np.unique(sites, return_counts=True)
        found[once] = np.minimum(found[once].astype(np.int64) + counts, 255)
    held = np.count_nonzero(found == 1)
    if held != field.lattice.n_sites:
        raise CatalogError(
            f"{field.lattice.n_sites - held} of {field.lattice.n_sites} sites are held by no or several {ptype} "
            "particles; members need one particle per site"
        )
    return of_site[members], f"{ptype} particle IDs"


def columns(catalog: Catalog, h: float) -> dict[str, Any]:
    """Fields of ``halos`` of a catalogue file; lengths in proper Mpc."""
    # from comoving Mpc/h
    proper = 1 / (h * (1 + catalog.redshift))
    spin = np.linalg.norm(catalog.spin, axis=1)
    direction = np.divide(catalog.spin, spin[:, None], out=np.zeros_like(catalog.spin), where=spin[:, None] > 0)
    columns: dict[str, Any] = {
        "particle_identifier": catalog.identifier,
        "particle_mass": yt.YTArray(catalog.mass, "Msun"),
        "virial_radius": yt.YTArray(catalog.radius_200m * proper, "Mpc"),
        "confidence": catalog.confidence,
        "n_sites": catalog.n_sites,
        "n_pieces": catalog.n_pieces,
        "semi_axis_a": yt.YTArray(catalog.semi_axes[:, 0] * proper, "Mpc"),
        "axis_ratio_b_a": catalog.semi_axes[:, 1] / catalog.semi_axes[:, 0],
        "axis_ratio_c_a": catalog.semi_axes[:, 2] / catalog.semi_axes[:, 0],
        "spin_magnitude": yt.YTArray(spin / h, "Mpc*km/s"),
        "particle_number": catalog.n_sites,
        "particle_index_start": catalog.member_offset[:-1],
    }
    for i, axis in enumerate(_AXES):
        columns[f"particle_position_{axis}"] = yt.YTArray(catalog.position[:, i] * proper, "Mpc")
        columns[f"particle_velocity_{axis}"] = yt.YTArray(catalog.velocity[:, i], "km/s")
        columns[f"lagrangian_center_{axis}"] = yt.YTArray(catalog.lagrangian_center[:, i] * proper, "Mpc")
        columns[f"extent_{axis}"] = yt.YTArray(catalog.extent[:, i] * proper, "Mpc")
        columns[f"major_axis_{axis}"] = catalog.axes[:, 0, i]
        columns[f"minor_axis_{axis}"] = catalog.axes[:, 2, i]
        columns[f"spin_direction_{axis}"] = direction[:, i]
        columns[f"tidal_eigenvalue_{i + 1}"] = catalog.tidal_eigenvalues[:, i]
        for j in range(i, 3):
            columns[f"tidal_{axis}{_AXES[j]}"] = catalog.tide[:, i, j]
            columns[f"inertia_{axis}{_AXES[j]}"] = yt.YTArray(catalog.inertia[:, i, j] * proper**2, "Mpc**2")
    return columns


def catalog_attributes(catalog: Catalog, prediction: Prediction, field: LinearField) -> dict[str, Any]:
    """Attributes of a catalogue file: cosmology, redshift, units, provenance, and what its fields mean."""
    cosmology = field.cosmology
    z = catalog.redshift
    side = field.box_size / (cosmology.h * (1 + z))
    background = YTCosmology(
        hubble_constant=cosmology.h, omega_matter=cosmology.omega_m, omega_lambda=cosmology.omega_lambda,
        omega_curvature=1 - cosmology.omega_m - cosmology.omega_lambda,
    )  # fmt: skip
    velocity = (
        "zero: not computed" if catalog.velocity_method == LAGRANGIAN else f"mean {catalog.velocity_method} velocity"
    )
    # one code length is 1 Mpc, for yt wraps positions in the file's numbers as if they were code lengths
    return {
        "data_type": "halo_catalog", "num_halos": len(catalog), "dimensionality": 3,
        "current_redshift": z, "scale_factor": 1 / (1 + z), "current_time": background.t_from_z(z).to("Gyr"),
        "cosmological_simulation": 1, "hubble_constant": cosmology.h,
        "omega_matter": cosmology.omega_m, "omega_lambda": cosmology.omega_lambda,
        "domain_left_edge": yt.YTArray(np.zeros(3), "Mpc"), "domain_right_edge": yt.YTArray(np.full(3, side), "Mpc"),
        "length_unit": yt.YTQuantity(1, "Mpc"), "mass_unit": yt.YTQuantity(1, "Msun"),
        "time_unit": yt.YTQuantity(1, "Gyr"), "velocity_unit": yt.YTQuantity(1, "km/s"),
        "magnetic_unit": yt.YTQuantity(1, "gauss"),
        "position_definition": f"z = {z:g} position, {catalog.position_method}",
        "velocity_definition": f"z = {z:g} peculiar velocity, {velocity}",
        "spin_definition": f"tidal torque theory per unit mass, extrapolated linearly to z = {z:g}, proper",
        "tide_definition": f"d^2 phi / dq_i dq_j, laplacian(phi) = delta at z = {z:g}, mean over ball of equal volume",
        "confidence_definition": "mean calibrated probability of the sites to end in a halo",
        "virial_radius_definition": "R_200m, proper: sphere of 200 times the mean matter density with the halo's mass",
        "initial_redshift": prediction.redshift, "sites_per_side": field.n, "site_offset": field.site_offset,
        "catalog_format": CATALOG_FORMAT, "package_version": prediction.package_version,
        "model": prediction.card.name, "model_version": prediction.card.version,
        "model_sha256": prediction.card.sha256, "min_sites": prediction.card.min_sites,
        "settings": json.dumps(prediction.settings),
    }  # fmt: skip
