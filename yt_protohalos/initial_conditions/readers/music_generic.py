"""The generic HDF5 files of MUSIC (levels with ghost cells) and of monofonIC (one grid)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._utils.files import open_hdf5
from ...exceptions import CosmologyError, FormatError, InitialConditionsError, LatticeError
from ...fields.cosmology import Cosmology
from ..checks import library_errors, stored_dataset
from .music_conf import BoxFacts

_LEVEL = re.compile(r"level_(\d+)_(DM|BA)_(\w+)")
_FINEST = 16
_SINGLE = re.compile(r"(DM|BA)_(delta|[dv][xyz])")


@dataclass(frozen=True)
class GenericLayout:
    """Cubes of a generic file.

    Attributes
    ----------
    path : Path
    n : int
        Cells per side, ghost cells left out.
    ghosts : int
        Ghost cells on each face.
    datasets : dict of str to str
        HDF5 dataset of each field, e.g. ``"DM_rho"``.
    header : dict of str to float
        What monofonIC's Header says: Boxsize, astart, Omega_m, Omega_L, Omega_b.
    """

    path: Path
    n: int
    ghosts: int
    datasets: dict[str, str]
    header: dict[str, float] = field(default_factory=dict)

    def read(self, name: str) -> NDArray[np.float64]:
        """One field, float64, (n, n, n), x on axis 0."""
        inner = slice(self.ghosts, self.ghosts + self.n)
        with library_errors(self.path.name), open_hdf5(self.path) as file:
            return np.asarray(file[self.datasets[name]][inner, inner, inner], dtype=np.float64)

    def facts(self, known: BoxFacts) -> BoxFacts:
        """Facts from the header, completed from `known`; only `known` can hold h."""
        header = self.header
        if not header:
            return known
        cosmology = known.cosmology
        if cosmology is not None and "Omega_m" in header:
            cosmology = Cosmology(
                cosmology.h, header["Omega_m"], header.get("Omega_L", cosmology.omega_lambda),
                header.get("Omega_b", cosmology.omega_b), cosmology.sigma_8, cosmology.n_s,
            )  # fmt: skip
        if not 0 < header.get("astart", 1.0) <= 1:
            raise CosmologyError(
                f"{self.path.name} says it starts at a = {header['astart']:g}; a scale factor lies in (0, 1]: correct "
                "the header, or write the file again"
            )
        redshift = 1 / header["astart"] - 1 if "astart" in header else None
        return BoxFacts(header.get("Boxsize"), redshift, cosmology).or_else(known)


def is_generic(path: Path) -> bool:
    """Test if the file is generic HDF5 of MUSIC or monofonIC."""
    import h5py

    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return any(_LEVEL.fullmatch(name) or _SINGLE.fullmatch(name) for name in file)


def read_generic_layout(path: Path) -> GenericLayout:
    """Find the finest uniform level and its fields.

    Raises
    ------
    InitialConditionsError
        For zoom levels.
    FormatError, LatticeError
        For a file without dark-matter fields, or whose fields are no cube.
    """
    with library_errors(path.name), open_hdf5(path) as file:
        levels = [match for match in map(_LEVEL.fullmatch, file) if match]
        if not levels:
            return _single_grid(path, file)
        attributes = dict(file["header"].attrs) if "header" in file else {}
        finest = max(int(match[1]) for match in levels)
        coarsest = int(attributes.get("levelmin", finest))
        if coarsest != finest:
            raise InitialConditionsError(
                f"{path.name} has levels {coarsest} to {finest}, a zoom; one uniform level is needed: give unigrid "
                "initial conditions (levelmin = levelmax), or the zoom's coarse run"
            )
        datasets = {f"{match[2]}_{match[3]}": match[0] for match in levels if int(match[1]) == finest}
        if "DM_rho" not in datasets:
            raise FormatError(
                f"{path.name} has no level_{finest:03d}_DM_rho; the dark-matter density is needed, remake it"
            )
        shapes = {name: stored_dataset(path.name, file, whole).shape for name, whole in datasets.items()}
    shape = shapes["DM_rho"]
    n = 2 ** min(finest, _FINEST)
    extra = {side - n for side in shape}
    if len(shape) != 3 or len(extra) != 1 or min(extra) < 0 or min(extra) % 2:
        raise LatticeError(
            f"level {finest} of {path.name} has shape {shape}; {n}^3 cells with as many ghost cells on each face are "
            "needed: give a cubic box"
        )
    other = sorted(name for name, each in shapes.items() if each != shape)
    if other:
        raise LatticeError(
            f"{other[0]} of {path.name} has shape {shapes[other[0]]}, DM_rho {shape}; all must agree, write it again"
        )
    return GenericLayout(path, n, extra.pop() // 2, datasets)


def _single_grid(path: Path, file: object) -> GenericLayout:
    datasets = {name: name for name in file if _SINGLE.fullmatch(name)}  # type: ignore[attr-defined]
    vectors = {f"DM_{kind}{axis}" for kind in "dv" for axis in "xyz"}
    if "DM_delta" not in datasets and not vectors <= set(datasets):
        raise FormatError(
            f"{path.name} holds {sorted(datasets)}; DM_delta, or displacements DM_dx..z and velocities DM_vx..z, are "
            "needed"
        )
    shapes = {stored_dataset(path.name, file, name).shape for name in datasets}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or len(set(shape)) != 1:
        raise LatticeError(f"the fields of {path.name} have shapes {sorted({*shapes, shape})}; one cube is needed")
    header = file["Header"].attrs if "Header" in file else {}  # type: ignore[operator,index]
    values = {str(name): float(np.ravel(value)[0]) for name, value in dict(header).items() if np.size(value) == 1}
    return GenericLayout(path, shape[0], 0, datasets, values)
