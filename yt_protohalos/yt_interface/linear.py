"""The linear field of a yt dataset of initial conditions, and the lattice sites of its particles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yt.geometry.grid_geometry_handler import GridIndex
from yt.geometry.particle_geometry_handler import ParticleIndex
from yt.utilities.logger import ytLogger

from ..exceptions import InitialConditionsError, LatticeError, ProtohaloError
from ..fields.cosmology import Cosmology
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.units import Quantity
from ..initial_conditions.checks import Reach, check_written, library_errors, quiet_casts, whole_ids
from ..initial_conditions.readers.music import BoxFacts
from ..initial_conditions.reconstruction import field_from_density, field_from_displacements, field_from_source
from ..initial_conditions.site_assignment import SiteMap, companion_sites, sites_of_ids
from ..initial_conditions.sources import in_memory
from .dataset_state import check_unchanged, state_of
from .frontends.unigrid import UnigridDataset
from .particles import YTParticles, box_positions, total_mass

DENSITY_NAMES = ("delta", "overdensity", "linear_overdensity", "linear_density", "density_contrast")
"""Field names of an in-memory grid that are read as the linear overdensity at the dataset's redshift."""
GAS_TYPES = ("Gas", "PartType0")
LARGEST_HELD = 256**3
"""Number of particles up to which a file is read once and held in memory; larger files are read in each pass."""

Field = tuple[str, str]


def linear_field(
    ds: Any,
    *,
    ptype: str | None = None,
    field: Field | None = None,
    box_size: Quantity | None = None,
    redshift: float | None = None,
    cosmology: Cosmology | None = None,
) -> LinearField:
    """Linear density and potential of a dataset of initial conditions.

    Parameters
    ----------
    ds : yt Dataset
        Particles (Gadget, SWIFT, TIPSY, ... or `yt.load_particles`) or a uniform grid (MUSIC generic, monofonIC,
        grafic2, or `yt.load_uniform_grid`). Open files with `yt_protohalos.load`.
    ptype : str, optional
        Particle type that samples the lattice; needed only where several types could.
    field : (str, str), optional
        Cell field with the linear overdensity at the dataset's redshift; found by its name if only one is possible.
    box_size : float or quantity, optional
        Side of the box in comoving Mpc/h, or in the unit of the quantity; see `fields.units`.
    redshift : float, optional
    cosmology : Cosmology, optional
        These three are for datasets that do not state them, such as those of `yt.load_uniform_grid` and
        `yt.load_particles`. They are remembered for later calls on the same dataset.

    Returns
    -------
    LinearField
        delta and phi at z = 0, (n, n, n) float32, phi in comoving (Mpc/h)^2; computed once per dataset.

    Raises
    ------
    InitialConditionsError, LatticeError, CosmologyError, UnitsError
        The dataset does not hold linear initial conditions on one cubic lattice.

    Examples
    --------
    >>> field = ph.linear_field(ph.load("ics.hdf5"))
    >>> field.n, field.box_size
    (32, 6.25)
    """
    check_unchanged(ds)
    state = state_of(ds)
    given = BoxFacts(box_size, redshift, cosmology)
    if any(value is not None for value in vars(given).values()):
        state.add_given(given)
    key = (ptype, field)
    if key not in state.fields:
        with _opening_named(ds), library_errors(str(ds), InitialConditionsError):
            state.fields[key] = _read(ds, ptype, field)
    return state.fields[key]


@contextmanager
def _opening_named(ds: Any) -> Iterator[None]:
    """Add to any error of a dataset that plain `yt.load` opened that `load` knows its format better."""
    try:
        yield
    except ProtohaloError as error:
        ours = state_of(ds).fingerprint or isinstance(ds, UnigridDataset) or not Path(str(ds.filename)).exists()
        if ours or "yt_protohalos.load" in str(error):
            raise
        raise type(error)(
            f"{error} (plain yt.load opened {ds}; its units and box may be wrong: open it with yt_protohalos.load)"
        ) from error


