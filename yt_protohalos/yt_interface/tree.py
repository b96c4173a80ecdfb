"""Trees of progenitors from predictions at several redshifts, in files that ytree loads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yt
from numpy.typing import NDArray
from unyt import UnitRegistry, dimensions
from yt.data_objects.static_output import Dataset
from yt.frontends.ytdata.utilities import save_as_dataset
from yt.utilities.logger import ytLogger

from .._utils.files import atomic_path, check_plain, check_writable
from .._utils.progress import Progress
from ..catalog.catalog import Catalog, protohalo_catalog
from ..catalog.columns import COLUMNS
from ..catalog.progenitors import NO_DESCENDANT, ProgenitorLinks, check_redshifts, link_labels, linked_levels
from ..exceptions import CatalogError
from ..fields.cosmology import target_redshift
from ..fields.linear_field import LinearField
from ..models.registry import AMPLITUDE_MODEL
from ..prediction.result import Prediction
from .catalog_file import catalog_attributes
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction

TREE_NAME = "protohalo_tree"
_UNITS = {
    "particle_identifier": "", "particle_mass": "Msun", "virial_radius": "pccm/h", "n_sites": "", "n_pieces": "",
    "confidence": "", "axis_ratio_b_a": "", "axis_ratio_c_a": "", "particle_position": "unitary",
    "lagrangian_center": "unitary", "particle_velocity": "km/s",
}  # fmt: skip
"""Columns of a tree, and their units, which mean the same in yt and in ytree. ytree knows no prefixes of ``pccm``."""
Link = tuple[NDArray[np.int64], NDArray[np.int64]]
"""What `link_labels` returns."""


@dataclass(frozen=True, eq=False)
class ProgenitorTree:
    """A tree of progenitors on disk.

    Attributes
    ----------
    path : Path
        File of the lowest redshift; ``ytree.load(str(path))`` finds the others in the same folder.
    links : ProgenitorLinks

    Examples
    --------
    >>> tree = ph.progenitor_tree(ds, redshifts=(0, 0.3), output_dir="tree")
    >>> tree.path.name
    'tree_0001.0.h5'
    """

    path: Path
    links: ProgenitorLinks


@takes_options
def progenitor_tree(
    ds: Dataset,
    redshifts: Iterable[float],
    output_dir: str | os.PathLike[str] = TREE_NAME,
    *,
    model: str | Path | None = None,
    progress: Progress = True,
    **options: Unpack[OptionKeywords],
) -> ProgenitorTree:
    """Predict the protohaloes of several redshifts, link each to its descendant, and write a tree that ytree loads.

    One prediction at a time is in memory, with the labels of the previous one. Each is kept in the cache, from which an
    interrupted run resumes.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    redshifts : iterable of float
        Two or more redshifts in any order; the option `redshift` is not allowed.
    output_dir : path
        Folder of the files ``tree_0000.0.h5`` (highest redshift), ``tree_0001.0.h5`` and so on; those of an earlier
        tree are replaced. Made if it does not exist.
    model, **options
        As in `PredictionOptions`.
    progress : bool or callable

    Returns
    -------
    ProgenitorTree

    Raises
    ------
    ModelError, InitialConditionsError, CosmologyError, LatticeError, OutOfRangeError
        For any of the redshifts, before any network runs.
    CatalogError
        There are fewer than two redshifts, there is no protohalo at the lowest, or the folder cannot be written.

    Notes
    -----
    Without `model` and `predictor` the bundled model for many amplitudes is used, ``"amplitude-v1"``.
    The format is that of ytree's TreeFarm frontend: a halo catalogue for each redshift, which yt loads too, with a
    ``descendent_identifier`` and no members. Positions are in units of the box (``unitary``), radii in comoving pc/h,
    because lengths of any tree are comoving in ytree and ``Mpc`` is proper in yt.

    Examples
    --------
    >>> import ytree
    >>> tree = ph.progenitor_tree(ds, redshifts=(0, 0.3), output_dir="tree")
    >>> arbor = ytree.load(str(tree.path))  # its trees live as long as it does
    Additional features ...
    >>> mass = arbor[0]["prog", "mass"]
    """
    chosen = _chosen(PredictionOptions.read(model, options))
    levels = check_redshifts(target_redshift(z) for z in redshifts)
    folder = Path(output_dir).expanduser()
    check_plain(folder)
    check_writable(folder)
    for z in levels:
        box_prediction(ds, replace(chosen, redshift=z), remember=False)
    # all ranges have been checked, with their warnings
    chosen = replace(chosen, on_range="allow", on_spacing="allow")
    communicator = MPICommunicator()
    with communicator.barrier():
        folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"tree_{number:04d}.0.h5" for number in range(len(levels))]
    links: list[Link] = []
    sizes: list[NDArray[np.int64]] = []
    files: list[tuple[dict[str, Any], dict[str, Any]]] = []
    previous: NDArray[np.int32] | None = None
    for z in levels:
        box = box_prediction(ds, replace(chosen, redshift=z), remember=False)
        prediction = box.get(progress)
        if previous is not None:
            links.append(link_labels(previous, prediction.labels))
        previous = prediction.labels
        sizes.append(prediction.sizes[1:])
        with communicator.barrier():
            if communicator.is_root:
                files.append(_level(prediction, box.field))
        # free the memory before the next level
        del box, prediction
    count = len(sizes[-1])
    if not count:
        raise CatalogError(
            f"no protohalo was found at z = {levels[-1]:g}, the root of the tree; use a larger box or a lower redshift"
        )
    none = np.full(count, NO_DESCENDANT, dtype=np.int64), np.zeros(count, dtype=np.int64)
    with communicator.barrier():
        if communicator.is_root:
            _write(folder, paths, files, [*links, none])
    return ProgenitorTree(paths[-1], linked_levels(levels, sizes, links))


def _chosen(options: PredictionOptions) -> PredictionOptions:
    """Options for all levels, with the model for many amplitudes if none is named."""
    if options.redshift is not None:
        raise CatalogError(f"redshift = {options.redshift:g} was given beside redshifts; leave redshift=... out")
    if options.model is None and options.predictor is None:
        return replace(options, model=AMPLITUDE_MODEL)
    return options


def _level(prediction: Prediction, field: LinearField) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns and attributes of the file of one redshift."""
    catalog = protohalo_catalog(prediction, field)
    registry = _registry(catalog, field.cosmology.h)
    attributes = catalog_attributes(catalog, prediction, field) | {
        "descendant_definition": "holds the largest share of the sites at the next lower redshift; -1 if none does",
        "length_unit": yt.YTQuantity(1, "unitary", registry=registry),
        "domain_left_edge": yt.YTArray(np.zeros(3), "unitary", registry=registry),
        "domain_right_edge": yt.YTArray(np.ones(3), "unitary", registry=registry),
        "unit_registry_json": registry.to_json(),
    }
    scales = {"pccm/h": 1e-6, "unitary": catalog.lattice.box_size}
    data: dict[str, Any] = {}
    for column in COLUMNS:
        unit = _UNITS.get(column.name)
        for name, values in column.values(catalog) if unit is not None else ():
            data[name] = yt.YTArray(values / scales.get(unit, 1), unit, registry=registry) if unit else values
    return data, attributes


