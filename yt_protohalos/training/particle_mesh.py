"""The particle-mesh solver of the training runs: PySCo (extra ``train``), one output after the other.

Its driver reorders particles and writes snapshots; the loop here calls its integrator directly, so that particle i
stays Lagrangian site i, and checkpoints as it goes.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY, Cosmology
from ..fields.lattice import Lattice


@dataclass(frozen=True)
class SimulationSettings:
    """What defines a run apart from its seed.

    Attributes
    ----------
    n : int
        Particles per side.
    box_size : float
        Comoving box side, Mpc/h.
    mesh : int
        Force mesh cells per side, a power of two.
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


def evolve(
    positions: NDArray[np.float32],
    velocities: NDArray[np.float32],
    lattice: Lattice,
    settings: SimulationSettings,
    redshifts: Sequence[float] = (0.0,),
    checkpoint: Path | None = None,
    report: Callable[[int, float], None] | None = None,
    checkpoint_seconds: float = 120.0,
) -> Iterator[tuple[float, NDArray[np.float32], NDArray[np.float32], int]]:
    """Evolve particles to each of several redshifts with PySCo's particle mesh.

    positions : float32, (n^3, 3), comoving Mpc/h; velocities : float32, (n^3, 3), peculiar km/s
    yields : from the highest, a redshift, positions (Mpc/h) and peculiar velocities (km/s) there in the same order,
        and the number of steps so far

    Raises
    ------
    InitialConditionsError
        The checkpoint is of other settings.
    """
    run = json.dumps(asdict(settings), sort_keys=True)
    ends = sorted((1 / (1 + z), z) for z in redshifts)
    pysco = _import_pysco()
    with tempfile.TemporaryDirectory() as scratch:
        param = _parameters(settings, lattice, scratch)
        tables = pysco["cosmotable"].generate(param)
        resumed = None if checkpoint is None else _load_checkpoint(checkpoint, ends[0][0], param, run)
        pysco["utils"].set_units(param)
        if resumed is not None:
            position, velocity = resumed
        else:
            position = np.ascontiguousarray(positions / np.float32(lattice.box_size), dtype=np.float32)
            velocity = np.ascontiguousarray(velocities * np.float32(param["unit_t"] / param["unit_l"]))
        pysco["utils"].periodic_wrap(position)
        steps = _steps(
            pysco, position, velocity, tables, param, [a for a, _ in ends], checkpoint, report, checkpoint_seconds, run
        )
        for (_, z), (position, velocity) in zip(ends, steps, strict=True):
            # the units are those of the scale factor reached
            peculiar = velocity * np.float32(param["unit_l"] / param["unit_t"])
            yield z, position * np.float32(lattice.box_size), peculiar, int(param["nsteps"])


def _steps(pysco: dict, position, velocity, tables, param, ends, checkpoint, report, checkpoint_seconds, run):  # type: ignore[no-untyped-def]
    """Yield positions and velocities, in PySCo's units, at each of some ascending scale factors."""
    param["t"] = tables[1](np.log(param["aexp"]))
    state = pysco["solver"].pm(position, param)
    saved_at = time.monotonic()
    for a in ends:
        end = tables[1](np.log(a))
        while param["aexp"] < a * (1 - 1e-6):
            param["nsteps"] += 1
            position, velocity, *state = pysco["integration"].integrate(position, velocity, *state, tables, param, end)
            if report is not None:
                report(param["nsteps"], float(param["aexp"]))
            if checkpoint is not None and time.monotonic() - saved_at > checkpoint_seconds:
                _save_checkpoint(checkpoint, position, velocity, param, run)
                saved_at = time.monotonic()
        yield position, velocity


def _load_checkpoint(path: Path, first_end: float, param: Any, run: str) -> tuple[NDArray, NDArray] | None:
    """Positions and velocities to go on from; None where there are none, or they are past the first output."""
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


def _save_checkpoint(path: Path, position, velocity, param, run) -> None:  # type: ignore[no-untyped-def]
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, position=position, velocity=velocity, aexp=param["aexp"], nsteps=param["nsteps"], run=run)
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
