"""Gadget and SWIFT HDF5 files: writing initial conditions, and reading the header of any."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.files import atomic_path, open_hdf5
from ...exceptions import CosmologyError, FormatError, InitialConditionsError
from ...fields.cosmology import Cosmology
from ...fields.lattice import Lattice
from ..checks import header_numbers, library_errors, quiet_casts, stored_dataset

_SWIFT_NAMES = {
    "h": "HubbleParam", "Omega_m": "Omega0", "Omega_lambda": "OmegaLambda", "Omega_b": "OmegaBaryon",
    "Redshift": "Redshift",
}  # fmt: skip


def write_gadget_hdf5(
    filename: str | Path,
    positions: NDArray[Any],
    velocities: NDArray[Any],
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
    lattice, cosmology, redshift
        Of the particles; written to the header.

    Raises
    ------
    InitialConditionsError
        For arrays that do not hold one particle per site.
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
    """Header attributes by Gadget's names, Units attributes, and the file's mass in its own units.

    The header is completed from the groups Parameters (Gadget-4) and Cosmology (SWIFT). It holds no ``Time`` if that is
    not a scale factor.

    Raises
    ------
    FormatError, CosmologyError
        For a file that is truncated, empty, or contradicts itself.
    """
    name = path.name
    with library_errors(name), open_hdf5(path) as file:
        groups = {group: dict(file[group].attrs) for group in ("Header", "Parameters", "Cosmology") if group in file}
        groups["Cosmology"] = _swift_cosmology(name, groups.get("Cosmology", {}))
        _check_agreement(name, groups)
        own = groups["Header"]
        if own.get("Code") == b"SWIFT":
            # the time of its snapshots is in its own unit
            own.pop("Time", None)
        units = dict(file["Units"].attrs) if "Units" in file else {}
        counts = header_numbers(name, own, "NumPart_ThisFile")
        own.setdefault("MassTable", np.zeros(counts.size))
        table = header_numbers(name, own, "MassTable", counts.size)
        if not counts.sum() > 0:
            raise FormatError(f"{name} holds no particles; give initial conditions with at least one")
        if "NumFilesPerSnapshot" not in own:
            own["NumFilesPerSnapshot"] = _files_of_set(name, own, counts)
        mass = sum(
            _mass_of_type(name, file, index, int(count), float(each))
            for index, (count, each) in enumerate(zip(counts, table, strict=True))
            if count
        )
    return {**groups["Cosmology"], **groups.get("Parameters", {}), **own}, units, mass


def _swift_cosmology(name: str, stated: dict[str, Any]) -> dict[str, Any]:
    """SWIFT's group Cosmology by Gadget's names."""
    found = {ours: stated[theirs] for theirs, ours in _SWIFT_NAMES.items() if theirs in stated}
    if "Omega0" not in found and {"Omega_cdm", "Omega_b"} <= set(stated):
        found["Omega0"] = sum(header_numbers(name, stated, each)[0] for each in ("Omega_cdm", "Omega_b"))
    return found


def _check_agreement(name: str, groups: dict[str, dict[str, Any]]) -> None:
    """Raise `CosmologyError` where two groups of attributes contradict each other."""
    for key in ("BoxSize", "HubbleParam", "Omega0", "OmegaLambda", "Redshift"):
        stated = [(group, header_numbers(name, each, key)) for group, each in groups.items() if key in each]
        for (first, one), (second, other) in pairwise(stated):
            if not np.allclose(one, other, rtol=1e-5, atol=1e-10):
                raise CosmologyError(
                    f"{name} gives {key} {one.tolist()} in its {first} and {other.tolist()} in its {second}; both must "
                    "agree: correct one"
                )


def _files_of_set(name: str, header: dict[str, Any], counts: NDArray[Any]) -> int:
    """Number of files of a set whose header does not state it: one, if this file holds all particles."""
    # the total has the low 32 bits alone
    if "NumPart_Total" in header and np.any(header_numbers(name, header, "NumPart_Total") != counts % 2**32):
        raise FormatError(
            f"{name} has no NumFilesPerSnapshot in its header and holds {int(counts.sum())} particles, not the "
            "NumPart_Total of its header; add the number of files to the header"
        )
    return 1


def _mass_of_type(name: str, file: Any, index: int, count: int, each: float) -> float:
    """Mass of one particle type in file units, once its arrays are known to fit its count."""
    group = f"PartType{index}"
    if group not in file:
        raise FormatError(f"{name} counts {count} particles of type {index} but has no {group}; remake it")
    arrays = [("Coordinates", (count, 3), "f"), ("Velocities", (count, 3), "f"), ("ParticleIDs", (count,), "iu")]
    # black holes of SWIFT have another name for it
    masses = "DynamicalMasses" if f"{group}/DynamicalMasses" in file else "Masses"
    if each == 0.0:
        arrays.append((masses, (count,), "f"))
    for field, shape, kind in arrays:
        whole = f"{group}/{field}"
        if field in ("Velocities", "ParticleIDs") and whole not in file:
            continue
        found = stored_dataset(name, file, whole)
        if found.shape != shape or found.dtype.kind not in kind or found.dtype.itemsize not in (4, 8):
            raise FormatError(
                f"{name} counts {count} particles of type {index}, but {field} holds {found.dtype} {found.shape}; "
                f"{'whole' if kind == 'iu' else 'real'} numbers of 4 or 8 bytes in shape {shape} are needed: "
                "write the file again"
            )
    with quiet_casts():
        return count * each if each else float(np.sum(file[f"{group}/{masses}"][()], dtype=np.float64))


def _header(lattice: Lattice, cosmology: Cosmology, redshift: float, dtype: np.dtype) -> dict[str, object]:
    counts = np.zeros(6, dtype=np.uint64)
    counts[1] = lattice.n_sites
    masses = np.zeros(6)
    masses[1] = cosmology.site_mass_msun_h(lattice.spacing) / 1e10
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
