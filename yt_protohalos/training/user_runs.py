"""Runs of one's own: particle IDs and halo members to labels on the initial lattice, and the file that holds them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._utils.files import FIELD_RUN_FORMAT, atomic_path, open_hdf5
from ..exceptions import FormatError, InitialConditionsError, LatticeError
from ..fields.linear_field import LinearField
from .labels import MIN_SITES, rank_by_size

LARGEST_SET = 65536
"""Files that a catalogue may be written in."""
CUBE_NAMES = ("labels", "halo_id")
"""Datasets of a catalogue that is a cube of labels already."""
LEAST_OVERDENSITY = 0.5
"""Mean linear overdensity at z = 0 of halo sites: near 1.7 where they collapse by z = 0, near 0 where they are not of
this field."""
REDSHIFT_TOLERANCE = 0.01
"""Haloes hardly change over this difference in redshift."""

_LAYOUTS = (
    "`labels` or `halo_id` (a cube on the initial lattice), `particle_ids` and `halo_ids` (one halo per particle), or "
    "`Group/GroupLen` and `IDs/ID` (member IDs in the order of the groups)"
)


@dataclass(frozen=True)
class SiteTable:
    """Lattice site of each particle ID of the initial conditions.

    Attributes
    ----------
    ids : int64, (n^3,)
        Ascending, each once.
    sites : int64, (n^3,)
        Flat row-major site of each.
    """

    ids: NDArray[np.int64]
    sites: NDArray[np.int64]

    @classmethod
    def from_particles(cls, ids: NDArray, sites: NDArray[np.int64]) -> SiteTable:
        """Sort IDs (n^3,) with their flat sites (n^3,); `InitialConditionsError` where an ID occurs twice."""
        known = whole_ids(ids, "the initial conditions")
        order = np.argsort(known, kind="stable")
        known = known[order]
        _refuse_repeats(known, "the initial conditions")
        return cls(known, np.asarray(sites, dtype=np.int64)[order])

    def find(self, ids: NDArray, what: str) -> NDArray[np.int64]:
        """Flat site of each ID.

        Parameters
        ----------
        ids : integer or whole float64, (N,)
        what : str
            Whose IDs they are, for the error.

        Returns
        -------
        int64, (N,)

        Raises
        ------
        InitialConditionsError
            If an ID occurs twice or is not one of the initial conditions'.
        """
        wanted = whole_ids(ids, what)
        _refuse_repeats(np.sort(wanted), what)
        at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        unknown = wanted[self.ids[at] != wanted]
        if len(unknown):
            raise InitialConditionsError(
                f"{len(unknown)} of the {len(wanted)} particle IDs of {what} are not in the initial conditions, whose "
                f"IDs run from {self.ids[0]} to {self.ids[-1]} (the first that is not: {unknown[0]}); both must hold "
                "the same particles: give the files of one run, and of one particle type"
            )
        return self.sites[at]


def whole_ids(ids: NDArray, what: str) -> NDArray[np.int64]:
    """IDs (N,) as int64; `InitialConditionsError` where they are not whole numbers that float64 would keep."""
    values = np.asarray(ids)
    if values.ndim != 1 or values.dtype.kind not in "iuf":
        raise InitialConditionsError(
            f"the particle IDs of {what} are {values.dtype} of shape {values.shape}; give one whole number per particle"
        )
    if values.dtype.kind == "f" and not np.all((np.abs(values) < 2.0**53) & (values == np.rint(values))):
        raise InitialConditionsError(
            f"the particle IDs of {what} are not whole numbers below 2^53, which is what yt keeps exactly; renumber "
            "them from 0 or 1"
        )
    return values.astype(np.int64)


def _refuse_repeats(ids: NDArray[np.int64], what: str) -> None:
    """Raise where ascending `ids` hold one twice."""
    repeats = int(np.count_nonzero(ids[1:] == ids[:-1]))
    if repeats:
        raise InitialConditionsError(
            f"{repeats} of the {len(ids)} particle IDs of {what} are repeats; each particle is listed once: write the "
            "file again (64-bit IDs cut to 32 bits look like this, and subhaloes listed within haloes)"
        )


def positions_by_site(
    positions: NDArray, ids: NDArray, table: SiteTable, what: str = "the final snapshot"
) -> NDArray[np.floating]:
    """Positions (n^3, 3) of particles with these IDs (n^3,), in row-major order of their initial sites.

    Raises
    ------
    LatticeError
        If there is not one particle per site.
    InitialConditionsError
        If the IDs are not those of the initial conditions.
    """
    if len(ids) != len(table.ids) or positions.shape != (len(ids), 3):
        raise LatticeError(
            f"{what} holds {len(ids)} particles, the initial conditions {len(table.ids)}; both must be as many: give "
            "a whole snapshot of the same run"
        )
    ordered = np.empty_like(positions)
    ordered[table.find(ids, what)] = positions
    return ordered


def read_members(path: str | Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Particle IDs and the group of each, from an HDF5 catalogue.

    Two layouts are read: flat ``particle_ids`` and ``halo_ids`` (any integers; negative outside haloes), and that of
    Gadget and AREPO, where ``IDs/ID`` lists the members of group after group, ``Group/GroupLen`` says how many each
    has, and ``Group/GroupOffset``, where there is one, says where they start. Where the header counts several files,
    `path` is any of them, and the others lie beside it: ``NAME.0.hdf5``, ``NAME.1.hdf5`` and so on.

    Returns
    -------
    ids : int64, (N,)
    groups : int64, (N,)
        Negative outside haloes.

    Raises
    ------
    FormatError
        For a file that is not HDF5 or has none of these layouts, and for a set that is not whole.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an HDF5 halo catalogue with member IDs")
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path.name} is not an HDF5 file, or truncated; give one with {_LAYOUTS}")
    with open_hdf5(path) as file:
        if "particle_ids" in file and "halo_ids" in file:
            ids, groups = file["particle_ids"][()], file["halo_ids"][()]
            if ids.shape != groups.shape:
                raise FormatError(
                    f"`particle_ids` of {path.name} has shape {ids.shape}, `halo_ids` {groups.shape}; give one halo a "
                    "particle"
                )
            return whole_ids(ids, path.name), whole_ids(groups, path.name)
        grouped = ("Group/GroupLen" in file and "IDs/ID" in file) or _file_count(file) > 1
        if grouped:
            files = _set_of(path, _file_count(file))
        found = sorted(f"{name}/*" if isinstance(item, h5py.Group) else name for name, item in file.items())
    if grouped:
        return _members_in_group_order(files)
    raise FormatError(
        f"{path.name} holds {', '.join(found) or 'nothing'}; a catalogue needs {_LAYOUTS}: write one of these, or give "
        "the final snapshot instead"
    )


def stated_redshift(path: str | Path) -> float | None:
    """Redshift that an HDF5 catalogue states, None where it states none or is not HDF5.

    It is looked for where halo finders write it: attribute ``Redshift``, or the expansion factor ``Time``, of the group
    ``Header`` (Gadget, AREPO), and ``redshift`` or ``output_redshift`` of the file.
    """
    import h5py

    path = Path(path)
    if not path.is_file() or not h5py.is_hdf5(path):
        return None
    with open_hdf5(path) as file:
        header = dict(file["Header"].attrs) if "Header" in file else {}
        own = dict(file.attrs)
    for place, name in ((header, "Redshift"), (own, "output_redshift"), (own, "redshift")):
        if name in place:
            return float(np.ravel(place[name])[0])
    return 1 / float(np.ravel(header["Time"])[0]) - 1 if "Time" in header else None


def halo_redshift(wanted: float | None, stated: float | None, what: str) -> float:
    """Redshift of the haloes of a run: the one asked for, 0 by default, if it is the one that their file states.

    Raises
    ------
    InitialConditionsError
        The two differ by more than `REDSHIFT_TOLERANCE`, or the redshift is negative or not finite.
    """
    redshift = 0.0 if wanted is None else float(wanted)
    if not np.isfinite(redshift) or redshift < 0:
        raise InitialConditionsError(f"redshift {redshift:g} of the haloes is not 0 or more; give e.g. 0.5")
    if stated is not None and not abs(stated - redshift) <= REDSHIFT_TOLERANCE:
        asked = "and models are of z = 0 unless told otherwise" if wanted is None else f"not at {redshift:g}"
        raise InitialConditionsError(
            f"{what} is at redshift {stated:.4g}, {asked}; give the one of that time, or its own redshift with "
            f"--at-redshift {max(stated, 0.0):.4g} (redshift= in Python) for a run of that time"
        )
    return redshift


def _file_count(file: Any) -> int:
    """Files of the set that a catalogue belongs to, as its header says."""
    header = dict(file["Header"].attrs) if "Header" in file else {}
    try:
        return int(np.ravel(header.get("NumFiles", 1))[0])
    except (TypeError, ValueError, IndexError) as error:
        raise FormatError(
            f"`NumFiles` of {Path(file.filename).name} is {header['NumFiles']!r}; it counts the files of the "
            "catalogue: write it again"
        ) from error


def _set_of(path: Path, count: int) -> list[Path]:
    """All files of a catalogue of `count` files, in their order; the one of a single file."""
    if count == 1:
        return [path]
    match = re.fullmatch(r"(.*\.)\d+(\.\w+)", path.name)
    if match is None or not 1 <= count <= LARGEST_SET:
        raise FormatError(
            f"{path.name} says it is one of {count} files; their names are NAME.0{path.suffix}, NAME.1{path.suffix} "
            f"and so on, at most {LARGEST_SET}: rename them so"
        )
    files = [path.with_name(f"{match[1]}{number}{match[2]}") for number in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise FormatError(f"{len(missing)} of {count} files are missing ({missing[0]}); put the whole set there")
    return files


def _members_in_group_order(files: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members of the groups of a catalogue, whose arrays go on from one file to the next."""
    name = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
    parts: dict[str, list[NDArray]] = {"IDs/ID": [], "Group/GroupLen": [], "Group/GroupOffset": []}
    for path in files:
        with open_hdf5(path) as file:
            for key, arrays in parts.items():
                # a file of a set may have no group, or no member
                if key in file:
                    arrays.append(file[key][()])
    joined = {key: np.concatenate(arrays) for key, arrays in parts.items() if arrays}
    if "IDs/ID" not in joined or "Group/GroupLen" not in joined:
        raise FormatError(f"{name} holds neither `IDs/ID` nor groups; a catalogue needs {_LAYOUTS}: write one of these")
    ids = whole_ids(joined["IDs/ID"], name)
    sizes = joined["Group/GroupLen"].astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    offsets = joined["Group/GroupOffset"].astype(np.int64) if "Group/GroupOffset" in joined else starts
    if sizes.ndim != 1 or offsets.shape != sizes.shape or min(sizes.min(initial=0), offsets.min(initial=0)) < 0:
        raise FormatError(f"`Group/GroupLen` and offsets of {name} are not one count from 0 a group; write them again")
    needed = int((offsets + sizes).max(initial=0))
    if needed > len(ids):
        raise FormatError(
            f"the groups of {name} reach to member {needed}, but `IDs/ID` holds {len(ids)}; both must agree: it is "
            "truncated, write it again"
        )
    members = np.arange(int(sizes.sum())) + np.repeat(offsets - starts, sizes)
    return ids[members], np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


