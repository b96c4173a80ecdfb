"""TIPSY initial conditions as MUSIC writes them: standard (big-endian) or native, box units with G = 1."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...exceptions import FormatError, InitialConditionsError
from ..checks import check_reach

HEADER = "d5i"
VELOCITY_UNIT = np.sqrt(8 * np.pi / 3)
"""Hubble constant in TIPSY units (critical density 1, box 1, G = 1)."""
LARGEST = 1e6
"""Of any mass, position or velocity: the box has side and critical mass 1."""
DARK_FIELDS = {"mass": 1, "position": 3, "velocity": 3, "softening": 1, "phi": 1}


@dataclass(frozen=True)
class TipsyParticles:
    """Dark-matter particles of a TIPSY file.

    Attributes
    ----------
    positions : float32, (N, 3)
        In box sides, in [0, 1).
    velocities : float32, (N, 3)
        TIPSY units; `velocity_to_kms` converts.
    masses : float32, (N,)
        In units of critical density times box volume: they add up to Omega_m.
    """

    positions: NDArray[np.float32]
    velocities: NDArray[np.float32]
    masses: NDArray[np.float32]
    redshift: float

    def velocity_to_kms(self, box_size: float) -> float:
        """Peculiar km/s per file unit, for a box of `box_size` Mpc/h."""
        return 100 * box_size / float(VELOCITY_UNIT) / (1 + self.redshift)


def is_tipsy(path: Path) -> bool:
    """Test if the counts in the header fit the size of the file."""
    return path.is_file() and _endian(path) is not None


def read_tipsy(path: Path) -> TipsyParticles:
    """Read a TIPSY file.

    Raises
    ------
    FormatError, InitialConditionsError
        For a size that does not fit the header, and for gas or star particles.
    """
    endian = _endian(path)
    if endian is None:
        raise FormatError(
            f"{path.name} ({path.stat().st_size} bytes) does not have the size its TIPSY header gives; it is "
            "truncated, in double precision, or not TIPSY: copy it again, or write it in single precision"
        )
    with path.open("rb") as file:
        time, _, _, gas, dark, stars = struct.unpack(endian + HEADER, file.read(28))
        file.seek(32)
        if gas or stars:
            raise InitialConditionsError(
                f"{path.name} holds {gas} gas and {stars} star particles; dark matter alone is read, write it without "
                "baryons"
            )
        record = np.dtype([(name, endian + "f4", width) for name, width in DARK_FIELDS.items()])
        data = np.fromfile(file, dtype=record, count=dark)
    if not 0 < time <= 1:
        raise FormatError(
            f"the TIPSY time {time} of {path.name} is no scale factor in (0, 1]; write a cosmological file"
        )
    for name in ("mass", "position", "velocity"):
        check_reach(f"{name} values of {path.name}", data[name], LARGEST, "", "in TIPSY units")
    positions = (data["position"].astype(np.float32) + np.float32(0.5)) % np.float32(1.0)
    return TipsyParticles(
        positions, data["velocity"].astype(np.float32), data["mass"].astype(np.float32).reshape(-1), 1 / time - 1
    )


def _endian(path: Path) -> str | None:
    size = path.stat().st_size
    if size < 32:
        return None
    with path.open("rb") as file:
        raw = file.read(28)
    for endian in "><":
        _, total, dimensions, gas, dark, stars = struct.unpack(endian + HEADER, raw)
        fits = size == 32 + 48 * gas + 36 * dark + 44 * stars
        if dimensions == 3 and min(gas, dark, stars) >= 0 and total == gas + dark + stars and fits:
            return endian
    return None
