"""Import of keras and its backend when a network is first needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from .._utils.system import available_addresses, silent_descriptor
from ..exceptions import OutOfMemoryError

BACKEND_ADDRESSES = 3 * 2**29
"""Bytes of address space that tensorflow takes when it is imported."""


def check_addresses(needed: int = 0) -> None:
    """Raise `OutOfMemoryError` if ``ulimit -v`` leaves too little for a network, and its backend if that is to come.

    A backend that cannot reserve addresses may end the process. `needed` is the memory of the network in bytes.
    """
    needed += 0 if "keras" in sys.modules else BACKEND_ADDRESSES
    left = available_addresses()
    if left is not None and left < needed:
        raise OutOfMemoryError(
            f"the limit of address space (ulimit -v) leaves {left / 2**30:.2g} GiB, and a network with its library "
            f"needs {needed / 2**30:.2g}, without which it may end the process; raise the limit (ulimit -v unlimited), "
            "or use method='fof', which needs no network"
        )


@contextmanager
def without_backend_lines() -> Iterator[None]:
    """Drop lines that the backend writes to the terminal, unless ``TF_CPP_MIN_LOG_LEVEL`` is 0 or 1."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        yield
        return
    with silent_descriptor(2):
        yield


def import_keras() -> Any:
    """Import keras without the start-up lines of its backend, unless ``TF_CPP_MIN_LOG_LEVEL`` is 0 or 1.

    TensorFlow convolves with oneDNN by itself on recent processors alone. Here it does so on all, because with AVX2 the
    convolutions of a training then take half the time; ``TF_ENABLE_ONEDNN_OPTS=0`` turns that off.

    Raises `OutOfMemoryError` if ``ulimit -v`` leaves too little.
    """
    if "keras" not in sys.modules:
        check_addresses()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # tensorflow writes lines before it reads its settings
    with nullcontext() if "keras" in sys.modules else without_backend_lines():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            # the first look for GPUs writes lines too if there is none
            tensorflow.config.list_physical_devices()
    return keras