def labels_of_members(
    ids: NDArray, groups: NDArray[np.int64], table: SiteTable, what: str, min_sites: int = MIN_SITES
) -> NDArray[np.int32]:
    """Labels of halo members on the initial lattice.

    Parameters
    ----------
    ids, groups : int64, (N,)
        Particles, and the group of each (negative: none). A particle that is not listed is in none.
    table : SiteTable
    what : str
        Where they come from, for errors.
    min_sites : int
        Smaller groups are left out.

    Returns
    -------
    int32, (n^3,)
        0 outside haloes, 1..K by descending size.
    """
    inside = groups >= 0
    on_lattice = np.full(len(table.ids), -1, dtype=np.int64)
    on_lattice[table.find(ids[inside], what)] = groups[inside]
    return rank_by_size(on_lattice, min_sites)


def check_haloes_of_field(field: LinearField, labels: NDArray[np.int32], min_sites: int = MIN_SITES) -> None:
    """Raise `InitialConditionsError` unless labels (n, n, n) hold haloes, and such as may form from this field.

    A region that collapses by z = 0 has a mean linear overdensity near 1.7. Labels of other initial conditions, or in
    another order of axes, have nearly 0 and would teach a network nothing.
    """
    field.lattice.check_cube(labels, "labels")
    inside = labels > 0
    if not inside.any():
        raise InitialConditionsError(
            f"no halo has {min_sites} particles or more; smaller ones are background: give a run that is evolved to "
            "z = 0, or a larger one"
        )
    mean = float(field.delta[inside].mean(dtype=np.float64))
    if mean < LEAST_OVERDENSITY:
        raise InitialConditionsError(
            f"the haloes' sites have a mean linear overdensity of {mean:.2f} in these initial conditions; where haloes "
            f"form it is near 1.7, and at least {LEAST_OVERDENSITY}: give the initial conditions of the same run, and "
            "labels indexed [x, y, z] on their lattice"
        )


def write_labelled_field(
    filename: str | Path, field: LinearField, labels: NDArray[np.int32], attributes: Mapping[str, Any]
) -> Path:
    """Store a run with its linear field, to be read by `training.simulate.read_run`.

    Parameters
    ----------
    filename : path
        Appears only once complete; an existing file is replaced.
    field : LinearField
        delta is stored as it is, phi follows from it.
    labels : int32, (n, n, n)
    attributes : mapping
        What else the file says of the run, e.g. ``halo_finder``.

    Returns
    -------
    Path
    """
    import h5py

    field.lattice.check_cube(labels, "labels")
    target = Path(filename)
    settings = {
        "n": field.n, "box_size": field.box_size, "redshift": field.redshift, "site_offset": field.site_offset,
        "cosmology": asdict(field.cosmology),
    }  # fmt: skip
    with atomic_path(target) as partial, h5py.File(partial, "w") as file:
        for name, cube in (("labels", labels), ("delta", field.delta)):
            file.create_dataset(name, data=cube, compression="gzip", shuffle=True)
        file.attrs.update(attributes)
        file.attrs["format_version"] = FIELD_RUN_FORMAT
        file.attrs["package_version"] = __version__
        file.attrs["settings"] = json.dumps(settings)
    return target
