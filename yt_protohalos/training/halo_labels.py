"""Label the initial conditions of a user's own simulation by the haloes that form from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FormatError, InitialConditionsError, LatticeError
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.units import dimensionless
from ..initial_conditions.checks import whole_ids
from ..segmentation.labels import relabel_by_size
from ..yt_interface.linear import GAS_TYPES, dataset_facts, linear_field, particle_sites
from ..yt_interface.load import load
from ..yt_interface.particles import box_positions
from .dataset import LabelledField
from .friends_of_friends import LINKING_LENGTH, MIN_SITES, friends_of_friends
from .halo_catalogs import holds_label_cube, read_labels, read_members, stated_redshift
from .members import HALOES
from .run_files import write_field_run

MIN_OVERDENSITY = 0.5
"""Mean linear overdensity of halo sites: near 1.7 where haloes form, near 0 where the haloes are of another field."""
REDSHIFT_TOLERANCE = 0.01
"""Haloes hardly change over this difference in redshift."""
BOX_TOLERANCE = 1e-3


def label_run(
    ics: Any,
    *,
    snapshot: Any = None,
    catalog: Any = None,
    output: str | os.PathLike[str],
    redshift: float | None = None,
    objects: str = HALOES,
    parents: str | os.PathLike[str] | None = None,
) -> LabelledField:
    """Label the initial conditions of a simulation by its haloes, and store both as a run file to train on.

    Parameters
    ----------
    ics : path or yt Dataset
        Initial conditions that `load` and `linear_field` read; particles, unless `catalog` is a cube.
    snapshot : path or yt Dataset, optional
        Final snapshot, whose particles carry the IDs of the initial conditions. Without `catalog`, friends-of-friends
        groups (linking length 0.2, at least 155 particles) become the labels.
    catalog : path or yt Dataset, optional
        Haloes of your own finder: an HDF5 cube on the initial lattice (``labels``, 0 outside, or ``halo_id``, -1
        outside), or members by particle ID in the files of Rockstar, AHF, HBT+, SOAP, Gadget-4 and AREPO with SUBFIND,
        SWIFT or yt (`halo_catalogs.read_members`). If it lists places in a snapshot instead of IDs (Gadget-4, SOAP),
        give that `snapshot` too. Objects of fewer than 155 particles are left out.
    output : path
        Run file (HDF5) for `LabelledField.from_run` and ``protohalos train``: ``labels`` (int32) and ``delta``
        (float32), (n, n, n). An existing file is replaced.
    redshift : float, optional
        Redshift of the haloes, 0 by default. If the snapshot or catalogue states its own, the two must agree to 0.01.
    objects : {"haloes", "subhaloes"}
        What becomes a label: each whole halo with all its subhaloes, or each halo and subhalo on its own, in which a
        particle is in the smallest that lists it.
    parents : path, optional
        Table that says which halo of `catalog` lies in which: the output of Rockstar's ``find_parents``, or the
        ``.AHF_halos`` of AHF if it is not beside the catalogue.

    Returns
    -------
    LabelledField
        Its field is at the redshift of the haloes.

    Raises
    ------
    TypeError
        Neither `snapshot` nor `catalog` is given, or `parents` or other objects than haloes without `catalog`.
    FileNotFoundError, FormatError
        For a file that is missing or of no known layout.
    FileExistsError
        For an output that is a folder or one of the inputs.
    InitialConditionsError, LatticeError, CosmologyError
        For particles, IDs, boxes or haloes that do not belong together, and haloes of another redshift than asked for.

    Examples
    --------
    >>> import h5py
    >>> from yt_protohalos.training.halo_labels import label_run
    >>> with h5py.File("haloes.h5", "w") as file:
    ...     file["labels"] = prediction.labels  # yours are those of a simulation
    >>> run = label_run("ics.hdf5", catalog="haloes.h5", output="run.h5")
    >>> run.labels.shape
    (32, 32, 32)
    """
    if snapshot is None and catalog is None:
        raise TypeError("label_run takes snapshot=..., catalog=... or both; give one of them")
    if catalog is None and (parents is not None or objects != HALOES):
        raise TypeError("friends of friends finds haloes alone; give a catalog for subhaloes, or with parents")
    output = Path(output)
    _check_output(output, ics, snapshot, catalog, parents)
    initial = _dataset(ics)
    attributes: dict[str, Any] = {"code": "own", "initial_conditions": str(initial)}
    stated = None
    if snapshot is not None:
        final = _dataset(snapshot)
        attributes["snapshot_redshift"] = stated = _check_final(final, initial)
        target = halo_redshift(redshift, stated, "the final snapshot")
    if catalog is None:
        labels = _labels_of_snapshot(final, initial)
        attributes["halo_finder"] = f"FoF b={LINKING_LENGTH}"
    else:
        path = _path(catalog)
        own = stated_redshift(path)
        target = halo_redshift(redshift, stated if own is None else own, path.name)
        places = None if snapshot is None else _path(snapshot)
        labels = _labels_of_catalog(path, initial, objects, places, None if parents is None else Path(parents))
        attributes["halo_finder"] = f"{'' if objects == HALOES else f'{objects} of '}catalogue {path.name}"
    attributes["halo_finder"] += f", at least {MIN_SITES} particles"
    # the file holds the field at z = 0, and states the redshift of its haloes
    field = linear_field(initial)
    run = LabelledField.from_labels(field.at_redshift(target), labels)
    _check_haloes_of_field(run.field, run.labels)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_field_run(output, field, run.labels, {**attributes, "output_redshift": target})
    return run


def halo_redshift(wanted: float | None, stated: float | None, name: str) -> float:
    """Redshift of the haloes of a run: the wanted one (0 by default); their file, called `name`, may state no other."""
    redshift = 0.0 if wanted is None else dimensionless(wanted, "redshift")
    if not np.isfinite(redshift) or redshift < 0:
        raise InitialConditionsError(f"redshift {redshift:g} of the haloes is not 0 or more; give e.g. 0.5")
    if stated is not None and not abs(stated - redshift) <= REDSHIFT_TOLERANCE:
        asked = "and models are of z = 0 unless told otherwise" if wanted is None else f"not at {redshift:g}"
        raise InitialConditionsError(
            f"{name} is at redshift {stated:.4g}, {asked}; give the one of that time, or its own redshift with "
            f"--at-redshift {max(stated, 0.0):.4g} (redshift= in Python) for a run of that time"
        )
    return redshift


def _check_haloes_of_field(field: LinearField, labels: NDArray[np.int32]) -> None:
    """Raise an error unless there are haloes, and their sites are overdense in this field."""
    inside = labels > 0
    if not inside.any():
        raise InitialConditionsError(
            f"no halo has {MIN_SITES} particles or more; smaller ones are background: give a run that is evolved to "
            "z = 0, or a larger one"
        )
    mean = float(field.delta[inside].mean(dtype=np.float64))
    if mean < MIN_OVERDENSITY:
        raise InitialConditionsError(
            f"the haloes' sites have a mean linear overdensity of {mean:.2f} in these initial conditions; where haloes "
            f"form it is near 1.7, and at least {MIN_OVERDENSITY}: give the initial conditions of the same run, and "
            "labels indexed [x, y, z] on their lattice"
        )


def find_sites(ids: NDArray[Any], initial_ids: NDArray[Any], sites: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Flat row-major lattice site of each particle ID (M,), from IDs and sites (N,) of the initial conditions.

    Raises
    ------
    InitialConditionsError
        An ID occurs twice, is not a whole number, or is not one of the initial conditions'; `name` says whose it is.
    """
    known, wanted = _unique_ids(initial_ids, "the initial conditions"), _unique_ids(ids, name)
    order = np.argsort(known)
    at = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
    unknown = wanted[known[at] != wanted]
    if len(unknown):
        raise InitialConditionsError(
            f"{len(unknown)} of the {len(wanted)} particle IDs of {name} are not in the initial conditions, whose "
            f"IDs run from {known.min()} to {known.max()} (the first that is not: {unknown[0]}); both must "
            "hold the same particles: give the files of one run, and of one particle type"
        )
    return sites[at]


