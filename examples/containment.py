"""Share of a simulated halo inside the zoom region of its protohalo, by padding, and the volume of the region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yt_protohalos.catalog.zoom import zoom_region
from yt_protohalos.exceptions import RegionError, ScoringError
from yt_protohalos.prediction.result import Prediction

PADDINGS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
"""In lattice sites."""
SHAPES = ("region", "convex_hull", "ellipsoid")
"""The padded sites themselves, and the two shapes that MUSIC can refine."""
WHOLE = 0.99
"""A region that holds this share of a halo counts as holding it."""
CONTAIN = (0.8, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Shares of a halo that a table of paddings knows."""


@dataclass(frozen=True, eq=False)
class Containment:
    """Zoom regions of protohaloes beside the haloes that form from them, one row (of H) per protohalo.

    Attributes
    ----------
    paddings : float64, (P,)
        Sites.
    size : int64, (H,)
        Sites of the protohalo.
    n_sites : int64, (H,)
        Of the halo that most of the protohalo's sites end in.
    iou : float64, (H,)
        Intersection over union of the two.
    share : float64, (H, P, 3)
        Share of the halo's sites inside the region, its convex hull and its ellipsoid; NaN where the region is too
        large for the box.
    volume : float64, (H, P, 3)
        Sites inside each of the three, in units of the halo's own.
    """

    paddings: NDArray[np.float64]
    size: NDArray[np.int64]
    n_sites: NDArray[np.int64]
    iou: NDArray[np.float64]
    share: NDArray[np.float64]
    volume: NDArray[np.float64]

    @classmethod
    def pooled(cls, several: Sequence[Containment]) -> Containment:
        """Of several boxes with the same paddings together.

        Raises
        ------
        ScoringError
            There is none, or the paddings differ.
        """
        if not several or any(not np.array_equal(one.paddings, several[0].paddings) for one in several):
            raise ScoringError("no regions to pool, or of different paddings; give those of one choice of paddings")
        rows = [np.concatenate([getattr(one, item.name) for one in several]) for item in fields(cls)[1:]]
        return cls(several[0].paddings, *rows)


def zoom_containment(
    prediction: Prediction,
    true_labels: NDArray[np.integer],
    paddings: Sequence[float] = PADDINGS,
    largest: int = 20,
    every: int = 1,
) -> Containment:
    """Compare the zoom regions of the largest protohaloes with a simulation of the same initial conditions.

    A user who chooses a target from a prediction does not know whether it is right. So wrong protohaloes count too;
    only those from which no halo forms are left out.

    Parameters
    ----------
    prediction : Prediction
    true_labels : int, (n, n, n)
        Labels of the simulated haloes, 1..K, 0 outside.
    paddings : sequence of float
        Paddings of `zoom_region`, in sites.
    largest : int
        Protohaloes to compare, from the largest.
    every : int
        Only every so many of these, which saves time.

    Returns
    -------
    Containment

    Raises
    ------
    ScoringError
        The labels are on another lattice.
    """
    lattice = prediction.lattice
    if true_labels.shape != lattice.shape:
        raise ScoringError(f"labels have shape {true_labels.shape}, the prediction {lattice.shape}; use one lattice")
    rows = []
    sizes = np.bincount(true_labels.ravel(), minlength=2)
    for halo_id in range(0, min(largest, prediction.n_protohalos), every):
        ends = np.bincount(true_labels[prediction.labels == halo_id + 1], minlength=2)
        halo = 1 + int(np.argmax(ends[1:]))
        if not ends[halo]:
            continue
        sites = lattice.sites(np.flatnonzero(true_labels.ravel() == halo))
        iou = ends[halo] / (sizes[halo] + ends.sum() - ends[halo])
        held = [list(_contained(prediction, halo_id, sites, padding)) for padding in paddings]
        rows.append((ends.sum(), sizes[halo], iou, np.array([one or [(np.nan, np.nan)] * len(SHAPES) for one in held])))
    both = np.array([row[3] for row in rows]).reshape(len(rows), len(paddings), len(SHAPES), 2)
    return Containment(
        paddings=np.asarray(paddings, dtype=float),
        size=np.array([row[0] for row in rows], dtype=np.int64),
        n_sites=np.array([row[1] for row in rows], dtype=np.int64),
        iou=np.array([row[2] for row in rows], dtype=float),
        share=both[..., 0],
        volume=both[..., 1],
    )


def _contained(
    prediction: Prediction, halo_id: int, sites: NDArray[np.int64], padding: float
) -> Iterator[tuple[float, float]]:
    """Share of a halo's sites in each of `SHAPES`, and the volume of each over the halo's; none if too large."""
    lattice = prediction.lattice
    try:
        region = zoom_region(prediction, halo_id, padding)
    except RegionError:
        return
    held = np.isin(lattice.flat_index(sites), lattice.flat_index(region.sites))
    yield float(held.mean()), len(region.sites) / len(sites)
    # the image of each site that is nearest to the region
    first = region.points[0]
    box = (sites + prediction.site_offset) / lattice.n
    near = first + (box - first) - np.floor(box - first + 0.5)
    # both shapes hold the region's own sites
    left = near[~held]
    for name, shape in (("convex_hull", region.hull), ("ellipsoid", region.ellipsoid)):
        inside = np.count_nonzero(held) + np.count_nonzero(shape.contains(left))
        yield inside / len(sites), region.enclosed[name] / len(sites)


def padding_entry(found: Containment, spacing: float) -> dict[str, Any]:
    """Entry of a model in the table of paddings, as `PaddingTable` reads it; a region that did not fit held nothing.

    spacing : of the simulations, comoving Mpc/h
    """
    held = np.mean(np.nan_to_num(found.share) >= np.array(CONTAIN)[:, None, None, None], axis=1)
    shapes = {name: held[:, :, i].round(4).tolist() for i, name in enumerate(SHAPES)}
    return {
        "haloes": len(found.size), "smallest": int(found.size.min()), "spacing": round(spacing, 6),
        "paddings": found.paddings.tolist(), "contain": list(CONTAIN), "held": shapes,
    }  # fmt: skip


def format_containment(found: Containment) -> str:
    """Table with a row for each padding: share of the halo inside, share of haloes held, and the volume refined."""
    lines = [
        f"{len(found.n_sites)} protohaloes, {np.count_nonzero(found.iou > 0.5)} with a halo of intersection over union "
        "above 0.5",
        f"share of the halo inside (median, 10 %), haloes held to {WHOLE:.0%}, volume over the halo's (median)",
        "padding [sites]" + "".join(f"{name.replace('_', ' '):>36s}" for name in SHAPES),
    ]
    for i, padding in enumerate(found.paddings):
        cells = ""
        for shape in range(len(SHAPES)):
            share, volume = found.share[:, i, shape], found.volume[:, i, shape]
            share, volume = share[np.isfinite(share)], volume[np.isfinite(volume)]
            if len(share):
                low, whole = np.percentile(share, 10), np.mean(share >= WHOLE)
                cells += f"{np.median(share):>14.4f} {low:.3f} {whole:7.1%} {np.median(volume):6.2f}"
            else:
                cells += f"{'-':>36s}"
        lines.append(f"{padding:15g}{cells}")
    return "\n".join(lines)
