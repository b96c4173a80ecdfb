"""Trees of progenitors, from a stack of predictions at several redshifts, in files that ytree loads."""

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

from .._utils.files import atomic_path, check_writable
from .._utils.progress import Progress
from ..catalog.catalog import Catalog, protohalo_catalog
from ..catalog.progenitors import NO_DESCENDANT, ProgenitorLinks, check_redshifts, link_labels, linked_levels
from ..exceptions import CatalogError
from ..fields.cosmology import target_redshift
from ..fields.linear_field import LinearField
from ..models.registry import AMPLITUDE_MODEL
from ..prediction.result import Prediction
from .finder import catalog_attributes
from .mpi import MPICommunicator
from .options import OptionKeywords, PredictionOptions, Unpack, takes_options
from .predict import box_prediction

TREE_NAME = "protohalo_tree"
_AXES = "xyz"
Link = tuple[NDArray[np.int64], NDArray[np.int64]]
"""What `link_labels` returns."""


@dataclass(frozen=True, eq=False)
class ProgenitorTree:
    """A tree on disk.

    Attributes
    ----------
    path : Path
        File of the lowest redshift: ``ytree.load(str(path))`` finds the others beside it.
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

    One prediction is in memory at a time, beside the labels of the one before. Each is kept in the cache, so that an
    interrupted run resumes.

    Parameters
    ----------
    ds : yt Dataset
        Initial conditions.
    redshifts : iterable of float
        Of the levels, two or more in any order; `redshift` is left out of the options.
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
        Before any network runs, for whichever redshift.
    CatalogError
        The redshifts make no tree, there is no protohalo at the lowest of them, or the folder cannot be written.

    Notes
    -----
    Without `model` and `predictor` the bundled model for many amplitudes runs, ``"amplitude-v1"``, not the default one.
    The format is that of ytree's TreeFarm frontend: a halo catalogue a redshift, which yt loads too, with a
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
    check_writable(folder)
    for z in levels:
        box_prediction(ds, replace(chosen, redshift=z), remember=False)
    # all ranges have been checked, with their warnings
    chosen = replace(chosen, on_range="allow", on_spacing="allow")
    communicator = MPICommunicator()
    paths = [folder / f"tree_{number:04d}.0.h5" for number in range(len(levels))]
    with ExitStack() as stack:
        writer: _Writer | None = None
        with communicator.barrier():
            if communicator.is_root:
                writer = _Writer(stack, paths)
        links: list[Link] = []
        sizes: list[NDArray[np.int64]] = []
        before: NDArray[np.int32] | None = None
        for z in levels:
            box = box_prediction(ds, replace(chosen, redshift=z), remember=False)
            prediction = box.get(progress)
            if before is not None:
                links.append(link_labels(before, prediction.labels))
            before = prediction.labels
            sizes.append(prediction.sizes[1:])
            with communicator.barrier():
                if writer is not None:
                    writer.add(prediction, box.field, links[-1] if links else None)
            # the next level must not find these beside it
            del box, prediction
        if not len(sizes[-1]):
            raise CatalogError(
                f"no protohalo was found at z = {levels[-1]:g}, from which a tree would grow; use a larger box, a "
                "lower redshift or a lower threshold"
            )
        with communicator.barrier():
            if writer is not None:
                writer.finish()
    if communicator.is_root:
        for stale in {*folder.glob("tree_[0-9][0-9][0-9][0-9].0.h5")} - {*paths}:
            stale.unlink()
        ytLogger.info("Wrote a tree of %d redshifts to %s", len(levels), folder)
    return ProgenitorTree(paths[-1], linked_levels(levels, sizes, links))


def _chosen(options: PredictionOptions) -> PredictionOptions:
    """The options of all levels, with the model for many amplitudes where none is named."""
    if options.redshift is not None:
        raise CatalogError(f"redshift {options.redshift:g} was given beside redshifts; a tree takes the latter alone")
    if options.model is None and options.predictor is None:
        return replace(options, model=AMPLITUDE_MODEL)
    return options


class _Writer:
    """Writes each level when its descendants are known; all files take their places when the stack closes."""

    def __init__(self, stack: ExitStack, paths: list[Path]) -> None:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        self._files = [stack.enter_context(atomic_path(path)) for path in paths]
        self._pending: tuple[Catalog, dict[str, Any], float] | None = None
        self._number = 0

    def add(self, prediction: Prediction, field: LinearField, links: Link | None) -> None:
        """Take the next level; `links` are those from the one before."""
        if links is not None:
            self._write(*links)
        catalog = protohalo_catalog(prediction, field)
        self._pending = catalog, catalog_attributes(catalog, prediction, field), field.cosmology.h

    def finish(self) -> None:
        """Write the last level, which has no descendants."""
        assert self._pending is not None
        count = len(self._pending[0])
        self._write(np.full(count, NO_DESCENDANT, dtype=np.int64), np.zeros(count, dtype=np.int64))

    def _write(self, descendant: NDArray[np.int64], shared: NDArray[np.int64]) -> None:
        assert self._pending is not None
        catalog, attributes, h = self._pending
        registry = _registry(catalog, h)
        data = _columns(catalog, registry)
        data["descendent_identifier"], data["shared_sites"] = descendant, shared
        attributes = attributes | {
            "descendant_definition": "holds the largest share of the sites at the next lower redshift; -1 if none does",
            "length_unit": yt.YTQuantity(1, "unitary", registry=registry),
            "domain_left_edge": yt.YTArray(np.zeros(3), "unitary", registry=registry),
            "domain_right_edge": yt.YTArray(np.ones(3), "unitary", registry=registry),
            "unit_registry_json": registry.to_json(),
        }
        groups = dict.fromkeys(data, ".")
        save_as_dataset({}, str(self._files[self._number]), data, field_types=groups, extra_attrs=attributes)
        self._number += 1


def _registry(catalog: Catalog, h: float) -> UnitRegistry:
    """Units of a level: h, comoving parsecs, and the box, which is also the length in which yt wraps positions."""
    registry = UnitRegistry()
    parsec = registry.lut["pc"][0] / (1 + catalog.redshift)
    registry.add("h", h, dimensions.dimensionless)
    registry.add("pccm", parsec, dimensions.length, prefixable=True)
    for name in ("unitary", "code_length"):
        registry.add(name, 1e6 * parsec * catalog.lattice.box_size / h, dimensions.length)
    return registry


def _columns(catalog: Catalog, registry: UnitRegistry) -> dict[str, Any]:
    """Fields of a level, in units that mean the same in yt and in ytree."""
    data: dict[str, Any] = {
        "particle_identifier": catalog.identifier,
        "particle_mass": yt.YTArray(catalog.mass, "Msun"),
        # ytree knows no prefixes of comoving parsecs
        "virial_radius": yt.YTArray(1e6 * catalog.radius_200m, "pccm/h", registry=registry),
        "n_sites": catalog.n_sites,
        "n_pieces": catalog.n_pieces,
        "confidence": catalog.confidence,
        "axis_ratio_b_a": catalog.semi_axes[:, 1] / catalog.semi_axes[:, 0],
        "axis_ratio_c_a": catalog.semi_axes[:, 2] / catalog.semi_axes[:, 0],
    }
    for i, axis in enumerate(_AXES):
        for name, value in (("particle_position", catalog.position), ("lagrangian_center", catalog.lagrangian_center)):
            box = value[:, i] / catalog.lattice.box_size
            data[f"{name}_{axis}"] = yt.YTArray(box, "unitary", registry=registry)
        data[f"particle_velocity_{axis}"] = yt.YTArray(catalog.velocity[:, i], "km/s")
    return data