def particle_sites(ds: Any, ptype: str, data: Any) -> NDArray[np.int64]:
    """Flat row-major site index, int64 (N,), of each particle of a yt data object, in its order.

    The particle type may be raw, ``all`` or ``nbody``. Particles of another type than that of the lattice, such as gas,
    have the nearest site, if there is one per site and their IDs count them. Raises `LatticeError` for others.
    """
    check_unchanged(ds)
    if state_of(ds).sites is None:
        linear_field(ds)
    sites = state_of(ds).sites
    if sites is None:
        raise LatticeError(f"{ds} has no particles on its lattice; look sites of cells up by their position")
    if sites.id_base is not None:
        maps = [_sites_of_type(ds, name) for name in _raw_types(ds, ptype) if ds.particle_type_counts.get(name)]
        return sites_of_ids(whole_ids(np.asarray(data[ptype, "particle_index"]), str(ds)), maps or [sites])
    return sites.flat_from_positions(box_positions(ds, data[ptype, "particle_position"], sites.lattice.box_size))


def _raw_types(ds: Any, ptype: str) -> list[str]:
    """Raw particle types of which a type, union or filter consists."""
    if ptype in ds.particle_unions:
        return sorted({name for each in ds.particle_unions[ptype].sub_types for name in _raw_types(ds, each)})
    if ptype in ds.known_filters:
        return _raw_types(ds, ds.known_filters[ptype].filtered_type)
    return [ptype]


def _sites_of_type(ds: Any, ptype: str) -> SiteMap:
    """Sites of a raw particle type, read once per dataset."""
    state = state_of(ds)
    assert state.sites is not None
    if ptype == state.lattice_type:
        return state.sites
    if ptype not in state.companions:
        source = YTParticles(ds, ptype, state.sites.lattice.box_size, None)
        state.companions[ptype] = companion_sites(source, state.sites)
    return state.companions[ptype]


def dataset_facts(ds: Any) -> BoxFacts:
    """Box size, redshift and cosmology of a dataset, as they were given to `linear_field`, else its own."""
    given = state_of(ds).given
    if not ds.cosmological_simulation:
        return given
    names = {"omega_b": "OmegaBaryon", "sigma_8": "Sigma8", "n_s": "PrimordialIndex"}
    rest = {ours: float(ds.parameters[theirs]) for ours, theirs in names.items() if theirs in ds.parameters}
    cosmology = Cosmology(float(ds.hubble_constant), float(ds.omega_matter), float(ds.omega_lambda), **rest)
    return given.or_else(BoxFacts(float(ds.domain_width[0].to("Mpccm/h")), float(ds.current_redshift), cosmology))


def _read(ds: Any, ptype: str | None, field: Field | None) -> LinearField:
    width = np.asarray(ds.domain_width.to("code_length"))
    if not np.allclose(width, width[0], rtol=1e-6, atol=0.0, equal_nan=True):
        raise LatticeError(f"the box measures {width.tolist()} in code units; it must be a cube: cut or remake it")
    facts = dataset_facts(ds)
    if isinstance(ds.index, ParticleIndex):
        return _read_particles(ds, ptype, facts)
    if isinstance(ds.index, GridIndex):
        return _read_grid(ds, field, facts)
    raise InitialConditionsError(
        f"{type(ds).__name__} is neither a particle nor a uniform grid dataset; give initial conditions of one of them"
    )


def _read_particles(ds: Any, ptype: str | None, facts: BoxFacts) -> LinearField:
    size, redshift, cosmology = facts.required(str(ds))
    used, share = _lattice_type(ds, ptype)
    stored = YTParticles(ds, used, size, cosmology.h / share if ds.cosmological_simulation else None)
    source = in_memory(stored) if stored.count <= LARGEST_HELD else stored
    field, sites = field_from_source(source, size, cosmology, redshift)
    state = state_of(ds)
    state.sites, state.lattice_type = sites, used
    found_by = "position" if sites.id_base is None else f"IDs from {sites.id_base}"
    ytLogger.info("Lattice of %d^3 sites, offset %.3g spacings, found by %s.", field.n, sites.site_offset, found_by)
    return field


def _lattice_type(ds: Any, ptype: str | None) -> tuple[str, float]:
    """Particle type that samples the lattice, and its fraction of all the mass."""
    counts = {name: count for name, count in ds.particle_type_counts.items() if count}
    if not counts:
        raise InitialConditionsError(f"{ds} holds no particles; give initial conditions with a lattice of them")
    if ptype is not None and ptype not in counts:
        raise InitialConditionsError(f"no particles of type {ptype!r} in {ds}; use one of {sorted(counts)}")
    if len(counts) == 1:
        return next(iter(counts)), 1.0
    matter = {name: count for name, count in counts.items() if name not in GAS_TYPES}
    if ptype is None and len(matter) != 1:
        raise InitialConditionsError(
            f"{ds} has particle types {counts} (zoom levels?); one uniform lattice has one type: give unigrid initial "
            "conditions or the zoom's coarse run, or choose with ptype=..."
        )
    used = ptype or next(iter(matter))
    masses = {name: total_mass(ds, name) for name in counts}
    share = masses[used] / sum(masses.values())
    ytLogger.info("Displacements of %s (%.3g of the mass) are used for all matter.", used, share)
    return used, share


