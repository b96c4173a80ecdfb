"""Open initial conditions as yt datasets, with the pitfalls of each format settled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yt
from numpy.typing import NDArray
from yt.frontends.stream.api import StreamDataset
from yt.utilities.exceptions import YTUnidentifiedDataType

from .._utils.files import open_hdf5
from ..exceptions import CosmologyError, FormatError
from ..fields.cosmology import CRITICAL_DENSITY, Cosmology
from ..fields.units import Quantity
from ..initial_conditions.checks import library_errors
from ..initial_conditions.readers import enzo, tipsy
from ..initial_conditions.readers.gadget_binary import is_gadget_binary
from ..initial_conditions.readers.grafic import is_grafic
from ..initial_conditions.readers.music import BoxFacts, is_generic
from .conf import with_conf
from .dataset_state import file_fingerprint, forget_changed, state_of
from .frontends.gadget import load_gadget_binary, load_gadget_hdf5
from .frontends.grafic import GraficDataset
from .frontends.music import MusicDataset


def load(
    path: str | os.PathLike[str],
    *,
    box_size: Quantity | None = None,
    redshift: float | None = None,
    cosmology: Cosmology | None = None,
    conf: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Any:
    """Open initial conditions as a yt dataset, in the right units.

    Parameters
    ----------
    path : path
        Gadget-2 binary (formats 1 and 2, any precision, any of several files), Gadget, AREPO, Gadget-4 or SWIFT HDF5,
        TIPSY, an Enzo or grafic2 folder, MUSIC or monofonIC generic HDF5; anything else goes to `yt.load`.
    box_size : float or quantity, optional
        Side of the box in comoving Mpc/h, or in the unit of the quantity; see `fields.units`.
    redshift : float, optional
    cosmology : Cosmology, optional
        These three are for files that do not state them, such as SWIFT initial conditions without a cosmology. By
        default they are read from the file, then from the MUSIC or monofonIC .conf beside it.
    conf : path, optional
        That .conf file, where its name is not like that of the initial conditions.
    **kwargs
        Passed to `yt.load`; a ``unit_base`` is used as it is.

    Returns
    -------
    yt Dataset
        In memory for TIPSY and Enzo.

    Raises
    ------
    FileNotFoundError
        The path does not exist.
    FormatError, UnitsError, CosmologyError, InitialConditionsError
        The file is empty, truncated, of an unknown format, or does not state its units.

    Examples
    --------
    >>> ds = ph.load("ics.hdf5")
    >>> float(ds.current_redshift)
    49.0
    """
    target = _existing(Path(os.fspath(path)).expanduser())
    fingerprint = file_fingerprint(target)
    forget_changed(fingerprint)
    # a wrong keyword is the caller's fault, not the file's
    with library_errors(target.name, let_pass=(TypeError,) if kwargs else ()):
        ds = _load(target, BoxFacts(box_size, redshift, cosmology), conf, kwargs)
    if not isinstance(ds, StreamDataset):
        state_of(ds).fingerprint = fingerprint
    return ds


def _existing(path: Path) -> Path:
    if not path.exists():
        first = path.with_name(path.name + ".0")
        if first.exists():
            return first
        raise FileNotFoundError(f"no file or folder {path}; check the path")
    if not path.is_file() and not path.is_dir():
        raise FormatError(f"{path.name} is neither a file nor a folder; give initial conditions on disk")
    if path.is_file() and path.stat().st_size == 0:
        raise FormatError(f"{path.name} is empty (0 bytes); write the initial conditions again")
    return path


def _load(path: Path, given: BoxFacts, conf: str | os.PathLike[str] | None, kwargs: dict[str, Any]) -> Any:
    if is_gadget_binary(path):
        if named := [name for name, value in vars(given).items() if value is not None]:
            raise CosmologyError(f"the header of {path.name} states {', '.join(named)}; leave {named[0]}=... out")
        return load_gadget_binary(path, kwargs)
    if _is_gadget_hdf5(path):
        return load_gadget_hdf5(path, kwargs, given, conf)
    for fits, load_in_memory in ((enzo.is_enzo, _load_enzo), (tipsy.is_tipsy, _load_tipsy)):
        if fits(path):
            if kwargs:
                raise TypeError(
                    f"{path.name} becomes an in-memory dataset, which takes no {', '.join(kwargs)}; leave them out"
                )
            return load_in_memory(path, with_conf(given, path, conf))
    for fits, frontend in ((is_generic, MusicDataset), (is_grafic, GraficDataset)):
        if fits(path):
            return frontend(str(path), **vars(given), conf=None if conf is None else os.fspath(conf), **kwargs)
    try:
        return yt.load(str(path), **kwargs)
    except YTUnidentifiedDataType as error:
        raise FormatError(
            f"{path.name} has no format that yt or yt_protohalos knows, or is truncated; give Gadget, SWIFT, TIPSY, "
            "Enzo, MUSIC generic or grafic2 initial conditions"
        ) from error


def _is_gadget_hdf5(path: Path) -> bool:
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return isinstance(file.get("Header"), h5py.Group) and "NumPart_ThisFile" in file["Header"].attrs


def _load_tipsy(path: Path, facts: BoxFacts) -> Any:
    particles = tipsy.read_tipsy(path)
    size, redshift, cosmology = BoxFacts(redshift=particles.redshift).or_else(facts).required(path.name)
    total = float(particles.masses.sum(dtype=np.float64))
    if not abs(total / cosmology.omega_m - 1) <= 0.01:
        raise CosmologyError(
            f"the masses of {path.name} add up to Omega_m = {total:.4f}, but the cosmology has "
            f"{cosmology.omega_m:.4f}; both must agree: pass the cosmology of the file"
        )
    # in units of the box's critical mass, not of the rounded sum, so that the mass fills the box exactly
    masses = particles.masses * np.float64(CRITICAL_DENSITY * size**3)
    positions = particles.positions * np.float64(size)
    velocities = particles.velocities * np.float64(particles.velocity_to_kms(size))
    return particle_dataset(positions, velocities, masses, size, cosmology, redshift, path.stem)


def _load_enzo(path: Path, facts: BoxFacts) -> Any:
    grids = enzo.read_enzo(path)
    folder = enzo.folder_of(path)
    size, redshift, cosmology = facts.or_else(grids.facts).required(folder.name)
    n = grids.displacement.shape[1]
    centres = (np.indices((n, n, n)) + 0.5) / n
    positions = ((centres + grids.displacement) % 1.0).reshape(3, -1).T * size
    velocities = None
    if grids.velocity is not None:
        unit = enzo.VELOCITY_UNIT * size * np.sqrt(cosmology.omega_m * (1 + redshift))
        velocities = grids.velocity.reshape(3, -1).T * unit
    masses = np.full(n**3, cosmology.site_mass_msun_h(size / n))
    return particle_dataset(positions, velocities, masses, size, cosmology, redshift, folder.name)


def particle_dataset(
    positions: NDArray,
    velocities: NDArray | None,
    masses: NDArray,
    box_size: float,
    cosmology: Cosmology,
    redshift: float,
    name: str,
) -> Any:
    """Make a cosmological in-memory dataset of particles.

    Positions (N, 3) are in comoving Mpc/h in [0, box_size), velocities (N, 3) in peculiar km/s, masses (N,) in Msun/h,
    and box_size in comoving Mpc/h. The name is part of the file names of plots.
    """
    data: dict[Any, Any] = {"particle_index": np.arange(len(positions), dtype=np.int64)}
    for axis, letter in enumerate("xyz"):
        data[f"particle_position_{letter}"] = (positions[:, axis], "code_length")
        if velocities is not None:
            data[f"particle_velocity_{letter}"] = (velocities[:, axis], "km/s")
    data["particle_mass"] = (masses, "code_mass")
    ds = yt.load_particles(data, bbox=np.array([[0.0, box_size]] * 3), dataset_name=name)
    return with_cosmology(ds, cosmology, redshift)


def with_cosmology(ds: Any, cosmology: Cosmology, redshift: float, kind: type | None = None) -> Any:
    """Copy an in-memory dataset with lengths in comoving Mpc/h, masses in Msun/h, a redshift and a cosmology.

    kind : class of the copy, by default that of the dataset
    """
    handler = ds.stream_handler
    handler.cosmology_simulation = 1
    handler.current_redshift = float(redshift)
    handler.omega_matter, handler.omega_lambda = cosmology.omega_m, cosmology.omega_lambda
    handler.hubble_constant = cosmology.h
    handler.code_units = ("Mpccm/h", "Msun/h", "s", "km/s", "gauss")
    handler.parameters.update(OmegaBaryon=cosmology.omega_b, Sigma8=cosmology.sigma_8, PrimordialIndex=cosmology.n_s)
    return (kind or type(ds))(handler)
