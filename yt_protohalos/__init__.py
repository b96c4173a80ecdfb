"""Protohaloes in initial conditions, inside yt (López-Cano et al. 2024, A&A 685, A37).

The public names are listed in ``__init__.pyi`` and imported when first used (SPEC 1), so that ``import yt_protohalos``
loads neither keras nor tensorflow.
"""

import sys

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _set_yt_alias() -> None:
    """Make ``yt.extensions.protohalos`` this package: yt's own importer fails on Python >= 3.12."""
    from importlib import import_module

    this = sys.modules[__name__]
    sys.modules["yt.extensions.protohalos"] = this
    vars(import_module("yt.extensions"))["protohalos"] = this


if "yt" in sys.modules:
    _set_yt_alias()
