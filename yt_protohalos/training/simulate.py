"""N-body runs from our own initial conditions: seed in, labels on the initial lattice out, at one or more redshifts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._utils.files import FIELD_RUN_FORMAT, SEED_RUN_FORMAT, format_remedy, open_hdf5
from ..exceptions import FormatError, InitialConditionsError
from ..fields.cosmology import Cosmology
from ..fields.fourier import potential
from ..fields.lattice import Lattice, circular_mean, wrap
from ..fields.linear_field import LinearField
from ..initial_conditions.decimated import decimated_particles
from ..initial_conditions.generate import generate_initial_conditions, lagrangian_particles
from .labels import LINKING_LENGTH, MIN_SITES, friends_of_friends
from .particle_mesh import SimulationSettings as SimulationSettings
from .particle_mesh import evolve

"""Format of runs that hold delta itself, as those of one's own do; a seed gives no other field than ours."""


def simulate(
    seed: int,
    settings: SimulationSettings,
    filename: str | Path,
    report: Callable[[int, float], None] | None = None,
    checkpoint_seconds: float = 120.0,
    fine_seed: int | None = None,
) -> Path:
    """Run one simulation to z = 0 and store its halo labels; see `simulate_outputs`."""
    return simulate_outputs(seed, settings, filename, (0.0,), report, checkpoint_seconds, fine_seed)[0]


def simulate_outputs(
    seed: int,
    settings: SimulationSettings,
    filename: str | Path,
    redshifts: Sequence[float],
    report: Callable[[int, float], None] | None = None,
    checkpoint_seconds: float = 120.0,
    fine_seed: int | None = None,
) -> list[Path]:
    """Run one simulation and store its halo labels at every output redshift; it stops at the last.

    Parameters
    ----------
    seed : int
        Seed of `generate_initial_conditions`.
    settings : SimulationSettings
    filename : path
        HDF5 result at z = 0; other redshifts are in the name, see `output_path`. An existing complete file of the same
        run is left alone.
    redshifts : sequence of float
        Outputs, 0 or larger. A step ends at each, so that what follows differs from a run without that output by as
        much as other steps do: a few sites at the edges of haloes.
    report : callable, optional
        Called as ``report(step, scale_factor)`` after every step.
    checkpoint_seconds : float
        Wall time between checkpoints, kept beside the result and removed at the end.
    fine_seed : int, optional
        Take the particles from initial conditions of twice the resolution, whose modes above the Nyquist wavenumber of
        the run's lattice this seed draws: two runs that differ in it alone are a baseline pair.

    Returns
    -------
    list of Path
        The result files in the order of `redshifts`: ``labels`` (int32, (n, n, n)), ``halo_position`` (K, 3) in
        comoving Mpc/h, ``halo_velocity`` (K, 3) in km/s and ``halo_spin`` (K, 3), angular momentum for each unit of
        mass about comoving positions in km/s Mpc/h, all at the output's redshift; and that, the seed, cosmology and
        settings as attributes. delta is regenerated from the seed.

    Raises
    ------
    InitialConditionsError
        A file holds a run of another seed or other settings, or an output is not between the start and z = 0.
    """
    filename = Path(filename)
    paths = {float(z): output_path(filename, z) for z in redshifts}
    for z, path in paths.items():
        if not 0 <= z < settings.redshift:
            raise InitialConditionsError(
                f"output redshift {z:g} is not between 0 and the start, {settings.redshift:g}; give e.g. 0.5"
            )
        if path.exists():
            _check_same_run(path, seed, fine_seed, settings, z)
    missing = [z for z, path in paths.items() if not path.exists()]
    if missing:
        _run(seed, settings, filename, missing, report, checkpoint_seconds, fine_seed)
    return list(paths.values())


def output_path(filename: Path, redshift: float) -> Path:
    """File of an output: the name itself at z = 0, else with the redshift, e.g. ``run_0901_z0.5.h5``."""
    return filename.with_name(f"{filename.stem}_z{redshift:g}{filename.suffix}") if redshift else filename


