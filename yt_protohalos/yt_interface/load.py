"""`load`: yt.load with the pitfalls of initial-conditions formats settled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yt
from yt.frontends.stream.api import StreamDataset
from yt.utilities.exceptions import YTUnidentifiedDataType
from yt.utilities.logger import ytLogger

from .._utils.files import open_hdf5
from ..exceptions import CosmologyError, FormatError, LatticeError, UnitsError
from ..fields.cosmology import CRITICAL_DENSITY, Cosmology
from ..initial_conditions.checks import check_box, check_time, header_numbers, library_errors
from ..initial_conditions.readers import enzo, gadget_binary, tipsy
from ..initial_conditions.readers.gadget_hdf5 import read_header
from ..initial_conditions.readers.grafic import is_grafic
from ..initial_conditions.readers.music_conf import BoxFacts, find_conf, read_conf
from ..initial_conditions.readers.music_generic import is_generic
from .fingerprint import file_fingerprint, forget_changed, set_fingerprint

# lengths and masses that writers use together, as (Mpc/h or Mpc per unit, yt name), in the order they are tried
_UNIT_PAIRS = (
    ((1.0, "Mpccm/h"), (1e10, "Msun/h")),
    ((1e-3, "kpccm/h"), (1e10, "Msun/h")),
    ((1.0, "Mpccm"), (1e10, "Msun")),
    ((1e-3, "kpccm"), (1e10, "Msun")),
)
_LENGTH_TOLERANCE = 0.02
_MPC_IN_CM = 3.0856775814913673e24
_MSUN_IN_G = 1.98841586e33


def load(
    path: str | os.PathLike[str],
    *,
    box_size: float | None = None,
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
    box_size, redshift, cosmology : float, float, Cosmology, optional
        For formats that do not hold them (box_size in comoving Mpc/h). By default they are read from the file, then
        from the MUSIC or monofonIC .conf beside it.
    conf : path, optional
        That .conf, where its name does not tell.
    **kwargs
        Passed to `yt.load`, e.g. ``unit_base``, which then is taken as it stands.

    Returns
    -------
    yt Dataset
        In-memory for TIPSY and Enzo.

    Raises
    ------
    FileNotFoundError
        For a path that does not exist.
    FormatError, UnitsError, CosmologyError, InitialConditionsError
        For a file that is empty, truncated, of no known format, or does not say its units.

    Examples
    --------
    >>> ds = ph.load("ics.hdf5")
    >>> float(ds.current_redshift)
    49.0
    """
    target = _existing(Path(os.fspath(path)).expanduser())
    given = BoxFacts(box_size, redshift, cosmology)
    fingerprint = file_fingerprint(target)
    forget_changed(fingerprint)
    conf_path = Path(os.fspath(conf)) if conf is not None else find_conf(target)
    # a wrong keyword is the caller's fault, not the file's
    with library_errors(target.name, let_pass=(TypeError,) if kwargs else ()):
        ds = _load(target, given, conf, conf_path, kwargs)
    if not isinstance(ds, StreamDataset):
        set_fingerprint(ds, fingerprint)
    return ds


def _load(
    target: Path, given: BoxFacts, conf: str | os.PathLike[str] | None, conf_path: Path | None, kwargs: dict[str, Any]
) -> Any:
    if gadget_binary.is_gadget_binary(target):
        _refuse_facts(target, given)
        return _load_gadget_binary(target, kwargs)
    if target.is_file() and h5py.is_hdf5(target) and _is_gadget_hdf5(target):
        _refuse_facts(target, given)
        return _load_gadget_hdf5(target, kwargs)
    if enzo.is_enzo(target):
        _refuse_keywords(target, kwargs)
        return _load_enzo(target, _with_conf(given, conf_path))
    if tipsy.is_tipsy(target):
        _refuse_keywords(target, kwargs)
        return _load_tipsy(target, _with_conf(given, conf_path))
    return _load_plain(target, given, conf, kwargs)


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


def _is_gadget_hdf5(path: Path) -> bool:
    with open_hdf5(path) as file:
        return isinstance(file.get("Header"), h5py.Group) and "MassTable" in file["Header"].attrs


