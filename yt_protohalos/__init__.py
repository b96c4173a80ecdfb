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
    from .analysis.matching import compare as compare
    from .catalog.catalog import Catalog as Catalog
    from .catalog.catalog import protohalo_catalog as protohalo_catalog
    from .catalog.progenitors import ProgenitorLinks as ProgenitorLinks
    from .catalog.progenitors import progenitor_links as progenitor_links
    from .catalog.zoom import ZoomRegion as ZoomRegion
    from .catalog.zoom import zoom_region as zoom_region
    from .fields.cosmology import PAPER_COSMOLOGY as PAPER_COSMOLOGY
    from .fields.cosmology import Cosmology as Cosmology
    from .fields.lattice import Lattice as Lattice
    from .fields.linear_field import LinearField as LinearField
    from .fields.perturbations import add_overdensity as add_overdensity
    from .fields.perturbations import add_tide as add_tide
    from .fields.perturbations import scale_amplitude as scale_amplitude
    from .fields.region import Region as Region
    from .initial_conditions.generate import generate_initial_conditions as generate_initial_conditions
    from .prediction.predictor import ProtohaloPredictor as ProtohaloPredictor
    from .prediction.regional import RegionPrediction as RegionPrediction
    from .prediction.regional import predict_region as predict_region
    from .prediction.result import Prediction as Prediction
    from .segmentation.clustering import cluster_embedding as cluster_embedding
    from .segmentation.stitching import stitch_lattices as stitch_lattices
    from .yt_interface.dataset_state import predict as predict
    from .yt_interface.fields import add_protohalo_fields as add_protohalo_fields
    from .yt_interface.finder import ProtohaloFinder as ProtohaloFinder
    from .yt_interface.finder import find_protohalos as find_protohalos
    from .yt_interface.finder import rebuild_catalog as rebuild_catalog
    from .yt_interface.lattice_grid import lattice_dataset as lattice_dataset
    from .yt_interface.load import load as load
    from .yt_interface.tree import ProgenitorTree as ProgenitorTree
    from .yt_interface.tree import progenitor_tree as progenitor_tree

__version__ = "0.1.0"

_HOME = {
    "load": "yt_interface.load",
    "linear_field": "yt_interface.linear",
    "add_protohalo_fields": "yt_interface.fields",
    "predict": "yt_interface.dataset_state",
    "find_protohalos": "yt_interface.finder",
    "ProtohaloFinder": "yt_interface.finder",
    "rebuild_catalog": "yt_interface.finder",
    "lattice_dataset": "yt_interface.lattice_grid",
    "ProtohaloPredictor": "prediction.predictor",
    "Prediction": "prediction.result",
    "Catalog": "catalog.catalog",
    "protohalo_catalog": "catalog.catalog",
    "zoom_region": "catalog.zoom",
    "ZoomRegion": "catalog.zoom",
    "generate_initial_conditions": "initial_conditions.generate",
    "LinearField": "fields.linear_field",
    "Lattice": "fields.lattice",
    "Cosmology": "fields.cosmology",
    "PAPER_COSMOLOGY": "fields.cosmology",
    "Region": "fields.region",
    "predict_region": "prediction.regional",
    "RegionPrediction": "prediction.regional",
    "add_overdensity": "fields.perturbations",
    "add_tide": "fields.perturbations",
    "scale_amplitude": "fields.perturbations",
    "progenitor_links": "catalog.progenitors",
    "ProgenitorLinks": "catalog.progenitors",
    "progenitor_tree": "yt_interface.tree",
    "ProgenitorTree": "yt_interface.tree",
    "compare": "analysis.matching",
    "lagrangian_bias": "analysis.bias",
    "cluster_embedding": "segmentation.clustering",
    "stitch_lattices": "segmentation.stitching",
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
