"""The columns of a stored catalogue: name, unit, meaning, and the values they take from a `Catalog`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalog import Catalog
from .frames import EULERIAN, LAGRANGIAN
from .spherical_masses import DEFINITIONS

_VECTOR = {"_x": (0,), "_y": (1,), "_z": (2,)}
_TENSOR = {"_xx": (0, 0), "_yy": (1, 1), "_zz": (2, 2), "_xy": (0, 1), "_xz": (0, 2), "_yz": (1, 2)}
_SPHERICAL = {f"_{name}": (i,) for i, name in enumerate(DEFINITIONS)}
_DESCENDING = {"_1": (0,), "_2": (1,), "_3": (2,)}


@dataclass(frozen=True, eq=False)
class Column:
    """A quantity of each protohalo, in one column of the file per component.

    name : without the suffix of the component
    unit : in the file, ``""`` for a number; lengths are proper at the redshift of the catalogue
    of : values in the units of `Catalog`, (K, ...)
    components : index of each component by its suffix; one component without suffix by default
    """

    name: str
    unit: str
    meaning: str
    of: Callable[[Catalog], NDArray[Any]]
    components: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"": ()})

    def values(self, catalog: Catalog) -> Iterator[tuple[str, NDArray[Any]]]:
        """Full name and (K,) values of each component, in the units of `Catalog`."""
        values = self.of(catalog)
        for suffix, index in self.components.items():
            key: Any = (slice(None), *index)
            yield self.name + suffix, values[key]


def _spin_magnitude(catalog: Catalog) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(catalog.spin, axis=1))


def _spin_direction(catalog: Catalog) -> NDArray[np.float64]:
    size = _spin_magnitude(catalog)[:, None]
    return np.divide(catalog.spin, size, out=np.zeros_like(catalog.spin), where=size > 0)


COLUMNS = (
    Column("particle_identifier", "", "0..K-1 by descending mass", lambda c: c.identifier),
    Column("particle_mass", "Msun", "Lagrangian mass", lambda c: c.mass),
    Column("particle_position", "Mpc", "position at the redshift of the catalogue", lambda c: c.position, _VECTOR),
    Column("particle_velocity", "km/s", "peculiar velocity at that redshift", lambda c: c.velocity, _VECTOR),
    Column("mass", "Msun", "spherical-overdensity mass, calibrated on runs", lambda c: c.spherical_mass, _SPHERICAL),
    Column("mass_error", "Msun", "its 68 % error", lambda c: c.spherical_mass_error, _SPHERICAL),
    Column("virial_radius", "Mpc", "radius of a sphere of 200 times the mean density", lambda c: c.radius_200m),
    Column("lagrangian_center", "Mpc", "periodic mean of the sites", lambda c: c.lagrangian_center, _VECTOR),
    Column("lagrangian_radius", "Mpc", "radius of a sphere of the mean density", lambda c: c.lagrangian_radius),
    Column("extent", "Mpc", "sides of the bounding box", lambda c: c.extent, _VECTOR),
    Column("inertia", "Mpc**2", "inertia tensor per unit mass, mean of r^2 1 - r r^T", lambda c: c.inertia, _TENSOR),
    Column("semi_axis_a", "Mpc", "longest semi-axis of the ellipsoid with that tensor", lambda c: c.semi_axes[:, 0]),
    Column("axis_ratio_b_a", "", "its second axis over the longest", lambda c: c.semi_axes[:, 1] / c.semi_axes[:, 0]),
    Column("axis_ratio_c_a", "", "its shortest axis over the longest", lambda c: c.semi_axes[:, 2] / c.semi_axes[:, 0]),
    Column("major_axis", "", "unit vector along the longest axis", lambda c: c.axes[:, 0], _VECTOR),
    Column("minor_axis", "", "unit vector along the shortest axis", lambda c: c.axes[:, 2], _VECTOR),
    Column("n_pieces", "", "disconnected pieces of the region", lambda c: c.n_pieces),
    Column("tidal", "", "d^2 phi / dq_i dq_j, mean over a ball of the region's volume", lambda c: c.tide, _TENSOR),
    Column("tidal_eigenvalue", "", "its eigenvalues, descending", lambda c: c.tidal_eigenvalues, _DESCENDING),
    Column("spin_magnitude", "km/s*Mpc", "angular momentum per unit mass by tidal torque theory", _spin_magnitude),
    Column("spin_direction", "", "its unit vector, 0 where there is no spin", _spin_direction, _VECTOR),
    Column("confidence", "", "mean probability of the sites to end in a halo", lambda c: c.confidence),
    Column("n_sites", "", "number of sites", lambda c: c.n_sites),
    Column("particle_number", "", "number of members", lambda c: c.n_sites),
    Column("particle_index_start", "", "place of the first member among all members", lambda c: c.member_offset[:-1]),
)
"""Columns of ``halos``; the file also holds the particle ID and the lattice site of every member."""

_IN_LAGRANGIAN: dict[str, Callable[[Catalog], NDArray[Any]]] = {
    "particle_position": lambda c: c.lagrangian_center,
    "particle_velocity": lambda c: np.zeros_like(c.velocity),
    "virial_radius": lambda c: c.lagrangian_radius,
}
"""What the columns that yt draws haloes from hold in a catalogue of the Lagrangian frame."""


def file_columns(
    catalog: Catalog, h: float, redshift: float, frame: str = EULERIAN
) -> dict[str, tuple[NDArray[Any], str]]:
    """Values and unit of every column of a catalogue file, by name.

    Lengths become proper, as ``Mpc`` means in yt, at the redshift of the file: ``.to("Mpccm")`` reverses that.

    h : Hubble constant in 100 km/s/Mpc
    redshift : of the file, that of the initial conditions in the Lagrangian frame
    """
    changed = _IN_LAGRANGIAN if frame == LAGRANGIAN else {}
    columns = [replace(column, of=changed.get(column.name, column.of)) for column in COLUMNS]
    proper = 1 / (h * (1 + redshift))
    factors = {"Mpc": proper, "Mpc**2": proper**2, "km/s*Mpc": 1 / h}
    return {
        name: (values * factors[column.unit] if column.unit in factors else values, column.unit)
        for column in columns
        for name, values in column.values(catalog)
    }
