"""Gadget initial conditions as yt datasets, in the units that the mass in the file implies.

The datasets of yt misplace the blocks of double-precision files, do not recognise an Einstein-de Sitter header as
cosmological, and look for ``ics.0`` where the file is ``ics.dat.0``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from yt.frontends.gadget.data_structures import GadgetBinaryFile, GadgetBinaryIndex, GadgetDataset, GadgetHDF5Dataset
from yt.frontends.gadget.io import IOHandlerGadgetBinary, IOHandlerGadgetHDF5
from yt.frontends.sph.data_structures import SPHParticleIndex
from yt.utilities.cosmology import Cosmology as YTCosmology
from yt.utilities.logger import ytLogger

from ...exceptions import CosmologyError, FormatError, LatticeError, UnitsError
from ...fields.cosmology import CRITICAL_DENSITY, Cosmology
from ...fields.units import comoving_length, dimensionless, mass_msun_h
from ...initial_conditions.checks import check_box, check_time, header_numbers
from ...initial_conditions.readers.gadget_binary import GadgetLayout, numbered_files, read_layout
from ...initial_conditions.readers.gadget_hdf5 import read_header
from ...initial_conditions.readers.music import BoxFacts
from ..conf import with_conf

_UNITS = {"Mpccm/h": "Msun/h", "kpccm/h": "Msun/h", "Mpccm": "Msun", "kpccm": "Msun"}
"""Units of length, in the order in which they are tried, and of mass (times 1e10) that writers use with them."""
_LENGTH_TOLERANCE = 0.02
# the Mpc of yt is 2e-10 smaller, which would show in the box size
_MPC_IN_CM = 3.0856775814913673e24
_MSUN_IN_G = 1.98841586e33
_HEADER_NAMES = {
    "box_size": ("BoxSize",), "redshift": ("Redshift",), "cosmology": ("Omega0", "OmegaLambda", "HubbleParam"),
}  # fmt: skip
_COSMOLOGY_NAMES = {
    "Omega0": "omega_m", "OmegaLambda": "omega_lambda", "HubbleParam": "h", "OmegaBaryon": "omega_b",
    "Sigma8": "sigma_8", "PrimordialIndex": "n_s",
}  # fmt: skip
_NEVER_ZERO = ("Omega0", "HubbleParam")
_FACTS_TOLERANCE = 1e-3
_CHUNK = 256**3
"""Particles per chunk. One chunk needs no Morton index, so that no index file appears beside the input."""


class _Cosmological:
    """Keeps a Gadget dataset cosmological if its header has no Lambda, and finds all files of a set."""

    # initial conditions have no smoothing lengths: yt would miss them, or compute and write them beside the input
    _sph_ptypes = ("none",)

    def _get_hvals(self: Any) -> dict[str, Any]:
        values: dict[str, Any] = super()._get_hvals()  # type: ignore[misc]
        self._true_file_count = int(values["NumFiles"])
        # with more files, the frontend of yt would look for ics.0.dat and fail
        return {**values, "NumFiles": 1, "NumFilesPerSnapshot": 1}

    def _parse_parameter_file(self: Any) -> None:
        super()._parse_parameter_file()  # type: ignore[misc]
        self.file_count = self.parameters["NumFiles"] = max(self._true_file_count, 1)
        if self.file_count > 1:
            path = Path(self.parameter_filename)
            name = re.sub(r"\d+(\.hdf5|\.h5)?$", lambda match: "%(num)s" + (match[1] or ""), path.name)
            self.filename_template = str(path.with_name(name))
        if not self.cosmological_simulation and self.parameters.get("Redshift", 0.0) > 0:
            self.cosmological_simulation = True
            self.current_redshift = float(self.parameters["Redshift"])
            self.hubble_constant = float(self.parameters["HubbleParam"])
            background = YTCosmology(
                hubble_constant=self.hubble_constant, omega_matter=self.omega_matter, omega_lambda=self.omega_lambda
            )
            self.current_time = background.t_from_z(self.current_redshift)

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        # only yt_protohalos.load makes these datasets; yt.load keeps its own classes
        return False


class GadgetICsFile(GadgetBinaryFile):
    """One file of a Gadget-2 binary set."""

    def __init__(self, ds: Any, io: Any, filename: str, file_id: int, range: Any = None) -> None:
        self.layout: GadgetLayout = read_layout(Path(filename))
        super().__init__(ds, io, filename, file_id, range)

    def _calculate_offsets(self, field_list: Any, pcounts: Any) -> None:
        """Byte offset of each (particle type, field), from the blocks as they are."""
        layout, types = self.layout, self.ds._ptype_spec
        self.field_offsets = {}
        for field, start in layout.offsets.items():
            width = layout.item_sizes[field] * (3 if field in ("Coordinates", "Velocities") else 1)
            for index, ptype in enumerate(types):
                if field == "Mass" and index not in layout.variable_mass:
                    continue
                self.field_offsets[ptype, field] = start + (self.start or 0) * width
                start += layout.header.counts[index] * width


class _OneChunkBinaryIndex(GadgetBinaryIndex):
    chunksize = _CHUNK

    def _initialize_frontend_specific(self) -> None:
        # the reader finds the precision of each block; yt would set one for all
        super(GadgetBinaryIndex, self)._initialize_frontend_specific()


class _OneChunkHDF5Index(SPHParticleIndex):
    chunksize = _CHUNK


class IOHandlerGadgetHDF5ICs(IOHandlerGadgetHDF5):
    """Reader of Gadget HDF5 files, with SWIFT's seventh particle type."""

    _dataset_type = "protohalos_gadget_hdf5"
    _known_ptypes = (*IOHandlerGadgetHDF5._known_ptypes, "PartType6")  # type: ignore[assignment]


