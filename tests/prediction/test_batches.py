"""Crops in batches: the same labels for any size, and a batch that is too large for the memory is made smaller."""

from __future__ import annotations

import numpy as np
import pytest
from small_model import SIDE, SPACING, write_small_model
from standins import make_card, make_field, make_predictor

from yt_protohalos.exceptions import OutOfMemoryError
from yt_protohalos.models import runtime
from yt_protohalos.prediction.inference import Batch, is_out_of_memory
from yt_protohalos.prediction.predictor import ProtohaloPredictor

N = 24


class ResourceExhaustedError(Exception):
    """As tensorflow has it, which is no MemoryError."""


class AbortedError(Exception):
    """As tensorflow has it, for whatever oneDNN refuses."""


class XlaRuntimeError(RuntimeError):
    """As jax has it, for whatever goes wrong."""


class Limited:
    """The stand-in networks, one crop after the other, in a memory of `most` crops."""

    def __init__(self, most: int, error: Exception) -> None:
        self.one = make_predictor()
        self.most, self.error = most, error
        self.batches: dict[str, list[int]] = {"semantic": [], "instance": []}

    def predictor(self, size: int) -> ProtohaloPredictor:
        def run(head: str):
            network = getattr(self.one, head)

            def limited(batch: np.ndarray) -> np.ndarray:
                if len(batch) > self.most:
                    raise self.error
                self.batches[head].append(len(batch))
                return np.concatenate([network(each[None]) for each in batch])

            return limited

        sizes = {"semantic": size, "instance": size}
        return ProtohaloPredictor(self.one.card, run("semantic"), run("instance"), batch=sizes)


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def prediction(field):
    return make_predictor().predict(field, progress=False)


@pytest.mark.parametrize("size", [2, 3, 64])
def test_labels_are_equal_site_by_site_for_any_batch(field, prediction, size):
    networks = Limited(64, RuntimeError())
    found = networks.predictor(size).predict(field, progress=False)
    np.testing.assert_array_equal(found.labels, prediction.labels)
    np.testing.assert_array_equal(found.probability, prediction.probability)
    assert max(networks.batches["semantic"]) == min(size, 8) and sum(networks.batches["semantic"]) == 8
    assert max(networks.batches["instance"]) == min(size, 16) and sum(networks.batches["instance"]) == 16


OUT_OF_MEMORY = (
    ResourceExhaustedError("OOM when allocating tensor with shape[16,144,144,144,32]"),
    XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9663676416 bytes."),
    RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB"),
    MemoryError(),
)


def test_a_lack_of_memory_is_known_by_what_each_backend_calls_it():
    assert all(map(is_out_of_memory, OUT_OF_MEMORY))
    failed = "Operation received an exception:Status: {}, message: could not create a primitive, in file mkl.cc"
    assert is_out_of_memory(AbortedError(failed.format(1)))
    assert not is_out_of_memory(AbortedError(failed.format(3)))  # not implemented


@pytest.mark.parametrize(("most", "error"), [(1, OUT_OF_MEMORY[1]), (3, OUT_OF_MEMORY[0])])
def test_a_batch_that_does_not_fit_is_halved_and_stays_so(field, prediction, error, most):
    networks = Limited(most, error)
    predictor = networks.predictor(8)
    np.testing.assert_array_equal(predictor.predict(field, progress=False).labels, prediction.labels)
    fits = 2 if most == 3 else 1
    assert {batch.size for batch in predictor.batches.values()} == {fits}
    assert set(networks.batches["semantic"]) == {fits} and sum(networks.batches["semantic"]) == 8


def test_one_crop_that_does_not_fit_is_an_error_with_a_remedy_and_finished_crops_are_kept(field, prediction, tmp_path):
    networks = Limited(0, OUT_OF_MEMORY[0])
    predictor = networks.predictor(4)
    predictor.semantic = networks.one.semantic
    predictor.batches["semantic"].size = 1
    with pytest.raises(OutOfMemoryError, match=r"one crop .*ResourceExhaustedError.* take a GPU with more"):
        predictor.predict(field, progress=False, store=tmp_path / "crops")
    assert networks.one.standins.calls["semantic"] == 8
    networks.most = 2
    found = predictor.predict(field, progress=False, store=tmp_path / "crops")
    assert networks.one.standins.calls["semantic"] == 8
    np.testing.assert_array_equal(found.labels, prediction.labels)


def test_a_killed_batch_loses_no_batch_before_it(field, prediction, tmp_path):
    networks = Limited(4, KeyboardInterrupt())
    predictor = networks.predictor(4)

    def stop_after(items, title, total):
        for number, item in enumerate(items):
            if title == "Separating protohalos" and number == 5:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(field, progress=stop_after, store=tmp_path / "crops")
    assert len(list((tmp_path / "crops").glob("labels_*.npy"))) == 5
    again = Limited(4, KeyboardInterrupt())
    found = again.predictor(4).predict(field, progress=False, store=tmp_path / "crops")
    np.testing.assert_array_equal(found.labels, prediction.labels)
    assert again.batches == {"semantic": [], "instance": [4, 4, 3]}


@pytest.mark.parametrize("error", [ValueError("out of memory of a kind"), RuntimeError("shapes differ"), KeyError("x")])
def test_other_errors_are_not_taken_for_a_lack_of_memory(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)), Batch(4).halve_if_full(2):
        raise error


@pytest.mark.slow
def test_real_networks_give_the_same_in_batches(tmp_path):
    folder = write_small_model(tmp_path / "model")
    one = ProtohaloPredictor.from_pretrained(folder, precision="float32")
    several = ProtohaloPredictor(one.card, one.semantic, one.instance, batch={"semantic": 3, "instance": 3})
    field = make_field(SIDE, spacing=SPACING)
    first, second = (each.predict(field, progress=False) for each in (one, several))
    # convolutions add up in another order
    np.testing.assert_allclose(second.probability, first.probability, atol=1e-5)
    np.testing.assert_array_equal(second.labels, first.labels)
    assert several.batches["semantic"].size == 3


def test_batches_follow_from_the_memory_of_a_gpu_and_are_one_without(monkeypatch):
    card = make_card().semantic
    need = card.side**3 * runtime.bytes_per_site(card)
    monkeypatch.setattr(runtime, "gpu_memory", lambda: None)
    assert runtime.crops_at_once(card) == 1
    for free, size in ((6.1 * need, 3), (0.1 * need, 1), (1e6 * need, runtime.LARGEST_BATCH)):
        monkeypatch.setattr(runtime, "gpu_memory", lambda free=free: int(free))
        assert runtime.crops_at_once(card) == size