def _unique_ids(ids: NDArray[Any], name: str) -> NDArray[np.int64]:
    values = whole_ids(ids, name)
    repeats = len(values) - len(np.unique(values))
    if repeats:
        raise InitialConditionsError(
            f"{repeats} of the {len(values)} particle IDs of {name} are repeats; each particle is listed once: write "
            "the file again (64-bit IDs cut to 32 bits look like this, and subhaloes listed within haloes)"
        )
    return values


def _check_output(output: Path, *inputs: Any) -> None:
    if output.is_dir():
        raise FileExistsError(f"{output} is a folder; name the run file in it, e.g. {output / 'run.h5'}")
    for source in inputs:
        path = getattr(source, "filename", source)
        if isinstance(path, str | os.PathLike) and Path(path).resolve() == output.resolve():
            raise FileExistsError(f"the output {output} is one of the inputs; name another file")


def _dataset(source: Any) -> Any:
    return load(source) if isinstance(source, str | os.PathLike) else source


def _path(source: Any) -> Path:
    """Path of a file, or that of a yt dataset."""
    return Path(source if isinstance(source, str | os.PathLike) else source.filename)


def _check_final(final: Any, initial: Any) -> float:
    """Redshift of a snapshot, once box and matter density are known to be those of the initial conditions."""
    width = np.asarray(final.domain_width.to("code_length"))
    if np.ptp(width) > BOX_TOLERANCE * width.max():
        raise LatticeError(f"the box of the final snapshot measures {width.tolist()}; it must be a cube")
    size, redshift, cosmology = dataset_facts(final).required(f"the final snapshot {final}")
    first_size, first_redshift, first_cosmology = dataset_facts(initial).required(f"the initial conditions {initial}")
    if abs(size / first_size - 1) > BOX_TOLERANCE:
        raise LatticeError(
            f"the box of the final snapshot is {size:.6g} Mpc/h, that of the initial conditions {first_size:.6g}; both "
            "must be one box: give the files of one run"
        )
    if abs(cosmology.omega_m / first_cosmology.omega_m - 1) > BOX_TOLERANCE:
        raise InitialConditionsError(
            f"the final snapshot has Omega_m = {cosmology.omega_m:g}, the initial conditions "
            f"{first_cosmology.omega_m:g}; both must agree: give the files of one run"
        )
    if redshift >= first_redshift:
        raise InitialConditionsError(
            f"the final snapshot is at redshift {redshift:g}, the initial conditions at {first_redshift:g}; it must be "
            "later: give the snapshot at redshift 0"
        )
    return redshift


