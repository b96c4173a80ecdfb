"""Predict the whole box of a dataset, once for each choice of model and settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yt.data_objects.static_output import Dataset
from yt.funcs import get_pbar
from yt.utilities.logger import ytLogger
from yt.utilities.parallel_tools.parallel_analysis_interface import communication_system

from .._utils.locks import file_lock, lock_path
from .._utils.progress import Progress
from ..exceptions import MissingPredictionError, OutOfMemoryError, ParallelError, StoreError
from ..fields.cosmology import target_redshift
from ..fields.linear_field import LinearField
from ..fields.units import Quantity
from ..models.base_card import Card
from ..models.card import ModelCard
from ..models.fof_card import FriendsOfFriendsCard
from ..models.registry import DEFAULT_MODEL, load_card, verify
from ..models.resolution import checked_side, model_side
from ..prediction.interface import Predictor
from ..prediction.result import Prediction
from ..prediction.store import PredictionCache, cache_key, field_identity
from .dataset_state import check_unchanged, state_of
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .shared_field import shared_field

_DEFAULTS = PredictionOptions()


def _yt_bar(iterable: Iterable[Any], title: str, total: int) -> Iterator[Any]:
    """Iterate with the progress bar of yt."""
    bar = get_pbar(title, total)
    try:
        for done, item in enumerate(iterable, 1):
            yield item
            bar.update(done)
    finally:
        bar.finish()


@dataclass(eq=False)
class BoxPrediction:
    """The prediction of a whole box for one linear field, model and settings, computed at most once.

    It holds the field but not the dataset, so that field functions may hold it without keeping the dataset alive.
    `make_predictor` is called only if the networks must run. Other processes find the result in `cache`.
    """

    field: LinearField
    card: Card
    threshold: float
    precision: str
    make_predictor: Callable[[], Predictor]
    resolution: Quantity | None = None
    cache: PredictionCache | None = None
    _prediction: Prediction | None = None

    @cached_property
    def key(self) -> str:
        """Key of the prediction in the cache, a hash of the field, the weights and the settings."""
        identity = {
            **field_identity(self.field),
            "redshift": self.field.redshift,
            "site_offset": self.field.site_offset,
            "cosmology": asdict(self.field.cosmology),
        }
        settings = {"threshold": self.threshold, "precision": self.precision}
        if self.resolution is not None:
            settings["resolution"] = self.resolution
        return cache_key(identity, self.card.sha256, settings)

    def get(self, progress: Progress = True) -> Prediction:
        """Return the prediction: from memory, else from the cache, else from the networks."""
        if self._prediction is None:
            self._prediction = self._read()
        if self._prediction is None:
            ytLogger.info("Predicting protohaloes on %d^3 sites with model %s", self.field.n, self.card.name)
            communicator = MPICommunicator()
            communicator.take_device()
            predictor = self.make_predictor()
            in_crops = isinstance(self.card, ModelCard)
            # ranks share the result of a method without crops in that folder; a single process needs none
            shared = self.cache if in_crops or communicator.size > 1 else None
            with (
                _named_memory_errors(self.field.n, self.card) if in_crops else nullcontext(),
                _crop_folder(shared, self.key, communicator) as crops,
            ):
                # the ranges were checked when this object was made; a field must not fail on them later
                prediction = predictor.predict(
                    self.field, threshold=self.threshold, progress=_yt_bar if progress is True else progress,
                    store=crops, on_spacing="allow", on_range="allow", resolution=self.resolution,
                    communicator=communicator,
                )  # fmt: skip
                with communicator.barrier():
                    if communicator.is_root:
                        self._keep(prediction)
            self._prediction = prediction
        return self._prediction

    def get_lazily(self) -> Prediction:
        """Return the prediction to a field function, which must not start work of all ranks on one rank alone."""
        if self._prediction is None and communication_system.communicators[-1].size > 1:
            raise MissingPredictionError(
                "no prediction exists, and a field must not start one in a run of several ranks; "
                "call yt_protohalos.predict(ds) on every rank first"
            )
        return self.get()

    def _read(self) -> Prediction | None:
        communicator = MPICommunicator()
        # all ranks read it or none does
        if self.cache is None or not communicator.broadcast(self.cache.path(self.key).is_file):
            return None
        try:
            with communicator.barrier():
                prediction = self.cache.get(self.key)
        except (StoreError, ParallelError) as error:
            ytLogger.warning("Predicting again, because the cached prediction is unusable: %s", error)
            return None
        ytLogger.info("Read the protohalo prediction from %s", self.cache.path(self.key))
        return prediction

    def _keep(self, prediction: Prediction) -> None:
        if self.cache is None:
            return
        try:
            ytLogger.info("Kept the protohalo prediction in %s", self.cache.put(self.key, prediction))
        except StoreError as error:
            ytLogger.warning("The prediction is not kept on disk: %s", error)


def box_prediction(ds: Dataset, options: PredictionOptions = _DEFAULTS, remember: bool = True) -> BoxPrediction:
    """The dataset's prediction for some options; the same object for the same options.

    The initial conditions are read and checked on first use, before any network runs. With MPI, rank 0 does so for all,
    and all ranks must call this. Without options, it is the prediction chosen last for this dataset if there is one,
    else that of the default model. Without `remember`, the dataset does not keep it, so that many can be made in turn.
    """
    check_unchanged(ds)
    state = state_of(ds)
    if state.current is not None and options == _DEFAULTS:
        return state.current
    predictor, precision = options.predictor, options.precision
    card: Card
    if predictor is None:
        card, folder = load_card(options.model or DEFAULT_MODEL)
        verify(card, folder)
    else:
        card, precision = predictor.card, predictor.precision
    card.check_separation()
    threshold = card.threshold if options.threshold is None else options.threshold
    redshift = target_redshift(options.redshift or 0.0)
    cache = _cache(options.cache)
    resolution = options.resolution
    key = (card.sha256, predictor, threshold, precision, resolution, redshift, cache and cache.folder)
    box = state.predictions.get(key)
    if box is None:
        # the site map comes with the field at z = 0
        field = shared_field(ds, 0.0, cache)
        if redshift:
            field = shared_field(ds, redshift, cache)
        MPICommunicator().broadcast(lambda: _check_ranges(card, field, options))
        box = BoxPrediction(field, card, threshold, precision, options.make_predictor, resolution, cache)
    if remember:
        state.predictions[key] = state.current = box
    return box


def _check_ranges(card: Card, field: LinearField, options: PredictionOptions) -> None:
    if isinstance(card, ModelCard):
        checked_side(card, field, options.on_spacing, options.on_range, options.resolution)
    if isinstance(card, FriendsOfFriendsCard):
        card.check_field(field, model_side(card, field, options.on_spacing, options.resolution))


@takes_options
def predict(
    ds: Dataset, model: str | Path | None = None, *, progress: Progress = True, **options: Unpack[OptionKeywords]
) -> Prediction:
    """Predict the whole box of a dataset now, with a progress bar.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions, as `yt_protohalos.load` or `yt.load` returns them.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable
        True for the progress bar of yt, False for none, or a callable; see `progress.track`.

    Returns
    -------
    Prediction
        The same object for every later call with the same settings.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError

    Examples
    --------
    >>> prediction = ph.predict(ds)
    >>> prediction.labels.shape
    (32, 32, 32)
    """
    return box_prediction(ds, PredictionOptions.read(model, options)).get(progress)


def predict_field(
    field: LinearField,
    predictor: Predictor,
    cache: bool | str | os.PathLike[str] = True,
    progress: Progress = True,
    on_spacing: str = "warn",
    on_range: str = "error",
) -> Prediction:
    """Predict a linear field without a dataset; the result is kept on disk, as that of `predict` is.

    Parameters
    ----------
    field : LinearField
    predictor : ProtohaloPredictor or FriendsOfFriendsPredictor
    cache, progress, on_spacing, on_range
        As in `predict`.

    Returns
    -------
    Prediction

    Raises
    ------
    OutOfRangeError
        Before any network runs.

    Examples
    --------
    >>> from yt_protohalos.yt_interface.predict import predict_field
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
    >>> prediction = predict_field(field, predictor)
    """
    card = predictor.card
    card.check_separation()
    _check_ranges(card, field, PredictionOptions(on_spacing=on_spacing, on_range=on_range))
    box = BoxPrediction(field, card, card.threshold, predictor.precision, lambda: predictor, cache=_cache(cache))
    return box.get(progress)


@contextmanager
def _named_memory_errors(n: int, card: Card) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        if card.method == "positions" and isinstance(error, OutOfMemoryError):
            raise  # said before the evolution, with its own remedy
        # final positions of a region need the evolution and the groups of the whole box
        smaller = "predict a part of the box (predict_region)"
        if card.method == "positions":
            smaller = "use method 'pseudo-space', which needs less"
        raise OutOfMemoryError(
            f"the prediction of {n}^3 sites does not fit the memory that is left ({error}); finished crops are kept in "
            f"the cache: run it again with more memory, or {smaller}"
        ) from error


@contextmanager
def _crop_folder(cache: PredictionCache | None, key: str, communicator: MPICommunicator) -> Iterator[Path | None]:
    """Folder for finished crops, from which an interrupted run resumes; removed when the prediction is complete.

    None without a cache, if another process uses the folder, or if the disk cannot be written. With MPI, rank 0 locks
    it for all.
    """
    if cache is None:
        yield None
        return
    folder = cache.path(key).with_suffix(".crops")
    with ExitStack() as stack:

        def take() -> bool:
            try:
                cache.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(lock_path(folder)))
                folder.mkdir(exist_ok=True)
            except BlockingIOError:
                ytLogger.warning(
                    "Another process computes the same prediction; both continue, but this one keeps no crops and so "
                    "cannot resume. To wait for the other instead, stop this one."
                )
                return False
            except OSError as error:
                ytLogger.warning("Finished crops are not kept, so an interrupted run cannot resume: %s", error)
                return False
            return True

        if not communicator.broadcast(take):
            yield None
            return
        yield folder
        with communicator.barrier():
            pass  # the folder stays until no rank reads from it
        if communicator.is_root:
            shutil.rmtree(folder, ignore_errors=True)
            lock_path(folder).unlink(missing_ok=True)


def _cache(cache: bool | str | os.PathLike[str]) -> PredictionCache | None:
    if cache is False:
        return None
    return PredictionCache(None if cache is True else Path(cache).expanduser())