def _read_grid(ds: Any, field: Field | None, facts: BoxFacts) -> LinearField:
    shape = tuple(int(side) for side in ds.domain_dimensions)
    if ds.index.max_level > 0:
        raise InitialConditionsError(
            f"{ds} has {ds.index.max_level + 1} refinement levels (a zoom?); one uniform lattice is needed: give "
            "unigrid initial conditions, or the zoom's coarse run"
        )
    if len(set(shape)) != 1:
        raise LatticeError(f"the grid has {shape} cells; a cubic box needs as many on each axis")
    size, redshift, cosmology = facts.required(str(ds))
    displacements = getattr(ds, "displacement_fields", None)
    if field is None and displacements:

        def read(names: list[Field], unit: str) -> Callable[[int], NDArray[np.float32]]:
            return lambda axis: _planes_as_float32(_cells(ds, names[axis]), lambda plane: plane.to(unit))

        places, speeds = read(displacements[0], "Mpccm/h"), read(displacements[1], "km/s")
        lattice = Lattice(shape[0], size)
        return field_from_displacements(places, speeds, lattice, cosmology, redshift, ds.displacement_offset)
    used = field or _density_field(ds)
    if used not in ds.derived_field_list:
        raise InitialConditionsError(f"{ds} has no field {used}; name one of {sorted(ds.field_list)} with field=...")
    delta = _overdensity(ds, used)
    result = field_from_density(delta, size, cosmology, redshift)
    # only in files: a field in memory may be a test case with many zeros
    if used == getattr(ds, "linear_density_field", None):
        check_written("overdensities", delta)
    return result


def _overdensity(ds: Any, field: Field) -> NDArray[np.float32]:
    """A cell field as overdensity, (n, n, n); a density is divided by its mean."""
    values = _cells(ds, field)
    if values.units.dimensions == ds.unit_registry["g"][1] / ds.unit_registry["cm"][1] ** 3:
        reach = Reach("densities")
        reach.add(values)
        reach.check_finite()
        mean = float(np.asarray(values).mean())
        if not mean > 0:
            raise InitialConditionsError(
                f"field {field} has a mean of {mean:g}; a density is positive: give one, or an overdensity"
            )
        return _planes_as_float32(values, lambda plane: np.asarray(plane) / mean - 1)
    if not values.units.is_dimensionless:
        raise InitialConditionsError(
            f"field {field} is in {values.units}; an overdensity has no unit, a density one of mass per volume: name "
            "another field with field=..."
        )
    return _planes_as_float32(values, lambda plane: plane)


def _cells(ds: Any, field: Field) -> Any:
    """A cell field on the whole grid, (n, n, n) float64 with units, which yt does not cache."""
    with quiet_casts():
        if isinstance(ds, UnigridDataset) and field in ds.field_list:
            # one grid fills the box: a covering grid would be its copy
            return ds.arr(ds.read_cube(field[1]), ds.field_info[field].units)
        return ds.covering_grid(0, ds.domain_left_edge, ds.domain_dimensions)[field]


def _planes_as_float32(values: Any, convert: Callable[[Any], Any]) -> NDArray[np.float32]:
    result = np.empty(values.shape, dtype=np.float32)
    with quiet_casts():
        for plane, cells in zip(result, values, strict=True):
            plane[...] = np.asarray(convert(cells))
    return result


def _density_field(ds: Any) -> Field:
    own = getattr(ds, "linear_density_field", None)
    if own is not None:
        return own
    found = sorted(name for name in ds.field_list if name[1] in DENSITY_NAMES)
    if not found:
        found = [name for name in ds.field_list if name[1] == "density"]
    if len(found) != 1:
        raise InitialConditionsError(
            f"{ds} has {'no field' if not found else 'several fields'} that could be the linear overdensity "
            f"({found or sorted(ds.field_list)}); name it with field=..., e.g. field=('stream', 'delta')"
        )
    return found[0]
