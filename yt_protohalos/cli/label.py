"""``protohalos label``, and `label_run`, which it calls."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.files import open_hdf5
from ..exceptions import InitialConditionsError, LatticeError
from .common import say, set_log_level

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..fields.lattice import Lattice
    from ..training.dataset import LabelledField
    from ..training.user_runs import SiteTable

HELP = "make a training run of your own simulation: initial conditions and its final snapshot or FoF catalogue"
EXAMPLE = """  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z0.hdf5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --catalog fof_members.h5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z05.hdf5 --at-redshift 0.5 -o runs/mine_z0.5.h5
  protohalos train semantic --runs runs/mine.h5 -o training/semantic"""

_BOX_TOLERANCE = 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--ics", required=True, type=Path, metavar="ICS", help="initial conditions")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--snapshot", type=Path, metavar="FILE", help="final snapshot with particle IDs")
    source.add_argument("--catalog", type=Path, metavar="FILE", help="HDF5 friends-of-friends catalogue with members")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="RUN", help="run file to write")
    parser.add_argument("--box-size", type=float, help="comoving Mpc/h, for initial conditions that do not say it")
    parser.add_argument("--redshift", type=float, help="of the initial conditions, where they do not say it")
    parser.add_argument(
        "--at-redshift", type=float, metavar="Z",
        help="redshift of the haloes (default: 0); one that the snapshot or catalogue states must agree",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..yt_interface.load import load

    set_log_level(args)
    facts = {"box_size": args.box_size, "redshift": args.redshift}
    ics: Any = args.ics
    if any(value is not None for value in facts.values()):
        _check_output(args.output, args.ics, args.snapshot, args.catalog)
        ics = load(args.ics, **{name: value for name, value in facts.items() if value is not None})
    run = label_run(ics, snapshot=args.snapshot, catalog=args.catalog, output=args.output, redshift=args.at_redshift)
    then = f" at z = {run.field.target_redshift:g}" if run.field.target_redshift else ""
    say(
        f"wrote {args.output}: {len(run.centres) - 1} haloes{then} hold {1 - run.outside_fraction:.1%} of the "
        f"{run.field.n}^3 sites"
    )
    return 0


def label_run(
    ics: Any,
    *,
    snapshot: Any = None,
    catalog: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str],
    redshift: float | None = None,
) -> LabelledField:
    """Label the initial conditions of a simulation by its haloes and store both as a run to train on.

    Parameters
    ----------
    ics : path or yt Dataset
        Initial conditions that `load` and `linear_field` read. With IDs of `snapshot` or `catalog` to be found, they
        must be particles with the same IDs.
    snapshot : path or yt Dataset, optional
        Final snapshot, whose particles carry the IDs of the initial conditions. Friends-of-friends groups (linking
        length 0.2, at least 155 particles) become the labels; needs the extra ``astro``.
    catalog : path, optional
        Instead of `snapshot`: an HDF5 catalogue of friends-of-friends haloes, either a cube on the initial lattice
        (``labels``, 0 outside, or ``halo_id``, -1 outside) or members (`training.user_runs.read_members`).
    output : path
        HDF5 run file for `LabelledField.from_run` and ``protohalos train``: ``labels`` (int32) and ``delta``
        (float32), (n, n, n). An existing file is replaced.
    redshift : float, optional
        Of the haloes, 0 by default. Where the snapshot or catalogue states its own, they must agree to 0.01, so that a
        file of another time is never taken for one of z = 0. The run of another time trains and scores models at that
        redshift.

    Returns
    -------
    LabelledField
        Its field is at the redshift of the haloes.

    Raises
    ------
    TypeError
        Unless one of `snapshot` and `catalog` is given.
    FileNotFoundError, FormatError
        For a file that is missing or of no known layout.
    InitialConditionsError, LatticeError, CosmologyError
        For particles, IDs, boxes or haloes that do not belong together, and haloes of another redshift than asked for.
    """
    if (snapshot is None) == (catalog is None):
        raise TypeError("label_run takes either snapshot=... or catalog=...; give one of them")
    output = Path(output)
    _check_output(output, ics, snapshot, catalog)
    from ..training import user_runs
    from ..training.dataset import LabelledField
    from ..training.labels import LINKING_LENGTH, MIN_SITES
    from ..yt_interface.linear import linear_field

    initial = _dataset(ics)
    if catalog is None:
        final = _dataset(snapshot)
        finder = f"FoF b={LINKING_LENGTH}, at least {MIN_SITES} particles"
        stated = _check_final(final, initial)
        time = user_runs.halo_redshift(redshift, stated, "the final snapshot")
        attributes: dict[str, Any] = {"snapshot_redshift": stated}
        labels = _labels_of_snapshot(final, initial)
    else:
        finder, attributes = f"catalogue {Path(catalog).name}, at least {MIN_SITES} particles", {}
        time = user_runs.halo_redshift(redshift, user_runs.stated_redshift(Path(catalog)), Path(catalog).name)
        labels = _labels_of_catalog(Path(catalog), initial)
    # the file holds the field of z = 0, and says at which redshift its haloes are
    field = linear_field(initial)
    then = field.at_redshift(time)
    user_runs.check_haloes_of_field(then, labels)
    output.parent.mkdir(parents=True, exist_ok=True)
    attributes |= {"code": "own", "initial_conditions": str(initial), "halo_finder": finder, "output_redshift": time}
    user_runs.write_labelled_field(output, field, labels, attributes)
    return LabelledField.from_labels(then, labels)


def _check_output(output: Path, *inputs: Any) -> None:
    """Refuse to write over an input or where there can be no file."""
    if output.is_dir():
        raise FileExistsError(f"{output} is a folder; name the run file in it, e.g. {output / 'run.h5'}")
    for source in inputs:
        if isinstance(source, str | os.PathLike) and Path(source).resolve() == output.resolve():
            raise FileExistsError(f"the output {output} is one of the inputs; name another file")


def _dataset(source: Any) -> Any:
    from ..yt_interface.load import load

    return load(source) if isinstance(source, str | os.PathLike) else source


def _check_final(final: Any, initial: Any) -> float:
    """Redshift of a snapshot of the initial conditions' box."""
    import numpy as np

    from ..yt_interface.linear import dataset_facts

    width = np.asarray(final.domain_width.to("code_length"))
    if np.ptp(width) > _BOX_TOLERANCE * width.max():
        raise LatticeError(f"the box of the final snapshot measures {width.tolist()}; it must be a cube")
    size, redshift, cosmology = dataset_facts(final).required(f"the final snapshot {final}")
    first_size, first_redshift, first_cosmology = dataset_facts(initial).required(f"the initial conditions {initial}")
    if abs(size / first_size - 1) > _BOX_TOLERANCE:
        raise LatticeError(
            f"the box of the final snapshot is {size:.6g} Mpc/h, that of the initial conditions {first_size:.6g}; both "
            "must be one box: give the files of one run"
        )
    if abs(cosmology.omega_m / first_cosmology.omega_m - 1) > _BOX_TOLERANCE:
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
    import numpy as np

    try:
        import yt_astro_analysis  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "yt_astro_analysis finds the haloes of a snapshot; install it with: pip install 'yt_protohalos[astro]'"
        ) from error
    from ..training.labels import friends_of_friends
    from ..training.user_runs import positions_by_site

    lattice, table, ptype = _site_table(initial)
    used = _lattice_type(final, lattice, "the final snapshot", ptype)
    whole = final.all_data()
    # the box's corner need not be the origin
    edge = np.asarray(final.domain_left_edge.to("code_length"))
    positions = np.asarray(whole[used, "particle_position"].to("code_length"), dtype=np.float64) - edge
    positions *= lattice.box_size / float(final.domain_width[0].to("code_length"))
    return friends_of_friends(positions_by_site(positions, np.asarray(whole[used, "particle_index"]), table), lattice)


