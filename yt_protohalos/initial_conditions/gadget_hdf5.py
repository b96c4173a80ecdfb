"""Gadget HDF5 files: writing initial conditions, and what the header of any says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_path
from ..cosmology import Cosmology
from ..exceptions import FormatError, InitialConditionsError
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
    with atomic_path(target) as partial, h5py.File(partial, "w") as file:
        file.create_group("Header").attrs.update(_header(lattice, cosmology, redshift, positions.dtype))
        group = file.create_group("PartType1")
        group["Coordinates"] = positions
        group["Velocities"] = velocities / np.sqrt(scale, dtype=velocities.dtype)
        wide = lattice.n_sites >= 2**32
        group["ParticleIDs"] = np.arange(1, lattice.n_sites + 1, dtype=np.uint64 if wide else np.uint32)
    return target


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Header (and Parameters) attributes, Units attributes, and the file's mass in its own units.

    Raises
    ------
    FormatError
        For a file that is truncated, empty, or whose counts do not fit its arrays.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            header = {**dict(file["Parameters"].attrs if "Parameters" in file else {}), **dict(file["Header"].attrs)}
            units = dict(file["Units"].attrs) if "Units" in file else {}
            counts, table = header["NumPart_ThisFile"], header["MassTable"]
            mass = 0.0
            for index, (count, each) in enumerate(zip(counts, table, strict=True)):
                group = f"PartType{index}"
                if count and group not in file:
                    raise FormatError(
                        f"{path.name} counts {count} particles of type {index} but has no {group}; remake it"
                    )
                if count and file[group]["Coordinates"].shape != (int(count), 3):
                    raise FormatError(
                        f"{path.name} counts {count} particles of type {index} but holds "
                        f"{file[group]['Coordinates'].shape[0]}; "
                        "both must agree, remake it"
                    )
                mass += float(count) * float(each) if each else float(np.sum(file[group]["Masses"])) if count else 0.0
    except (OSError, KeyError) as error:
        raise FormatError(
            f"{path.name} cannot be read as Gadget HDF5 ({error}); it is truncated or incomplete"
        ) from error
    if not int(np.sum(counts)):
        raise FormatError(f"{path.name} holds no particles; give initial conditions with at least one")
    return header, units, mass


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
