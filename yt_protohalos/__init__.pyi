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
from .prediction.fof_predictor import FriendsOfFriendsPredictor as FriendsOfFriendsPredictor
from .prediction.position_predictor import PositionPredictor as PositionPredictor
from .prediction.predictor import ProtohaloPredictor as ProtohaloPredictor
from .prediction.result import Prediction as Prediction
from .prediction.result import RegionPrediction as RegionPrediction
from .segmentation.clustering import cluster_embedding as cluster_embedding
from .segmentation.stitching import stitch_lattices as stitch_lattices
from .yt_interface.fields import add_protohalo_fields as add_protohalo_fields
from .yt_interface.finder import ProtohaloFinder as ProtohaloFinder
from .yt_interface.finder import find_protohalos as find_protohalos
from .yt_interface.finder import rebuild_catalog as rebuild_catalog
from .yt_interface.lattice_grid import lattice_dataset as lattice_dataset
from .yt_interface.linear import linear_field as linear_field
from .yt_interface.load import load as load
from .yt_interface.predict import predict as predict
from .yt_interface.tree import ProgenitorTree as ProgenitorTree
from .yt_interface.tree import progenitor_tree as progenitor_tree

__version__: str
__all__: list[str]

def _set_yt_alias() -> None: ...