class IOHandlerGadgetICs(IOHandlerGadgetBinary):
    """Reader of Gadget-2 binary blocks, each in its own precision."""

    _dataset_type = "gadget_ics"

    def __init__(self, ds: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(ds, *args, **kwargs)
        self._item_sizes = ds._item_sizes

    def _read_field_from_file(self, f: Any, count: int, name: str) -> Any:
        self._float_type = f"f{self._item_sizes[name]}"
        return super()._read_field_from_file(f, count, name)

    def _yield_coordinates(self, data_file: GadgetICsFile, needed_ptype: str | None = None) -> Any:
        with open(data_file.filename, "rb") as file:
            for ptype, count in (data_file.total_particles or {}).items():
                if count == 0 or (needed_ptype is not None and ptype != needed_ptype):
                    continue
                file.seek(data_file.field_offsets[ptype, "Coordinates"])
                yield ptype, self._read_field_from_file(file, count, "Coordinates")


class GadgetICsDataset(_Cosmological, GadgetDataset):
    """Gadget-2 binary initial conditions, formats 1 and 2, any precision and ID width."""

    _index_class = _OneChunkBinaryIndex
    _file_class = GadgetICsFile

    def __init__(self, filename: str, dataset_type: str = "gadget_ics", **kwargs: Any) -> None:
        layout = read_layout(Path(filename))
        self._item_sizes = layout.item_sizes
        fields = [name for name in ("Coordinates", "Velocities", "ParticleIDs", "Mass") if name in layout.offsets]
        # without a block, the mass is a field too, from the table in the header
        kwargs.setdefault("field_spec", tuple(fields) + (() if "Mass" in fields else ("Mass",)))
        kwargs.setdefault("long_ids", layout.item_sizes.get("ParticleIDs") == 8)
        super().__init__(filename, dataset_type, **kwargs)

    def __str__(self) -> str:
        return Path(self.parameter_filename).name.split(".")[0]


class GadgetHDF5ICsDataset(_Cosmological, GadgetHDF5Dataset):
    """Gadget, AREPO, Gadget-4 and SWIFT initial conditions in HDF5."""

    _index_class = _OneChunkHDF5Index

    def __init__(
        self, filename: str, dataset_type: str = "protohalos_gadget_hdf5", *, header: dict[str, Any], **kwargs: Any
    ) -> None:
        self._header_values = header
        super().__init__(filename, dataset_type, **kwargs)

    def _get_hvals(self) -> dict[str, Any]:
        self.gen_hsmls = False
        self._true_file_count = int(self._header_values["NumFilesPerSnapshot"])
        return {**self._header_values, "NumFiles": 1, "NumFilesPerSnapshot": 1}


def load_gadget_binary(path: Path, kwargs: dict[str, Any]) -> GadgetICsDataset:
    """Open a Gadget-2 binary set, given any of its files, after checking that its files belong together."""
    layout = read_layout(path)
    header = layout.header
    files = numbered_files(path, header.files)
    layouts = [layout if file == path else read_layout(file) for file in files]
    count = sum(sum(each.header.counts) for each in layouts)
    if count != sum(header.totals):
        raise FormatError(
            f"the files hold {count} particles, their header says {sum(header.totals)}; put the whole set there"
        )
    for each in layouts:
        if _common_values(each) != _common_values(layout):
            raise FormatError(
                f"{each.path.name} and {path.name} differ in byte order, precision, ID width, blocks, box, redshift or "
                "cosmology; the files of one set agree in all: put one run's files there"
            )
    mass = sum(float(np.dot(each.header.counts, each.header.masses)) for each in layouts)
    mass += sum(float(each.read_masses().sum()) for each in layouts if each.variable_mass)
    check_box(path.name, header.box_size, header.redshift, Cosmology(header.h, header.omega_m, header.omega_lambda))
    check_time(path.name, header.redshift, header.time)
    if "unit_base" not in kwargs:
        kwargs["unit_base"] = _unit_base(path.name, header.box_size, mass, header.omega_m, header.h)
    return GadgetICsDataset(str(files[0]), **kwargs)


def _common_values(layout: GadgetLayout) -> tuple[object, ...]:
    """Values that the files of one set have in common."""
    header = layout.header
    facts = (header.box_size, header.redshift, header.omega_m, header.omega_lambda, header.h, header.files)
    return (layout.file_format, layout.endian, tuple(layout.item_sizes.items()), *facts)


def load_gadget_hdf5(
    path: Path, kwargs: dict[str, Any], given: BoxFacts, conf: str | os.PathLike[str] | None
) -> GadgetHDF5ICsDataset:
    """Open a Gadget, AREPO, Gadget-4 or SWIFT HDF5 set, given any of its files.

    Redshift and cosmology come from `given`, then from `conf` or the .conf beside the file, if the header lacks them.
    """
    header, units, mass = read_header(path)
    files = int(_header_number(path, header, "NumFilesPerSnapshot"))
    if files > 1:
        parts = numbered_files(path, files)
        mass = sum(read_header(part)[2] for part in parts)
        path = parts[0]
    header = _completed(path, header, given, conf)
    box = header_numbers(path.name, header, "BoxSize")
    if np.any(box[1:] != box[:-1]):
        raise LatticeError(f"the box of {path.name} measures {box.tolist()}; it must be a cube: cut or remake it")
    size, redshift = float(box[0]), _header_number(path, header, "Redshift")
    omega_m, omega_lambda, h = (_header_number(path, header, name) for name in ("Omega0", "OmegaLambda", "HubbleParam"))
    check_box(path.name, size, redshift, Cosmology(h, omega_m, omega_lambda))
    if "Time" in header:
        check_time(path.name, redshift, _header_number(path, header, "Time"))
    if "unit_base" not in kwargs:
        if "Unit length in cgs (U_L)" in units:
            kwargs["unit_base"] = _swift_units(path, units)
        else:
            kwargs["unit_base"] = _unit_base(path.name, size, mass, omega_m, h)
    # what yt reads is complete, and one number is a number, not an array of one
    single = {name: value.item() for name, value in header.items() if isinstance(value, np.ndarray) and value.size == 1}
    known = {"BoxSize": size, "Time": 1 / (1 + redshift), "Massarr": header_numbers(path.name, header, "MassTable")}
    return GadgetHDF5ICsDataset(str(path), header={**header, **single, **known}, **kwargs)


def _completed(
    path: Path, header: dict[str, Any], given: BoxFacts, conf: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """The header with redshift and cosmology where it lacks them; `CosmologyError` if they are unknown."""
    # writers that do not know them leave zeros
    header = {name: value for name, value in header.items() if name not in _NEVER_ZERO or np.any(value != 0)}
    lacks = {fact: [name for name in names if name not in header] for fact, names in _HEADER_NAMES.items()}
    if named := [fact for fact, value in vars(given).items() if value is not None and not lacks[fact]]:
        raise CosmologyError(f"the header of {path.name} states {', '.join(named)}; leave {named[0]}=... out")
    if lacks.pop("box_size"):
        raise CosmologyError(
            f"{path.name} has no BoxSize in its header, and its positions have no unit without it; add it to the header"
        )
    if not any(lacks.values()):
        return header
    facts = with_conf(given, path, conf)
    if missing := [fact for fact, names in lacks.items() if names and getattr(facts, fact) is None]:
        raise CosmologyError(
            f"{path.name} has no {', '.join(name for fact in missing for name in lacks[fact])} in its header; pass "
            f"{', '.join(f'{fact}=...' for fact in missing)}, or put the .conf file it was made with beside it under "
            "the same name"
        )
    added: dict[str, float] = {}
    if lacks["redshift"]:
        added["Redshift"] = dimensionless(facts.redshift, "redshift")
    if lacks["cosmology"]:
        assert facts.cosmology is not None
        added |= {entry: getattr(facts.cosmology, name) for entry, name in _COSMOLOGY_NAMES.items()}
        for entry in set(_HEADER_NAMES["cosmology"]) & set(header):
            stated = _header_number(path, header, entry)
            if not np.isclose(stated, added[entry], rtol=_FACTS_TOLERANCE, atol=_FACTS_TOLERANCE):
                raise CosmologyError(
                    f"the header of {path.name} has {entry} = {stated:g}, the cosmology "
                    f"that was given {added[entry]:g}; both must agree: give the cosmology of the file"
                )
    return {**added, **header}


def _header_number(path: Path, header: dict[str, Any], name: str) -> float:
    if name not in header:
        raise CosmologyError(f"{path.name} has no {name} in its header; it is needed: add it")
    return float(header_numbers(path.name, header, name)[0])


def _swift_units(path: Path, units: dict[str, Any]) -> dict[str, Any]:
    names = [f"Unit {name} in cgs (U_{letter})" for name, letter in (("length", "L"), ("mass", "M"), ("time", "t"))]
    length, mass, time = (_header_number(path, units, name) for name in names)
    if not all(np.isfinite(unit) and unit > 0 for unit in (length, mass, time)):
        raise UnitsError(
            f"{path.name} states units of {length:g} cm, {mass:g} g and {time:g} s; all must be positive and finite: "
            "correct its Units, or pass unit_base=..."
        )
    return {
        "length": (length / _MPC_IN_CM, "Mpccm"),
        "mass": (mass / _MSUN_IN_G, "Msun"),
        "velocity": (length / time / 1e5, "km/s"),
    }


def _unit_base(name: str, box: float, mass: float, omega_m: float, h: float) -> dict[str, Any]:
    """Units of length and mass in which the particles fill the box: L = (N m / (Omega_m rho_c))^(1/3).

    box and mass are in file units. Raises `UnitsError` if no usual pair of units fits.
    """
    if not all(np.isfinite(value) and value > 0 for value in (box, omega_m, h, mass)):
        raise CosmologyError(
            f"{name} states box {box:g}, Omega_m {omega_m:g}, h {h:g}, mass {mass:g}; all must be positive and finite "
            "to find its units: correct the header, or pass unit_base=..."
        )
    tried = []
    for length, mass_name in _UNITS.items():
        in_box = comoving_length((box, length), "BoxSize", h)
        implied = (mass_msun_h((1e10 * mass, mass_name), "mass", h) / (omega_m * CRITICAL_DENSITY)) ** (1 / 3)
        if abs(in_box - implied) < _LENGTH_TOLERANCE * implied:
            ytLogger.info("Box of %.5g Mpc/h: lengths are in %s.", in_box, length)
            return {"length": (1.0, length), "mass": (1e10, mass_name)}
        tried.append(f"{length}: {in_box:.4g} against {implied:.4g}")
    raise UnitsError(
        f"the mass in {name} does not fill its box in any usual unit (Mpc/h {'; '.join(tried)}); both must agree to "
        f"{_LENGTH_TOLERANCE:.0%}: pass unit_base=..., e.g. {{'length': (1.0, 'Mpccm/h')}}"
    )
