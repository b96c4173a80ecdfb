"""Catalogue of protohaloes: mass, position, velocity, shape, tide, spin, confidence and members of each label."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import CatalogError
from ..fields.evolution import EvolvedField
from ..fields.fourier import displacement_component, potential, second_order_source
from ..fields.lattice import Lattice, unwrap, wrap
from ..fields.linear_field import LinearField
from ..prediction.halo_motion import HaloMotion, mean_motion
from ..prediction.result import Prediction
from ..segmentation.label_groups import LabelGroups
from ..segmentation.labels import count_pieces
from .shapes import principal_axes, tidal_eigenvalues, tidal_tensors, tidal_torque
from .spherical_masses import SphericalMasses, known_definitions, sphere_mass, spherical_masses, uses_radius

OVERDENSITY = 200.0
"""Mean density of the sphere that `Catalog.radius_200m` describes, over the mean matter density."""
LAGRANGIAN = "Lagrangian centre"
FIRST_ORDER = "first-order LPT"
SECOND_ORDER = "second-order LPT"
LPT_METHODS = {1: FIRST_ORDER, 2: SECOND_ORDER}
EVOLVED = "evolved field"


@dataclass(frozen=True, eq=False, repr=False)
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
        a >= b >= c of the homogeneous ellipsoid with that inertia, whose sites count as cubes, Mpc/h; see
        `shapes.principal_axes`.
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
    spherical_mass : float64, (K, 3)
        Spherical-overdensity masses M_200m, M_vir and M_200c, Msun: 200 times the mean matter density, the virial
        overdensity of Bryan & Norman (1998), 200 times the critical density. By relations that were calibrated on
        particle-mesh runs (`spherical_masses`); NaN where those do not hold: haloes other than friends of friends with
        linking length 0.2, and M_vir and M_200c at other redshifts than 0.
    spherical_mass_error : float64, (K, 3)
        Half of the central 68 % of the simulated masses about these, Msun.
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
    model : str
        Name of the model that predicted them.

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
    spherical_mass: NDArray[np.float64]
    spherical_mass_error: NDArray[np.float64]
    confidence: NDArray[np.float64]
    member_offset: NDArray[np.int64]
    members: NDArray[np.int64]
    position_method: str
    velocity_method: str
    lattice: Lattice
    site_offset: float
    redshift: float = 0.0
    model: str = ""

    def __len__(self) -> int:
        return len(self.identifier)

    def __repr__(self) -> str:
        masses = f", {self.mass[-1]:.3g} to {self.mass[0]:.3g} Msun" if len(self) else ""
        return (
            f"Catalog of {len(self)} protohaloes at z = {self.redshift:g}{masses}\n"
            f"  box: {self.lattice.box_size:g} Mpc/h (comoving), {self.lattice.n}^3 sites\n"
            f"  model: {self.model or 'unknown'}\n"
            f"  positions: {self.position_method}, velocities: {self.velocity_method}"
        )

    def _repr_html_(self) -> str:
        """Return a table of the ten most massive protohaloes, for notebooks."""
        head = ("id", "mass [Msun]", "sites", "x, y, z [Mpc/h]", "R<sub>200m</sub> [Mpc/h]", "confidence")
        rows = [
            (f"{i}", f"{self.mass[i]:.3e}", f"{self.n_sites[i]}", ", ".join(f"{x:.2f}" for x in self.position[i]),
             f"{self.radius_200m[i]:.3f}", f"{self.confidence[i]:.2f}")
            for i in range(min(len(self), 10))
        ]  # fmt: skip
        table = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in rows)
        return (
            f"<p>{escape(repr(self)).replace(chr(10), '<br>')}</p>"
            f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{table}</table>"
        )

    @property
    def lagrangian_radius(self) -> NDArray[np.float64]:
        """Comoving radius of the sphere of mean matter density with the mass of each protohalo, Mpc/h, (K,)."""
        return np.asarray(OVERDENSITY ** (1 / 3) * self.radius_200m)

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
        of the prediction are then means over the members, and tides and spins are known; without it tides and spins are
        NaN, and positions and velocities, unless the prediction holds them, the Lagrangian centre and 0.
    evolved : EvolvedField, optional
        `evolve_field` of the field at the redshift of the prediction; positions and velocities then come from it. Its
        rms error in position on the TreePM reference run is 0.03 Mpc/h above 2000 sites (0.11 below 500 sites, where
        2LPT has 0.39). Where neither it nor `lpt_order` is given, positions and velocities are those that the
        prediction holds (`Prediction.motion`). If it holds none and depends on the evolved field, this is made here.
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
    groups = LabelGroups(prediction.labels, n_sites)
    shapes = _shape_columns(groups, prediction)
    center = shapes["lagrangian_center"]
    field = None if field is None else field.at_redshift(prediction.target_redshift)
    motion, method = _motion(groups, prediction, field, center, evolved, lpt_order)
    tides = _unknown_tide_columns(len(n_sites))
    if field is not None:
        sites_from_origin = center / lattice.spacing - prediction.site_offset
        tides = _tide_columns(field, sites_from_origin, n_sites, shapes["inertia"])
    spherical = _spherical_masses(prediction, motion, method)
    return Catalog(
        identifier=np.arange(len(n_sites), dtype=np.int64),
        mass=prediction.label_mass[1:],
        n_sites=n_sites,
        **shapes,
        position=motion.position,
        velocity=motion.velocity,
        position_method=method,
        velocity_method=method,
        **tides,
        n_pieces=count_pieces(prediction.labels),
        radius_200m=np.cbrt(3 * n_sites * lattice.spacing**3 / (4 * np.pi * OVERDENSITY)),
        spherical_mass=spherical.mass,
        spherical_mass_error=spherical.error,
        confidence=groups.means_of(prediction.probability),
        member_offset=groups.offset,
        members=groups.members,
        lattice=lattice,
        site_offset=prediction.site_offset,
        redshift=prediction.target_redshift,
        model=prediction.card.name,
    )


def _shape_columns(groups: LabelGroups, prediction: Prediction) -> dict[str, Any]:
    """Centres, extents, inertia tensors and principal axes of the regions, across periodic faces."""
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
    semi_axes, axes = principal_axes(inertia, lattice.spacing)
    center = wrap(center, lattice.box_size)
    return {"lagrangian_center": center, "extent": extent, "inertia": inertia, "semi_axes": semi_axes, "axes": axes}


def _motion(
    groups: LabelGroups,
    prediction: Prediction,
    field: LinearField | None,
    center: NDArray[np.float64],
    evolved: EvolvedField | None,
    lpt_order: int | None,
) -> tuple[HaloMotion, str]:
    """Positions and velocities at the target redshift, and the method that they come from."""
    if evolved is None and lpt_order is None:
        if prediction.motion is not None:
            return prediction.motion, EVOLVED
        if field is not None and prediction.card.sees_evolution:
            evolved = prediction.evolved or prediction.card.evolve(field)
    if field is None:
        return HaloMotion(center, np.zeros_like(center)), LAGRANGIAN
    if evolved is not None:
        return _evolved_motion(groups, field, evolved), EVOLVED
    order = lpt_order or 2
    return _lpt_motion(groups, field, center, order), LPT_METHODS[order]


def _spherical_masses(prediction: Prediction, motion: HaloMotion, method: str) -> SphericalMasses:
    """Spherical masses from those of the protohaloes, and from their radii in the evolved field of the relations."""
    card, cosmology = prediction.card, prediction.cosmology
    sphere = None
    if motion.radius is not None and method == EVOLVED and uses_radius(card):
        sphere = sphere_mass(motion.radius, cosmology.mean_density) / cosmology.h
    # by the sites that the model saw, on which its resolution depends
    seen = prediction.settings.get("model_side", prediction.lattice.n) / prediction.lattice.n
    sizes, mass = prediction.sizes[1:] * seen**3, prediction.label_mass[1:]
    return spherical_masses(mass, sizes, sphere, known_definitions(card, prediction.target_redshift))


def _unknown_tide_columns(count: int) -> dict[str, Any]:
    shapes = {"tide": (count, 3, 3), "tidal_eigenvalues": (count, 3), "spin": (count, 3)}
    return {name: np.full(shape, np.nan) for name, shape in shapes.items()}


def _tide_columns(
    field: LinearField, center: NDArray[np.float64], n_sites: NDArray[np.int64], inertia: NDArray[np.float64]
) -> dict[str, Any]:
    """Tidal tensors, their eigenvalues and the spin; `center` is in sites from site 0."""
    tide = tidal_tensors(field.phi, field.lattice, center, n_sites)
    # the tide holds D: a^2 dD/dt = a^2 H f D
    spin = field.velocity_factor / (1 + field.target_redshift) * tidal_torque(inertia, tide)
    return {"tide": tide, "tidal_eigenvalues": tidal_eigenvalues(tide), "spin": spin}


def _lpt_motion(groups: LabelGroups, field: LinearField, center: NDArray[np.float64], order: int) -> HaloMotion:
    """Motion of the members by perturbation theory."""
    cosmology, z = field.cosmology, field.target_redshift
    displacement = _mean_gradient(groups, field.phi, field)
    velocity = field.velocity_factor * displacement
    if order == 2:
        phi2 = potential(second_order_source(field.phi, field.lattice), field.lattice)
        # psi2 = D2 grad(phi2), D2 = -3/7 D^2 Omega_m^(-1/143) (Bouchet et al. 1995)
        growth = 3 / 7 * cosmology.matter_fraction(z) ** (-1 / 143)
        second = growth * _mean_gradient(groups, phi2, field)
        displacement = displacement + second
        velocity = velocity + cosmology.hubble(z) * cosmology.second_growth_rate(z) / (1 + z) * second
    return HaloMotion(wrap(center + displacement, field.lattice.box_size), velocity)


def _evolved_motion(groups: LabelGroups, field: LinearField, evolved: EvolvedField) -> HaloMotion:
    """Motion of the members in the evolved field."""
    if evolved.velocity is None:
        raise CatalogError("the evolved field has no velocities; give the whole result of `evolve_field`")
    if evolved.n != field.n:
        raise CatalogError(f"the evolved field has {evolved.n} sites per side, the field {field.n}; evolve this field")
    return mean_motion(groups, field, evolved.displacement, evolved.velocity)


def _mean_gradient(groups: LabelGroups, phi: NDArray[np.float32], field: LinearField) -> NDArray[np.float64]:
    """Mean of -grad(phi) over the members, (K, 3)."""
    means = [groups.means_of(displacement_component(phi, field.lattice, axis)) for axis in range(3)]
    return np.stack(means, axis=-1)
