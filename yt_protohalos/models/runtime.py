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
from .backend import import_keras
from .card import NetworkCard
from .registry import weights_folder

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]

CPU_FACTS = Path("/proc/cpuinfo")
GPU_BUDGET = 8 * 2**30
"""Bytes of a GPU that batches are made for where its backend does not say how many are free."""
GPU_SHARE = 0.5
"""Part of that memory for activations by `bytes_per_site`: the rest is for what an estimate misses."""
LARGEST_BATCH = 16


_POLICIES: dict[str, dict[str, Any]] = {
    "float32": {},
    "mixed": {"dtype_policy": "mixed_bfloat16", "fine_policy": "float32"},
    "bfloat16": {"dtype_policy": "mixed_bfloat16"},
}


def best_precision() -> str:
    """Precision worth having on this machine.

    ``"bfloat16"`` where hardware multiplies matrices in it (AMX, a GPU), ``"mixed"`` where a processor has instructions
    for it and gains little, ``"float32"`` elsewhere.
    """
    flags = set(CPU_FACTS.read_text(encoding="ascii", errors="replace").split()) if CPU_FACTS.is_file() else set()
    if "amx_bf16" in flags or _sees_gpu():
        return "bfloat16"
    return "mixed" if "avx512_bf16" in flags else "float32"


def crops_at_once(card: NetworkCard) -> int:
    """Crops of a network that the memory of the GPU takes at once; 1 on a processor, where more are no faster."""
    free = _free_gpu_memory() if _sees_gpu() else None
    if free is None:
        return 1
    return max(1, min(LARGEST_BATCH, int(GPU_SHARE * free / (card.side**3 * bytes_per_site(card)))))


def bytes_per_site(card: NetworkCard) -> int:
    """Memory that a V-Net needs for each site of a crop while it runs, an estimate in float32.

    Seven times the filters of the finest level, and the channels: at its end there are the skipped and the incoming
    features, both again as one array, and the output of a convolution. ``planck-v4`` takes 442 (semantic, 144^3) and
    393 (instance, 96^3) by measurement on a processor, and 492 and 496 by this.
    """
    return 4 * (7 * card.architecture["filters"][0] + card.architecture["in_channels"])


def _free_gpu_memory() -> int:
    """Bytes that the backend says it may still take of its GPU; `GPU_BUDGET` where it says nothing, as tensorflow."""
    backend = import_keras().backend.backend()
    if backend == "torch":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    if backend == "jax":
        import jax

        known = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" in known:
            return int(known["bytes_limit"] - known.get("bytes_in_use", 0))
    return GPU_BUDGET


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
    from .vnet import build_vnet

    path = weights_folder(card, folder) / card.weights
    _check_weights(card, path)
    try:
        model = build_vnet(**card.architecture, **_POLICIES[precision])
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
        with open_hdf5(path) as file:
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
