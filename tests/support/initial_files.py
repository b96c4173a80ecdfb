"""Writers of initial-conditions files, for tests of the readers: each variant holds the same particles."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy import fft

from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY, Cosmology
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.initial_conditions.generate import generate_initial_conditions, lagrangian_particles
from yt_protohalos.initial_conditions.readers.enzo import VELOCITY_UNIT as ENZO_VELOCITY
from yt_protohalos.initial_conditions.readers.tipsy import VELOCITY_UNIT as TIPSY_VELOCITY
from yt_protohalos.initial_conditions.reconstruction import field_from_source
from yt_protohalos.initial_conditions.site_assignment import SiteMap
from yt_protohalos.initial_conditions.sources import ArraySource

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
        return self.field.site_mass_msun_h


def field_from_particles(
    positions: np.ndarray,
    velocities: np.ndarray | None,
    ids: np.ndarray | None,
    box_size: float,
    cosmology: Cosmology,
    redshift: float,
    masses: np.ndarray | float | None = None,
) -> tuple[LinearField, SiteMap]:
    """Linear field of particles in arrays; units as in `ArraySource`."""
    return field_from_source(ArraySource(positions, velocities, ids, masses), box_size, cosmology, redshift)


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
    block_order: tuple[str, ...] = ("POS ", "VEL ", "ID  ", "MASS"),
    block_names: dict[str, str] | None = None,
    double_blocks: tuple[str, ...] = (),
) -> Path:
    """Gadget-2 binary; `per_mpc` is file units a Mpc/h, `order` that of storage, `ids` those of row-major particles.

    `double_blocks` are in double precision although `double` is False, and `block_names` replace those of format 2.
    """
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
        data = {"POS ": places[part] * per_mpc, "VEL ": particles.velocities[part] / np.sqrt(scale), "ID  ": ids[part]}
        if mass_block:
            data["MASS"] = np.full(len(part), mass)
        if not velocities:
            del data["VEL "]
        types = {label: np.dtype(f"{endian}f8") if label in double_blocks else real for label in data} | {
            "ID  ": integer
        }
        blocks = [("HEAD", header)]
        for label in block_order:
            if label in data:
                blocks.append(((block_names or {}).get(label, label), data[label].astype(types[label]).tobytes()))
        with name.open("wb") as file:
            for label, values in blocks:
                if file_format == 2:
                    file.write(_record(struct.pack(f"{endian}4si", label.encode(), len(values) + 8), endian))
                file.write(_record(values, endian))
    return names[0]


def _record(data: bytes, endian: str) -> bytes:
    mark = struct.pack(f"{endian}I", len(data))
    return mark + data + mark


def cubes(particles: Particles) -> dict[str, np.ndarray]:
    """Overdensity, displacement (Mpc/h) and velocity (km/s) on the lattice."""
    lattice = particles.field.lattice
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    shift = lattice.minimum_image(particles.positions - sites)
    found = {"delta": particles.field.delta * PAPER_COSMOLOGY.growth_factor(REDSHIFT)}
    for axis, letter in enumerate("xyz"):
        found[f"d{letter}"] = shift[:, axis].reshape(lattice.shape)
        found[f"v{letter}"] = particles.velocities[:, axis].reshape(lattice.shape)
    return found


def write_music(path: Path, particles: Particles, ghosts: int = 4, levelmin: int = 4) -> Path:
    size = particles.field.box_size
    with h5py.File(path, "w") as file:
        file.create_group("header").attrs.update(levelmin=np.uint32(levelmin), levelmax=np.uint32(4))
        for level in (3, 4):
            for name, cube in cubes(particles).items():
                values = cube if name == "delta" else cube / size
                values = np.pad(values[:: 2 ** (4 - level)][:, :: 2 ** (4 - level), :: 2 ** (4 - level)], ghosts)
                file[f"level_{level:03d}_DM_{'rho' if name == 'delta' else name}"] = values
    return path


def write_monofonic(path: Path, particles: Particles, names: str = "dv") -> Path:
    size = particles.field.box_size
    with h5py.File(path, "w") as file:
        file.create_group("Header").attrs.update(
            Boxsize=size, astart=1 / (1 + REDSHIFT), Omega_b=0.048252, Omega_m=0.307112, Omega_L=0.692888
        )
        for name, cube in cubes(particles).items():
            if name[0] in names and (name == "delta") == (names == "delta"):
                file[f"DM_{name}"] = cube if name == "delta" else cube / size
    return path


def write_grafic(folder: Path, particles: Particles, endian: str = "<", origin: float = 0.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cosmology, lattice = PAPER_COSMOLOGY, particles.field.lattice
    header = np.array(lattice.shape, dtype=f"{endian}i4").tobytes() + np.array(
        [lattice.spacing / cosmology.h, origin, origin, origin, 1 / (1 + REDSHIFT), cosmology.omega_m,
         cosmology.omega_lambda, 100 * cosmology.h], dtype=f"{endian}f4",
    ).tobytes()  # fmt: skip
    for name, cube in cubes(particles).items():
        kind = {"delta": "deltab"}.get(name, {"d": "posc", "v": "velc"}[name[0]] + name[-1])
        planes = [plane.astype(f"{endian}f4").tobytes() for plane in cube.transpose(2, 1, 0)]
        with (folder / f"ic_{kind}").open("wb") as file:
            for record in (header, *planes):
                mark = np.array([len(record)], dtype=f"{endian}i4").tobytes()
                file.write(mark + record + mark)
    return folder


def write_tipsy(path: Path, particles: Particles, endian: str = ">", gas: int = 0, omega_m: float = 0.307112) -> Path:
    size, count, scale = particles.field.box_size, len(particles.positions), 1 / (1 + REDSHIFT)
    rows = np.zeros((count, 9), dtype=f"{endian}f4")
    rows[:, 0] = omega_m / count
    rows[:, 1:4] = particles.positions / size - 0.5
    rows[:, 4:7] = particles.velocities * TIPSY_VELOCITY / (100 * size * scale)
    header = struct.pack(f"{endian}d6i", scale, count + gas, 3, gas, count, 0, 0)
    path.write_bytes(header + bytes(48 * gas) + rows.tobytes())
    return path


def write_enzo(folder: Path, particles: Particles, velocities: bool = True) -> Path:
    folder.mkdir()
    lattice = particles.field.lattice
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    shift = lattice.minimum_image(particles.positions - sites) / lattice.box_size
    unit = ENZO_VELOCITY * lattice.box_size * np.sqrt(PAPER_COSMOLOGY.omega_m * (1 + REDSHIFT))
    for name, values in (("Displacements", shift), ("Velocities", particles.velocities / unit)):
        for axis, letter in enumerate("xyz"):
            if name == "Displacements" or velocities:
                with h5py.File(folder / f"Particle{name}_{letter}", "w") as file:
                    file[f"Particle{name}_{letter}"] = values[:, axis].reshape(lattice.shape).T[None]
    (folder / "parameter_file.txt").write_text(
        f"CosmologyOmegaMatterNow = 0.307112 // matter\nCosmologyOmegaLambdaNow = 0.692888\n"
        f"CosmologyHubbleConstantNow = 0.6777 // 100 km/s/Mpc\nCosmologyComovingBoxSize = {lattice.box_size}\n"
        f"CosmologyInitialRedshift = {REDSHIFT}\n"
    )
    return folder


def write_swift(
    path: Path, particles: Particles, redshift: float = REDSHIFT, *, types: int = 7, snapshot: bool = True
) -> Path:
    """SWIFT HDF5: a snapshot (with a black hole and a neutrino at z = 0), or initial conditions like monofonIC's.

    The latter state neither redshift nor cosmology.
    """
    cosmology, mpc, msun = PAPER_COSMOLOGY, 3.08567758149e24, 1.98841e33
    count, scale = len(particles.positions), 1 / (1 + redshift)
    counts = np.zeros(types, dtype=np.int64)
    counts[1] = count
    with h5py.File(path, "w") as file:
        header = file.create_group("Header").attrs
        header.update(BoxSize=particles.field.box_size / cosmology.h, NumFilesPerSnapshot=np.array([1], dtype=np.int32))
        if snapshot:
            counts[5:] = redshift == 0
            header["BoxSize"] = np.full(3, header["BoxSize"])
            # the time is in units of Mpc s/km, and no scale factor
            header.update({"Code": np.bytes_("SWIFT"), "Time": np.array([0.0141]), "Scale-factor": np.array([scale])})
            header["Redshift"] = np.array([redshift])
            stated = {"h": cosmology.h, "Omega_m": cosmology.omega_m, "Omega_lambda": cosmology.omega_lambda}
            stated |= {"Omega_b": cosmology.omega_b, "Redshift": redshift, "Scale-factor": scale}
            file.create_group("Cosmology").attrs.update({name: np.array([value]) for name, value in stated.items()})
        header.update(NumPart_ThisFile=counts, NumPart_Total=counts.astype(np.uint32), MassTable=np.zeros(types))
        file.create_group("Units").attrs.update({
            "Unit length in cgs (U_L)": np.array([mpc]), "Unit mass in cgs (U_M)": np.array([1e10 * msun]),
            "Unit time in cgs (U_t)": np.array([mpc / 1e5]),
        })  # fmt: skip
        mass = particles.mass / cosmology.h / 1e10
        for index in np.flatnonzero(counts):
            group, own = file.create_group(f"PartType{index}"), slice(counts[index])
            group["Coordinates"] = particles.positions[own] / cosmology.h
            group["Velocities"] = particles.velocities[own]
            group["ParticleIDs"] = np.arange(1, counts[index] + 1)
            group["DynamicalMasses" if index == 5 else "Masses"] = np.full(counts[index], mass)
        file["DMParticles"] = h5py.SoftLink("/PartType1")
    return path
