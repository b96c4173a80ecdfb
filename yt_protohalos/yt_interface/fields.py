"""yt fields of the predicted protohaloes.

Registering them is cheap. The first access of a field runs the prediction of the whole box; later accesses, by any data
object, look up their sites in the result.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yt.data_objects.static_output import Dataset
from yt.fields.field_detector import FieldDetector
from yt.utilities.exceptions import YTFieldNotFound
from yt.utilities.logger import ytLogger

from ..exceptions import InitialConditionsError, LatticeError
from .dataset_state import state_of
from .linear import particle_sites
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import BoxPrediction, box_prediction

Sites = NDArray[np.int64]
FieldName = tuple[str, str]


@dataclass(frozen=True)
class SiteField:
    """A quantity with one value per lattice site, its yt units, and its name on plots.

    ``values(box, sites)`` returns float64 values at row-major site indices, in the shape of the indices.
    """

    units: str
    values: Callable[[BoxPrediction, Sites], NDArray[np.float64]]
    display: str
    take_log: bool = False


def _look_up(cube: NDArray, sites: Sites) -> NDArray[np.float64]:
    return cube.reshape(-1)[sites].astype(np.float64)


def _mass(box: BoxPrediction, sites: Sites) -> NDArray[np.float64]:
    prediction = box.get_lazily()
    return np.asarray(prediction.label_mass, dtype=np.float64)[prediction.labels.reshape(-1)[sites]]


PROTOHALO_FIELDS = {
    "protohalo_probability": SiteField(
        "", lambda box, sites: _look_up(box.get_lazily().probability, sites), "Protohalo Probability"
    ),
    "protohalo_id": SiteField("", lambda box, sites: _look_up(box.get_lazily().labels, sites) - 1, "Protohalo ID"),
    "protohalo_mass": SiteField("Msun", _mass, "Protohalo Mass", take_log=True),
}
_TODAY = " (z = 0)"
CELL_FIELDS = {
    **PROTOHALO_FIELDS,
    "linear_overdensity": SiteField(
        "", lambda box, sites: _look_up(box.field.delta, sites), f"Linear Overdensity{_TODAY}"
    ),
    "linear_potential": SiteField(
        # not in (Mpccm/h)**2: the mean and the scatter of such an array recurse without end in unyt
        "Mpccm**2",
        lambda box, sites: _look_up(box.field.phi, sites) / box.field.cosmology.h**2,
        f"Linear Potential{_TODAY}",
    ),
}


def display_name(field: SiteField, box: BoxPrediction) -> str:
    """Name of a field on plots, with the redshift of the prediction if it is not 0; a mask is called so."""
    redshift, name = box.field.target_redshift, field.display
    if not box.card.gives_probability:
        name = name.replace("Probability", "Mask")
    return f"{name.removesuffix(_TODAY)} (z = {redshift:g})" if redshift else name


@takes_options
def add_protohalo_fields(
    ds: Dataset, model: str | Path | None = None, **options: Unpack[OptionKeywords]
) -> list[FieldName]:
    """Register the protohalo fields of a dataset without running any network.

    Particle fields, for every particle type that has particles, ``all`` and ``nbody``:
    ``particle_protohalo_probability``, ``particle_protohalo_id`` (-1 outside) and ``particle_protohalo_mass``
    (Lagrangian mass in Msun, 0 outside). Cell fields, for datasets with a grid: ``("gas", "protohalo_probability")``,
    ``_id``, ``_mass``, ``("gas", "linear_overdensity")`` and ``("gas", "linear_potential")`` (Mpccm^2). The last
    two are at the redshift of the prediction, which is part of the display name if it is not 0. For cells of a particle
    dataset use `lattice_dataset`. A second call with other options replaces the fields.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    model, **options
        As in `PredictionOptions`.

    Returns
    -------
    list of (str, str)
        Names of the registered fields.

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError
        A prediction is impossible. Everything is checked now, because a field must not fail inside a plot.

    Examples
    --------
    >>> ds = ph.load("ics.hdf5")
    >>> len(ph.add_protohalo_fields(ds))
    9
    >>> mass = ds.all_data()["all", "particle_protohalo_mass"]
    >>> str(mass.units)
    'Msun'
    """
    state_of(ds)  # refuses a path
    ours = {*CELL_FIELDS, *(f"particle_{name}" for name in PROTOHALO_FIELDS)}
    if stored := [field for field in ds.field_list if field[1] in ours]:
        # they would hide the registered ones
        raise InitialConditionsError(
            f"{ds} already stores a field {stored[0]}; load the initial conditions themselves to predict again"
        )
    box = box_prediction(ds, PredictionOptions.read(model, options))
    functions = {
        (ptype, f"particle_{name}"): (field, "particle", _particle_function(box, ptype, field))
        for ptype in lattice_particle_types(ds)
        for name, field in PROTOHALO_FIELDS.items()
    }
    if not has_cells(ds):
        # as yt keeps methods of a dataset, so that it is still freed
        ds._get_field_info = partial(_field_info, weakref.proxy(ds))  # type: ignore[method-assign]
    else:
        functions |= {("gas", name): (field, "cell", _cell_function(box, field)) for name, field in CELL_FIELDS.items()}
    if not functions:
        raise InitialConditionsError(
            f"{ds} has neither particles with positions nor a grid to attach fields to; load initial conditions"
        )
    for name, (field, sampling_type, function) in functions.items():
        ds.add_field(
            name, function=function, sampling_type=sampling_type, units=_units(ds, field), take_log=field.take_log,
            display_name=display_name(field, box), force_override=True,
        )  # fmt: skip
    ytLogger.info("Added %d protohalo fields; the first access runs model %s", len(functions), box.card.name)
    return list(functions)


class CellFieldNotFound(YTFieldNotFound):
    """A cell field was asked of a particle dataset, which has no cells."""

    def __str__(self) -> str:
        return (
            f"{self.ds} holds particles and no cells, so it has no field {self.field!r}; make the grid "
            "yt_protohalos.lattice_dataset(ds), or use the particle fields such as ('all', 'particle_protohalo_mass')"
        )


def _field_info(ds: Dataset, field: Any) -> Any:
    """Look a field up as yt does, but say where cell fields of the package are."""
    try:
        return ds.__class__._get_field_info(ds, field)
    except YTFieldNotFound as error:
        name = field[1] if isinstance(field, tuple) else field
        if name in CELL_FIELDS:
            raise CellFieldNotFound(field, ds) from error
        raise


def has_cells(ds: Dataset) -> bool:
    """Return whether a dataset has grid cells; the octree that yt builds over particles does not count."""
    return hasattr(ds.index, "grids")


def lattice_particle_types(ds: Dataset) -> list[str]:
    """Particle types of which every particle has a lattice site: raw types first, then unions and filters."""
    known: Any = ds  # the type annotations of yt lack these attributes
    raw = [name for name in known.particle_types_raw or () if _has_positions(ds, name)]
    others = [*known.particle_unions, *known.filtered_particle_types]
    types = raw + [name for name in others if raw and name not in raw and _has_positions(ds, name)]
    if len(raw) == 1 and not has_cells(ds):
        return types
    return [name for name in types if _has_sites(ds, name)]


def _has_sites(ds: Dataset, ptype: str) -> bool:
    try:
        particle_sites(ds, ptype, ds.all_data())
    except LatticeError as error:
        ytLogger.info("No protohalo fields for particle type %s: %s", ptype, error)
        return False
    return True


def _has_positions(ds: Dataset, ptype: str) -> bool:
    return any((ptype, name) in ds.field_info for name in ("particle_position", "particle_position_x"))


def _units(ds: Dataset, field: SiteField) -> str:
    """Units of a field, with lengths in Mpc if the dataset is not cosmological for yt and has no comoving units."""
    return field.units if "pccm" in ds.unit_registry else field.units.replace("Mpccm", "Mpc")


# yt requires the argument names `field` and `data` of field functions
def _particle_function(box: BoxPrediction, ptype: str, quantity: SiteField) -> Callable:
    def particle_field(field: Any, data: Any) -> Any:
        # yt learns what must be read from what is accessed here
        template = data[ptype, "particle_ones"]
        if (ptype, "particle_index") in data.ds.field_info:
            data[ptype, "particle_index"]
        if isinstance(data, FieldDetector):
            return data.ds.arr(np.zeros(template.shape), quantity.units)
        sites = particle_sites(data.ds, ptype, data)
        return data.ds.arr(quantity.values(box, sites).reshape(template.shape), quantity.units)

    return particle_field


def _cell_function(box: BoxPrediction, quantity: SiteField) -> Callable:
    def cell_field(field: Any, data: Any) -> Any:
        axes = [data["index", axis] for axis in "xyz"]
        units = _units(data.ds, quantity)
        if isinstance(data, FieldDetector):
            return data.ds.arr(np.zeros(axes[0].shape), units)
        return data.ds.arr(quantity.values(box, _cell_sites(data.ds, box.field.n, axes)), units)

    return cell_field


def _cell_sites(ds: Dataset, n: int, axes: list[Any]) -> Sites:
    """Row-major index of the site, of n per side, in which each cell centre lies, in the shape of the three `axes`."""
    left = ds.domain_left_edge.to_value("code_length")
    width = ds.domain_width.to_value("code_length")
    flat: Sites = np.zeros(axes[0].shape, dtype=np.int64)
    for axis, positions in enumerate(axes):
        fraction = (positions.to_value("code_length") - left[axis]) / width[axis]
        # cells of a covering grid may lie outside the box
        flat = flat * n + np.floor(fraction * n).astype(np.int64) % n
    return flat