def _labels_of_catalog(path: Path, initial: Any) -> NDArray[np.int32]:
    import h5py
    import numpy as np

    from ..training.labels import MIN_SITES, rank_by_size
    from ..training.user_runs import CUBE_NAMES, labels_of_members, read_members
    from ..yt_interface.linear import linear_field
    from .label_files import read_labels

    if path.is_file() and h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            is_cube = any(name in file for name in CUBE_NAMES)
        if is_cube:
            cube = read_labels(path)
            linear_field(initial).lattice.check_cube(cube, f"the label cube of {path.name}")
            return rank_by_size(np.maximum(cube, 0) - 1, MIN_SITES)
    ids, groups = read_members(path)
    lattice, table, _ = _site_table(initial)
    return labels_of_members(ids, groups, table, path.name).reshape(lattice.shape)


def _site_table(initial: Any) -> tuple[Lattice, SiteTable, str]:
    """Lattice, site of each particle ID and particle type of the initial conditions."""
    import numpy as np

    from ..training.user_runs import SiteTable
    from ..yt_interface.linear import linear_field, particle_sites

    counts = getattr(initial, "particle_type_counts", {})
    if not any(counts.values()):
        raise InitialConditionsError(
            f"{initial} holds a grid and no particles, so that IDs have no site; give the initial conditions as "
            "particles, or a catalogue that is a cube of labels"
        )
    lattice = linear_field(initial).lattice
    ptype = _lattice_type(initial, lattice, "the initial conditions")
    whole = initial.all_data()
    sites = particle_sites(initial, ptype, whole)
    return lattice, SiteTable.from_particles(np.asarray(whole[ptype, "particle_index"]), sites), ptype


def _lattice_type(ds: Any, lattice: Lattice, what: str, preferred: str = "") -> str:
    """Particle type with one particle per site, and IDs; not gas where another fits."""
    from ..yt_interface.linear import GAS_TYPES

    counts = {name: int(count) for name, count in ds.particle_type_counts.items() if count}
    fitting = sorted(name for name, count in counts.items() if count == lattice.n_sites)
    fitting = [name for name in fitting if name not in GAS_TYPES] or fitting
    if preferred in fitting:
        fitting = [preferred]
    if len(fitting) != 1:
        raise LatticeError(
            f"{what} holds particles of types {counts}, of which {fitting or 'none'} have one for each of the "
            f"{lattice.n_sites} sites; exactly one type must: give a snapshot and initial conditions of one unigrid run"
        )
    if (fitting[0], "particle_index") not in set(ds.derived_field_list):
        raise InitialConditionsError(
            f"{what} has no particle IDs, by which final particles find their initial sites; write them too"
        )
    return fitting[0]
