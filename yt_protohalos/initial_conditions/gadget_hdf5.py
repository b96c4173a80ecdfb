"""Writing initial conditions as a Gadget HDF5 snapshot."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cosmology import Cosmology
from ..exceptions import InitialConditionsError
from ..lattice import Lattice


def write_gadget_hdf5(
    filename: str | Path,
    positions: NDArray,
    velocities: NDArray,
    lattice: Lattice,
    cosmology: Cosmology,
    redshift: float,
) -> Path:
    """Write particles in row-major order of their sites as a Gadget HDF5 file, IDs from 1.

    Parameters
    ----------
    filename : path
        Appears only once complete; an existing file is replaced.
    positions : float32 or float64, (n^3, 3)
        Comoving Mpc/h; their precision is the file's.
    velocities : same dtype and shape
        Peculiar velocities a dx/dt in km/s; stored divided by sqrt(a), as Gadget does.
    lattice : Lattice
    cosmology : Cosmology
    redshift : float

    Returns
    -------
    Path

    Raises
    ------
    InitialConditionsError
        For arrays that do not hold one particle a site.
    """
    import h5py

    for name, values in (("positions", positions), ("velocities", velocities)):
        if values.shape != (lattice.n_sites, 3) or values.dtype not in (np.float32, np.float64):
            raise InitialConditionsError(
                f"{name} are {values.dtype} {values.shape}; give float32 or float64 ({lattice.n_sites}, 3)"
            )
    scale = 1 / (1 + redshift)
    target = Path(filename)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            file.create_group("Header").attrs.update(_header(lattice, cosmology, redshift, positions.dtype))
            group = file.create_group("PartType1")
            group["Coordinates"] = positions
            group["Velocities"] = velocities / np.sqrt(scale, dtype=velocities.dtype)
            wide = lattice.n_sites >= 2**32
            group["ParticleIDs"] = np.arange(1, lattice.n_sites + 1, dtype=np.uint64 if wide else np.uint32)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return target


def _header(lattice: Lattice, cosmology: Cosmology, redshift: float, dtype: np.dtype) -> dict[str, object]:
    counts = np.zeros(6, dtype=np.uint64)
    counts[1] = lattice.n_sites
    masses = np.zeros(6)
    masses[1] = cosmology.site_mass(lattice.spacing) / 1e10
    return {
        "BoxSize": lattice.box_size,
        "MassTable": masses,
        "NumPart_ThisFile": counts,
        "NumPart_Total": (counts & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        "NumPart_Total_HighWord": (counts >> np.uint64(32)).astype(np.uint32),
        "NumFilesPerSnapshot": np.int32(1),
        "Time": 1 / (1 + redshift),
        "Redshift": float(redshift),
        "Omega0": cosmology.omega_m,
        "OmegaLambda": cosmology.omega_lambda,
        "OmegaBaryon": cosmology.omega_b,
        "HubbleParam": cosmology.h,
        "Sigma8": cosmology.sigma_8,
        "PrimordialIndex": cosmology.n_s,
        "Flag_DoublePrecision": np.int32(dtype == np.float64),
        **{f"Flag_{name}": np.int32(0) for name in ("Sfr", "Cooling", "StellarAge", "Metals", "Feedback")},
    }
