"""A yt dataset of one uniform, cubic, periodic grid: the base of the frontends of this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from yt.data_objects.static_output import Dataset
from yt.frontends.nc4_cm1.data_structures import CM1Hierarchy
from yt.utilities.cosmology import Cosmology as YTCosmology
from yt.utilities.io_handler import BaseIOHandler

from ...fields.cosmology import Cosmology
from ...fields.units import Quantity
from ...initial_conditions.readers.music import BoxFacts
from ..comoving_axes import ComovingAxes


class UnigridIndex(CM1Hierarchy):
    """Index of a single grid that fills the box, as yt has it for another format of one grid."""

    def _detect_output_fields(self) -> None:
        self.field_list = [(self.dataset.fluid_type, name) for name in self.dataset._cube_names]


class UnigridIOHandler(BaseIOHandler):
    """Reads whole cubes through the dataset's `read_cube`."""

    _particle_reader = False
    _dataset_type = "protohalos_unigrid"

    def io_iter(self, chunks: Iterable[Any], fields: list[tuple[str, str]]) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (field, grid, cube) for each grid and field."""
        for grid in chain.from_iterable(chunk.objs for chunk in chunks):
            for field in fields:
                yield field, grid, self.ds.read_cube(field[1])


class UnigridDataset(ComovingAxes, Dataset):
    """Base of the grid frontends.

    Subclasses set `fluid_type`, the field type of the cubes on disk, and `_field_info_class`. They name the linear
    overdensity at the dataset's redshift or, to be used without a density, the displacement and velocity fields along
    x, y and z. Their `_open` sets `_cube_names`, the names on disk, and `_layout`, whose ``read(name)`` returns a cube,
    float64 (n, n, n).
    """

    _index_class = UnigridIndex
    fluid_type: str
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
