"""The one whole-box prediction of a dataset: when it runs, and where its result is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from yt.data_objects.static_output import Dataset
from yt.funcs import get_pbar
from yt.utilities.logger import ytLogger
from yt.utilities.parallel_tools.parallel_analysis_interface import communication_system

from .._utils.locks import file_lock, lock_path
from .._utils.progress import Progress, set_bar
from ..exceptions import MissingPredictionError, OutOfMemoryError, ParallelError, StoreError
from ..fields.cosmology import target_redshift
from ..fields.linear_field import LinearField
from ..models.card import ModelCard
from ..models.registry import DEFAULT_MODEL, load_card, verify
from ..models.validity import check_range, model_side
from ..prediction.predictor import ProtohaloPredictor
from ..prediction.result import Prediction
from ..prediction.store import PredictionCache, cache_key, field_identity
from .fingerprint import check_unchanged
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .shared_field import shared_field

_MEMO = "_protohalo_memo"
_DEFAULTS = PredictionOptions()


class _Bar:
    """yt's progress bar, which counts in totals, behind the steps of `progress.track`."""

    def __init__(self, title: str, total: int) -> None:
        self._bar = get_pbar(title, total)
        self._done = 0

    def update(self, step: int) -> None:
        self._done += step
        self._bar.update(self._done)

    def close(self) -> None:
        self._bar.finish()


class BoxPrediction:
    """The whole-box prediction of one linear field for one model and settings, computed at most once.

    It knows the field but not the dataset, so that field functions may hold it without keeping the dataset alive.

    Parameters
    ----------
    field : LinearField
    card : ModelCard
    settings : dict
        ``threshold`` (float) and ``precision`` (str).
    make_predictor : callable
        Returns the predictor; called only if the networks must run.
    cache : PredictionCache, optional
        Where other processes find the result.
    source : LinearField, optional
        The field at z = 0 that `field` was made from, kept alive beside it.
    """

    def __init__(
        self,
        field: LinearField,
        card: ModelCard,
        settings: dict[str, Any],
        make_predictor: Callable[[], ProtohaloPredictor],
        cache: PredictionCache | None = None,
        source: LinearField | None = None,
    ) -> None:
        self.field = field
        self.source = source
        self.card = card
        self.settings = settings
        self._make_predictor = make_predictor
        self._cache = cache
        self._prediction: Prediction | None = None

    @cached_property
    def key(self) -> str:
        """Key of the prediction in the cache: the field's bytes, the weights and the settings."""
        identity = {
            **field_identity(self.field),
            "redshift": self.field.redshift,
            "site_offset": self.field.site_offset,
            "cosmology": asdict(self.field.cosmology),
        }
        return cache_key(identity, self.card.sha256, self.settings)

    @property
    def is_ready(self) -> bool:
        """Whether the prediction is in memory."""
        return self._prediction is not None

    def get(self, progress: Progress = True) -> Prediction:
        """The prediction: from memory, else from disk, else from the networks."""
        if self._prediction is None:
            self._prediction = self._read() or self._run(progress)
        return self._prediction

    def get_lazily(self) -> Prediction:
        """The prediction for a field function, which must not start collective work on one rank alone."""
        if not self.is_ready and communication_system.communicators[-1].size > 1:
            raise MissingPredictionError(
                "no prediction exists, and a field must not start one in a run of several ranks; "
                "call yt_protohalos.predict(ds) on every rank first"
            )
        return self.get()

    def _read(self) -> Prediction | None:
        communicator = MPICommunicator()
        # all ranks read it or none does
        if self._cache is None or not communicator.broadcast(self._cache.path(self.key).is_file):
            return None
        try:
            with communicator.barrier():
                prediction = self._cache.get(self.key)
        except (StoreError, ParallelError) as error:
            ytLogger.warning("Predicting again, because the cached prediction is unusable: %s", error)
            return None
        if prediction is not None:
            ytLogger.info("Read the protohalo prediction from %s", self._cache.path(self.key))
        return prediction

    def _run(self, progress: Progress) -> Prediction:
        set_bar(_Bar)
        ytLogger.info("Predicting protohaloes on %d^3 sites with model %s", self.field.n, self.card.name)
        communicator = MPICommunicator()
        communicator.take_device()
        predictor = self._make_predictor()
        # the ranges were checked when this object was made; a field must not fail on them later
        options = {"threshold": self.settings["threshold"], "on_spacing": "allow", "on_range": "allow"}
        with _named_memory_errors(self.field.n), _crop_folder(self._cache, self.key, communicator) as crops:
            prediction = predictor.predict(
                self.field, progress=progress, store=crops, communicator=communicator, **options
            )
            with communicator.barrier():
                if communicator.is_root and self._cache is not None:
                    self._keep(prediction)
        return prediction

    def _keep(self, prediction: Prediction) -> None:
        assert self._cache is not None
        try:
            ytLogger.info("Kept the protohalo prediction in %s", self._cache.put(self.key, prediction))
        except StoreError as error:
            ytLogger.warning("The prediction is not kept on disk: %s", error)