def _refuse_facts(path: Path, given: BoxFacts) -> None:
    named = [name for name, value in vars(given).items() if value is not None]
    if named:
        raise CosmologyError(f"{path.name} says its own {', '.join(named)} in its header; leave {named[0]}=... out")


def _refuse_keywords(path: Path, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"{path.name} becomes an in-memory dataset, which takes no {', '.join(kwargs)}; leave them out")


def _with_conf(given: BoxFacts, conf: Path | None) -> BoxFacts:
    if conf is None:
        return given
    ytLogger.info("Reading what the file leaves out from %s.", conf.name)
    return given.or_else(read_conf(conf))


def _load_plain(path: Path, given: BoxFacts, conf: str | os.PathLike[str] | None, kwargs: dict[str, Any]) -> Any:
    from .frontends.grafic import GraficDataset
    from .frontends.music import MusicDataset

    for ours, fits in ((MusicDataset, is_generic), (GraficDataset, is_grafic)):
        if fits(path):
            return ours(str(path), **vars(given), conf=None if conf is None else os.fspath(conf), **kwargs)
    try:
        return yt.load(str(path), **kwargs)
    except YTUnidentifiedDataType as error:
        raise FormatError(
            f"{path.name} is of no format that yt or yt_protohalos knows, or truncated; give Gadget, SWIFT, TIPSY, "
            "Enzo, "
            "MUSIC generic or grafic2 initial conditions"
        ) from error


def _load_gadget_binary(path: Path, kwargs: dict[str, Any]) -> Any:
    from .gadget import GadgetICsDataset

    layout = gadget_binary.read_layout(path)
    header = layout.header
    files = gadget_binary.numbered_files(path, header.files)
    layouts = [layout if file == path else gadget_binary.read_layout(file) for file in files]
    count = sum(sum(each.header.counts) for each in layouts)
    if count != sum(header.totals):
        raise FormatError(
            f"the files hold {count} particles, their header says {sum(header.totals)}; put the whole set there"
        )
    for each in layouts:
        if _convention(each) != _convention(layout):
            raise FormatError(
                f"{each.path.name} and {path.name} differ in byte order, precision, ID width, blocks, box, redshift or "
                "cosmology; the files of one set agree in all: put one run's files there"
            )
    mass = sum(float(np.dot(each.header.counts, each.header.masses)) for each in layouts)
    mass += sum(float(each.read_masses().sum()) for each in layouts if each.variable_mass)
    check_box(path.name, header.box_size, header.redshift, Cosmology(header.h, header.omega_m, header.omega_lambda))
    check_time(path.name, header.redshift, header.time)
    if "unit_base" not in kwargs:
        unit_base = _unit_base(path.name, header.box_size, mass, header.omega_m, header.h)
        kwargs = {**kwargs, "unit_base": unit_base}
    return GadgetICsDataset(str(files[0]), **kwargs)


def _convention(layout: gadget_binary.GadgetLayout) -> tuple[object, ...]:
    """What the files of one set have in common."""
    header = layout.header
    facts = (header.box_size, header.redshift, header.omega_m, header.omega_lambda, header.h, header.files)
    return (layout.file_format, layout.endian, layout.float_size, layout.id_size, tuple(layout.offsets), *facts)


def _load_gadget_hdf5(path: Path, kwargs: dict[str, Any]) -> Any:
    from .gadget import GadgetHDF5ICsDataset

    header, units, mass = read_header(path)
    files = int(_header_number(path, header, "NumFilesPerSnapshot"))
    if files > 1:
        parts = gadget_binary.numbered_files(path, files)
        mass = sum(read_header(part)[2] for part in parts)
        path = parts[0]
    redshift = _header_number(path, header, "Redshift")
    box = header_numbers(path.name, header, "BoxSize")
    if np.any(box[1:] != box[:-1]):
        raise LatticeError(f"the box of {path.name} measures {box.tolist()}; it must be a cube: cut or remake it")
    if {"HubbleParam", "Omega0", "OmegaLambda"} <= set(header):
        numbers = [_header_number(path, header, name) for name in ("HubbleParam", "Omega0", "OmegaLambda")]
        check_box(path.name, float(box[0]), redshift, Cosmology(*numbers))
    if "Time" in header:
        check_time(path.name, redshift, _header_number(path, header, "Time"))
    if "unit_base" not in kwargs:
        omega_m, h = (_header_number(path, header, name) for name in ("Omega0", "HubbleParam"))
        if "Unit length in cgs (U_L)" in units:
            unit_base = _swift_units(path, units)
        else:
            unit_base = _unit_base(path.name, float(box[0]), mass, omega_m, h)
        kwargs = {**kwargs, "unit_base": unit_base}
    return GadgetHDF5ICsDataset(str(path), **kwargs)


