"""The halo finder: predict the protohaloes of a dataset and write them as a halo catalogue that yt reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from yt.data_objects.static_output import Dataset
from yt.frontends.halo_catalog.data_structures import YTHaloCatalogDataset
from yt.utilities.logger import ytLogger

from .._utils.files import check_plain, check_writable
from .._utils.progress import Progress
from ..catalog.catalog import protohalo_catalog
from ..catalog.frames import EULERIAN, LAGRANGIAN, check_frame
from ..catalog.members import LAGRANGIAN_NAME, SITE_INDICES
from ..exceptions import CatalogError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction
from .catalog_file import load_catalog, write_catalog
from .fields import lattice_particle_types
from .linear import linear_field, particle_sites
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction

CATALOG_NAME = "protohalos"


@takes_options
class ProtohaloFinder:
    """`find_protohalos` in two steps: everything is checked when the finder is made, before `run` runs any network.

    Parameters
    ----------
    ds, output_dir, name, frame, progress
        As in `find_protohalos`.
    model, **options
        As in `PredictionOptions`.

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
        name: str | None = None,
        frame: str = EULERIAN,
        model: str | Path | None = None,
        progress: Progress = True,
        **options: Unpack[OptionKeywords],
    ) -> None:
        self.path = _catalog_path(output_dir, name, frame)
        self.frame = frame
        self.ds = ds
        self.progress = progress
        self.box = box_prediction(ds, PredictionOptions.read(model, options))

    def run(self) -> YTHaloCatalogDataset:
        """Predict if needed, write the catalogue and load it; `CatalogError` if there is no protohalo."""
        return _write_described(self.ds, self.box.field, self.box.get(self.progress), self.path, self.frame)


def _write_described(
    ds: Dataset, field: LinearField, prediction: Prediction, path: Path, frame: str
) -> YTHaloCatalogDataset:
    """Describe every protohalo, write the catalogue on rank 0, and load it on all ranks."""
    communicator = MPICommunicator()
    with communicator.barrier():
        if communicator.is_root:
            catalog = protohalo_catalog(prediction, field)
            if not len(catalog):
                lower = ", a lower threshold," if prediction.card.separates_members else ""
                raise CatalogError(
                    f"no protohalo of at least {prediction.min_sites} sites "
                    f"({prediction.min_sites * prediction.site_mass_msun:.3g} Msun) was found in {ds}; "
                    f"use a larger box{lower} or predict(ds) for the probabilities"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            ids, source = member_ids(ds, field, catalog.members)
            write_catalog(path, catalog, prediction, field, ids, {"member_ids": source, "source": str(ds)}, frame)
            ytLogger.info("Wrote %d protohaloes to %s", len(catalog), path)
    return load_catalog(path)


def rebuild_catalog(
    ds: Dataset,
    prediction: Prediction,
    output_dir: str | os.PathLike[str] = CATALOG_NAME,
    *,
    name: str | None = None,
    frame: str = EULERIAN,
) -> YTHaloCatalogDataset:
    """Write the catalogue of an existing prediction, for example a stored one, without running any network.

    Parameters
    ----------
    ds : yt Dataset
        The initial conditions that the prediction was made from: positions, velocities, tides, spins and particle IDs
        come from them.
    prediction : Prediction
        As `Prediction.load` reads it.
    output_dir, name, frame
        As in `find_protohalos`.

    Returns
    -------
    YTHaloCatalogDataset

    Raises
    ------
    InitialConditionsError
        The initial conditions are not those of the prediction.
    CatalogError
        There are no protohaloes, the frame is unknown, or the folder cannot be written.

    Examples
    --------
    >>> prediction = ph.Prediction.load("protohalos/prediction.h5")
    >>> catalog = ph.rebuild_catalog(ph.load("ics.hdf5"), prediction, "protohalos")
    """
    path = _catalog_path(output_dir, name, frame)
    field = linear_field(ds)
    prediction.check_field(field)
    return _write_described(ds, field, prediction, path, frame)


def _catalog_path(output_dir: str | os.PathLike[str], name: str | None, frame: str) -> Path:
    check_frame(frame)
    if name is None:
        name = LAGRANGIAN_NAME if frame == LAGRANGIAN else CATALOG_NAME
    if not name or Path(name).name != name:
        raise CatalogError(f"catalogue name {name!r} is not a plain file name; give one without folders")
    path = Path(output_dir).expanduser() / f"{name}.0.h5"
    check_plain(path)
    check_writable(path.parent)
    return path


@takes_options
def find_protohalos(
    ds: Dataset,
    output_dir: str | os.PathLike[str] = CATALOG_NAME,
    *,
    name: str | None = None,
    frame: str = EULERIAN,
    model: str | Path | None = None,
    progress: Progress = True,
    **options: Unpack[OptionKeywords],
) -> YTHaloCatalogDataset:
    """Find the protohaloes of initial conditions and write them as a halo catalogue.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    output_dir : path
        Folder of the catalogue, ``<output_dir>/<name>.0.h5``; made if it does not exist.
    name : str
        First part of the file name. yt reads every ``<name>*.h5`` in the folder as a part of the catalogue. By default
        ``"protohalos"``, or ``"lagrangian"`` in that frame.
    frame : {"eulerian", "lagrangian"}
        Where positions and radii are: of the haloes at their redshift, or of their regions in the initial conditions
        and at the redshift of these. The second lies on the plots of `lattice_dataset`: ``particle_position`` is the
        Lagrangian centre, ``virial_radius`` the Lagrangian radius, and velocities are zero.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable

    Returns
    -------
    YTHaloCatalogDataset
        The catalogue at the `redshift` of the options, as ``yt.load`` reads it, with `catalog.columns.COLUMNS`.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError
        Before any network runs.
    CatalogError
        The folder cannot be written, the frame is unknown, or there are no protohaloes: yt cannot read a catalogue
        without haloes.

    Examples
    --------
    >>> catalog = ph.find_protohalos(ds, output_dir="protohalos")
    >>> ids = catalog.halo("halos", 0)["member_ids"]
    """
    return ProtohaloFinder(ds, output_dir, name=name, frame=frame, model=model, progress=progress, **options).run()


def member_ids(ds: Dataset, field: LinearField, members: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Particle IDs of lattice sites, or the sites themselves without particles that have IDs, and which of both.

    Raises `CatalogError` if the particles do not occupy each site once.
    """
    types = [ptype for ptype in lattice_particle_types(ds) if (ptype, "particle_index") in ds.field_info]
    if not types:
        return members, SITE_INDICES
    ptype = types[0]
    of_site = np.zeros(field.lattice.n_sites, dtype=np.int64)
    # number of particles up to 255, so that a byte per site is enough
    found = np.zeros(field.lattice.n_sites, dtype=np.uint8)
    for part in ds.all_data().chunks([], "io"):
        sites = particle_sites(ds, ptype, part)
        of_site[sites] = part[ptype, "particle_index"].to_value("").astype(np.int64)
        once, counts = np.unique(sites, return_counts=True)
        found[once] = np.minimum(found[once].astype(np.int64) + counts, 255)
    wrong = np.count_nonzero(found != 1)
    if wrong:
        raise CatalogError(
            f"{wrong} of {field.lattice.n_sites} sites hold no or several {ptype} particles; member IDs need one "
            "particle per site"
        )
    return of_site[members], f"{ptype} particle IDs"
