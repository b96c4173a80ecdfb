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

_KEYS, _SITES = "site_keys", "sites"


@dataclass(frozen=True)
class _Written:
    """A linear field whose arrays are on disk, and with that at z = 0 the site map: small enough to broadcast.

    The folder holds delta and phi and, if sites are found by position, the arrays of the site map. Its name is the hash
    of them all.
    """

    folder: Path
    field: LinearField
    sites: SiteMap | None


def shared_field(ds: Dataset, redshift: float, cache: PredictionCache | None) -> LinearField:
    """`linear_field` of a dataset at a target redshift; with MPI, all ranks must call this.

    Only rank 0 reads the initial conditions. With a cache and several ranks, or `MAPPED_SIDE` sites per side, delta,
    phi and the site map are written to a folder of the cache, which all ranks must see and from which they map them.
    The last rank that uses the folder removes it. Afterwards `linear_field(ds)` and `particle_sites` read nothing on
    the other ranks.

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
                return _map(state, _write(state, field, cache))
            except OSError as error:
                ytLogger.warning("The linear field stays in memory: %s", error)
        return field
    with communicator.barrier():
        # yt makes its index collectively: rank 0 alone would wait for the others
        ds.index  # noqa: B018
    with communicator.barrier():
        if communicator.is_root:
            # the folder exists as long as this variable
            field = linear_field(ds).at_redshift(redshift)
    written = communicator.broadcast(lambda: _write(state, field, cache))
    with communicator.barrier():
        return _map(state, written)


def _write(state: DatasetState, field: LinearField, cache: PredictionCache) -> _Written:
    """Write a field, and with that at z = 0 the site map, to a folder that exists as long as `field` does."""
    sites = None if field.target_redshift else state.sites
    arrays: dict[str, NDArray] = {}
    if sites is not None and sites.keys is not None and sites.sites is not None:
        arrays = {_KEYS: sites.keys, _SITES: sites.sites}
    digest = hashlib.sha256(field.sha256.encode())
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    folder = cache.folder / f"{digest.hexdigest()}.field"
    try:
        hold_folder(folder, field)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used ({error}); give a cache folder you may write to") from error
    store = _store(folder)
    for name, array in {"delta": field.delta, "phi": field.phi, **arrays}.items():
        store.keep(name, array)
    return _Written(folder, field.without_cubes(), sites and replace(sites, keys=None, sites=None))


def _map(state: DatasetState, written: _Written) -> LinearField:
    """Map a field that this or another rank has written, and the site map with it."""
    folder, sites = written.folder, written.sites
    if not folder.is_dir():
        raise StoreError(f"{folder} is not there; all ranks must see the cache folder, give one that they share")
    store = _store(folder)
    field = written.field.with_cubes(store.open("delta"), store.open("phi"))
    hold_folder(folder, field)
    if field.target_redshift == 0:
        if sites is not None and _KEYS in store:
            sites = replace(sites, keys=store.open(_KEYS), sites=store.open(_SITES))
        state.fields[None, None], state.sites = field, sites
    return field


def _store(folder: Path) -> CropStore:
    return CropStore(folder, {"arrays": folder.stem})
