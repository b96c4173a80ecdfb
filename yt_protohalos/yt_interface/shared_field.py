"""One linear field for all ranks: the first reads the file, and every rank maps what it wrote.

A rank that maps delta and phi has only those pages of them in memory that its crops need, and may let go of them. One
rank alone does the same with a large box.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from yt.data_objects.static_output import Dataset
from yt.utilities.logger import ytLogger

from .._utils.locks import hold_folder
from ..exceptions import StoreError
from ..fields.linear_field import LinearField
from ..initial_conditions.site_assignment import SiteMap
from ..prediction.store import CropStore, PredictionCache
from ..prediction.streaming import MAPPED_SIDE, is_mapped, without_cubes
from .linear import adopt_field, linear_field, site_map
from .mpi import MPICommunicator

_SUFFIX = ".field"
_KEYS, _SITES = "site_keys", "sites"


@dataclass(frozen=True)
class _Notice:
    """What the first rank tells of a field.

    Attributes
    ----------
    token : str
        Of this field alone; a rank that knows it has mapped the field before.
    folder : Path
        Store of delta and phi and, where sites are found by position, of the arrays of the site map.
    facts : LinearField
        Without delta and phi.
    sites : SiteMap or None
        Without arrays.
    """

    token: str
    folder: Path
    facts: LinearField
    sites: SiteMap | None


_known: WeakValueDictionary[str, LinearField] = WeakValueDictionary()
_notices: dict[str, _Notice] = {}


def shared_field(ds: Dataset, redshift: float, cache: PredictionCache | None) -> LinearField:
    """`linear_field` of a dataset at a target redshift; with several ranks, all must call this.

    The first rank alone reads the file. With a cache and several ranks, or `MAPPED_SIDE` sites per side, delta, phi and
    the site map lie in a folder of the cache, from which all ranks map them; the last rank that lets go of them
    removes it. So `linear_field(ds)` and `particle_sites` read nothing on the other ranks from then on.

    Parameters
    ----------
    ds : yt Dataset
    redshift : float
        Of the haloes to predict.
    cache : PredictionCache, optional
        In a folder that all ranks see.

    Raises
    ------
    InitialConditionsError, LatticeError, CosmologyError, UnitsError
        As `linear_field`; on the other ranks a `ParallelError` that says the same.
    StoreError
        Several ranks cannot write or see the folder.
    """
    communicator = MPICommunicator()
    if cache is None or communicator.size == 1:
        field = linear_field(ds).at_redshift(redshift)
        if cache is not None and field.n >= MAPPED_SIDE and not is_mapped(field):
            try:
                _write(ds, field, cache)
            except OSError as error:
                ytLogger.warning("The linear field stays in memory: %s", error)
        return field
    own: list[LinearField] = []

    def make() -> _Notice:
        own.append(linear_field(ds).at_redshift(redshift))
        token = next((token for token, field in _known.items() if field is own[0]), None)
        return _notices[token] if token is not None else _write(ds, own[0], cache)

    with communicator.barrier():
        # yt's ranks make its index together, and one that did so alone would wait for the others
        ds.index  # noqa: B018
    notice = communicator.broadcast(make)
    with communicator.barrier():
        field = own[0] if own else _known.get(notice.token) or _mapped(ds, notice)
    return field


def _write(ds: Dataset, field: LinearField, cache: PredictionCache) -> _Notice:
    """Move a field, and with that of the file the site map, to a folder of the cache."""
    own_redshift = field.target_redshift == 0
    sites = site_map(ds) if own_redshift else None
    digest = hashlib.sha256(field.sha256.encode())
    arrays: dict[str, NDArray] = {}
    if sites is not None and sites.keys is not None and sites.sites is not None:
        arrays = {_KEYS: sites.keys, _SITES: sites.sites}
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    folder = cache.folder / (digest.hexdigest() + _SUFFIX)
    try:
        hold_folder(folder, field)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used ({error}); give a cache folder you may write to") from error
    store = CropStore(folder, {"arrays": digest.hexdigest()})
    field.move(store.keep)
    if sites is not None:
        for name, array in arrays.items():
            store.keep(name, array)
        adopt_field(ds, field, _with_arrays(sites, store if arrays else None))
        sites = replace(sites, keys=None, sites=None)
    notice = _Notice(uuid4().hex, folder, without_cubes(field), sites)
    _known[notice.token] = field
    for token in _notices.keys() - _known.keys():
        del _notices[token]
    _notices[notice.token] = notice
    return notice


def _mapped(ds: Dataset, notice: _Notice) -> LinearField:
    """The field of a notice on another rank."""
    if not notice.folder.is_dir():
        raise StoreError(f"{notice.folder} is not there; all ranks must see the cache folder, give one that they share")
    field = notice.facts
    hold_folder(notice.folder, field)
    store = CropStore(notice.folder, {"arrays": notice.folder.stem})
    field.move(lambda name, _: store.open(name))
    _known[notice.token] = field
    if field.target_redshift == 0:
        sites = notice.sites
        adopt_field(ds, field, sites and _with_arrays(sites, store if _KEYS in store else None))
    return field


def _with_arrays(sites: SiteMap, store: CropStore | None) -> SiteMap:
    return sites if store is None else replace(sites, keys=store.open(_KEYS), sites=store.open(_SITES))
