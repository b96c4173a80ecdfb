"""Protohaloes in initial conditions, inside yt (López-Cano et al. 2024, A&A 685, A37).

Public names are imported when first used, so that ``import yt_protohalos`` loads neither keras nor tensorflow.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.bias import lagrangian_bias as lagrangian_bias
    from .analysis.compare import compare as compare
    from .catalog import Catalog as Catalog
    from .catalog import protohalo_catalog as protohalo_catalog
    from .clustering import cluster_embedding as cluster_embedding
    from .cosmology import PAPER_COSMOLOGY as PAPER_COSMOLOGY
    from .cosmology import Cosmology as Cosmology
    from .experiments import add_overdensity as add_overdensity
    from .experiments import add_tide as add_tide
    from .experiments import scale_amplitude as scale_amplitude
    from .initial_conditions.generate import generate_initial_conditions as generate_initial_conditions
    from .lattice import Lattice as Lattice
    from .linear_field import LinearField as LinearField
    from .prediction import Prediction as Prediction
    from .predictor import ProtohaloPredictor as ProtohaloPredictor
    from .progenitors import ProgenitorLinks as ProgenitorLinks
    from .progenitors import progenitor_links as progenitor_links
    from .region import Region as Region
    from .regional import RegionPrediction as RegionPrediction
    from .regional import predict_region as predict_region
    from .stitching import stitch_lattices as stitch_lattices
    from .surface.box import predict as predict
    from .surface.deposit import deposit_to_lattice as deposit_to_lattice
    from .surface.fields import add_protohalo_fields as add_protohalo_fields
    from .surface.finder import ProtohaloFinder as ProtohaloFinder
    from .surface.finder import find_protohalos as find_protohalos
    from .surface.finder import rebuild_catalog as rebuild_catalog
    from .surface.load import load as load
    from .surface.tree import ProgenitorTree as ProgenitorTree
    from .surface.tree import progenitor_tree as progenitor_tree
    from .zoom import ZoomRegion as ZoomRegion
    from .zoom import zoom_region as zoom_region

__version__ = "0.1.0"

_HOME = {
    "load": "surface.load",
    "linear_field": "surface.linear",
    "add_protohalo_fields": "surface.fields",
    "predict": "surface.box",
    "find_protohalos": "surface.finder",
    "ProtohaloFinder": "surface.finder",
    "rebuild_catalog": "surface.finder",
    "deposit_to_lattice": "surface.deposit",
    "ProtohaloPredictor": "predictor",
    "Prediction": "prediction",
    "Catalog": "catalog",
    "protohalo_catalog": "catalog",
    "zoom_region": "zoom",
    "ZoomRegion": "zoom",
    "generate_initial_conditions": "initial_conditions.generate",
    "LinearField": "linear_field",
    "Lattice": "lattice",
    "Cosmology": "cosmology",
    "PAPER_COSMOLOGY": "cosmology",
    "Region": "region",
    "predict_region": "regional",
    "RegionPrediction": "regional",
    "add_overdensity": "experiments",
    "add_tide": "experiments",
    "scale_amplitude": "experiments",
    "progenitor_links": "progenitors",
    "ProgenitorLinks": "progenitors",
    "progenitor_tree": "surface.tree",
    "ProgenitorTree": "surface.tree",
    "compare": "analysis.compare",
    "lagrangian_bias": "analysis.bias",
    "cluster_embedding": "clustering",
    "stitch_lattices": "stitching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _alias_in_yt()
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def _alias_in_yt() -> None:
    """Make ``yt.extensions.protohalos`` this package if yt is loaded: yt's own importer fails on Python >= 3.12."""
    if "yt" in sys.modules and "yt.extensions.protohalos" not in sys.modules:
        extensions = import_module("yt.extensions")
        sys.modules["yt.extensions.protohalos"] = sys.modules[__name__]
        extensions.__dict__["protohalos"] = sys.modules[__name__]


class _Package(ModuleType):
    """Keeps the function `linear_field` public although a submodule has the same name."""

    @property
    def linear_field(self) -> Any:
        return __getattr__("linear_field")

    @linear_field.setter
    def linear_field(self, submodule: ModuleType) -> None:
        """Importing the submodule would otherwise put it in the function's place."""


sys.modules[__name__].__class__ = _Package
_alias_in_yt()
