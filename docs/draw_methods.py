"""Draw the steps of the methods with networks side by side: docs/images/methods.png.

The sketches show a made-up box of two dimensions with four haloes. Run: python docs/draw_methods.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from scipy.ndimage import gaussian_filter

TARGET = Path(__file__).with_name("images") / "methods.png"
WIDTH, ROW, SKETCH = 7.6, 1.28, 1.04
"""Width of the drawing, height of a row and side of a sketch, inches."""
COLUMN, EDGE, TEXT = 3.66, 0.08, 1.26
"""Width of a column, distance from the edge of the drawing, and of the text from the edge of its box, inches."""
FILL = {"positions": "#e3f1dd", "pseudo-space": "#fbe8d3"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
GREY = "0.6"

SITES = 18
CENTRES = np.array([(5.6, 12.2), (12.4, 11.6), (12.0, 3.8), (4.2, 3.8)])
RADII = np.array([3.5, 3.0, 2.6, 2.0])
CORE = 6
"""Sites per side of the core of a crop."""

sites = np.stack(np.meshgrid(np.arange(SITES), np.arange(SITES), indexing="ij"), axis=-1).reshape(-1, 2) + 0.5
distance = np.linalg.norm(sites[:, None] - CENTRES, axis=-1) / RADII
halo = np.where(distance.min(axis=1) < 1, distance.argmin(axis=1), -1)
ACCURATE, COARSE, CORRECTED = (0.5, 0.3), (0.35, 0.6), (0.88, 0.28)
"""Share of the way to the centre that members are moved, and scatter in sites."""
noise = np.random.default_rng(3).normal(size=(3, SITES * SITES, 2))


def moved(share: float, scatter: float) -> np.ndarray:
    """Positions of the sites: members moved by a share of the way to the centre of their halo, the others a little."""
    aim = CENTRES[distance.argmin(axis=1)]
    part = np.where(halo >= 0, share, 0.25 * share * np.exp(1 - distance.min(axis=1)))
    return sites + part[:, None] * (aim - sites) + scatter * np.where(halo >= 0, 1.0, 0.6)[:, None] * noise[0]


def show_cube(axes: Axes, values: np.ndarray, **style: object) -> None:
    axes.imshow(values.reshape(SITES, SITES).T, origin="lower", extent=(0, SITES, 0, SITES), **style)


def dots(axes: Axes, places: np.ndarray, colours: object, size: float = 3.0) -> None:
    axes.scatter(*places.T, s=size, c=colours, linewidths=0)


def lines(axes: Axes, places: np.ndarray, **style: object) -> None:
    for place in places:
        axes.plot([place, place], [0, SITES], **style)
        axes.plot([0, SITES], [place, place], **style)


def by_halo(numbers: np.ndarray) -> list[str]:
    return [COLOURS[number] if number >= 0 else GREY for number in numbers]


def linear_field(axes: Axes) -> None:
    peaks = np.exp(-(distance**2)).max(axis=1).reshape(SITES, SITES)
    waves = gaussian_filter(noise[1, :, 0].reshape(SITES, SITES), 0.8, mode="wrap")
    field = peaks - peaks.mean() + 0.8 * waves
    show_cube(axes, field, cmap="RdBu_r", vmin=-1.3, vmax=1.3)


def evolution(cells: int, share: float, scatter: float) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        lines(axes, np.arange(0, SITES + 0.1, 3 / cells), color="0.82", lw=0.4, zorder=0)
        dots(axes, moved(share, scatter), "black")

    return draw


def show_probability(axes: Axes) -> None:
    probability = 1 / (1 + np.exp(6 * (distance.min(axis=1) - 1) + 0.8 * noise[2, :, 0]))
    show_cube(axes, probability, cmap="cividis", vmin=0, vmax=1)


def single_pass(axes: Axes) -> None:
    show_probability(axes)
    lines(axes, np.arange(0, SITES + 1, CORE), color="white", lw=0.8)
    margin = 2.5
    axes.add_patch(Rectangle((CORE, CORE), CORE, CORE, fill=False, ec="red", lw=1.8))
    corner, side = CORE - margin, CORE + 2 * margin
    axes.add_patch(Rectangle((corner, corner), side, side, fill=False, ec="red", lw=1.3, ls=(0, (3, 2))))


def members(axes: Axes) -> None:
    show_probability(axes)
    smooth = distance.min(axis=1).reshape(SITES, SITES).T
    axes.contour(np.arange(SITES) + 0.5, np.arange(SITES) + 0.5, smooth, levels=[1.0], colors="red", linewidths=1.4)


def correction(axes: Axes) -> None:
    before, after = moved(*ACCURATE), moved(*CORRECTED)
    dots(axes, before[halo < 0], GREY)
    chosen = np.flatnonzero(halo >= 0)[::2]
    axes.quiver(
        *before[chosen].T,
        *(after - before)[chosen].T,
        color=by_halo(halo[chosen]),
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.014,
        headwidth=3.5,
        headlength=4,
    )


def groups(axes: Axes) -> None:
    places = moved(*CORRECTED)
    bridge = np.linspace(CENTRES[0], CENTRES[1], 9)[1:-1]
    dots(axes, places[halo < 0], GREY)
    dots(axes, bridge, [COLOURS[0]] * 4 + [COLOURS[1]] * 3)
    dots(axes, places[halo >= 0], by_halo(halo[halo >= 0]))
    middle = CENTRES[:2].mean(axis=0)
    axes.add_patch(
        FancyBboxPatch(middle - (4.4, 1.1), 8.8, 2.2, boxstyle="round,pad=0.6", fill=False, ec="0.3", lw=0.9)
    )
    for centre in CENTRES[:2]:
        axes.add_patch(Circle(centre, 1.25, fill=False, ec="black", lw=1.1, ls=(0, (2, 1))))


def two_lattices(axes: Axes) -> None:
    dots(axes, sites[halo >= 0], "0.55")
    lines(axes, np.arange(0, SITES + 1, CORE), color=COLOURS[0], lw=1.2)
    lines(axes, np.arange(CORE / 2, SITES, CORE), color=COLOURS[1], lw=1.2, ls=(0, (3, 2)))


def pseudo_space(axes: Axes) -> None:
    middles = np.array([(5.0, 12.0), (12.5, 12.5), (9.5, 4.5)])
    for middle, colour, wide in zip(middles, COLOURS, (1.5, 1.2, 1.0), strict=False):
        dots(axes, middle + wide * noise[1, :50], colour)


def show_labels(axes: Axes, numbers: np.ndarray) -> None:
    colours = np.array([mpl.colors.to_rgb(COLOURS[number]) if number >= 0 else (1, 1, 1) for number in numbers])
    cube = colours.reshape(SITES, SITES, 3).transpose(1, 0, 2)
    axes.imshow(cube, origin="lower", extent=(0, SITES, 0, SITES))


def stitching(axes: Axes) -> None:
    face = CORE
    show_labels(axes, np.where((halo == 0) & (sites[:, 0] > face), 4, halo))
    lines(axes, np.arange(0, SITES + 1, CORE), color="0.45", lw=0.8)
    axes.plot([face - 1.6, face + 1.6], [CENTRES[0, 1]] * 2, "o-", color="black", ms=3, lw=1.3)


def regions(axes: Axes) -> None:
    show_labels(axes, halo)


BOTH = 0.5
# title, text, sketch, row, column
STEPS = (
    (
        "Linear field",
        "initial conditions, extrapolated to z = 0: overdensity for the position network,\n"
        "overdensity and potential for the V-Nets",
        linear_field,
        0,
        BOTH,
    ),
    (
        "Accurate evolution",
        "one particle per site,\ntwo mesh cells per site and axis,\n32 steps",
        evolution(2, *ACCURATE),
        1,
        0,
    ),
    (
        "Position network",
        "reads large crops. Their cores\n(solid) tile the box once;\nthe margin (dashed) is context",
        single_pass,
        2,
        0,
    ),
    (
        "Final positions",
        "the network corrects the evolved\npositions: the sites of one halo\nend at its centre",
        correction,
        3,
        0,
    ),
    (
        "Groups of the box",
        "sites that end together. A shorter\nlinking length finds dense cores:\nbridged haloes are divided",
        groups,
        4,
        0,
    ),
    (
        "Coarse evolution",
        "one particle per site, one mesh\ncell per site and axis, 12 steps.\nThe paper has no evolution",
        evolution(1, *COARSE),
        1,
        1,
    ),
    ("Semantic V-Net", "probability of every site. Sites\nabove the threshold are members", members, 2, 1),
    (
        "Instance V-Net",
        "embedding of the members, in\ncrops of two lattices that are\noffset by half a core",
        two_lattices,
        3,
        1,
    ),
    (
        "Clustering in each crop",
        "by density in the embedding,\nwhich has no meaning outside\nits crop",
        pseudo_space,
        4,
        1,
    ),
    (
        "Stitching",
        "labels that overlap in the two\nlattices are one protohalo; two\nprotohaloes in contact are joined",
        stitching,
        5,
        1,
    ),
    (
        "Protohaloes",
        "a label for every site; and the catalogue: mass, position, velocity, shape, tide and spin of\neach protohalo",
        regions,
        6,
        BOTH,
    ),
)
HEADS = (("positions", "Default: method positions"), ("pseudo-space", "Paper: method pseudo-space"))
ARROWS = (
    ((0, BOTH), (1, 0)), ((1, 0), (2, 0)), ((2, 0), (3, 0)), ((3, 0), (4, 0)), ((4, 0), (6, BOTH)),
    ((0, BOTH), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (3, 1)), ((3, 1), (4, 1)), ((4, 1), (5, 1)), ((5, 1), (6, BOTH)),
)  # fmt: skip
NOTE = "Nothing is stitched: all crops share\none space, that of the final positions."
TOP = 0.3


def place(row: int, column: float) -> tuple[float, float]:
    """Lower left corner of a step, inches from the upper left corner of the drawing."""
    left = EDGE if column == BOTH else EDGE + column * (WIDTH - 2 * EDGE - COLUMN)
    return left, -(TOP if row else 0.0) - (row + 1) * ROW


def main() -> None:
    """Draw it."""
    height = TOP + 7 * ROW
    figure = plt.figure(figsize=(WIDTH, height))
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, WIDTH), ylim=(-height, 0))
    page.set_axis_off()
    for title, text, sketch, row, column in STEPS:
        draw_step(page, title, text, sketch, row, column)
    for column, (_, head) in enumerate(HEADS):
        x, y = place(1, column)
        page.text(x + TEXT, y + ROW + 0.11, head, va="center", weight="bold", size=10)
    x, y = place(5, 0)
    page.text(x + TEXT, y + ROW / 2, NOTE, va="center", style="italic", size=9, linespacing=1.25)
    for start, end in ARROWS:
        # straight down, at the column of the step that is not of both methods
        x = place(*(end if start[1] == BOTH else start))[0] + 0.09 + SKETCH / 2
        tail, head = (x, place(*start)[1] + 0.05), (x, place(*end)[1] + ROW - 0.05)
        arrow = FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=11, color="0.25", shrinkA=0, shrinkB=0)
        page.add_patch(arrow)
    figure.savefig(TARGET, dpi=130)


def draw_step(page: Axes, title: str, text: str, sketch: Callable[[Axes], None], row: int, column: float) -> None:
    """Draw a box with a sketch on the left, and the title and text beside it."""
    x, y = place(row, column)
    wide = WIDTH - 2 * EDGE if column == BOTH else COLUMN
    fill = "#f1f1f1" if column == BOTH else FILL[HEADS[int(column)][0]]
    box = FancyBboxPatch((x + 0.05, y + 0.1), wide - 0.1, ROW - 0.2, boxstyle="round,pad=0.05", fc=fill, ec="0.5")
    page.add_patch(box)
    axes = page.inset_axes((x + 0.09, y + (ROW - SKETCH) / 2, SKETCH, SKETCH), transform=page.transData)
    sketch(axes)
    axes.set(xlim=(0, SITES), ylim=(0, SITES), xticks=[], yticks=[])
    page.text(x + TEXT, y + ROW - 0.25, title, va="center", weight="bold", size=10)
    page.text(x + TEXT, y + ROW - 0.4, text, va="top", size=9, linespacing=1.25)


if __name__ == "__main__":
    main()
