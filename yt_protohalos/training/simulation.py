"""N-body runs of our own initial conditions: from a seed to halo labels on the initial lattice.

The particle-mesh solver is PySCo (extra ``train``). Its own driver reorders particles and writes snapshots; the loop
here calls its integrator directly, so that particle i stays Lagrangian site i, and saves checkpoints.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path, open_hdf5
from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY, Cosmology
from ..fields.lattice import Lattice
from ..fields.units import comoving_length, dimensionless
from ..initial_conditions.generate import decimated_particles, generate_initial_conditions, lagrangian_particles
from .friends_of_friends import friends_of_friends
from .run_files import write_seed_run

Report = Callable[[int, float], None]
Particles = NDArray[np.float32]

_UNUSED_MODULES = ("cubic", "laplacian", "laplacian_reformulated", "mond", "quartic")
_UNUSED_FUNCTIONS = re.compile(r"_fR_|CIC|NGP|prolongation|restriction")
"""Of PySCo, by the parameters of `_parameters`."""


@dataclass(frozen=True)
class SimulationSettings:
    """Everything that defines a run apart from its seed.

    Attributes
    ----------
    n, mesh : int
        Particles, and force mesh cells (a power of two), per side.
    box_size : float or length
        Comoving box side; a number is in Mpc/h.
    redshift : float
        Starting redshift.
    courant_factor, max_expansion : float
        Largest step: cells moved by the fastest particle, and growth of the scale factor in percent.
    cosmology : Cosmology
    """

    n: int = 192
    box_size: float = 37.5
    mesh: int = 512
    redshift: float = 49.0
    courant_factor: float = 3.0
    max_expansion: float = 10.0
    cosmology: Cosmology = PAPER_COSMOLOGY

    def __post_init__(self) -> None:
        object.__setattr__(self, "box_size", comoving_length(self.box_size, "box_size", self.cosmology.h))
        object.__setattr__(self, "redshift", dimensionless(self.redshift, "redshift"))
        Lattice(self.n, self.box_size)
        if self.mesh < 2 or self.mesh & (self.mesh - 1):
            raise InitialConditionsError(f"force mesh {self.mesh} is not a power of two; use 256, 512 or 1024")
        if self.redshift <= 0 or self.courant_factor <= 0 or self.max_expansion <= 0:
            raise InitialConditionsError("starting redshift, Courant factor and largest expansion must be positive")


def simulate(
    seed: int,
    settings: SimulationSettings,
    filename: str | Path,
    redshifts: Sequence[float] = (0.0,),
    report: Report | None = None,
    checkpoint_seconds: float = 120.0,
    fine_seed: int | None = None,
    keep_positions: bool = False,
) -> list[Path]:
    """Run one simulation and store its halo labels at every output redshift; it stops at the last.

    Parameters
    ----------
    seed : int
        Seed of `generate_initial_conditions`.
    settings : SimulationSettings
    filename : path
        Run file at z = 0; other redshifts are added to the name, see `output_path`. An existing complete file of the
        same run is left alone.
    redshifts : sequence of float
        Outputs, 0 or larger. A step ends at each, which changes later labels by a few sites at the edges of haloes.
    report : callable, optional
        Called as ``report(step, scale_factor)`` after every step.
    checkpoint_seconds : float
        Wall time between checkpoints, which lie beside the result and are removed at the end.
    fine_seed : int, optional
        Take the particles from initial conditions of twice the resolution, whose modes above the Nyquist wavenumber of
        the run's lattice this seed draws: two runs that differ in it alone are a baseline pair.
    keep_positions : bool
        Store the final positions of all particles too, 12 bytes each.

    Returns
    -------
    list of Path
        The run files in the order of `redshifts`, see `write_seed_run`.

    Raises
    ------
    InitialConditionsError
        A file holds a run of another seed or other settings, or an output is not between the start and z = 0.
    """
    filename = Path(filename)
    paths = {z: output_path(filename, z) for z in (dimensionless(z, "redshifts") for z in redshifts)}
    for z, path in paths.items():
        if not 0 <= z < settings.redshift:
            raise InitialConditionsError(
                f"output redshift {z:g} is not between 0 and the start, {settings.redshift:g}; give e.g. 0.5"
            )
        if path.exists():
            _check_same_run(path, seed, fine_seed, settings, z)
    missing = [z for z, path in paths.items() if not path.exists()]
    if not missing:
        return list(paths.values())
    started = time.perf_counter()
    checkpoint = filename.with_suffix(".checkpoint.npz")
    filename.parent.mkdir(parents=True, exist_ok=True)
    box = (settings.n, settings.box_size, seed)
    attributes = {"seed": seed}
    if fine_seed is None:
        particles = lagrangian_particles(
            generate_initial_conditions(*box, settings.cosmology, settings.redshift), settings.redshift
        )
    else:
        particles = decimated_particles(*box, fine_seed, settings.cosmology, settings.redshift)
        attributes["fine_seed"] = fine_seed
    outputs = evolve(*particles, settings, missing, checkpoint, report, checkpoint_seconds)
    for z, positions, velocities, steps in outputs:
        labels = friends_of_friends(positions, Lattice(settings.n, settings.box_size))
        seconds = time.perf_counter() - started
        stated = {**attributes, "steps": steps, "wall_seconds": seconds, "output_redshift": z}
        write_seed_run(paths[z], labels, positions, velocities, settings, stated, keep_positions)
    checkpoint.unlink(missing_ok=True)
    return list(paths.values())


def output_path(filename: Path, redshift: float) -> Path:
    """File of an output: the name itself at z = 0, else with the redshift, e.g. ``run_0901_z0.5.h5``."""
    return filename.with_name(f"{filename.stem}_z{redshift:g}{filename.suffix}") if redshift else filename


def _check_same_run(
    path: Path, seed: int, fine_seed: int | None, settings: SimulationSettings, redshift: float
) -> None:
    with open_hdf5(path) as file:
        stored = {"output_redshift": 0.0, **file.attrs}
    stored |= json.loads(str(stored.get("settings", "{}")))
    wanted = {"seed": seed, "fine_seed": fine_seed, "output_redshift": redshift}
    wanted |= json.loads(json.dumps(asdict(settings)))
    changed = [name for name, value in wanted.items() if stored.get(name) != value]
    if changed:
        raise InitialConditionsError(
            f"{path} holds a run with other {', '.join(changed)}; name another folder, or remove the file"
        )


def evolve(
    positions: Particles,
    velocities: Particles,
    settings: SimulationSettings,
    redshifts: Sequence[float] = (0.0,),
    checkpoint: Path | None = None,
    report: Report | None = None,
    checkpoint_seconds: float = 120.0,
) -> Iterator[tuple[float, Particles, Particles, int]]:
    """Evolve particles to each of several redshifts with PySCo's particle mesh.

    positions : float32, (n^3, 3), comoving Mpc/h; velocities : float32, (n^3, 3), peculiar km/s
    yields : from the highest, a redshift, positions (Mpc/h) and peculiar velocities (km/s) there in the same order,
        and the number of steps so far
    raises : `InitialConditionsError` if the checkpoint is of other settings
    """
    run = json.dumps(asdict(settings), sort_keys=True)
    outputs = sorted((1 / (1 + z), z) for z in redshifts)
    box_size = np.float32(settings.box_size)
    pysco = _import_pysco()
    with tempfile.TemporaryDirectory() as scratch:
        param = _parameters(settings, scratch)
        tables = pysco["cosmotable"].generate(param)
        resumed = None if checkpoint is None else _load_checkpoint(checkpoint, outputs[0][0], param, run)
        pysco["utils"].set_units(param)
        position, velocity = resumed or (
            np.ascontiguousarray(positions / box_size, dtype=np.float32),
            np.ascontiguousarray(velocities * np.float32(param["unit_t"] / param["unit_l"])),
        )
        pysco["utils"].periodic_wrap(position)
        param["t"] = tables[1](np.log(param["aexp"]))
        forces = pysco["solver"].pm(position, param)
        saved_at = time.monotonic()
        for a, z in outputs:
            end = tables[1](np.log(a))
            while param["aexp"] < a * (1 - 1e-6):
                param["nsteps"] += 1
                position, velocity, *forces = pysco["integration"].integrate(
                    position, velocity, *forces, tables, param, end
                )
                if report is not None:
                    report(param["nsteps"], float(param["aexp"]))
                if checkpoint is not None and time.monotonic() - saved_at > checkpoint_seconds:
                    arrays = {"position": position, "velocity": velocity}
                    with atomic_path(checkpoint) as partial, partial.open("wb") as file:
                        np.savez(file, **arrays, aexp=param["aexp"], nsteps=param["nsteps"], run=run)
                    saved_at = time.monotonic()
            # PySCo's units are those of the scale factor reached
            peculiar = velocity * np.float32(param["unit_l"] / param["unit_t"])
            yield z, position * box_size, peculiar, int(param["nsteps"])


def _load_checkpoint(path: Path, first_end: float, param: Any, run: str) -> tuple[Particles, Particles] | None:
    """Positions and velocities to continue from; None if there are none, or they are past the first output."""
    if not path.exists():
        return None
    with np.load(path) as saved:
        if "run" not in saved or str(saved["run"]) != run:
            raise InitialConditionsError(
                f"{path} is the checkpoint of a run with other settings; name another folder, or remove the file"
            )
        if float(saved["aexp"]) > first_end * (1 + 1e-6):
            return None
        param["aexp"], param["nsteps"] = float(saved["aexp"]), int(saved["nsteps"])
        return saved["position"], saved["velocity"]


def _import_pysco() -> dict[str, Any]:
    try:
        with _needed_functions_alone():
            import pysco  # noqa: F401  (puts its modules on sys.path)
        from pyfftw.interfaces import cache, numpy_fft
    except ImportError as error:
        raise ImportError("PySCo runs the simulations; install it with: pip install 'yt_protohalos[train]'") from error
    modules: dict[str, Any] = {
        name: import_module(name) for name in ("cosmotable", "fourier", "integration", "solver", "utils")
    }
    # PySCo plans every transform anew with FFTW_ESTIMATE, which takes 3.8 s for 512^3 cells on two cores; with a plan
    # measured once (40 s) it takes 0.4 to 0.6 s
    cache.enable()
    cache.set_keepalive_time(600)
    modules["fourier"].fft_3D_real = lambda cells, threads: numpy_fft.rfftn(
        cells, threads=threads, planner_effort="FFTW_MEASURE"
    )
    modules["fourier"].ifft_3D_real = lambda modes, threads: numpy_fft.irfftn(
        modes, threads=threads, planner_effort="FFTW_MEASURE", overwrite_input=True
    )
    return modules


@contextmanager
def _needed_functions_alone() -> Iterator[None]:
    """Import PySCo without the functions that no run here calls: they are None in this process.

    PySCo states the types of a hundred functions, so that numba compiles all of them at the first import, for minutes.
    Most are of modified gravity, of the multigrid solver and of other mass schemes than that of `_parameters`.
    """
    import numba

    njit = numba.njit

    def decorate(*arguments: Any, **options: Any) -> Any:
        compiled = njit(*arguments, **options)
        if arguments and callable(arguments[0]):
            return compiled
        return lambda function: (
            None
            if function.__module__ in _UNUSED_MODULES or _UNUSED_FUNCTIONS.search(function.__name__)
            else compiled(function)
        )

    numba.njit = decorate
    try:
        yield
    finally:
        numba.njit = njit


def _parameters(settings: SimulationSettings, scratch: str) -> Any:
    import numba
    import pandas as pd

    cosmology = settings.cosmology
    return pd.Series(
        {
            "theory": "newton", "H0": 100 * cosmology.h, "Om_m": cosmology.omega_m, "T_cmb": 0.0, "N_eff": 0.0,
            "w0": -1.0, "wa": 0.0, "base": scratch, "extra": "run", "boxlen": settings.box_size,
            "npart": settings.n**3, "ncoarse": int(settings.mesh).bit_length() - 1,
            "nthreads": numba.get_num_threads(),
            "mass_scheme": "TSC", "gradient_stencil_order": 5, "max_aexp_stepping": settings.max_expansion,
            "linear_newton_solver": "fft", "epsrel": 1e-2, "Courant_factor": settings.courant_factor,
            "save_power_spectrum": "no", "integrator": "leapfrog", "write_snapshot": False,
            "aexp": 1 / (1 + settings.redshift), "nsteps": 0,
        }
    )  # fmt: skip
