"""N-body runs from our own initial conditions: seed in, labels on the initial lattice out.

The particle-mesh solver is PySCo (extra ``train``). Its driver reorders particles and writes snapshots; the loop
here calls its integrator directly, so that particle i stays Lagrangian site i, and checkpoints as it goes.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..cosmology import PAPER_COSMOLOGY, Cosmology
from ..exceptions import FormatError, InitialConditionsError
from ..hdf5 import own_file
from ..initial_conditions.decimated import decimated_particles
from ..initial_conditions.generate import generate_initial_conditions, lagrangian_particles
from ..lattice import Lattice
from ..linear_field import LinearField, potential
from .labels import LINKING_LENGTH, MIN_SITES, friends_of_friends

FORMAT_VERSION = 1
STORED_FIELD_VERSION = 2
"""Format of runs that hold delta itself, as those of one's own do; a seed gives no other field than ours."""


@dataclass(frozen=True)
class SimulationSettings:
    """What defines a run apart from its seed.

    Attributes
    ----------
    n : int
        Particles a side.
    box_size : float
        Comoving box side, Mpc/h.
    mesh : int
        Force mesh cells a side, a power of two.
    redshift : float
        Starting redshift.
    courant_factor : float
        PySCo's limit on a step: cells moved by the fastest particle.
    max_expansion : float
        Largest growth of the scale factor in a step, in percent.
    """

    n: int = 192
    box_size: float = 37.5
    mesh: int = 512
    redshift: float = 49.0
    courant_factor: float = 3.0
    max_expansion: float = 10.0
    cosmology: Cosmology = PAPER_COSMOLOGY

    def __post_init__(self) -> None:
        Lattice(self.n, self.box_size)
        if self.mesh < 2 or self.mesh & (self.mesh - 1):
            raise InitialConditionsError(f"force mesh {self.mesh} is not a power of two; use 256, 512 or 1024")
        if self.redshift <= 0 or self.courant_factor <= 0 or self.max_expansion <= 0:
            raise InitialConditionsError("starting redshift, Courant factor and largest expansion must be positive")


