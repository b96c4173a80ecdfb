"""Draw the training curves of a model from docs/training_logs: `python docs/plot_training.py MODEL`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

HERE = Path(__file__).parent
WINDOW = 50
"""Steps over which the training loss is averaged: a step sees one crop."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Columns of a log; NaN where a cell is empty."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def main(model: str) -> None:
    """Draw both networks, their phases one after the other."""
    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axes, head in zip(both, ("semantic", "instance"), strict=True):
        start = 0.0
        for log in sorted((HERE / "training_logs").glob(f"{model}_{head}*.csv")):
            columns = read(log)
            hours = start + columns["seconds"] / 3600
            mean = np.convolve(columns["loss"], np.ones(WINDOW) / WINDOW, mode="valid")
            axes.plot(hours[WINDOW - 1 :], mean, color="C0", lw=1, label=None if start else f"training, {WINDOW} steps")
            seen = np.isfinite(columns["held_out_loss"])
            held_out = columns["held_out_loss"][seen]
            axes.plot(hours[seen], held_out, "o-", ms=3, color="C1", label=None if start else "held out")
            start = float(hours[-1])
        axes.set(title=f"{model}, {head} network", xlabel="hours on one core", ylabel="loss", yscale="log")
        axes.legend()
    figure.savefig(HERE / "images" / f"training_{model}.png", dpi=120)


if __name__ == "__main__":
    main(sys.argv[1])
