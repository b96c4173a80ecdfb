"""Predictions on disk: finished crops of a run that can resume, and a cache of whole predictions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import PREDICTION_FORMAT, STORE_FORMAT, atomic_path
from ..exceptions import StoreError
from ..fields.evolution import Allocate, EvolvedField, in_memory
from ..fields.linear_field import LinearField
from .communicator import Communicator
from .result import PREDICTION_NAME, Prediction

CACHE_VARIABLE = "YT_PROTOHALOS_CACHE"
MAPPED_SIDE = 384
"""Sites per side from which a field is read from disk, where the crops need it."""

_MANIFEST = "manifest.json"


class CropStore:
    """A folder with the finished crops of one prediction.

    Each crop is one ``.npy`` file, written beside its place and renamed, so that it is whole or absent. Reading and
    writing a crop raise `StoreError` if the disk refuses it.

    folder : made if it does not exist; `StoreError` if it holds other files, or crops of other settings
    settings : everything the result depends on, JSON values
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        manifest = {"format": STORE_FORMAT, "settings": _as_json(settings)}
        path = self.folder / _MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                self._compare(path, manifest)
                return
            if any(not entry.name.endswith(".partial") for entry in self.folder.iterdir()):
                raise StoreError(f"{self.folder} has files but no {_MANIFEST}; give an empty folder or a new one")
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"store {self.folder} cannot be used ({error}); give a folder you may write to") from error

    def _compare(self, path: Path, manifest: dict[str, Any]) -> None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise StoreError(f"{path} is not JSON ({error}); delete the folder or give another") from error
        if found == manifest:
            return
        old = found.get("settings", {}) if isinstance(found, dict) else {}
        new = manifest["settings"]
        differ = sorted(key for key in {*old, *new} if old.get(key) != new.get(key)) or ["format"]
        raise StoreError(
            f"{self.folder} holds crops of another run (other {', '.join(differ)}); give another folder, or delete it"
        )

    def load(self, name: str) -> NDArray[Any] | None:
        """Array of a finished crop, or None if it is still missing."""
        return self._read(name) if name in self else None

    def take(self, name: str) -> NDArray[Any]:
        """Array of a crop that this or another process has finished."""
        array = self.load(name)
        if array is None:
            raise StoreError(f"{self._path(name)} is missing; all ranks must see the folder, run it again")
        return array

    def save(self, name: str, array: NDArray[Any]) -> None:
        """Write a finished crop."""
        try:
            with atomic_path(self._path(name)) as partial, open(partial, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
        except OSError as error:
            raise StoreError(f"crop {self._path(name)} cannot be written ({error}); make room there") from error

    def create(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """A large array in the folder, mapped into memory and zero, to be filled; it replaces one of that name.

        It is no finished work: a later start fills it again from the crops.
        """
        path = self._path(name)
        try:
            array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            # a disk that fills up under a mapped array ends the process, so its blocks are taken now
            with open(path, "rb+") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
            return array
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"{path} cannot be made ({error}); make room there") from error

    def keep(self, name: str, cube: NDArray[Any]) -> NDArray[Any]:
        """Write a cube, unless one of that name is there, and return it mapped from disk."""
        if name not in self:
            self.save(name, cube)
        return self.open(name)

    def rename(self, name: str, finished: str) -> None:
        """Give an array that `create` made the name under which it counts as finished."""
        os.replace(self._path(name), self._path(finished))

    def open(self, name: str) -> NDArray[Any]:
        """An array of the folder, read from disk where it is used; what is written to it stays in memory."""
        return self._read(name, mapped=True)

    def _read(self, name: str, mapped: bool = False) -> NDArray[Any]:
        try:
            array: NDArray[Any] = np.load(self._path(name), mmap_mode="c" if mapped else None, allow_pickle=False)
            return array
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(f"{self._path(name)} cannot be read ({error}); delete it and run again") from error

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def open_store(
    folder: str | Path | None, field: LinearField, side: int, settings: Mapping[str, Any], communicator: Communicator
) -> tuple[LinearField, CropStore | None]:
    """Resample a field to the `side` sites per side of a model, and open the store of finished crops.

    With several ranks, rank 0 alone resamples and identifies the field, and all map it from the store unless it is
    mapped already. A resampled field is mapped by a single process too, from `MAPPED_SIDE` on. Raises `StoreError` if
    several ranks have no store, or if it is that of another run.
    """
    if folder is None and communicator.size > 1:
        raise StoreError(f"{communicator.size} ranks share crops on disk; give a store, a folder that all see")
    model_field = field
    with communicator.barrier():
        if communicator.is_root and side != field.n:
            model_field = field.resampled(side)
    if folder is None:
        return model_field, None
    known, cubeless = communicator.broadcast(
        lambda: ({**settings, **field_identity(model_field)}, model_field.without_cubes())
    )
    with communicator.barrier():
        if communicator.is_root:
            store = CropStore(folder, known)
            share = communicator.size > 1 or (side != field.n and side >= MAPPED_SIDE)
            if share and not model_field.is_mapped:
                model_field = model_field.with_cubes(
                    store.keep("delta", model_field.delta), store.keep("phi", model_field.phi)
                )
    if not communicator.is_root:
        store = CropStore(folder, known)
        if side != field.n or not field.is_mapped:
            model_field = cubeless.with_cubes(store.open("delta"), store.open("phi"))
    return model_field, store


def predict_on_root(
    make: Callable[[], Prediction], folder: str | Path | None, communicator: Communicator
) -> Prediction:
    """Make a prediction on rank 0; the other ranks read it, without the evolved field, from a folder that all see.

    Raises `StoreError` if several ranks have no folder.
    """
    if communicator.size == 1:
        return make()
    if folder is None:
        raise StoreError(f"{communicator.size} ranks share a prediction on disk; give a store, a folder that all see")
    path = Path(folder) / PREDICTION_NAME
    prediction = None
    with communicator.barrier():
        if communicator.is_root:
            prediction = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            prediction.save(path)
    return Prediction.load(path) if prediction is None else prediction


def evolve_in_store(
    evolve: Callable[[Allocate], EvolvedField],
    names: Sequence[str],
    store: CropStore | None,
    communicator: Communicator,
) -> EvolvedField:
    """Evolve a field once for all ranks and, with a store, for all starts of a run.

    evolve : ``evolve(allocate)`` makes all arrays of the result by ``allocate(name, shape, dtype)``
    names : of these arrays; those that are no attribute of `EvolvedField` are channels
    """
    if store is None:
        return evolve(in_memory)
    with communicator.barrier():
        if communicator.is_root and not all(f"evolved_{name}" in store for name in names):
            evolve(lambda name, *kind: store.create(f"evolving_{name}", *kind))
            for name in names:
                store.rename(f"evolving_{name}", f"evolved_{name}")
    arrays = {name: store.open(f"evolved_{name}") for name in names}
    return EvolvedField(arrays.pop("displacement"), arrays.pop("density", None), arrays.pop("velocity"), arrays)


class PredictionCache:
    """Whole predictions, one file a key, shared by processes; `StoreError` if a file cannot be read or written.

    folder : by default that of the environment variable ``YT_PROTOHALOS_CACHE``, else ``~/.cache/yt_protohalos`` (below
        ``XDG_CACHE_HOME`` if that is set)
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder()

    def path(self, key: str) -> Path:
        """File of a key, whether or not it exists."""
        return self.folder / f"{key}.h5"

    def get(self, key: str) -> Prediction | None:
        """The prediction, or None if it was never put."""
        path = self.path(key)
        return Prediction.load(path) if path.is_file() else None

    def put(self, key: str, prediction: Prediction) -> Path:
        """Write a prediction under a key; returns its file."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cache {self.folder} cannot be made ({error}); set {CACHE_VARIABLE}") from error
        prediction.save(self.path(key))
        return self.path(key)


def cache_folder() -> Path:
    """Folder of cached predictions, by the environment at the time of the call."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "yt_protohalos"


def cache_key(identity: Mapping[str, Any], model_sha256: str, settings: Mapping[str, Any]) -> str:
    """Key of a prediction, 64 hexadecimal digits of SHA-256: of the `field_identity`, the model and the settings.

    model_sha256 : `ModelCard.sha256`, which covers the weight files
    settings : JSON values
    """
    parts = {"format": PREDICTION_FORMAT, "data": _as_json(identity)}
    parts |= {"model": model_sha256, "settings": _as_json(settings)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def field_identity(field: LinearField) -> dict[str, object]:
    """SHA-256 of delta and phi with the size of the lattice: identity of data in memory."""
    return {"field_sha256": field.sha256, "n": field.n, "box_size": field.box_size, **field.identity()}


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(values), sort_keys=True)))
    except TypeError as error:
        raise StoreError(f"settings cannot be written as JSON ({error}); use numbers, text, lists and dicts") from error