def simulate(
    seed: int,
    settings: SimulationSettings,
    filename: str | Path,
    report: Callable[[int, float], None] | None = None,
    checkpoint_seconds: float = 120.0,
    fine_seed: int | None = None,
) -> Path:
    """Run one simulation to z = 0 and store its halo labels.

    Parameters
    ----------
    seed : int
        Seed of `generate_initial_conditions`.
    settings : SimulationSettings
    filename : path
        HDF5 result; an existing complete file of the same run is left alone.
    report : callable, optional
        Called as ``report(step, scale_factor)`` after every step.
    checkpoint_seconds : float
        Wall time between checkpoints, kept beside the result and removed at the end.
    fine_seed : int, optional
        Take the particles from initial conditions of twice the resolution, whose modes above the Nyquist wavenumber of
        the run's lattice this seed draws: two runs that differ in it alone are a baseline pair.

    Returns
    -------
    Path
        The result file: ``labels`` (int32, (n, n, n)), ``halo_position`` (K, 3) in Mpc/h, ``halo_velocity`` (K, 3) in
        km/s and ``halo_spin`` (K, 3), angular momentum for each unit of mass in km/s Mpc/h, all at z = 0; and the
        seed, cosmology and settings as attributes. delta is regenerated from the seed.

    Raises
    ------
    InitialConditionsError
        `filename` holds a run of another seed or other settings.
    """
    filename = Path(filename)
    if filename.exists():
        _check_same_run(filename, seed, fine_seed, settings)
        return filename
    lattice = Lattice(settings.n, settings.box_size)
    initial = (settings.n, settings.box_size, seed)
    if fine_seed is None:
        field = generate_initial_conditions(*initial, settings.cosmology, settings.redshift)
        particles = lagrangian_particles(field, settings.redshift)
    else:
        particles = decimated_particles(*initial, fine_seed, settings.cosmology, settings.redshift)
    started = time.perf_counter()
    positions, velocities, steps = evolve(
        *particles, lattice, settings,
        checkpoint=filename.with_suffix(".checkpoint.npz"), report=report, checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    labels = friends_of_friends(positions, lattice)
    attributes = {"seed": seed, "steps": steps, "wall_seconds": time.perf_counter() - started}
    if fine_seed is not None:
        attributes["fine_seed"] = fine_seed
    write_run(filename, labels, positions, velocities, settings, attributes)
    filename.with_suffix(".checkpoint.npz").unlink(missing_ok=True)
    return filename


def evolve(
    positions: NDArray[np.float32],
    velocities: NDArray[np.float32],
    lattice: Lattice,
    settings: SimulationSettings,
    checkpoint: Path | None = None,
    report: Callable[[int, float], None] | None = None,
    checkpoint_seconds: float = 120.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Evolve particles to z = 0 with PySCo's particle mesh.

    positions : float32, (n^3, 3), comoving Mpc/h; velocities : float32, (n^3, 3), peculiar km/s
    returns : positions (Mpc/h) and peculiar velocities (km/s) at z = 0 in the same order, number of steps
    """
    pysco = _import_pysco()
    with tempfile.TemporaryDirectory() as scratch:
        param = _parameters(settings, lattice, scratch)
        tables = pysco["cosmotable"].generate(param)
        if checkpoint is not None and checkpoint.exists():
            with np.load(checkpoint) as saved:
                position, velocity = saved["position"], saved["velocity"]
                param["aexp"], param["nsteps"] = float(saved["aexp"]), int(saved["nsteps"])
            pysco["utils"].set_units(param)
        else:
            pysco["utils"].set_units(param)
            position = np.ascontiguousarray(positions / np.float32(lattice.box_size), dtype=np.float32)
            velocity = np.ascontiguousarray(velocities * np.float32(param["unit_t"] / param["unit_l"]))
        pysco["utils"].periodic_wrap(position)
        position, velocity = _steps(pysco, position, velocity, tables, param, checkpoint, report, checkpoint_seconds)
        velocity = velocity * np.float32(param["unit_l"] / param["unit_t"])
        return position * np.float32(lattice.box_size), velocity, int(param["nsteps"])


def _steps(pysco: dict, position, velocity, tables, param, checkpoint, report, checkpoint_seconds):  # type: ignore[no-untyped-def]
    param["t"] = tables[1](np.log(param["aexp"]))
    end = tables[1](0.0)
    state = pysco["solver"].pm(position, param)
    saved_at = time.monotonic()
    while param["aexp"] < 1.0 - 1e-6:
        param["nsteps"] += 1
        position, velocity, *state = pysco["integration"].integrate(position, velocity, *state, tables, param, end)
        if report is not None:
            report(param["nsteps"], float(param["aexp"]))
        if checkpoint is not None and time.monotonic() - saved_at > checkpoint_seconds:
            _save_checkpoint(checkpoint, position, velocity, param)
            saved_at = time.monotonic()
    return position, velocity


def _save_checkpoint(path: Path, position, velocity, param) -> None:  # type: ignore[no-untyped-def]
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, position=position, velocity=velocity, aexp=param["aexp"], nsteps=param["nsteps"])
    os.replace(partial, path)


def _import_pysco() -> dict[str, Any]:
    try:
        import pysco  # noqa: F401  (puts its modules on sys.path)
    except ImportError as error:
        raise ImportError("PySCo runs the simulations; install it with: pip install 'yt_protohalos[train]'") from error
    import importlib

    names = ("cosmotable", "fourier", "integration", "solver", "utils")
    modules = {name: importlib.import_module(name) for name in names}
    setattr(modules["fourier"], "fft_3D_real", _planned_forward)  # noqa: B010
    setattr(modules["fourier"], "ifft_3D_real", _planned_inverse)  # noqa: B010
    return modules


@lru_cache(maxsize=1)
def _plans(n: int, threads: int) -> tuple[NDArray, NDArray, Any, Any]:
    """Measured FFTW plans of a mesh and their buffers.

    PySCo plans every transform anew with FFTW_ESTIMATE, which is 3.8 s a 512^3 transform on two cores; a plan measured
    once (40 s) takes 0.4 to 0.6 s.
    """
    import pyfftw

    real = pyfftw.empty_aligned((n, n, n), dtype="float32")
    spectrum = pyfftw.empty_aligned((n, n, n // 2 + 1), dtype="complex64")
    options = {"axes": (0, 1, 2), "threads": threads, "flags": ("FFTW_MEASURE",)}
    forward = pyfftw.FFTW(real, spectrum, **options)
    inverse = pyfftw.FFTW(spectrum, real, direction="FFTW_BACKWARD", **options)
    return real, spectrum, forward, inverse


def _planned_forward(density: NDArray[np.float32], threads: int) -> NDArray[np.complex64]:
    real, spectrum, forward, _ = _plans(len(density), threads)
    real[:] = density
    forward()
    return spectrum


def _planned_inverse(spectrum: NDArray[np.complex64], threads: int) -> NDArray[np.float32]:
    real, buffer, _, inverse = _plans(len(spectrum), threads)
    if spectrum is not buffer:
        buffer[:] = spectrum
    inverse()
    return real


def _parameters(settings: SimulationSettings, lattice: Lattice, scratch: str) -> Any:
    import numba
    import pandas as pd

    cosmology = settings.cosmology
    return pd.Series(
        {
            "theory": "newton", "H0": 100 * cosmology.h, "Om_m": cosmology.omega_m, "T_cmb": 0.0, "N_eff": 0.0,
            "w0": -1.0, "wa": 0.0, "base": scratch, "extra": "run", "boxlen": lattice.box_size,
            "npart": lattice.n_sites, "ncoarse": int(settings.mesh).bit_length() - 1,
            "nthreads": numba.get_num_threads(),
            "mass_scheme": "TSC", "gradient_stencil_order": 5, "max_aexp_stepping": settings.max_expansion,
            "linear_newton_solver": "fft", "epsrel": 1e-2, "Courant_factor": settings.courant_factor,
            "save_power_spectrum": "no", "integrator": "leapfrog", "write_snapshot": False,
            "aexp": 1 / (1 + settings.redshift), "nsteps": 0,
        }
    )  # fmt: skip


def write_run(
    filename: Path,
    labels: NDArray[np.int32],
    positions: NDArray[np.float32],
    velocities: NDArray[np.float32],
    settings: SimulationSettings,
    attributes: dict[str, Any],
) -> None:
    """Store a finished run atomically; halo positions are periodic means of their members'."""
    lattice = Lattice(settings.n, settings.box_size)
    filename.parent.mkdir(parents=True, exist_ok=True)
    partial = filename.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.create_dataset("labels", data=labels, compression="gzip", shuffle=True)
        centres = halo_means(labels, positions, lattice)
        file.create_dataset("halo_position", data=centres)
        file.create_dataset("halo_velocity", data=halo_means(labels, velocities))
        file.create_dataset("halo_spin", data=halo_spins(labels, positions, velocities, centres, lattice))
        file.attrs.update(attributes)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["code"] = "pysco-nbody"
        file.attrs["halo_finder"] = f"FoF b={LINKING_LENGTH}, at least {MIN_SITES} particles"
        file.attrs["settings"] = json.dumps(asdict(settings))
    os.replace(partial, filename)


def _check_same_run(filename: Path, seed: int, fine_seed: int | None, settings: SimulationSettings) -> None:
    with own_file(filename) as file:
        stored = {name: file.attrs.get(name) for name in ("seed", "fine_seed")}
        stored |= json.loads(str(file.attrs.get("settings", "{}")))
    wanted = {"seed": seed, "fine_seed": fine_seed, **json.loads(json.dumps(asdict(settings)))}
    changed = [name for name, value in wanted.items() if stored.get(name) != value]
    if changed:
        raise InitialConditionsError(
            f"{filename} holds a run with other {', '.join(changed)}; name another folder, or remove the file"
        )


def halo_means(labels: NDArray[np.int32], values: NDArray, lattice: Lattice | None = None) -> NDArray[np.float64]:
    """Mean of a vector (n^3, 3) over each label 1..K -> (K, 3); periodic (circular mean) if a lattice is given."""
    flat = labels.ravel()
    sizes = np.bincount(flat)[1:].astype(float)
    if lattice is None:
        return np.stack([np.bincount(flat, weights=values[:, a])[1:] / sizes for a in range(3)], axis=-1)
    angle = 2 * np.pi * values / lattice.box_size
    sine = np.stack([np.bincount(flat, weights=np.sin(angle[:, a]))[1:] for a in range(3)], axis=-1)
    cosine = np.stack([np.bincount(flat, weights=np.cos(angle[:, a]))[1:] for a in range(3)], axis=-1)
    return np.mod(np.arctan2(sine, cosine) / (2 * np.pi), 1.0) * lattice.box_size


def halo_spins(
    labels: NDArray[np.int32], positions: NDArray, velocities: NDArray, centres: NDArray, lattice: Lattice
) -> NDArray[np.float64]:
    """Angular momentum of each label about its centre, for each unit of mass -> (K, 3).

    Right-handed, in the units of positions times velocities; a uniform motion of the label adds nothing.
    """
    members = np.flatnonzero(labels)
    label = labels.ravel()[members]
    arm = lattice.minimum_image(positions[members] - centres[label - 1])
    return halo_means(label, np.cross(arm - halo_means(label, arm)[label - 1], velocities[members]))


def read_run(filename: str | Path) -> tuple[LinearField, NDArray[np.int32], dict[str, Any]]:
    """Linear field, labels (n, n, n) and attributes of a stored run.

    The field is regenerated from the seed, or read where the file holds it (`user_runs.write_labelled_field`).

    Raises
    ------
    FormatError
        For a file of a format this version does not know.
    """
    known = {FORMAT_VERSION: ("labels",), STORED_FIELD_VERSION: ("labels", "delta")}
    with own_file(filename) as file:
        attributes = dict(file.attrs)
        version = int(attributes.get("format_version", 0))
        cubes = [file[name][()] for name in known.get(version, ())]
    if not cubes:
        raise FormatError(
            f"{filename} has run format {version or 'none'}, this version reads {sorted(known)}; "
            "make it again with protohalos simulate or label"
        )
    values = json.loads(attributes["settings"])
    values["cosmology"] = Cosmology(**values["cosmology"])
    if len(cubes) == 2:
        lattice = Lattice(values.pop("n"), values.pop("box_size"))
        delta = cubes[1]
        return LinearField(delta, potential(delta, lattice), lattice, **values), cubes[0], attributes
    settings = SimulationSettings(**values)
    field = generate_initial_conditions(
        settings.n, settings.box_size, int(attributes["seed"]), settings.cosmology, settings.redshift
    )
    return field, cubes[0], attributes
