"""A grid dataset of the fields on the Lagrangian lattice, because yt cannot slice particle datasets cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yt
from yt.data_objects.static_output import Dataset

from .._utils.progress import Progress
from .comoving_axes import LatticeGrid
from .fields import CELL_FIELDS, display_name
from .load import with_cosmology
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction


@takes_options
def lattice_dataset(
    ds: Dataset, model: str | Path | None = None, *, progress: Progress = True, **options: Unpack[OptionKeywords]
) -> Dataset:
    """Make a uniform grid of the cell fields on the Lagrangian lattice, which yt slices and projects.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable

    Returns
    -------
    yt Dataset
        In memory and periodic, with ``("gas", "protohalo_probability")``, ``_id``, ``_mass``,
        ``("gas", "linear_overdensity")`` and ``("gas", "linear_potential")``. Redshift and cosmology are those of `ds`,
        whatever the redshift of the prediction, since the sites are those of the initial conditions. Each cell is
        centred on its site, so the box of a lattice at cell corners begins half a spacing below zero. Plots have axes
        in comoving Mpc/h, and draw the catalogue of ``find_protohalos(ds, frame="lagrangian")``.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError
        Before any network runs.

    Examples
    --------
    >>> grid = ph.lattice_dataset(ds)
    >>> written = yt.SlicePlot(grid, "z", ("gas", "protohalo_mass")).save("mass.png")
    """
    box = box_prediction(ds, PredictionOptions.read(model, options))
    box.get(progress)
    linear, lattice = box.field, box.field.lattice
    sites = np.arange(lattice.n_sites, dtype=np.int64).reshape(lattice.shape)
    start = (linear.site_offset - 0.5) * linear.spacing
    grid = yt.load_uniform_grid(
        {("gas", name): (field.values(box, sites), field.units) for name, field in CELL_FIELDS.items()},
        lattice.shape,
        bbox=np.full((3, 2), [start, start + linear.box_size]),
        periodicity=(True, True, True),
        dataset_name=f"{ds.basename}_lattice",
    )
    grid = with_cosmology(grid, linear.cosmology, linear.redshift, LatticeGrid)
    grid.current_time = grid.cosmology.t_from_z(linear.redshift)
    grid.index  # noqa: B018  yt knows no fields before its index exists
    for name, field in CELL_FIELDS.items():
        info = grid.field_info["gas", name]
        info.take_log, info.display_name = field.take_log, display_name(field, box)
    return grid