def box_prediction(ds: Dataset, options: PredictionOptions = _DEFAULTS) -> BoxPrediction:
    """The dataset's prediction object for some options; the same one for the same options.

    Reads and checks the initial conditions on first use; of several ranks the first does so for all, so that each of
    them must call this. With no options, the prediction chosen last for this dataset
    if there is one, else the default model's.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError
        Before any network runs.
    """
    check_unchanged(ds)
    memo = _memo(ds)
    if memo.current is not None and options == _DEFAULTS:
        return memo.current
    key, make = _request(ds, options)
    if key not in memo.boxes:
        memo.boxes[key] = make()
    memo.current = memo.boxes[key]
    return memo.current


def passing_prediction(ds: Dataset, options: PredictionOptions) -> BoxPrediction:
    """As `box_prediction`, but the dataset neither remembers it nor takes it for the one chosen last.

    For many predictions in turn, whose fields and cubes would else stay in memory together.
    """
    return _request(ds, options)[1]()


def _request(ds: Dataset, options: PredictionOptions) -> tuple[Any, Callable[[], BoxPrediction]]:
    """What tells one prediction of a dataset from another, and what makes it after checking the ranges."""
    predictor, precision = options.predictor, options.precision
    if predictor is None:
        name = DEFAULT_MODEL if options.model is None else options.model
        card, folder = load_card(name)
        verify(card, folder)
        make_predictor: Callable[[], ProtohaloPredictor] = partial(
            ProtohaloPredictor.from_pretrained, name, precision=precision
        )
    else:
        card, precision = predictor.card, predictor.precision
        make_predictor = partial(_itself, predictor)
    card.instance_network()
    threshold = card.threshold if options.threshold is None else float(options.threshold)
    disk = _cache(options.cache)
    field = shared_field(ds, 0.0, disk)
    redshift = target_redshift(options.redshift or 0.0)

    def make() -> BoxPrediction:
        target = shared_field(ds, redshift, disk) if redshift else field

        def check() -> None:
            model_side(card, field.lattice, options.on_spacing)
            check_range(card, target, options.on_range)

        MPICommunicator().broadcast(check)
        settings = {"threshold": threshold, "precision": precision}
        return BoxPrediction(target, card, settings, make_predictor, disk, source=field)

    # both objects live as long as the entry does, so that their ids are theirs alone
    return (id(field), id(predictor), card.sha256, threshold, precision, redshift, disk and disk.folder), make


@takes_options
def predict(
    ds: Dataset,
    model: str | Path | None = None,
    *,
    progress: Progress = True,
    **options: Unpack[OptionKeywords],
) -> Prediction:
    """Run the whole-box prediction of a dataset now, with a progress bar.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions, as `yt_protohalos.load` or `yt.load` returns them.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable
        True for yt's progress bar, False for none, or a callable as `progress.track` takes.

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
    predictor: ProtohaloPredictor,
    cache: bool | str | os.PathLike[str] = True,
    progress: Progress = True,
    on_spacing: str = "warn",
    on_range: str = "error",
) -> Prediction:
    """Predict a linear field without a dataset, kept on disk and resumed there as `predict` is.

    Parameters
    ----------
    field : LinearField
    predictor : ProtohaloPredictor
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
    >>> from yt_protohalos.yt_interface.dataset_state import predict_field
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v4")
    >>> prediction = predict_field(field, predictor)
    """
    card = predictor.card
    card.instance_network()
    model_side(card, field.lattice, on_spacing)
    check_range(card, field, on_range)
    settings = {"threshold": card.threshold, "precision": predictor.precision}
    return BoxPrediction(field, card, settings, partial(_itself, predictor), _cache(cache)).get(progress)


@dataclass
class _Memo:
    """What this package remembers of a dataset, kept on it so that both are freed together."""

    boxes: dict[Any, BoxPrediction] = dataclass_field(default_factory=dict)
    current: BoxPrediction | None = None


def _memo(ds: Dataset) -> _Memo:
    memo = getattr(ds, _MEMO, None)
    if memo is None:
        memo = _Memo()
        setattr(ds, _MEMO, memo)
    return memo


@contextmanager
def _named_memory_errors(n: int) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(
            f"the prediction of {n}^3 sites does not fit the memory that is left ({error}); finished crops are kept in "
            "the cache: run it again with more memory, or predict a part of the box (predict_region)"
        ) from error


@contextmanager
def _crop_folder(cache: PredictionCache | None, key: str, communicator: MPICommunicator) -> Iterator[Path | None]:
    """Folder for finished crops, from which an interrupted run resumes; removed when all went well.

    None without a cache, if another process is at work there, or if the disk cannot be written. Of several ranks the
    first holds it for all.
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
                    "Another process is at work on the same prediction; both go on, and this one keeps "
                    "no crops, so that it cannot resume. To wait for the other instead, stop this one."
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
            pass  # no rank may lose the folder while another reads from it
        if communicator.is_root:
            shutil.rmtree(folder, ignore_errors=True)
            lock_path(folder).unlink(missing_ok=True)


def _itself(predictor: ProtohaloPredictor) -> ProtohaloPredictor:
    return predictor


def _cache(cache: bool | str | os.PathLike[str]) -> PredictionCache | None:
    if cache is False:
        return None
    return PredictionCache(None if cache is True else Path(cache).expanduser())
