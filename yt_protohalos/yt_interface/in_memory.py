"""In-memory yt datasets that know their redshift and cosmology."""

from __future__ import annotations

from typing import Any

import numpy as np
import yt
from numpy.typing import NDArray

from ..fields.cosmology import Cosmology


def particle_dataset(
    positions: NDArray,
    velocities: NDArray | None,
    masses: NDArray,
    box_size: float,
    cosmology: Cosmology,
    redshift: float,
    name: str,
) -> Any:
    """Particles as a cosmological in-memory dataset.

    Parameters
    ----------
    positions : float, (N, 3)
        Comoving Mpc/h in [0, L).
    velocities : float, (N, 3), or None
        Peculiar km/s.
    masses : float, (N,)
        Msun/h.
    box_size : float
        Comoving Mpc/h.
    cosmology : Cosmology
    redshift : float
    name : str
        Shown in file names of plots.
    """
    data: dict[Any, Any] = {"particle_index": np.arange(len(positions), dtype=np.int64)}
    for axis, letter in enumerate("xyz"):
        data[f"particle_position_{letter}"] = (positions[:, axis], "code_length")
        if velocities is not None:
            data[f"particle_velocity_{letter}"] = (velocities[:, axis], "km/s")
    data["particle_mass"] = (masses, "code_mass")
    ds = yt.load_particles(data, bbox=np.array([[0.0, box_size]] * 3), dataset_name=name)
    return with_cosmology(ds, cosmology, redshift)


def with_cosmology(ds: Any, cosmology: Cosmology, redshift: float) -> Any:
    """The same in-memory dataset, with lengths in comoving Mpc/h, masses in Msun/h, a redshift and a cosmology."""
    handler = ds.stream_handler
    handler.cosmology_simulation = 1
    handler.current_redshift = float(redshift)
    handler.omega_matter, handler.omega_lambda = cosmology.omega_m, cosmology.omega_lambda
    handler.hubble_constant = cosmology.h
    handler.code_units = ("Mpccm/h", "Msun/h", "s", "km/s", "gauss")
    handler.parameters.update(OmegaBaryon=cosmology.omega_b, Sigma8=cosmology.sigma_8, PrimordialIndex=cosmology.n_s)
    return type(ds)(handler)
