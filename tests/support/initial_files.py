"""Writers of initial-conditions files, for tests of the readers: each variant holds the same particles."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY, Cosmology
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.generate import generate_initial_conditions, lagrangian_particles

SHARED = Path(__file__).parents[2] / ".." / "shared"
REDSHIFT = 49.0


@dataclass(frozen=True)
class Particles:
    """One realisation and its particles: positions in Mpc/h, velocities in peculiar km/s, row-major order."""

    field: LinearField
    positions: np.ndarray
    velocities: np.ndarray

    @property
    def mass(self) -> float:
        """Msun/h."""
        return self.field.site_mass


def realisation(n: int = 20, seed: int = 7, cosmology: Cosmology = PAPER_COSMOLOGY) -> Particles:
    field = generate_initial_conditions(n, n * 50 / 256, seed, cosmology, REDSHIFT)
    positions, velocities = lagrangian_particles(field, REDSHIFT)
    return Particles(field, positions, velocities)


def low_mode_difference(delta: np.ndarray, truth: np.ndarray) -> float:
    """Rms of delta - truth over the modes below half the Nyquist wavenumber, in units of the truth's."""
    n = truth.shape[0]
    full, half = fft.fftfreq(n) * n, np.arange(n // 2 + 1)
    k = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    low = (k < n / 4) & (k > 0)
    measured, expected = fft.rfftn(delta.astype(float))[low], fft.rfftn(truth.astype(float))[low]
    return float(np.sqrt(np.sum(np.abs(measured - expected) ** 2) / np.sum(np.abs(expected) ** 2)))


def write_gadget2(
    path: Path,
    particles: Particles,
    *,
    file_format: int = 1,
    double: bool = False,
    long_ids: bool = False,
    files: int = 1,
    per_mpc: float = 1.0,
    endian: str = "<",
    velocities: bool = True,
    ids: np.ndarray | None = None,
    order: np.ndarray | None = None,
    mass_block: bool = False,
    redshift: float = REDSHIFT,
    cosmology: Cosmology | None = None,
    positions: np.ndarray | None = None,
) -> Path:
    """Gadget-2 binary; `per_mpc` is file units a Mpc/h, `order` that of storage, `ids` those of row-major particles."""
    cosmology = cosmology or particles.field.cosmology
    places = particles.positions if positions is None else positions
    count = len(places)
    ids = np.arange(count) if ids is None else ids
    order = np.arange(count) if order is None else order
    real, integer = np.dtype(f"{endian}f{8 if double else 4}"), np.dtype(f"{endian}u{8 if long_ids else 4}")
    scale = 1 / (1 + redshift)
    names = [path] if files == 1 else [path.with_name(f"{path.name}.{i}") for i in range(files)]
    for name, part in zip(names, np.array_split(order, files), strict=True):
        mass = particles.mass / 1e10
        header = struct.pack(
            f"{endian}6i6d2d2i6I2i4d2i6I",
            0, len(part), 0, 0, 0, 0, 0, 0 if mass_block else mass, 0, 0, 0, 0, scale, redshift, 0, 0,
            0, count, 0, 0, 0, 0, 0, files, particles.field.box_size * per_mpc,
            cosmology.omega_m, cosmology.omega_lambda, cosmology.h, 0, 0, 0, 0, 0, 0, 0, 0,
        ).ljust(256, b"\0")  # fmt: skip
        blocks = [(b"HEAD", header), (b"POS ", (places[part] * per_mpc).astype(real).tobytes())]
        if velocities:
            blocks.append((b"VEL ", (particles.velocities[part] / np.sqrt(scale)).astype(real).tobytes()))
        blocks.append((b"ID  ", ids[part].astype(integer).tobytes()))
        if mass_block:
            blocks.append((b"MASS", np.full(len(part), mass).astype(real).tobytes()))
        with name.open("wb") as file:
            for label, data in blocks:
                if file_format == 2:
                    file.write(_record(struct.pack(f"{endian}4si", label, len(data) + 8), endian))
                file.write(_record(data, endian))
    return names[0]


def _record(data: bytes, endian: str) -> bytes:
    mark = struct.pack(f"{endian}I", len(data))
    return mark + data + mark