def _header_number(path: Path, header: dict[str, Any], name: str) -> float:
    if name not in header:
        raise CosmologyError(f"{path.name} has no {name} in its header; it is needed, add it or pass unit_base=...")
    return float(header_numbers(path.name, header, name)[0])


def _swift_units(path: Path, units: dict[str, Any]) -> dict[str, Any]:
    names = [f"Unit {name} in cgs (U_{letter})" for name, letter in (("length", "L"), ("mass", "M"), ("time", "t"))]
    length, mass, time = (_header_number(path, units, name) for name in names)
    if not all(np.isfinite(unit) and unit > 0 for unit in (length, mass, time)):
        raise UnitsError(
            f"{path.name} says units of {length:g} cm, {mass:g} g and {time:g} s; all must be positive and finite: "
            "correct its Units, or pass unit_base=..."
        )
    return {
        "length": (length / _MPC_IN_CM, "Mpccm"),
        "mass": (mass / _MSUN_IN_G, "Msun"),
        "velocity": (length / time / 1e5, "km/s"),
    }


def _unit_base(name: str, box: float, mass: float, omega_m: float, h: float) -> dict[str, Any]:
    """Length and mass units under which the particles' mass fills the box: L = (N m / (Omega_m rho_c))^(1/3).

    box and mass in file units. Raises `UnitsError` where no usual pair of units fits.
    """
    if not all(np.isfinite(value) and value > 0 for value in (box, omega_m, h, mass)):
        raise CosmologyError(
            f"{name} says box {box:g}, Omega_m {omega_m:g}, h {h:g}, mass {mass:g}; all must be positive and finite to "
            "find its units: correct the header, or pass unit_base=..."
        )
    tried = []
    for (length, length_name), (mass_unit, mass_name) in _UNIT_PAIRS:
        bare = not length_name.endswith("/h")
        in_box = box * length * (h if bare else 1.0)
        in_mass = mass * mass_unit * (h if bare else 1.0)
        implied = (in_mass / (omega_m * CRITICAL_DENSITY)) ** (1 / 3)
        tried.append(f"{length_name}: {in_box:.4g} against {implied:.4g}")
        if abs(in_box - implied) < _LENGTH_TOLERANCE * implied:
            unit_base: dict[str, Any] = {"length": (1.0, length_name), "mass": (mass_unit, mass_name)}
            ytLogger.info("Box of %.5g Mpc/h: lengths are in %s.", in_box, length_name)
            return unit_base
    raise UnitsError(
        f"the mass in {name} does not fill its box in any usual unit (Mpc/h {'; '.join(tried)}); both must agree to "
        f"{_LENGTH_TOLERANCE:.0%}: pass unit_base=..., e.g. {{'length': (1.0, 'Mpccm/h')}}"
    )


def _load_tipsy(path: Path, facts: BoxFacts) -> Any:
    from .in_memory import particle_dataset

    particles = tipsy.read_tipsy(path)
    size, redshift, cosmology = BoxFacts(redshift=particles.redshift).or_else(facts).required(path.name)
    total = float(particles.masses.sum(dtype=np.float64))
    if not abs(total / cosmology.omega_m - 1) <= 0.01:
        raise CosmologyError(
            f"the masses of {path.name} add up to Omega_m = {total:.4f}, but the cosmology says "
            f"{cosmology.omega_m:.4f}; "
            "both must agree: pass the cosmology of the file"
        )
    # one over the box, not the rounded sum, so that the mass fills the box exactly
    masses = particles.masses * np.float64(CRITICAL_DENSITY * size**3)
    return particle_dataset(
        particles.positions * np.float64(size),
        particles.velocities * np.float64(particles.velocity_to_kms(size)),
        masses,
        size,
        cosmology,
        redshift,
        path.stem,
    )


def _load_enzo(path: Path, facts: BoxFacts) -> Any:
    from .in_memory import particle_dataset

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
