"""Files of halo labels and haloes, as `protohalos validate` and `label` read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.files import open_hdf5
from ..exceptions import ScoringError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..analysis.catalog_scores import SimulatedHaloes


def read_labels(path: Path) -> NDArray[np.int64]:
    """Halo labels of an HDF5 file, 0 outside and 1..K, whichever of the two conventions it follows.

    Raises
    ------
    ScoringError
        The file has neither dataset, or both.
    """
    import numpy as np

    from ..training.user_runs import CUBE_NAMES

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an HDF5 file with halo labels on the initial lattice")
    with open_hdf5(path) as file:
        found = [name for name in CUBE_NAMES if name in file]
        if len(found) != 1:
            raise ScoringError(f"{path} holds {found or 'neither'} of `labels` and `halo_id`; it needs exactly one")
        values = file[found[0]][()].astype(np.int64)
    return values if found[0] == "labels" else values + 1


def read_haloes(path: Path, labels: NDArray[np.integer]) -> SimulatedHaloes:
    """Haloes of a label file: ``halo_position`` (Mpc/h), and where they are ``halo_velocity`` (km/s), ``halo_spin``."""
    from ..analysis.catalog_scores import SimulatedHaloes

    with open_hdf5(path) as file:
        velocity, spin = (file[name][()] if name in file else None for name in ("halo_velocity", "halo_spin"))
        return SimulatedHaloes(labels, file["halo_position"][()], velocity, spin)
