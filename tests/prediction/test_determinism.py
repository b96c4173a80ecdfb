"""The same labels on one machine for any number of threads, and on any backend of keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_model import write_small_model, write_small_position_model
from standins import same_partition

N = 32
WRITE = {"positions": write_small_position_model, "pseudo-space": write_small_model}
SCRIPT = Path(__file__).parents[1] / "support" / "backend_labels.py"


@pytest.fixture(scope="module")
def predict_apart(tmp_path_factory) -> Callable[..., dict[str, dict[str, np.ndarray]]]:
    """Labels by method, of one process for all models: it takes longer to begin than to predict."""
    models = {method: write(tmp_path_factory.mktemp("models") / "small") for method, write in WRITE.items()}

    def run(cores: int, backend: str = "tensorflow") -> dict[str, dict[str, np.ndarray]]:
        folder = tmp_path_factory.mktemp("labels")
        # threads beyond the cores, where libraries take their number from elsewhere
        environment = {
            **os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": str(cores), "NUMBA_NUM_THREADS": str(cores),
        }  # fmt: skip
        outputs = {method: folder / f"{method}.npz" for method in models}
        pairs = [f"{models[method]}={output}" for method, output in outputs.items()]
        command = [sys.executable, str(SCRIPT), str(N), str(cores), *pairs]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        found = {}
        for method, output in outputs.items():
            with np.load(output) as arrays:
                found[method] = dict(arrays)
        return found

    return run


@pytest.fixture(scope="module")
def reference(predict_apart):
    return predict_apart(2)


@pytest.fixture(scope="module")
def alone(predict_apart):
    return predict_apart(1)


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the process may use one core only")
@pytest.mark.parametrize("method", WRITE)
def test_labels_are_the_same_for_one_and_two_threads(alone, reference, method):
    one, two = alone[method], reference[method]
    assert (one["cores"], two["cores"]) == (1, 2)
    assert two["labels"].max() >= 5, "few labels would prove little"
    np.testing.assert_array_equal(one["labels"], two["labels"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_backends_of_keras_give_the_same_labels(predict_apart, reference, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    for method, other in predict_apart(2, backend).items():
        assert str(other["backend"]) == backend
        np.testing.assert_allclose(other["probability"], reference[method]["probability"], atol=1e-4)
        same = np.mean((other["labels"] > 0) == (reference[method]["labels"] > 0))
        assert same == 1.0 and same_partition(other["labels"], reference[method]["labels"])
