"""The same labels on one machine for any number of threads, and on any backend of keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_model import write_small_model, write_small_position_model
from standins import same_partition

N = 32
SCRIPT = Path(__file__).parents[1] / "support" / "backend_labels.py"


@pytest.fixture(scope="module", params=[write_small_position_model, write_small_model])
def model(request, tmp_path_factory) -> Path:
    return request.param(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def predict_apart(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")

    def run(name: str, cores: int, backend: str = "tensorflow") -> dict[str, np.ndarray]:
        output = folder / f"{name}.npz"
        # threads beyond the cores, where libraries take their number from elsewhere
        environment = {
            **os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": str(cores), "NUMBA_NUM_THREADS": str(cores),
        }  # fmt: skip
        command = [sys.executable, str(SCRIPT), str(model), str(N), str(output), str(cores)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(output) as found:
            return dict(found)

    return run


@pytest.fixture(scope="module")
def reference(predict_apart):
    return predict_apart("two", 2)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the process may use one core only")
def test_labels_are_the_same_for_one_and_two_threads(predict_apart, reference):
    alone = predict_apart("one", 1)
    assert (alone["cores"], reference["cores"]) == (1, 2)
    assert reference["labels"].max() >= 5, "few labels would prove little"
    np.testing.assert_array_equal(alone["labels"], reference["labels"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_backends_of_keras_give_the_same_labels(predict_apart, reference, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    other = predict_apart(backend, 2, backend)
    assert str(other["backend"]) == backend
    np.testing.assert_allclose(other["probability"], reference["probability"], atol=1e-4)
    same = np.mean((other["labels"] > 0) == (reference["labels"] > 0))
    assert same == 1.0 and same_partition(other["labels"], reference["labels"])
