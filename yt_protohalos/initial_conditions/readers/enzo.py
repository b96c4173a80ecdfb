"""Enzo initial conditions as MUSIC writes them: a folder of displacement and velocity grids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._utils.files import open_hdf5
from ...exceptions import FormatError, InitialConditionsError, LatticeError
from ...fields.cosmology import Cosmology
from ..checks import check_reach, library_errors, stored_dataset
from .music import BoxFacts

_NAMES = ("Particle", "Grid", "RefinementMask", "parameter_file")
_PARAMETER_FILES = (".txt", ".enzo", ".param")
VELOCITY_UNIT = 122.5
"""km/s of Enzo's velocity unit per Mpc/h of box, sqrt(Omega_m) and sqrt(1 + z_initial)."""

_LARGEST = {"ParticleDisplacements": 10.0, "ParticleVelocities": 1e6}


@dataclass(frozen=True)
class EnzoGrids:
    """Displacements and velocities on the lattice of cell centres.

    Attributes
    ----------
    displacement : float64, (3, n, n, n)
        In box sides, x on axis 0.
    velocity : float64, (3, n, n, n), or None
        In Enzo's velocity unit.
    """

    displacement: NDArray[np.float64]
    velocity: NDArray[np.float64] | None
    facts: BoxFacts


def is_enzo(path: Path) -> bool:
    """Test if the path is a folder with ``ParticleDisplacements_x``, or a file beside it."""
    belongs = path.is_dir() or path.name.startswith(_NAMES) or path.suffix in _PARAMETER_FILES
    return belongs and (folder_of(path) / "ParticleDisplacements_x").is_file()


def folder_of(path: Path) -> Path:
    """Folder of initial conditions, given itself or any file in it."""
    return path if path.is_dir() else path.parent


def read_enzo(path: Path) -> EnzoGrids:
    """Read an Enzo initial-conditions folder.

    Raises
    ------
    FormatError, LatticeError, InitialConditionsError
        For missing, misshapen or nested grids.
    """
    folder = folder_of(path)
    nested = sorted(file.name for file in folder.glob("ParticleDisplacements_x.*"))
    if nested:
        raise InitialConditionsError(
            f"{folder.name} holds nested grids ({nested[0]}, ...), a zoom; one uniform grid is needed: give unigrid "
            "initial conditions, or the zoom's coarse run"
        )
    displacement = _vector(folder, "ParticleDisplacements")
    velocity = _vector(folder, "ParticleVelocities") if (folder / "ParticleVelocities_x").is_file() else None
    if velocity is not None and velocity.shape != displacement.shape:
        raise LatticeError(
            f"{folder.name} has displacements of shape {displacement.shape[1:]} and velocities of {velocity.shape[1:]};"
            " both must agree, write the folder again"
        )
    return EnzoGrids(displacement, velocity, _facts(folder))


def _vector(folder: Path, name: str) -> NDArray[np.float64]:
    components: list[NDArray[np.float64]] = []
    for axis in "xyz":
        path = folder / f"{name}_{axis}"
        if not path.is_file():
            raise FormatError(f"{folder.name} has no {path.name}; all three components are needed")
        with library_errors(path.name), open_hdf5(path) as file:
            grid = np.squeeze(stored_dataset(path.name, file, path.name)[()])
        if grid.ndim != 3 or len(set(grid.shape)) != 1:
            raise LatticeError(f"{path.name} has shape {grid.shape}; a cubic grid is needed: give a whole cubic box")
        if components and grid.shape != components[0].shape:
            raise LatticeError(
                f"{path.name} has shape {grid.shape}, the x component {components[0].shape}; all must agree, write "
                "the folder again"
            )
        check_reach(path.name, grid, _LARGEST[name], "", "in box sides or Enzo's velocity unit")
        components.append(grid.T)  # Enzo keeps x fastest
    return np.stack(components)


def _facts(folder: Path) -> BoxFacts:
    parameters = _parameters(folder)
    names = ("CosmologyHubbleConstantNow", "CosmologyOmegaMatterNow", "CosmologyOmegaLambdaNow")
    known = all(name in parameters for name in names)
    cosmology = Cosmology(*(parameters[name] for name in names)) if known else None
    return BoxFacts(parameters.get("CosmologyComovingBoxSize"), parameters.get("CosmologyInitialRedshift"), cosmology)


def _parameters(folder: Path) -> dict[str, float]:
    """Cosmology parameters of every text file in the folder that has them."""
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.txt")) + sorted(folder.glob("*.enzo")) + sorted(folder.glob("*.param")):
        for line in path.read_text(errors="replace").splitlines():
            name, equals, value = line.partition("=")
            if equals and name.strip().startswith("Cosmology"):
                try:
                    found[name.strip()] = float(value.split("//")[0].split("#")[0])
                except ValueError:
                    continue  # not one of the numbers, e.g. a field's name
    return found