def _run(
    seed: int,
    settings: SimulationSettings,
    filename: Path,
    redshifts: Sequence[float],
    report: Callable[[int, float], None] | None,
    checkpoint_seconds: float,
    fine_seed: int | None,
) -> None:
    lattice = Lattice(settings.n, settings.box_size)
    initial = (settings.n, settings.box_size, seed)
    if fine_seed is None:
        field = generate_initial_conditions(*initial, settings.cosmology, settings.redshift)
        particles = lagrangian_particles(field, settings.redshift)
    else:
        particles = decimated_particles(*initial, fine_seed, settings.cosmology, settings.redshift)
    started = time.perf_counter()
    checkpoint = filename.with_suffix(".checkpoint.npz")
    filename.parent.mkdir(parents=True, exist_ok=True)
    for z, positions, velocities, steps in evolve(
        *particles, lattice, settings, redshifts, checkpoint, report, checkpoint_seconds
    ):
        labels = friends_of_friends(positions, lattice)
        attributes: dict[str, Any] = {"seed": seed, "steps": steps, "wall_seconds": time.perf_counter() - started}
        attributes["output_redshift"] = z
        if fine_seed is not None:
            attributes["fine_seed"] = fine_seed
        write_run(output_path(filename, z), labels, positions, velocities, settings, attributes)
    checkpoint.unlink(missing_ok=True)


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
    partial = filename.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file.create_dataset("labels", data=labels, compression="gzip", shuffle=True)
        centres = halo_means(labels, positions, lattice)
        file.create_dataset("halo_position", data=centres)
        file.create_dataset("halo_velocity", data=halo_means(labels, velocities))
        file.create_dataset("halo_spin", data=halo_spins(labels, positions, velocities, centres, lattice))
        file.attrs.update(attributes)
        file.attrs["format_version"] = SEED_RUN_FORMAT
        file.attrs["package_version"] = __version__
        file.attrs["code"] = "pysco-nbody"
        file.attrs["halo_finder"] = f"FoF b={LINKING_LENGTH}, at least {MIN_SITES} particles"
        file.attrs["settings"] = json.dumps(asdict(settings))
    os.replace(partial, filename)


def _check_same_run(
    filename: Path, seed: int, fine_seed: int | None, settings: SimulationSettings, output_redshift: float
) -> None:
    with open_hdf5(filename) as file:
        stored = {name: file.attrs.get(name) for name in ("seed", "fine_seed")}
        stored["output_redshift"] = file.attrs.get("output_redshift", 0.0)
        stored |= json.loads(str(file.attrs.get("settings", "{}")))
    wanted = {
        "seed": seed,
        "fine_seed": fine_seed,
        "output_redshift": output_redshift,
        **json.loads(json.dumps(asdict(settings))),
    }
    changed = [name for name, value in wanted.items() if stored.get(name) != value]
    if changed:
        raise InitialConditionsError(
            f"{filename} holds a run with other {', '.join(changed)}; name another folder, or remove the file"
        )


def halo_means(labels: NDArray[np.int32], values: NDArray, lattice: Lattice | None = None) -> NDArray[np.float64]:
    """Mean of a vector (n^3, 3) over each label 1..K -> (K, 3); periodic (circular mean) if a lattice is given."""
    flat = labels.ravel()
    if lattice is not None:
        return wrap(circular_mean(values, lattice.box_size, flat)[1:], lattice.box_size)
    sizes = np.bincount(flat)[1:].astype(float)
    return np.stack([np.bincount(flat, weights=values[:, a])[1:] / sizes for a in range(3)], axis=-1)


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
    """Linear field, labels (n, n, n) and attributes of a stored run; the field is at the redshift of the labels.

    It is regenerated from the seed, or read where the file holds it (`user_runs.write_labelled_field`).

    Raises
    ------
    FormatError
        For a file of a format this version does not know.
    """
    known = {SEED_RUN_FORMAT: ("labels",), FIELD_RUN_FORMAT: ("labels", "delta")}
    with open_hdf5(filename) as file:
        attributes = dict(file.attrs)
        version = attributes.get("format_version", "none")
        names = [every for number, every in known.items() if np.array_equal(version, number)]
        cubes = [file[name][()] for every in names for name in every]
    if not cubes:
        raise FormatError(
            f"{filename} has run format {version}, "
            + format_remedy(version, FIELD_RUN_FORMAT, "make it again with protohalos simulate or label")
        )
    values = json.loads(attributes["settings"])
    values["cosmology"] = Cosmology(**values["cosmology"])
    # files written before there were other outputs do not say it
    target = float(attributes.get("output_redshift", 0.0))
    if len(cubes) == 2:
        lattice = Lattice(values.pop("n"), values.pop("box_size"))
        delta = cubes[1]
        return (
            LinearField(delta, potential(delta, lattice), lattice, **values).at_redshift(target),
            cubes[0],
            attributes,
        )
    settings = SimulationSettings(**values)
    field = generate_initial_conditions(
        settings.n, settings.box_size, int(attributes["seed"]), settings.cosmology, settings.redshift
    )
    return field.at_redshift(target), cubes[0], attributes
