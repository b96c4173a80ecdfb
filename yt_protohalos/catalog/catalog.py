"""The catalogue of protohaloes: mass, place, motion, shape, tide, spin, confidence and members of each label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..exceptions import CatalogError
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.fourier import displacement_component, potential, second_order_source
from ..fields.lattice import Lattice, unwrap, wrap
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction
from ..segmentation.labels import count_pieces
from .shapes import principal_axes, tidal_eigenvalues, tidal_tensors, tidal_torque

OVERDENSITY = 200.0
"""Mean density of the sphere that `Catalog.radius_200m` describes, over the mean matter density."""
LAGRANGIAN = "Lagrangian centre"
FIRST_ORDER = "first-order LPT"
SECOND_ORDER = "second-order LPT"
EVOLVED = "evolved field"
_PART = 2**21


@dataclass(frozen=True, eq=False)
class Catalog:
    """Protohaloes by descending mass, one entry (of K) each.

    Lengths are comoving, except in `spin`. What is said to be "at z" is at `redshift`, and a = 1 / (1 + z).

    Attributes
    ----------
    identifier : int64, (K,)
        0..K-1; the label in `Prediction.labels` minus 1.
    mass : float64, (K,)
        Lagrangian mass, Msun (not Msun/h).
    n_sites : int64, (K,)
    lagrangian_center : float64, (K, 3)
        Mean Lagrangian position, comoving Mpc/h in [0, box size).
    position : float64, (K, 3)
        Position at z, comoving Mpc/h in [0, box size), by `position_method`.
    velocity : float64, (K, 3)
        Peculiar velocity at z, km/s, by `velocity_method`; zero where that is the Lagrangian centre.
    extent : float64, (K, 3)
        Sides of the bounding box, comoving Mpc/h, one spacing for a single site.
    inertia : float64, (K, 3, 3)
        Inertia tensor about the centre per unit mass, mean of r^2 1 - r r^T over the sites, (Mpc/h)^2.
    semi_axes : float64, (K, 3)
        a >= b >= c of the homogeneous ellipsoid with that inertia, its sites counted as cubes, Mpc/h; see
        `regions.principal_axes`.
    axes : float64, (K, 3, 3)
        Unit vectors along a, b and c in rows 0, 1 and 2, right-handed.
    n_pieces : int64, (K,)
        Disconnected pieces of the region, across periodic faces; sites are connected that share a face.
    tide : float64, (K, 3, 3)
        Tidal tensor d^2 phi / dq_i dq_j, linear, at z, with laplacian(phi) = delta, averaged over the ball about the
        Lagrangian centre with the region's volume; NaN without a field.
    tidal_eigenvalues : float64, (K, 3)
        Of `tide`, descending; positive along axes that collapse, and their sum is the overdensity of the ball.
    spin : float64, (K, 3)
        Angular momentum per unit mass by tidal torque theory (White 1984), extrapolated linearly to z, in proper
        km/s Mpc/h: a^2 H f epsilon_ijk T_jl C_lk, with T the tide at z and C the second moment of the region. Growth
        stops near turnaround, so the length ranks haloes rather than predicts what is left at z; NaN without a field.
    radius_200m : float64, (K,)
        Comoving radius of a sphere of 200 times the mean matter density with the halo's mass, Mpc/h; the same at
        every z, for the comoving mean density is.
    confidence : float64, (K,)
        Mean membership probability of the sites. That probability is calibrated to be the frequency with which a site
        ends in a halo, in any: this is the expected fraction of the region that does. It says neither that the
        region makes one halo nor that its outline is right.
    member_offset : int64, (K + 1,)
        The members of entry i are ``members[member_offset[i]:member_offset[i + 1]]``.
    members : int64, (sum of n_sites,)
        Row-major indices of the member sites, ascending within an entry.
    position_method : str
        ``"evolved field"``, ``"second-order LPT"``, ``"first-order LPT"`` or ``"Lagrangian centre"``.
    velocity_method : str
        The same four.
    lattice : Lattice
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``.
    redshift : float
        z, that of the haloes.

    Examples
    --------
    >>> catalog = ph.protohalo_catalog(prediction, field)
    >>> len(catalog.members_of(0)) == int(catalog.n_sites[0])
    True
    """

    identifier: NDArray[np.int64]
    mass: NDArray[np.float64]
    n_sites: NDArray[np.int64]
    lagrangian_center: NDArray[np.float64]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    extent: NDArray[np.float64]
    inertia: NDArray[np.float64]
    semi_axes: NDArray[np.float64]
    axes: NDArray[np.float64]
    n_pieces: NDArray[np.int64]
    tide: NDArray[np.float64]
    tidal_eigenvalues: NDArray[np.float64]
    spin: NDArray[np.float64]
    radius_200m: NDArray[np.float64]
    confidence: NDArray[np.float64]
    member_offset: NDArray[np.int64]
    members: NDArray[np.int64]
    position_method: str
    velocity_method: str
    lattice: Lattice
    site_offset: float
    redshift: float = 0.0

    def __len__(self) -> int:
        return len(self.identifier)

    def members_of(self, identifier: int) -> NDArray[np.int64]:
        """Row-major indices of the sites of one protohalo.

        Raises
        ------
        CatalogError
            There is no such identifier.
        """
        if not 0 <= identifier < len(self):
            raise CatalogError(f"no protohalo {identifier}; identifiers run from 0 to {len(self) - 1}")
        return self.members[self.member_offset[identifier] : self.member_offset[identifier + 1]]


def protohalo_catalog(
    prediction: Prediction,
    field: LinearField | None = None,
    evolved: EvolvedField | None = None,
    lpt_order: int | None = None,
) -> Catalog:
    """Describe every protohalo of a prediction.

    Parameters
    ----------
    prediction : Prediction
    field : LinearField, optional
        The field the prediction was made from, at its redshift or any other: positions and velocities at the redshift
        of the prediction are then means over the members, and tides and spins are known; without it they are the
        Lagrangian centre, 0 and NaN.
    evolved : EvolvedField, optional
        `evolve_field` of the field at the redshift of the prediction; positions and velocities then come from it. Its
        rms error in position on the TreePM reference run is 0.03 Mpc/h above 2000 sites (0.11 below 500 sites, where
        2LPT has 0.39). Where neither it nor `lpt_order` is given and the networks of the model saw it, it is that of
        the prediction, or else computed here.
    lpt_order : {1, 2}, optional
        Take positions and velocities from perturbation theory instead, by default with order 2: 1 for Zel'dovich, 2
        for 2LPT, which is nearer to the final positions (rms error above 2000 sites 0.20 Mpc/h, against 0.44 at first
        order and 1.92 of the Lagrangian centre).

    Returns
    -------
    Catalog
        With no entries if there are no protohaloes.

    Raises
    ------
    CatalogError
        The field is on another lattice than the prediction, the order is neither 1 nor 2, or both it and the evolved
        field are given.

    Examples
    --------
    >>> catalog = ph.protohalo_catalog(prediction, field)
    >>> catalog.position_method
    'second-order LPT'
    >>> catalog.mass.argmax()  # Msun, descending
    np.int64(0)
    """
    lattice = prediction.lattice
    if evolved is not None and lpt_order is not None:
        raise CatalogError(f"lpt_order {lpt_order!r} and an evolved field exclude each other; give one of them")
    if lpt_order not in (None, 1, 2):
        raise CatalogError(f"lpt_order {lpt_order!r} is neither 1 nor 2; use 1 (Zel'dovich) or 2 (2LPT)")
    if field is not None and field.lattice != lattice:
        raise CatalogError(f"field is on {field.lattice}, prediction on {lattice}; give the field it was made from")
    n_sites = prediction.sizes[1:]
    if np.any(n_sites == 0):
        raise CatalogError(f"label {int(np.argmin(n_sites)) + 1} has no sites; labels must be 1..K without gaps")
    groups = _Groups(prediction.labels, n_sites)
    center, extent, inertia = _shapes(groups, prediction)
    semi_axes, axes = principal_axes(inertia, lattice.spacing)
    position, velocity, method = center, np.zeros_like(center), LAGRANGIAN
    tide, eigenvalues, spin = (np.full((len(n_sites), *shape), np.nan) for shape in ((3, 3), (3,), (3,)))
    if field is not None:
        field = field.at_redshift(prediction.target_redshift)
        if evolved is None and lpt_order is None and prediction.card.sees_evolution:
            evolved = prediction.evolved or evolve_field(field)
        if evolved is not None:
            (displacement, velocity), method = _evolved_motion(groups, field, evolved), EVOLVED
        else:
            displacement, velocity = _mean_motion(groups, field, lpt_order or 2)
            method = FIRST_ORDER if lpt_order == 1 else SECOND_ORDER
        position = wrap(center + displacement, lattice.box_size)
        tide = tidal_tensors(field.phi, lattice, center / lattice.spacing - prediction.site_offset, n_sites)
        eigenvalues = tidal_eigenvalues(tide)
        # the tide holds D: a^2 dD/dt = a^2 H f D
        spin = _velocity_factor(field) / (1 + field.target_redshift) * tidal_torque(inertia, tide)
    volume = n_sites * lattice.spacing**3
    return Catalog(
        identifier=np.arange(len(n_sites), dtype=np.int64),
        mass=prediction.label_mass[1:],
        n_sites=n_sites,
        lagrangian_center=center,
        position=position,
        velocity=velocity,
        extent=extent,
        inertia=inertia,
        semi_axes=semi_axes,
        axes=axes,
        n_pieces=count_pieces(prediction.labels),
        tide=tide,
        tidal_eigenvalues=eigenvalues,
        spin=spin,
        radius_200m=np.cbrt(3 * volume / (4 * np.pi * OVERDENSITY)),
        confidence=groups.means_of(prediction.probability),
        member_offset=groups.offset,
        members=groups.members,
        position_method=method,
        velocity_method=method,
        lattice=lattice,
        site_offset=prediction.site_offset,
        redshift=prediction.target_redshift,
    )


class _Groups:
    """The members of all protohaloes, those of each together, ascending.

    labels : int32, (n, n, n), 1..K
    n_sites : int64, (K,), the sites of each, all positive
    """

    def __init__(self, labels: NDArray[np.int32], n_sites: NDArray[np.int64]) -> None:
        self.n_sites = n_sites
        self.offset = np.concatenate([[0], np.cumsum(n_sites)]).astype(np.int64)
        self.members = np.empty(self.offset[-1], dtype=np.int64)
        _fill_members(labels.reshape(-1), self.offset[:-1].copy(), self.members)

    def parts(self) -> Iterator[_Part]:
        """Consecutive protohaloes with some `_PART` members, so that no value of all members is in memory at once."""
        first = 0
        while first < len(self.n_sites):
            last = max(int(np.searchsorted(self.offset, self.offset[first] + _PART, side="right")) - 1, first + 1)
            yield _Part(slice(first, last), self.members[self.offset[first] : self.offset[last]], self.n_sites)
            first = last

    def means_of(self, cube: NDArray) -> NDArray[np.float64]:
        """Mean of a cube over the members of each, (n, n, n) -> (K,)."""
        flat, result = cube.reshape(-1), np.empty(len(self.n_sites))
        for part in self.parts():
            result[part.groups] = part.mean(flat[part.members])
        return result


class _Part:
    """Some of the protohaloes: which, their members, and reductions over those."""

    def __init__(self, groups: slice, members: NDArray[np.int64], n_sites: NDArray[np.int64]) -> None:
        self.groups, self.members, self._n_sites = groups, members, n_sites[groups]
        self.owner = np.repeat(np.arange(len(self._n_sites)), self._n_sites)

    def mean(self, values: NDArray) -> NDArray[np.float64]:
        """Mean of a value a member."""
        return np.bincount(self.owner, weights=values, minlength=len(self._n_sites)) / self._n_sites

    def span(self, values: NDArray) -> NDArray:
        """Largest minus smallest value a member."""
        first = np.cumsum(self._n_sites) - self._n_sites
        return np.maximum.reduceat(values, first) - np.minimum.reduceat(values, first)


@njit(cache=True, nogil=True)
def _fill_members(labels: NDArray[np.int32], place: NDArray[np.int64], members: NDArray[np.int64]) -> None:
    for site in range(len(labels)):
        if labels[site] > 0:
            members[place[labels[site] - 1]] = site
            place[labels[site] - 1] += 1


def _shapes(
    groups: _Groups, prediction: Prediction
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres (K, 3), extents (K, 3) in Mpc/h and inertia tensors (K, 3, 3) in (Mpc/h)^2, across periodic faces."""
    lattice = prediction.lattice
    count = len(groups.n_sites)
    center, extent, inertia = np.empty((count, 3)), np.empty((count, 3)), np.empty((count, 3, 3))
    for part in groups.parts():
        sites = lattice.sites(part.members)
        separation = np.empty((len(part.members), 3))
        for axis in range(3):
            position = unwrap(sites[:, axis] * lattice.spacing, lattice.box_size, part.owner)
            mean = part.mean(position)
            separation[:, axis] = position - mean[part.owner]
            center[part.groups, axis] = mean + prediction.site_offset * lattice.spacing
            extent[part.groups, axis] = part.span(position) + lattice.spacing
        for i in range(3):
            for j in range(i + 1):
                product = -part.mean(separation[:, i] * separation[:, j])
                inertia[part.groups, i, j] = inertia[part.groups, j, i] = product
    inertia -= np.trace(inertia, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    return wrap(center, lattice.box_size), extent, inertia


def _velocity_factor(field: LinearField) -> float:
    """Peculiar velocity of a first-order displacement at the field's target, a H f, in km/s per comoving Mpc/h."""
    cosmology, z = field.cosmology, field.target_redshift
    return cosmology.hubble(z) * cosmology.growth_rate(z) / (1 + z)


def _mean_motion(groups: _Groups, field: LinearField, order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean displacement (Mpc/h) and peculiar velocity (km/s) of the members at the target, (K, 3) each, by LPT."""
    cosmology, z = field.cosmology, field.target_redshift
    displacement = _mean_gradient(groups, field.phi, field)
    velocity = _velocity_factor(field) * displacement
    if order == 2:
        phi2 = potential(second_order_source(field.phi, field.lattice), field.lattice)
        # psi2 = D2 grad(phi2), D2 = -3/7 D^2 Omega_m^(-1/143) (Bouchet et al. 1995)
        growth = 3 / 7 * cosmology.matter_fraction(z) ** (-1 / 143)
        second = growth * _mean_gradient(groups, phi2, field)
        displacement = displacement + second
        velocity = velocity + cosmology.hubble(z) * cosmology.second_growth_rate(z) / (1 + z) * second
    return displacement, velocity


def _evolved_motion(
    groups: _Groups, field: LinearField, evolved: EvolvedField
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean displacement (Mpc/h) and peculiar velocity (km/s) of the members in the evolved field, (K, 3) each."""
    if evolved.velocity is None:
        raise CatalogError("the evolved field has no velocities; give the whole result of `evolve_field`")
    if evolved.n != field.n:
        raise CatalogError(f"the evolved field has {evolved.n} sites per side, the field {field.n}; evolve this field")

    def mean(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.stack([groups.means_of(vectors[axis]) for axis in range(3)], axis=-1) * field.spacing

    # v = a H f dx/dln D, and the growth factor of the evolved field is 1 at the target
    return mean(evolved.displacement), _velocity_factor(field) * mean(evolved.velocity)


def _mean_gradient(groups: _Groups, phi: NDArray[np.float32], field: LinearField) -> NDArray[np.float64]:
    """Mean of -grad(phi) over the members, (K, 3)."""
    means = [groups.means_of(displacement_component(phi, field.lattice, axis)) for axis in range(3)]
    return np.stack(means, axis=-1)
