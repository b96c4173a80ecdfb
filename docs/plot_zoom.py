"""Draw docs/images/zoom.png: `python docs/plot_zoom.py`.

Three slices through the zoom region of a protohalo of the bundled box, and the halo that a simulation makes of it.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

import yt_protohalos as ph
from yt_protohalos.catalog.zoom import ZoomRegion
from yt_protohalos.training.halo_catalogs import read_labels

ROOT = Path(__file__).parents[1]
TARGET = Path(__file__).with_name("images") / "zoom.png"
MEMBER, PADDING, HALO, HULL, ELLIPSOID = "#4477aa", "#bbccee", "black", "#cc3311", "#ee9900"


def draw(axes: Axes, region: ZoomRegion, labels: NDArray[np.int32], halo: NDArray[np.bool_], axis: int) -> None:
    """Slice normal to an axis through the middle of the region, in comoving Mpc/h."""
    lattice = region.lattice
    # the middle of the region goes to the middle of the box, so that no face cuts it
    shift = lattice.n // 2 - region.sites[0]
    plane = np.zeros(lattice.shape, dtype=int)
    plane[tuple(region.sites.T)] = 1
    plane[labels == region.halo_id + 1] = 2
    cubes = [np.take(lattice.shifted(cube, shift), lattice.n // 2, axis) for cube in (plane, halo)]
    x = (np.arange(lattice.n) - lattice.n // 2) * lattice.spacing
    colours = np.array([[1, 1, 1], *(tuple(int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)) for c in (PADDING, MEMBER))])
    half = lattice.spacing / 2
    extent = (x[0] - half, x[-1] + half) * 2
    axes.imshow(colours[cubes[0].T], origin="lower", extent=extent, interpolation="nearest")
    axes.contour(x, x, cubes[1].T.astype(float), levels=[0.5], colors=HALO, linewidths=1.2)
    first, second = (i for i in range(3) if i != axis)
    fine = np.linspace(x[0], x[-1], 300)
    points = np.zeros((300, 300, 3))
    points[..., first], points[..., second] = np.meshgrid(fine, fine, indexing="ij")
    flat = region.points[0] + points.reshape(-1, 3) / lattice.box_size
    for shape, colour in ((region.hull, HULL), (region.ellipsoid, ELLIPSOID)):
        axes.contour(fine, fine, shape.contains(flat).reshape(300, 300).T.astype(float), levels=[0.5], colors=colour)
    wide = 1.25 * np.abs(region.points - region.points[0]).max() * lattice.box_size
    axes.set(
        xlim=(-wide, wide),
        ylim=(-wide, wide),
        xlabel=f"${'xyz'[first]}$ [Mpc/$h$]",
        ylabel=f"${'xyz'[second]}$ [Mpc/$h$]",
    )


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--halo", type=int, default=2)
    parser.add_argument("--method", default="positions")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    args = parser.parse_args()
    prediction = ph.predict(ph.load(files("yt_protohalos") / "data" / "music64_gadget2.dat"), method=args.method)
    truth = read_labels(ROOT / "examples" / "data" / "music64_haloes.h5")
    region = ph.zoom_region(prediction, args.halo)
    halo = truth == 1 + np.argmax(np.bincount(truth[prediction.labels == args.halo + 1])[1:])
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained")
    for axis in range(3):
        draw(axes[axis], region, prediction.labels, halo, axis)
    entries = [
        Patch(color=MEMBER, label="protohalo"),
        Patch(color=PADDING, label=f"padding of {region.padding:g} sites"),
        Line2D([], [], color=HALO, label="halo of a simulation"),
        Line2D([], [], color=HULL, label="convex hull"),
        Line2D([], [], color=ELLIPSOID, label="ellipsoid"),
    ]
    figure.legend(handles=entries, loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(args.output, dpi=110)


if __name__ == "__main__":
    main()
