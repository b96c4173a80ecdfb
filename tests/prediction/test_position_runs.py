"""A prediction of final positions is one piece of work, however many ranks share it and however often it starts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from position_standins import CLUSTERING, Groups, position_card
from standins import make_field

import yt_protohalos as ph
from yt_protohalos.exceptions import (
    ClusteringError,
    ExperimentError,
    ModelError,
    OutOfMemoryError,
    StoreError,
)
from yt_protohalos.fields import particle_mesh
from yt_protohalos.fields.evolution import evolve_field
from yt_protohalos.prediction import evolved_channels, memory, position_predictor
from yt_protohalos.prediction.evolved_channels import ARRAYS
from yt_protohalos.prediction.position_predictor import BYTES_PER_SITE, PositionPredictor
from yt_protohalos.prediction.result import Prediction

N = 32
OPTIONS: dict[str, Any] = {"progress": False, "on_range": "allow"}


class Rank:
    """One of several ranks that are threads of this process."""

    def __init__(self, rank: int, size: int, meeting: threading.Barrier, table: list) -> None:
        self.rank, self.size, self.is_root = rank, size, rank == 0
        self._meeting, self._table = meeting, table

    def share(self, items: Sequence) -> Sequence:
        return items[self.rank :: self.size]

    @contextmanager
    def barrier(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._meeting.abort()
            raise
        self._meeting.wait(timeout=120)

    def broadcast(self, make: Callable[[], Any]) -> Any:
        with self.barrier():
            if self.is_root:
                self._table[0] = make()
        with self.barrier():
            return self._table[0]


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def prediction(field) -> Prediction:
    return PositionPredictor(position_card(), Groups(), None).predict(field, **OPTIONS)


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, str]]:
    """Name of each evolution and grouping, with that of the thread that made it."""
    made = []

    def counted(name: str) -> None:
        function = getattr(position_predictor, name)

        def count(*arguments: Any) -> Any:
            made.append((name, threading.current_thread().name))
            return function(*arguments)

        monkeypatch.setattr(position_predictor, name, count)

    counted("evolve_with_channels")
    counted("group_positions")
    return made


def test_the_first_of_two_ranks_evolves_and_groups_and_both_run_the_network(field, prediction, calls, tmp_path):
    meeting, table, networks = threading.Barrier(2), [None], [Groups(), Groups()]

    def predict(rank: int) -> Prediction:
        threading.current_thread().name = f"rank {rank}"
        predictor = PositionPredictor(position_card(), networks[rank], None)
        return predictor.predict(field, **OPTIONS, store=tmp_path, communicator=Rank(rank, 2, meeting, table))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(predict, range(2)))
    assert calls == [("evolve_with_channels", "rank 0"), ("group_positions", "rank 0")]
    assert [network.crops for network in networks] == [4, 4]
    for own in found:
        assert np.array_equal(own.labels, prediction.labels)
        assert np.array_equal(own.probability, prediction.probability)
        assert isinstance(own.evolved.displacement, np.memmap) and isinstance(own.evolved.velocity, np.memmap)
        assert np.array_equal(own.evolved.displacement, prediction.evolved.displacement)
        assert np.array_equal(own.evolved.velocity, prediction.evolved.velocity)
        assert np.array_equal(own.motion.position, prediction.motion.position)
        assert np.array_equal(own.motion.velocity, prediction.motion.velocity)


def test_several_ranks_without_a_store_are_refused(field):
    two = Rank(0, 2, threading.Barrier(1), [None])
    with pytest.raises(StoreError, match="2 ranks"):
        PositionPredictor(position_card(), Groups(), None).predict(field, **OPTIONS, communicator=two)


@pytest.mark.parametrize("moment", ["evolution", "channels", "network", "grouping"])
def test_a_run_that_was_interrupted_at_any_moment_gives_the_same_labels(
    field, prediction, calls, tmp_path, monkeypatch, moment
):
    def interrupt(*arguments: Any, **keywords: Any) -> Any:
        raise KeyboardInterrupt

    network = Groups()
    owner, name = {
        "evolution": (particle_mesh, "_to_potential"),
        "channels": (evolved_channels, "log_densities"),
        "network": (position_predictor, "site_outputs"),
        "grouping": (position_predictor, "group_positions"),
    }[moment]
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupt)
        PositionPredictor(position_card(), network, None).predict(field, **OPTIONS, store=tmp_path)
    evolved = moment in ("network", "grouping")
    finished = {path.stem for path in tmp_path.glob("evolved_*.npy")}
    assert finished == ({f"evolved_{name}" for name in ARRAYS} if evolved else set())
    again = PositionPredictor(position_card(), network, None).predict(field, **OPTIONS, store=tmp_path)
    assert np.array_equal(again.labels, prediction.labels)
    assert not list(tmp_path.glob("evolving_*"))
    assert network.crops == 8
    assert [name for name, _ in calls].count("evolve_with_channels") == 1 + (not evolved)


def test_arrays_of_which_one_is_missing_are_made_again(field, prediction, calls, tmp_path):
    predictor = PositionPredictor(position_card(), Groups(), None)
    for _ in range(2):
        found = predictor.predict(field, **OPTIONS, store=tmp_path)
        assert np.array_equal(found.labels, prediction.labels)
        (tmp_path / "evolved_group_size.npy").unlink()
    assert [name for name, _ in calls].count("evolve_with_channels") == 2


def test_what_cannot_be_is_refused_before_the_evolution(field, monkeypatch):
    coarse = evolve_field(field)
    monkeypatch.setattr(position_predictor, "evolve_with_channels", lambda *_: pytest.fail("it was evolved"))
    predictor = PositionPredictor(position_card(), Groups(), None)
    deformed = ph.add_overdensity(field, 0.1)
    region = ph.Region((2, 2, 2), side=3.0)
    for predict in (predictor.predict, lambda *first, **rest: predictor.predict_region(*first, region, **rest)):
        with pytest.raises(ExperimentError, match="is not periodic"):
            predict(deformed, **OPTIONS)
        with pytest.raises(ModelError, match="lacks the channels mesh_density"):
            predict(field, **OPTIONS, evolved=coarse)
    long = position_card(clustering={**CLUSTERING, "linking_length": 11})
    with pytest.raises(ClusteringError, match=r"linking length 11 .* third of the 32 sites"):
        PositionPredictor(long, Groups(), None).predict(field, **OPTIONS)


@pytest.mark.parametrize("stored", [False, True])
def test_too_little_memory_is_said_before_the_evolution(field, tmp_path, monkeypatch, stored):
    predictor = PositionPredictor(position_card(), Groups(), None)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    monkeypatch.setattr(position_predictor, "evolve_with_channels", lambda *_: pytest.fail("it was evolved"))
    place, remedy = ("in a store", "or a model that") if stored else ("in memory", "a store .*'fof' with .*'fast'")
    said = rf"32\^3 sites needs .*{BYTES_PER_SITE[place]} bytes per site.*use a machine with more memory, {remedy}"
    with pytest.raises(OutOfMemoryError, match=said):
        predictor.predict(field, **OPTIONS, store=tmp_path if stored else None)
    assert not list(tmp_path.glob("evolv*"))