def _write(
    folder: Path, paths: list[Path], files: list[tuple[dict[str, Any], dict[str, Any]]], links: list[Link]
) -> None:
    """Write the files of all redshifts, which appear together, and remove those of an earlier, longer tree."""
    with ExitStack() as stack:
        for path, (data, attributes), (descendant, shared) in zip(paths, files, links, strict=True):
            data = data | {"descendent_identifier": descendant, "shared_sites": shared}
            partial = stack.enter_context(atomic_path(path))
            save_as_dataset({}, str(partial), data, field_types=dict.fromkeys(data, "."), extra_attrs=attributes)
    for stale in {*folder.glob("tree_[0-9][0-9][0-9][0-9].0.h5")} - {*paths}:
        stale.unlink()
    ytLogger.info("Wrote a tree of %d redshifts to %s", len(paths), folder)


def _registry(catalog: Catalog, h: float) -> UnitRegistry:
    """Units of a level: h, the comoving parsec, and the box side, in which yt wraps positions (``code_length``)."""
    registry = UnitRegistry()
    parsec = registry.lut["pc"][0] / (1 + catalog.redshift)
    registry.add("h", h, dimensions.dimensionless)
    registry.add("pccm", parsec, dimensions.length, prefixable=True)
    for name in ("unitary", "code_length"):
        registry.add(name, 1e6 * parsec * catalog.lattice.box_size / h, dimensions.length)
    return registry
