"""A grid dataset of the fields on the Lagrangian lattice, for data that yt cannot slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yt
from yt.data_objects.static_output import Dataset

from .._utils.progress import Progress
from ..fields.linear_field import LinearField
from .fields import display_name, site_arrays
from .load import with_cosmology
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction


@takes_options
def lattice_dataset(
    ds: Dataset,
    model: str | Path | None = None,
    *,
    progress: Progress = True,
    **options: Unpack[OptionKeywords],
) -> Dataset:
    """The cell fields of a dataset on its Lagrangian lattice, as a uniform grid that yt slices and projects.

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
        In memory, with ``("gas", "protohalo_probability")``, ``_id``, ``_mass``, ``("gas", "linear_overdensity")`` and
        ``("gas", "linear_potential")``. Periodic, with the redshift and cosmology of `ds`, whatever redshift the
        prediction is for, since its sites are those of the initial conditions. Each cell is centred on its
        site, so the box of a lattice at cell corners begins half a spacing below zero.

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
    data, described = {}, {}
    for name, field, values in site_arrays(box):
        data["gas", name] = (values, field.units)
        described["gas", name] = field
    grid = _lattice_dataset(data, box.field, f"{ds.basename}_lattice")
    grid.index  # noqa: B018  yt knows no fields before its index exists
    for key, field in described.items():
        grid.field_info[key].take_log = field.take_log
        grid.field_info[key].display_name = display_name(field, box)
    return grid


def _lattice_dataset(data: dict, field: LinearField, name: str) -> Dataset:
    """A cosmological uniform-grid dataset, in code lengths of 1 comoving Mpc/h."""
    start = (field.site_offset - 0.5) * field.spacing
    grid = yt.load_uniform_grid(
        data,
        field.lattice.shape,
        bbox=np.full((3, 2), [start, start + field.box_size]),
        periodicity=(True, True, True),
        dataset_name=name,
    )
    grid = with_cosmology(grid, field.cosmology, field.redshift)
    grid.current_time = grid.cosmology.t_from_z(field.redshift)
    return grid