def _labels_of_snapshot(final: Any, initial: Any) -> NDArray[np.int32]:
    lattice, initial_type, initial_ids, initial_sites = _initial_sites(initial)
    ptype = _lattice_type(final, lattice, "the final snapshot", initial_type)
    particles = final.all_data()
    ids = np.asarray(particles[ptype, "particle_index"])
    sites = find_sites(ids, initial_ids, initial_sites, "the final snapshot")
    positions = np.empty((lattice.n_sites, 3))
    positions[sites] = box_positions(final, particles[ptype, "particle_position"], lattice.box_size)
    return friends_of_friends(positions, lattice)


def _labels_of_catalog(
    path: Path, initial: Any, objects: str, snapshot: Path | None, parents: Path | None
) -> NDArray[np.int32]:
    if holds_label_cube(path):
        if snapshot is not None or parents is not None or objects != HALOES:
            raise FormatError(f"{path.name} is a cube of labels, which is taken as it is; give it alone")
        labels = read_labels(path)
        linear_field(initial).lattice.check_cube(labels, f"the label cube of {path.name}")
        return relabel_by_size(np.maximum(labels, 0), MIN_SITES)
    ids, groups = read_members(path, objects, snapshot, parents)
    lattice, _, initial_ids, initial_sites = _initial_sites(initial)
    inside = groups >= 0
    # particles that the catalogue does not list are in no halo
    labels = np.zeros(lattice.n_sites, dtype=np.int64)
    labels[find_sites(ids[inside], initial_ids, initial_sites, path.name)] = groups[inside] + 1
    return relabel_by_size(labels.reshape(lattice.shape), MIN_SITES)


def _initial_sites(initial: Any) -> tuple[Lattice, str, NDArray[Any], NDArray[np.int64]]:
    """Lattice, particle type, IDs (N,) and lattice sites (N,) of the particles of the initial conditions."""
    if not any(getattr(initial, "particle_type_counts", {}).values()):
        raise InitialConditionsError(
            f"{initial} holds a grid and no particles, so that IDs have no site; give the initial conditions as "
            "particles, or a catalogue that is a cube of labels"
        )
    lattice = linear_field(initial).lattice
    ptype = _lattice_type(initial, lattice, "the initial conditions")
    particles = initial.all_data()
    ids = np.asarray(particles[ptype, "particle_index"])
    return lattice, ptype, ids, particle_sites(initial, ptype, particles)


def _lattice_type(ds: Any, lattice: Lattice, name: str, preferred: str = "") -> str:
    """Particle type with IDs and one particle per site; gas only if no other type fits."""
    counts = {ptype: int(count) for ptype, count in ds.particle_type_counts.items() if count}
    fitting: list[str] = sorted(ptype for ptype, count in counts.items() if count == lattice.n_sites)
    fitting = [ptype for ptype in fitting if ptype not in GAS_TYPES] or fitting
    if preferred in fitting:
        fitting = [preferred]
    if len(fitting) != 1:
        raise LatticeError(
            f"{name} holds particles of types {counts}, of which {fitting or 'none'} have one for each of the "
            f"{lattice.n_sites} sites; exactly one type must: give a snapshot and initial conditions of one unigrid run"
        )
    if (fitting[0], "particle_index") not in ds.derived_field_list:
        raise InitialConditionsError(
            f"{name} has no particle IDs, by which final particles find their initial sites; write them too"
        )
    return fitting[0]
