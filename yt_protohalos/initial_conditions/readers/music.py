"""Files of MUSIC and monofonIC: generic HDF5 (levels with ghost cells, or one grid) and the .conf parameter file."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.files import open_hdf5
from ...exceptions import CosmologyError, FormatError, InitialConditionsError, LatticeError
from ...fields.cosmology import Cosmology
from ...fields.units import Quantity, comoving_length, dimensionless
from ..checks import check_box, library_errors, stored_dataset

_LEVEL = re.compile(r"level_(\d+)_(DM|BA)_(\w+)")
_FINEST = 16
_SINGLE = re.compile(r"(DM|BA)_(delta|[dv][xyz])")
_HEADER_NAMES = {"Omega_m": "omega_m", "Omega_L": "omega_lambda", "Omega_b": "omega_b"}
_CONF_NAMES = {"omega_b": "omega_b", "sigma_8": "sigma_8", "nspec": "n_s", "n_s": "n_s"}  # n_s is preferred


@dataclass(frozen=True)
class BoxFacts:
    """Box size, redshift and cosmology of initial conditions, as far as known.

    A plain number for the box size is in comoving Mpc/h.
    """

    box_size: Quantity | None = None
    redshift: float | None = None
    cosmology: Cosmology | None = None

    def or_else(self, other: BoxFacts) -> BoxFacts:
        """These facts, with the gaps filled from `other`."""
        return replace(other, **{name: value for name, value in vars(self).items() if value is not None})

    def required(self, what: str) -> tuple[float, float, Cosmology]:
        """Box size in comoving Mpc/h, redshift and cosmology; `CosmologyError` if one is missing or impossible."""
        missing = [name for name in ("box_size", "redshift", "cosmology") if getattr(self, name) is None]
        if missing:
            raise CosmologyError(
                f"{what} holds no {', '.join(missing)}; each is needed: pass "
                f"{', '.join(f'{name}=...' for name in missing)} (box_size in comoving Mpc/h), or put the .conf file "
                "it was made with beside it under the same name"
            )
        assert self.box_size is not None and self.redshift is not None and self.cosmology is not None
        box_size = comoving_length(self.box_size, "box_size", self.cosmology.h)
        redshift = dimensionless(self.redshift, "redshift")
        check_box(what, box_size, redshift, self.cosmology)
        return box_size, redshift, self.cosmology


def find_conf(path: Path) -> Path | None:
    """The .conf that belongs to a file or folder of initial conditions, looked for beside it and one folder up.

    It belongs if its ``[output] filename`` is the file's name, or its own stem starts that name; the longest stem wins.
    """
    names = [path.name, *(parent.name for parent in path.parents[:2])]
    folders = [path.parent, *path.parents[1:3]]
    best: tuple[int, Path] | None = None
    for folder in folders:
        for conf in sorted(folder.glob("*.conf")):
            for name in names:
                score = len(name) + 1 if _output_name(conf) == name else len(conf.stem) * name.startswith(conf.stem)
                if score and (best is None or score > best[0]):
                    best = (score, conf)
    return best[1] if best else None


def read_conf(path: Path) -> BoxFacts:
    """Box size, starting redshift and cosmology of a MUSIC or monofonIC .conf; `FormatError` if it is not one."""
    parser = _parsed(path)
    if not parser.has_section("setup"):
        raise FormatError(f"{path.name} has no [setup] section; give the .conf file of MUSIC or monofonIC")
    setup = parser["setup"]
    cosmology = parser["cosmology"] if parser.has_section("cosmology") else {}
    found = {key: _number(path, cosmology, key) for key in ("h0", "omega_m", "omega_l", *_CONF_NAMES)}
    values = {key: value for key, value in found.items() if value is not None}
    known: Cosmology | None = None
    if "h0" in values and "omega_m" in values:
        omega_lambda = values.get("omega_l", 1 - values["omega_m"])
        rest = {name: values[key] for key, name in _CONF_NAMES.items() if key in values}
        known = Cosmology(values["h0"] / 100, values["omega_m"], omega_lambda, **rest)
    return BoxFacts(_number(path, setup, "boxlength"), _number(path, setup, "zstart"), known)


def read_setup_number(path: Path, key: str) -> float | None:
    """A number in the [setup] section of a MUSIC .conf, None if it is not there."""
    parser = _parsed(path)
    return _number(path, parser["setup"], key) if parser.has_section("setup") else None


def _parsed(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, inline_comment_prefixes=("#", ";"), interpolation=None)
    try:
        parser.read_string(path.read_text(errors="replace"))
    except (configparser.Error, OSError) as error:
        raise FormatError(
            f"{path.name} is not a MUSIC parameter file ({error}); give the .conf file of the run"
        ) from error
    return parser


def _output_name(path: Path) -> str | None:
    try:
        return _parsed(path).get("output", "filename", fallback=None)
    except FormatError:
        return None


def _number(path: Path, section: Mapping[str, str], key: str) -> float | None:
    text = section.get(key)
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise FormatError(f"{key} = {text!r} in {path.name} is not a number; correct the parameter file") from error


@dataclass(frozen=True)
class GenericLayout:
    """Cubes of a generic file.

    Attributes
    ----------
    n : int
        Cells per side, ghost cells left out.
    ghosts : int
        Ghost cells on each face.
    datasets : dict of str to str
        HDF5 dataset of each field, e.g. ``"DM_rho"``.
    header : dict of str to float
        Numbers in the Header of monofonIC: Boxsize, astart, Omega_m, Omega_L, Omega_b.
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
            stated = {name: header[key] for key, name in _HEADER_NAMES.items() if key in header}
            cosmology = replace(cosmology, **stated)
        if not 0 < header.get("astart", 1.0) <= 1:
            raise CosmologyError(
                f"the header of {self.path.name} gives astart = {header['astart']:g}; a scale factor lies in (0, 1]: "
                "correct the header, or write the file again"
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
    FormatError, LatticeError, InitialConditionsError
        For a file without dark-matter fields, fields that are not cubes, or zoom levels.
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


def _single_grid(path: Path, file: Any) -> GenericLayout:
    datasets = {name: name for name in file if _SINGLE.fullmatch(name)}
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
    header = file["Header"].attrs if "Header" in file else {}
    values = {str(name): float(np.ravel(value)[0]) for name, value in dict(header).items() if np.size(value) == 1}
    return GenericLayout(path, shape[0], 0, datasets, values)
