"""Networks of a model as functions on numpy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FormatError, ModelError
from ..hdf5 import own_file
from ..networks.backend import import_keras
from .card import NetworkCard
from .registry import weights_folder

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def computes_bfloat16() -> bool:
    """Whether bfloat16 is worth having: a GPU, or a processor with instructions for it."""
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        flags = set(cpu.read_text(encoding="ascii", errors="replace").split())
        if flags & {"avx512_bf16", "amx_bf16"}:
            return True
    return _sees_gpu()


def _sees_gpu() -> bool:
    keras = import_keras()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available())
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    return False


def load_model(card: NetworkCard, folder: Path, precision: str) -> Any:
    """Build a network as a keras model and load its weights (float16 files are cast).

    Raises
    ------
    ModelError
        The file lacks weights of the architecture, or holds others.
    """
    from ..networks.vnet import build_vnet

    path = weights_folder(card, folder) / card.weights
    _check_weights(card, path)
    try:
        model = build_vnet(**card.architecture, dtype_policy="mixed_bfloat16" if precision == "bfloat16" else None)
        for weight in model.weights:
            weight.assign(np.full(weight.shape, np.nan, dtype=np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except ModelError:
        raise
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise ModelError(f"{path} does not fit the architecture of its card ({error}); restore both") from error
    # keras only warns when a file of another version lacks a layer, and leaves its weights as they were
    missing = [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
    if missing:
        raise ModelError(f"{path} lacks finite weights of {', '.join(missing)}; restore the file")
    return model


def _check_weights(card: NetworkCard, path: Path) -> None:
    """Raise `ModelError` unless a file holds weights alone, and enough of them for the largest layers of its card.

    So nothing outside the file is read, and a network that is too large for it is never built.
    """
    import h5py

    found = [0]

    def count(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.dtype.kind not in "fiu":
                raise ModelError(f"{item.name} of {path} holds {item.dtype}; weights are numbers, restore the file")
            found[0] += item.size or 0

    try:
        with own_file(path) as file:
            file.visititems(count)
    except (FormatError, OSError) as error:
        raise ModelError(f"{path} holds no weights that can be loaded ({error}); restore the file") from error
    # each level has convolutions from its filters to as many
    needed = sum(27 * width**2 for width in card.architecture["filters"])
    if found[0] < needed:
        raise ModelError(
            f"{path} holds {found[0]} numbers, the architecture of its card needs over {needed}; restore both"
        )


def load_network(card: NetworkCard, folder: Path, precision: str) -> Network:
    """`load_model` wrapped in numpy."""
    model = load_model(card, folder, precision)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model.predict_on_batch(batch), dtype=np.float32)

    return run
