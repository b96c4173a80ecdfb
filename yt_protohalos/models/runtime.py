"""Networks of a model as functions on numpy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import open_hdf5
from ..exceptions import FormatError, ModelError
from .backend import check_addresses, import_keras
from .card import NetworkCard
from .registry import weights_folder

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CPU_FACTS = Path("/proc/cpuinfo")
GPU_BUDGET = 8 * 2**30
"""Bytes of GPU memory that batches are made for if the backend does not report how many are free."""
GPU_SHARE = 0.5
"""Fraction of that memory given to activations; the rest covers the error of `bytes_per_site`."""
LARGEST_BATCH = 16

_POLICIES: dict[str, dict[str, Any]] = {
    "float32": {},
    "mixed": {"dtype_policy": "mixed_bfloat16", "fine_policy": "float32"},
    "bfloat16": {"dtype_policy": "mixed_bfloat16"},
}


def best_precision() -> str:
    """Choose the fastest precision of this machine, ``"bfloat16"``, ``"mixed"`` or ``"float32"``."""
    flags = set(CPU_FACTS.read_text(encoding="ascii", errors="replace").split()) if CPU_FACTS.is_file() else set()
    # AMX and GPUs multiply bfloat16 matrices; other processors only have instructions for it and gain little
    if "amx_bf16" in flags or gpu_memory() is not None:
        return "bfloat16"
    return "mixed" if "avx512_bf16" in flags else "float32"


def crops_at_once(card: NetworkCard) -> int:
    """Largest number of crops that fit the GPU's memory together; 1 on a processor, where more are no faster."""
    free = gpu_memory()
    if free is None:
        return 1
    return max(1, min(LARGEST_BATCH, int(GPU_SHARE * free / (card.side**3 * bytes_per_site(card)))))


def bytes_per_site(card: NetworkCard) -> int:
    """Estimate the memory in bytes that a network in float32 needs per site of a crop.

    The finest level holds seven times its filters at the end: the skipped and the incoming features, both again as one
    array, and the output of a convolution. For ``planck-v4``, 10 to 30 % more than measured.
    """
    return 4 * (7 * int(card.architecture["filters"][0]) + int(card.architecture["in_channels"]))


def gpu_memory() -> int | None:
    """Free bytes of the backend's GPU, `GPU_BUDGET` if it does not report them (tensorflow); None without a GPU."""
    backend = import_keras().backend.backend()
    if backend == "tensorflow":
        import tensorflow

        return GPU_BUDGET if tensorflow.config.list_physical_devices("GPU") else None
    if backend == "torch":
        import torch

        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        if jax.default_backend() == "gpu":
            known = jax.local_devices()[0].memory_stats() or {}
            return int(known.get("bytes_limit", GPU_BUDGET) - known.get("bytes_in_use", 0))
    return None


def load_model(card: NetworkCard, folder: Path, precision: str) -> Any:
    """Build a network as a keras model and load its weights; `ModelError` if the file does not hold just those."""
    from .position_network import build_network

    path = weights_folder(card, folder) / card.weights
    _check_weights(card, path)
    try:
        # a position network takes crops of any side
        any_side = {"side": None} if card.architecture["head"] == "positions" else {}
        model = build_network(**{**card.architecture, **any_side}, **_POLICIES[precision])
        for weight in model.weights:
            weight.assign(np.full(weight.shape, np.nan, dtype=np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except ModelError:
        raise
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise ModelError(f"{path} does not fit the architecture of its card ({error}); restore both") from error
    # keras only warns if the file lacks a layer, and leaves the weights of that layer as they were
    missing = [weight.path for weight in model.weights if not np.isfinite(np.asarray(weight)).all()]
    if missing:
        raise ModelError(f"{path} lacks finite weights of {', '.join(missing)}; restore the file")
    return model


def _check_weights(card: NetworkCard, path: Path) -> None:
    """Raise `ModelError` unless a file holds numbers alone, and enough of them for the convolutions of its card.

    So nothing outside the file is read, and a network that is too large for it is never built.
    """
    import h5py

    items: list[Any] = []
    try:
        with open_hdf5(path) as file:
            file.visititems(lambda _, item: items.append(item))
            arrays = {item.name: (item.size or 0, item.dtype) for item in items if isinstance(item, h5py.Dataset)}
    except (FormatError, OSError) as error:
        raise ModelError(f"{path} holds no weights that can be loaded ({error}); restore the file") from error
    for name, (_, dtype) in arrays.items():
        if dtype.kind not in "fiu":
            raise ModelError(f"{name} of {path} holds {dtype}; weights are numbers, restore the file")
    found = sum(size for size, _ in arrays.values())
    # each level has a convolution from its filters to as many
    needed = sum(27 * width**2 for width in card.architecture["filters"])
    if found < needed:
        raise ModelError(
            f"{path} holds {found} numbers, the architecture of its card needs over {needed}; restore both"
        )


def load_network(card: NetworkCard, folder: Path, precision: str) -> Network:
    """`load_model` as a function on numpy arrays; `OutOfMemoryError` if ``ulimit -v`` leaves too little for it."""
    check_addresses(card.side**3 * bytes_per_site(card))
    model = load_model(card, folder, precision)
    return lambda batch: np.asarray(model.predict_on_batch(batch), dtype=np.float32)
