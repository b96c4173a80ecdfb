"""The arrays of a whole box, made of the blocks of crops and kept on disk where there is a store.

Ranks that share a box meet in the store: one of them makes what the crops are cut from, all map it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress, track
from ..exceptions import StitchingError, StoreError
from ..fields.evolution import EvolvedField, evolve_field
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..segmentation.tiling import Crop
from .communicator import Communicator
from .store import CropStore, field_identity

MAPPED_SIDE = 384
"""Sites per side from which a prediction with a store reads delta and phi from disk, where the crops need them."""

Blocks = Iterator[tuple[Crop, NDArray]]


def finished_blocks(
    kind: str,
    every: Sequence[Crop],
    compute: Callable[[Sequence[Crop]], Blocks],
    crops: CropStore | None,
    communicator: Communicator,
    title: str,
    progress: Progress,
) -> Blocks:
    """The finished block of every crop, in their order; with a store, all are computed before this returns."""
    if crops is None:
        return track(compute(every), title, total=len(every), progress=progress)
    with communicator.barrier():
        own = list(communicator.share(every))
        todo = [crop for crop in own if f"{kind}_{crop.key}" not in crops]
        shown = progress if communicator.is_root else False
        for crop, block in track(compute(todo), title, total=len(todo), progress=shown):
            crops.save(f"{kind}_{crop.key}", block)
    return ((crop, crops.take(f"{kind}_{crop.key}")) for crop in every)


def open_store(
    store: str | Path | None, field: LinearField, side: int, settings: Mapping[str, Any], communicator: Communicator
) -> tuple[LinearField, CropStore | None]:
    """The field as a model sees it, `side` sites per side, and the store of finished crops.

    Of several ranks, the first alone resamples and identifies the field. All map the result from the store, unless it
    is mapped already; so does one rank alone from `MAPPED_SIDE` on.

    Raises
    ------
    StoreError
        Several ranks have no store, or it is that of another run.
    """
    if store is None and communicator.size > 1:
        raise StoreError(f"{communicator.size} ranks share their crops on disk; give a store, a folder that all see")
    seen = field

    def make() -> tuple[dict[str, Any], LinearField | None]:
        nonlocal seen
        seen = field if side == field.n else field.resampled(side)
        known = dict(settings)
        if store is None:
            return known, None
        known |= field_identity(seen)
        crops = CropStore(store, known)
        # where the field is not resampled, the caller holds it in memory anyway
        if (communicator.size > 1 or (seen is not field and side >= MAPPED_SIDE)) and not seen.is_mapped:
            seen = seen.with_cubes(crops.keep("delta", seen.delta), crops.keep("phi", seen.phi))
        return known, None if side == field.n else seen.without_cubes()

    known, facts = communicator.broadcast(make)
    if store is None:
        return seen, None
    crops = CropStore(store, known)
    if not communicator.is_root:
        seen = field if facts is None else facts
        if not seen.is_mapped:
            seen = seen.with_cubes(crops.open("delta"), crops.open("phi"))
    return seen, crops


def evolve_once(
    field: LinearField, crops: CropStore | None, communicator: Communicator, progress: Progress
) -> EvolvedField:
    """Evolve the field once for all ranks and, with a store, for all starts."""
    if crops is None:
        return evolve_field(field, progress)
    with communicator.barrier():
        # a store begun before velocities were kept has none
        if communicator.is_root and not ("evolved_density" in crops and "evolved_velocity" in crops):
            evolve_field(field, progress, lambda name, *kind: crops.create(f"evolving_{name}", *kind))
            # the density comes last, so that it says that all are whole
            for name in ("displacement", "velocity", "density"):
                crops.rename(f"evolving_{name}", f"evolved_{name}")
    return EvolvedField(*(crops.open(f"evolved_{name}") for name in ("displacement", "density", "velocity")))


def label_cubes(lattice: Lattice, blocks: Blocks, crops: CropStore | None = None) -> tuple[NDArray, NDArray]:
    """Labels of both lattices, int32, (n, n, n) each, 0 none and outside all blocks; no label occurs in two crops.

    Raises
    ------
    StitchingError
        There are more labels than an int32 can count.
    """
    cubes = {which: new_cube(crops, f"labels_{which}", lattice, np.int32) for which in ("a", "b")}
    offset = 0
    for crop, block in blocks:
        largest = offset + int(block.max(initial=0))
        if largest >= np.iinfo(np.int32).max:
            raise StitchingError(
                f"crop {crop.key} brings the box to {largest} crop labels, and int32 counts to {2**31 - 1}; predict it "
                "in parts (predict_region)"
            )
        lattice.paste(cubes[crop.lattice], np.where(block > 0, block + np.int32(offset), 0), crop.core_start)
        offset = largest
    return cubes["a"], cubes["b"]


def new_cube(crops: CropStore | None, name: str, lattice: Lattice, dtype: type[np.generic]) -> NDArray:
    """Cube to be filled by cores, on disk where there is a store."""
    return np.zeros(lattice.shape, dtype) if crops is None else crops.create(name, lattice.shape, dtype)
