"""The parameter file of MUSIC and monofonIC, for formats that leave out the box, the redshift or the cosmology."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path

from ...exceptions import CosmologyError, FormatError
from ...fields.cosmology import Cosmology
from ...fields.units import Quantity, comoving_length, dimensionless
from ..checks import check_box


@dataclass(frozen=True)
class BoxFacts:
    """Box size, redshift and cosmology of initial conditions, as far as known.

    Attributes
    ----------
    box_size : float, quantity or None
        A plain number is in comoving Mpc/h.
    redshift : float or None
    cosmology : Cosmology or None
    """

    box_size: Quantity | None = None
    redshift: float | None = None
    cosmology: Cosmology | None = None

    def or_else(self, other: BoxFacts) -> BoxFacts:
        """These facts, with the gaps filled from `other`."""
        return BoxFacts(
            self.box_size if self.box_size is not None else other.box_size,
            self.redshift if self.redshift is not None else other.redshift,
            self.cosmology if self.cosmology is not None else other.cosmology,
        )

    def required(self, what: str) -> tuple[float, float, Cosmology]:
        """Box size in comoving Mpc/h, redshift and cosmology; `CosmologyError` names what is missing or impossible."""
        missing = [name for name in ("box_size", "redshift", "cosmology") if getattr(self, name) is None]
        if missing:
            raise CosmologyError(
                f"{what} does not say its {', '.join(missing)}; each is needed: pass "
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
    values = {
        key: _number(path, cosmology, key) for key in ("h0", "omega_m", "omega_l", "omega_b", "sigma_8", "n_s", "nspec")
    }
    known: Cosmology | None = None
    if values["h0"] is not None and values["omega_m"] is not None:
        omega_lambda = values["omega_l"] if values["omega_l"] is not None else 1 - values["omega_m"]
        tilt = values["n_s"] if values["n_s"] is not None else values["nspec"]
        rest = {"omega_b": values["omega_b"], "sigma_8": values["sigma_8"], "n_s": tilt}
        known = Cosmology(
            values["h0"] / 100, values["omega_m"], omega_lambda, **{k: v for k, v in rest.items() if v is not None}
        )
    return BoxFacts(_number(path, setup, "boxlength"), _number(path, setup, "zstart"), known)


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


def _number(path: Path, section: object, key: str) -> float | None:
    text = section.get(key)  # type: ignore[attr-defined]
    if text is None:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise FormatError(f"{key} = {text!r} in {path.name} is not a number; correct the parameter file") from error
