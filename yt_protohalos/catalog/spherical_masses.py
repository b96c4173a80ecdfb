"""Spherical-overdensity masses of protohaloes: M_200m, M_vir and M_200c, calibrated on simulations.

The mass of a protohalo is that of a friends-of-friends group. Its ratio to a spherical mass depends on the profile of
the halo, of which the evolved field knows something: the radius within which the sites are 200 times as dense as the
mean (`prediction.evolved_radius`). With the mass M_e in that sphere,

    log10(M_SO / M) = a + w log10(M_e / M),

and a = b, w = 0 where the radius is not known. The constants a, b and w change with the number of sites, between nodes
linearly in its logarithm. ``benchmarks/spherical_masses.py`` fits them to particle-mesh runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.base_card import Card
from ..prediction.evolved_radius import OVERDENSITY

Floats = NDArray[np.float64]

DEFINITIONS = ("200m", "vir", "200c")
"""200 times the mean matter density; the virial one of Bryan & Norman (1998); 200 times the critical density."""
NODES = (200.0, 400.0, 900.0, 2500.0, 10000.0)
"""Sites of a protohalo; beyond the first and the last the constants stay."""


@dataclass(frozen=True)
class Relation:
    """Constants of one definition at the `NODES`; the scatter is half of the central 68 %, all log10."""

    offset: tuple[float, ...]
    weight: tuple[float, ...]
    scatter: tuple[float, ...]


WITHOUT_RADIUS = {
    "200m": Relation(
        offset=(-0.0169, -0.0303, -0.0123, -0.0049, 0.0026),
        weight=(0.0, 0.0, 0.0, 0.0, 0.0),
        scatter=(0.0738, 0.07, 0.0573, 0.0585, 0.0468),
    ),
    "vir": Relation(
        offset=(-0.0939, -0.096, -0.0694, -0.0598, -0.0544),
        weight=(0.0, 0.0, 0.0, 0.0, 0.0),
        scatter=(0.0883, 0.0881, 0.0732, 0.0764, 0.0617),
    ),
    "200c": Relation(
        offset=(-0.2487, -0.2127, -0.1629, -0.1582, -0.1482),
        weight=(0.0, 0.0, 0.0, 0.0, 0.0),
        scatter=(0.1341, 0.1154, 0.0978, 0.1072, 0.0841),
    ),
}
"""Relations where the radius in the evolved field is not known."""
WITH_RADIUS = {
    "200m": Relation(
        offset=(0.0381, 0.0399, 0.0468, 0.0604, 0.0642),
        weight=(0.3723, 0.5306, 0.5722, 0.739, 0.7101),
        scatter=(0.0619, 0.0514, 0.0367, 0.0298, 0.0261),
    ),
    "vir": Relation(
        offset=(-0.0148, -0.0108, 0.0145, 0.0224, 0.0236),
        weight=(0.5274, 0.6356, 0.8369, 0.9497, 0.8862),
        scatter=(0.0743, 0.0559, 0.0408, 0.0336, 0.0305),
    ),
    "200c": Relation(
        offset=(-0.1144, -0.097, -0.0554, -0.0547, -0.0418),
        weight=(0.8721, 0.919, 1.0863, 1.0695, 1.1253),
        scatter=(0.1069, 0.0734, 0.0544, 0.0451, 0.0448),
    ),
}
"""Relations where it is known, of the evolved field of the default method."""


@dataclass(frozen=True, eq=False)
class SphericalMasses:
    """Masses by the `DEFINITIONS` and their errors, (K, 3), Msun; NaN where the relation is not known.

    mass : medians
    error : half of the central 68 % about them, for protohaloes that form a halo
    """

    mass: Floats
    error: Floats


def spherical_masses(
    mass: Floats,
    n_sites: NDArray[Any],
    evolved_mass: Floats | None,
    definitions: tuple[str, ...] = DEFINITIONS,
    relations: Mapping[str, Relation] | None = None,
) -> SphericalMasses:
    """Spherical masses of protohaloes by the relations of this module.

    mass : float64, (K,), Msun
    n_sites : int64, (K,)
    evolved_mass : float64, (K,), mass in the sphere of the evolved field, Msun; None where it is not known
    definitions : those that are given; the others are NaN
    relations : by definition; those of this module by default
    """
    if relations is None:
        relations = WITHOUT_RADIUS if evolved_mass is None else WITH_RADIUS
    size = np.log10(n_sites)
    excess = np.zeros(len(mass)) if evolved_mass is None else np.log10(evolved_mass / mass)
    result, error = np.full((2, len(mass), len(DEFINITIONS)), np.nan)
    for i, name in enumerate(DEFINITIONS):
        if name in definitions:
            offset, weight, scatter = (
                np.interp(size, np.log10(NODES), values)
                for values in (relations[name].offset, relations[name].weight, relations[name].scatter)
            )
            result[:, i] = mass * 10 ** (offset + weight * excess)
            error[:, i] = result[:, i] * np.log(10) * scatter
    return SphericalMasses(result, error)


def sphere_mass(radius: Floats, mean_density: float) -> Floats:
    """Mass in the spheres of the evolved field.

    radius : comoving, Mpc/h; mean_density : comoving, (Msun/h) / (Mpc/h)^3; returns Msun/h
    """
    return np.asarray(4 / 3 * np.pi * OVERDENSITY * mean_density * radius**3)


def known_definitions(card: Card, redshift: float) -> tuple[str, ...]:
    """Definitions whose relations hold for the protohaloes of a card at a redshift.

    The relations are of friends-of-friends haloes with linking length 0.2, at z = 0. That of M_200m is taken for other
    redshifts too, because both masses are relative to the mean density.
    """
    definition = getattr(card, "halo_definition", {})
    if (definition.get("finder"), definition.get("linking_length")) != ("FoF", 0.2):
        return ()
    return DEFINITIONS if redshift == 0 else DEFINITIONS[:1]


def uses_radius(card: Card) -> bool:
    """True if the radius in the evolved field of a card is the one that the relations were fitted with."""
    return card.method == "positions" and getattr(card, "evolution", "") == "accurate"
