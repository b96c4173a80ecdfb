"""One linear field for all MPI ranks: rank 0 reads the initial conditions, and every rank maps what it wrote to disk.

A memory map of delta and phi occupies memory only for the pages in use, which the system may drop again. A single
process does the same with a large box.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from yt.data_objects.static_output import Dataset
from yt.utilities.logger import ytLogger

from .._utils.locks import hold_folder
from ..exceptions import StoreError
from ..fields.linear_field import LinearField
from ..initial_conditions.site_assignment import SiteMap
from ..prediction.store import MAPPED_SIDE, CropStore, PredictionCache
from .dataset_state import DatasetState, state_of
from .linear import linear_field
from .mpi import MPICommunicator

_SUFFIX = ".field"
_KEYS, _SITES = "site_keys", "sites"


@dataclass(frozen=True)
class _Description:
    """A linear field on disk, as rank 0 describes it to the others.

    Attributes
    ----------
    folder : Path
        Store of delta and phi and, if sites are found by position, of the arrays of the site map. Its name is the hash
        of those arrays.
    field : LinearField
        Without delta and phi.
    sites : SiteMap or None
        Without arrays.
    """

    folder: Path
    field: LinearField
    sites: SiteMap | None


def shared_field(ds: Dataset, redshift: float, cache: PredictionCache | None) -> LinearField:
    """`linear_field` of a dataset at a target redshift; with MPI, all ranks must call this.

    Only rank 0 reads the initial conditions. With a cache and several ranks, or `MAPPED_SIDE` sites per side, delta,
    phi and the site map are written to a folder of the cache, from which all ranks map them. The last rank that uses
    the folder removes it. Afterwards `linear_field(ds)` and `particle_sites` read nothing on the other ranks.

    Parameters
    ----------
    ds : yt Dataset
    redshift : float
        Redshift of the haloes to predict.
    cache : PredictionCache, optional
        In a folder that all ranks see.

    Raises
    ------
    InitialConditionsError, LatticeError, CosmologyError, UnitsError
        As `linear_field`; on the other ranks a `ParallelError` with the same message.
    StoreError
        With several ranks, a rank cannot write or see the folder.
    """
    state, communicator = state_of(ds), MPICommunicator()
    if cache is None or communicator.size == 1:
        field = linear_field(ds).at_redshift(redshift)
        if cache is not None and field.n >= MAPPED_SIDE and not field.is_mapped:
            try:
                field, _ = _write(state, field, cache)
            except OSError as error:
                ytLogger.warning("The linear field stays in memory: %s", error)
        return field
    with communicator.barrier():
        # yt makes its index collectively: rank 0 alone would wait for the others
        ds.index  # noqa: B018
    folder = Path()
    with communicator.barrier():
        if communicator.is_root:
            field = linear_field(ds).at_redshift(redshift)
            known = [folder for folder, mapped in state.mapped.items() if mapped is field]
            field, folder = (field, known[0]) if known else _write(state, field, cache)
    description = communicator.broadcast(lambda: _description(state, field, folder))
    with communicator.barrier():
        if not communicator.is_root:
            field = state.mapped.get(description.folder) or _map(state, description)
    return field


def _write(state: DatasetState, field: LinearField, cache: PredictionCache) -> tuple[LinearField, Path]:
    """Write a field, and with that at z = 0 the site map, to a folder; return the field mapped from it, and it."""
    arrays: dict[str, NDArray] = {}
    sites = state.sites
    if field.target_redshift == 0 and sites is not None and sites.keys is not None and sites.sites is not None:
        arrays = {_KEYS: sites.keys, _SITES: sites.sites}
    digest = hashlib.sha256(field.sha256.encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    folder = cache.folder / (digest.hexdigest() + _SUFFIX)
    try:
        hold_folder(folder, field)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used ({error}); give a cache folder you may write to") from error
    store = CropStore(folder, {"arrays": digest.hexdigest()})
    field = field.with_cubes(store.keep("delta", field.delta), store.keep("phi", field.phi))
    hold_folder(folder, field)
    if field.target_redshift == 0:
        state.fields[None, None] = field
    for name, array in arrays.items():
        store.keep(name, array)
    if sites is not None and arrays:
        state.sites = replace(sites, keys=store.open(_KEYS), sites=store.open(_SITES))
    state.mapped[folder] = field
    return field, folder


def _description(state: DatasetState, field: LinearField, folder: Path) -> _Description:
    sites = None if field.target_redshift or state.sites is None else replace(state.sites, keys=None, sites=None)
    return _Description(folder, field.without_cubes(), sites)


def _map(state: DatasetState, description: _Description) -> LinearField:
    """Map the field that another rank has written, and the site map with it."""
    folder, sites = description.folder, description.sites
    if not folder.is_dir():
        raise StoreError(f"{folder} is not there; all ranks must see the cache folder, give one that they share")
    store = CropStore(folder, {"arrays": folder.stem})
    field = description.field.with_cubes(store.open("delta"), store.open("phi"))
    hold_folder(folder, field)
    state.mapped[folder] = field
    if field.target_redshift == 0:
        state.fields[None, None] = field
        if sites is not None and _KEYS in store:
            sites = replace(sites, keys=store.open(_KEYS), sites=store.open(_SITES))
        state.sites = sites
    return field
