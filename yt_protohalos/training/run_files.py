"""Run files (HDF5): the linear field of a simulation with the labels of its haloes, to train and score models on.

A run of `simulate` stores the seed from which its field is generated again; a run of a user's own simulation stores
delta itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._utils.files import FIELD_RUN_FORMAT, SEED_RUN_FORMAT, atomic_path, format_remedy, open_hdf5
from ..analysis.catalog_scores import SimulatedHaloes
from ..exceptions import FormatError, ScoringError
from ..fields.cosmology import Cosmology
from ..fields.fourier import potential
from ..fields.lattice import Lattice, circular_mean, wrap
from ..fields.linear_field import LinearField
from ..initial_conditions.generate import generate_initial_conditions
from .friends_of_friends import LINKING_LENGTH, MIN_SITES

if TYPE_CHECKING:
    from .simulation import SimulationSettings


def read_run(filename: str | Path) -> tuple[LinearField, NDArray[np.int32], dict[str, Any]]:
    """Linear field, labels (n, n, n) and attributes of a run file; the field is at the redshift of the labels.

    Raises `FormatError` for a file of a format that this version does not know.
    """
    with open_hdf5(filename) as file:
        attributes = dict(file.attrs)
        version = attributes.get("format_version", "none")
        if not any(np.array_equal(version, known) for known in (SEED_RUN_FORMAT, FIELD_RUN_FORMAT)):
            raise FormatError(
                f"{filename} has run format {version}, "
                + format_remedy(version, FIELD_RUN_FORMAT, "make it again with protohalos simulate or label")
            )
        labels = file["labels"][()]
        delta = file["delta"][()] if version == FIELD_RUN_FORMAT else None
    settings = json.loads(attributes["settings"])
    n, box_size, redshift = settings["n"], settings["box_size"], settings["redshift"]
    cosmology = Cosmology(**settings["cosmology"])
    if delta is None:
        field = generate_initial_conditions(n, box_size, int(attributes["seed"]), cosmology, redshift)
    else:
        lattice = Lattice(n, box_size)
        phi = potential(delta, lattice)
        field = LinearField(delta, phi, lattice, cosmology, redshift, settings["site_offset"])
    # files written before other outputs existed do not state it
    return field.at_redshift(float(attributes.get("output_redshift", 0.0))), labels, attributes


def write_seed_run(
    filename: Path,
    labels: NDArray[np.int32],
    positions: NDArray[np.float32],
    velocities: NDArray[np.float32],
    settings: SimulationSettings,
    attributes: Mapping[str, Any],
    keep_positions: bool = False,
) -> None:
    """Store labels and haloes of a run of `simulate`, whose field is generated again from the seed.

    labels : int32, (n, n, n); positions : float32, (n^3, 3), comoving Mpc/h; velocities : float32, (n^3, 3), km/s
    attributes : at least ``seed``
    keep_positions : store ``positions`` too, 12 bytes per particle
    stored : ``labels``, ``halo_position`` (K, 3) in comoving Mpc/h, ``halo_velocity`` (K, 3) in km/s and ``halo_spin``
        (K, 3), angular momentum per unit mass about comoving positions in km/s Mpc/h; attributes and settings
    """
    lattice = Lattice(settings.n, settings.box_size)
    centres = halo_means(labels, positions, lattice)
    datasets: dict[str, NDArray[Any]] = {
        "labels": labels,
        "halo_position": centres,
        "halo_velocity": halo_means(labels, velocities),
        "halo_spin": halo_spins(labels, positions, velocities, centres, lattice),
    }
    if keep_positions:
        datasets["positions"] = positions
    stated = {"code": "pysco-nbody", "halo_finder": f"FoF b={LINKING_LENGTH}, at least {MIN_SITES} particles"}
    _write(filename, SEED_RUN_FORMAT, datasets, asdict(settings), {**stated, **attributes})


def write_field_run(
    filename: str | Path, field: LinearField, labels: NDArray[np.int32], attributes: Mapping[str, Any]
) -> Path:
    """Store a field with its labels (n, n, n), for `read_run` and ``protohalos train``; the field is that of z = 0.

    `attributes` say what the card of a model trained on it repeats: ``code``, ``halo_finder``.
    """
    field.lattice.check_cube(labels, "labels")
    settings = {
        "n": field.n, "box_size": field.box_size, "redshift": field.redshift, "site_offset": field.site_offset,
        "cosmology": asdict(field.cosmology),
    }  # fmt: skip
    _write(Path(filename), FIELD_RUN_FORMAT, {"labels": labels, "delta": field.delta}, settings, attributes)
    return Path(filename)


def _write(
    filename: Path,
    version: int,
    datasets: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> None:
    import h5py

    with atomic_path(filename) as partial, h5py.File(partial, "w") as file:
        for name, values in datasets.items():
            packed = {"compression": "gzip", "shuffle": True} if values.ndim == 3 else {}
            file.create_dataset(name, data=values, **packed)
        file.attrs.update(
            attributes, format_version=version, package_version=__version__, settings=json.dumps(settings)
        )


def read_positions(filename: str | Path) -> NDArray[np.float32]:
    """Final positions of the particles in the order of their initial sites, (n^3, 3), comoving Mpc/h.

    Raises `FormatError` for a run file without them.
    """
    with open_hdf5(filename) as file:
        if "positions" not in file:
            raise FormatError(f"{filename} holds no positions; make the run with: protohalos simulate --keep-positions")
        positions: NDArray[np.float32] = file["positions"][()]
        return positions


def read_haloes(path: Path, labels: NDArray[np.integer]) -> SimulatedHaloes:
    """Haloes of a run file, with velocity and spin if they are stored; `ScoringError` if it has no positions."""
    with open_hdf5(path) as file:
        if "halo_position" not in file:
            raise ScoringError(f"{path} lacks halo_position, (K, 3); the catalogue is compared with these positions")
        velocity, spin = (file[name][()] if name in file else None for name in ("halo_velocity", "halo_spin"))
        return SimulatedHaloes(labels, file["halo_position"][()], velocity, spin)


def describe_run(filename: str | Path) -> dict[str, Any]:
    """Description of a run for a model card: code, halo finder, seed, redshift and settings."""
    with open_hdf5(filename) as file:
        attributes = dict(file.attrs)
    settings = json.loads(str(attributes["settings"]))
    cosmology = settings["cosmology"]
    amplitude = cosmology.pop("sigma_8", None)
    known: dict[str, Any] = {} if amplitude is None else {"sigma_8": float(amplitude)}
    # a user's own run has neither
    known |= {name: int(attributes[name]) for name in ("seed", "steps") if name in attributes}
    if attributes.get("output_redshift"):
        known["output_redshift"] = float(attributes["output_redshift"])
    return {**known, "code": str(attributes["code"]), "halo_finder": str(attributes["halo_finder"]), **settings}


def finder_of_runs(described: Sequence[Mapping[str, Any]]) -> str:
    """Finder of the halo definition of a card: "FoF" for the default linking length, else as the runs state it."""
    stated = sorted({str(run["halo_finder"]) for run in described})
    known = {"FoF", f"FoF b={LINKING_LENGTH}"}
    return "FoF" if all(one.split(",")[0] in known for one in stated) else "; ".join(stated)


def halo_means(labels: NDArray[np.int32], values: NDArray[Any], lattice: Lattice | None = None) -> NDArray[np.float64]:
    """Mean of a vector (n^3, 3) over each label 1..K -> (K, 3); periodic (circular mean) if a lattice is given."""
    flat = labels.ravel()
    if lattice is not None:
        return wrap(circular_mean(values, lattice.box_size, flat)[1:], lattice.box_size)
    sizes = np.bincount(flat)[1:].astype(float)
    return np.stack([np.bincount(flat, weights=values[:, a])[1:] / sizes for a in range(3)], axis=-1)


def halo_spins(
    labels: NDArray[np.int32],
    positions: NDArray[Any],
    velocities: NDArray[Any],
    centres: NDArray[Any],
    lattice: Lattice,
) -> NDArray[np.float64]:
    """Angular momentum per unit mass of each label about its centre -> (K, 3).

    Right-handed, in the units of positions times velocities; a uniform motion of the label adds nothing.
    """
    members = np.flatnonzero(labels)
    label = labels.ravel()[members]
    arm = lattice.minimum_image(positions[members] - centres[label - 1])
    return halo_means(label, np.cross(arm - halo_means(label, arm)[label - 1], velocities[members]))
