"""Keras, and through it the backend, loaded when a network is wanted and not before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .._utils.system import silent_descriptor


@contextmanager
def without_backend_lines() -> Iterator[None]:
    """Drop what the backend writes to the terminal, unless ``TF_CPP_MIN_LOG_LEVEL`` is 0 or 1; errors are raised."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        yield
        return
    with silent_descriptor(2):
        yield


def import_keras() -> Any:
    """Import keras without the start-up lines of its backend, unless ``TF_CPP_MIN_LOG_LEVEL`` is 0 or 1."""
    with ExitStack() as stack:
        if "keras" not in sys.modules:
            # no setting turns off what tensorflow says before it reads its own
            stack.enter_context(without_backend_lines())
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow

            # without a GPU its drivers complain at the first look, which may as well be here
            tensorflow.config.list_physical_devices()
    return keras
