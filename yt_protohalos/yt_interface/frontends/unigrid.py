"""A yt dataset of one uniform, cubic, periodic grid: the base of the frontends of this package."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from yt.data_objects.index_subobjects.grid_patch import AMRGridPatch
from yt.data_objects.static_output import Dataset
from yt.fields.field_info_container import FieldInfoContainer
from yt.geometry.grid_geometry_handler import GridIndex
from yt.utilities.cosmology import Cosmology as YTCosmology
from yt.utilities.io_handler import BaseIOHandler

from ...fields.cosmology import Cosmology
from ...fields.units import Quantity
from ...initial_conditions.readers.music_conf import BoxFacts


class UnigridGrid(AMRGridPatch):
    """The one grid."""

    _id_offset = 0

    def __init__(self, id: int, index: Any) -> None:
        super().__init__(id, filename=index.index_filename, index=index)
        self.Parent = None
        self.Children: list[Any] = []
        self.Level = 0


class UnigridIndex(GridIndex):
    """Index of a single grid that fills the box."""

    def __init__(self, ds: Any, dataset_type: str) -> None:
        self.dataset_type = dataset_type
        self.dataset = weakref.proxy(ds)
        self.index_filename = ds.parameter_filename
        self.directory = str(Path(self.index_filename).parent)
        self.float_type = "float64"
        super().__init__(ds, dataset_type)

    def _detect_output_fields(self) -> None:
        self.field_list = [(self.dataset.fluid_type, name) for name in self.dataset._cube_names]

    def _count_grids(self) -> None:
        self.num_grids = 1

    def _parse_index(self) -> None:
        self.grid_left_edge[0] = self.dataset.domain_left_edge
        self.grid_right_edge[0] = self.dataset.domain_right_edge
        self.grid_dimensions[0] = self.dataset.domain_dimensions
        self.grid_particle_count[0] = 0
        self.grid_levels[0] = 0
        self.max_level = 0
        self.grids = np.array([UnigridGrid(0, self)], dtype=object)

    def _populate_grid_objects(self) -> None:
        for grid in self.grids:
            grid._prepare_grid()
            grid._setup_dx()


class UnigridIOHandler(BaseIOHandler):
    """Reads whole cubes through the dataset's `read_cube`."""

    _particle_reader = False
    _dataset_type = "protohalos_unigrid"

    def io_iter(self, chunks: Iterable[Any], fields: list[tuple[str, str]]) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (field, grid, cube) for each grid and field."""
        for chunk in chunks:
            for grid in chunk.objs:
                for field in fields:
                    yield field, grid, self.ds.read_cube(field[1])

    def _read_chunk_data(self, chunk: Any, fields: list[tuple[str, str]]) -> dict[int, dict[Any, Any]]:
        return {grid.id: {field: self.ds.read_cube(field[1]) for field in fields} for grid in chunk.objs}


class UnigridFieldInfo(FieldInfoContainer):
    """No particles; subclasses list their cubes."""

    known_particle_fields = ()


class UnigridDataset(Dataset):
    """Base of the grid frontends. Subclasses define `_open` and set the attributes.

    Attributes
    ----------
    fluid_type : str
        Field type of the cubes on disk.
    linear_density_field : (str, str) or None
        Linear overdensity at the dataset's redshift.
    displacement_fields : (list, list) or None
        Displacement and velocity fields along x, y and z, to be used if there is no density.
    _layout : object
        Its ``read(name)`` returns a cube, float64 (n, n, n); set by `_open`.
    _cube_names : list of str
        Names of the cubes on disk; set by `_open`.
    """

    _index_class = UnigridIndex
    _field_info_class = UnigridFieldInfo
    fluid_type = "unigrid"
    linear_density_field: tuple[str, str] | None = None
    displacement_fields: tuple[list[tuple[str, str]], list[tuple[str, str]]] | None = None
    displacement_offset = 0.5
    _layout: Any
    _cube_names: list[str]

    def __init__(
        self,
        filename: str,
        dataset_type: str = "protohalos_unigrid",
        *,
        box_size: Quantity | None = None,
        redshift: float | None = None,
        cosmology: Cosmology | None = None,
        conf: str | None = None,
        **kwargs: Any,
    ) -> None:
        if self._instantiated:
            return
        self.fluid_types += (self.fluid_type,)
        self._given, self._conf = BoxFacts(box_size, redshift, cosmology), conf
        super().__init__(filename, dataset_type, **kwargs)

    def _open(self) -> tuple[int, float, float, Cosmology]:
        """Open the file and return sites per side, box size in comoving Mpc/h, redshift and cosmology."""
        raise NotImplementedError

    def read_cube(self, name: str) -> Any:
        """One cube, float64, (n, n, n), x on axis 0, in the unit of the field on disk."""
        return self._layout.read(name)

    def _parse_parameter_file(self) -> None:
        n, size, redshift, cosmology = self._open()
        self.box_size = size
        self.parameters.update(OmegaBaryon=cosmology.omega_b, Sigma8=cosmology.sigma_8, PrimordialIndex=cosmology.n_s)
        self.dimensionality = 3
        self.refine_by = 2
        self.domain_left_edge = np.zeros(3)
        self.domain_right_edge = np.ones(3)
        self.domain_dimensions = np.full(3, n, dtype=np.int64)
        self._periodicity = (True, True, True)
        self.cosmological_simulation = 1
        self.current_redshift = redshift
        self.hubble_constant = cosmology.h
        self.omega_matter, self.omega_lambda = cosmology.omega_m, cosmology.omega_lambda
        background = YTCosmology(cosmology.h, cosmology.omega_m, cosmology.omega_lambda)
        self.current_time = float(background.t_from_z(redshift).to("s"))

    def _set_code_unit_attributes(self) -> None:
        self.length_unit = self.quan(self.box_size, "Mpccm/h")
        self.time_unit = self.quan(1.0, "s")
        self.velocity_unit = self.quan(1.0, "km/s")
        self.mass_unit = self.quan(1.0, "Msun/h")
