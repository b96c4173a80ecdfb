"""Draw the rooms in the order in which data flow through them: docs/images/architecture.svg.

Run: python docs/draw_architecture.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

TARGET = Path(__file__).with_name("images") / "architecture.svg"
ROOMS = (
    # name, what it holds, row, column
    ("initial_conditions", "file to linear field\nreaders, sites, reconstruction", 0, 0),
    ("fields", "lattice, cosmology, $\\delta$ and $\\phi$,\nevolution, units", 0, 1),
    ("models", "networks, cards, weights,\nrange of validity", 0, 2),
    ("segmentation", "pure functions on arrays:\ntiling, clustering, stitching", 1, 2),
    ("prediction", "field to labels: one pipeline\nfor boxes, regions, training", 1, 1),
    ("catalog", "masses, shapes, spins,\nprogenitors, zoom regions", 1, 0),
    ("analysis", "scores, mass functions,\nplots, report", 2, 0),
    ("yt_interface", "load, fields, finder, MPI:\nthe room that imports yt", 2, 1),
    ("training", "simulations, data, trainer,\ncalibration, export", 2, 2),
)
FLOW = (
    ("initial_conditions", "fields", "LinearField"), ("fields", "prediction", ""), ("models", "prediction", ""),
    ("segmentation", "prediction", ""), ("prediction", "catalog", "labels"), ("catalog", "analysis", ""),
    ("catalog", "yt_interface", ""), ("prediction", "yt_interface", ""), ("prediction", "training", ""),
)  # fmt: skip
WIDTH, HEIGHT, STEP_X, STEP_Y = 3.0, 1.15, 4.1, 2.0
COLOURS = ("#dbe9f6", "#e3f1dd", "#fbe8d3")


def centre(row: int, column: int) -> tuple[float, float]:
    return column * STEP_X, -row * STEP_Y


def main() -> None:
    plt.rcParams["svg.hashsalt"] = "architecture"
    figure, axes = plt.subplots(figsize=(10, 6))
    places = {name: centre(row, column) for name, _, row, column in ROOMS}
    for name, text, row, column in ROOMS:
        x, y = centre(row, column)
        box = FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0.05", fc=COLOURS[row], ec="0.35"
        )
        axes.add_patch(box)
        axes.text(x, y + 0.3, name, ha="center", va="center", family="monospace", weight="bold", size=11)
        axes.text(x, y - 0.18, text, ha="center", va="center", size=8.5)
    for start, end, label in FLOW:
        (x0, y0), (x1, y1) = places[start], places[end]
        dx, dy = x1 - x0, y1 - y0
        # from edge to edge of the boxes
        cut = min(
            (WIDTH / 2 + 0.1) / abs(dx) if dx else float("inf"), (HEIGHT / 2 + 0.1) / abs(dy) if dy else float("inf")
        )
        tail, head = (x0 + cut * dx, y0 + cut * dy), (x1 - cut * dx, y1 - cut * dy)
        axes.add_patch(FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=14, color="0.25"))
        if label:
            axes.text((tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2 + 0.14, label, ha="center", size=8)
    bottom = -2 * STEP_Y - 1.35
    for x, text in (
        (0.5 * STEP_X, "below all: exceptions, _utils (files, locks, cores, progress)"),
        (1.95 * STEP_X, "above all: cli"),
    ):
        axes.text(x, bottom, text, ha="center", size=9, style="italic")
    axes.set(xlim=(-1.8, 2 * STEP_X + 1.8), ylim=(bottom - 0.3, 0.9))
    axes.set_axis_off()
    figure.tight_layout(pad=0.2)
    figure.savefig(TARGET, metadata={"Date": None})


if __name__ == "__main__":
    main()
