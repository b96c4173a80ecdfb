"""Draw the training curves of a model from docs/training_logs: `python docs/plot_training.py MODEL`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullFormatter

HERE = Path(__file__).parent
HEADS = {"positions": "position", "semantic": "semantic", "instance": "instance", "contour": "contour"}
"""Networks of a model, as the names of their logs and in titles."""
WINDOW = 50
"""Steps over which the training loss is averaged: a step sees one crop."""


def read(path: Path) -> dict[str, np.ndarray]:
    """Columns of a log; NaN where a cell is empty."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def main(model: str) -> None:
    """Draw the networks that have logs, the phases of each one after the other."""
    logs = {head: sorted((HERE / "training_logs").glob(f"{model}_{head}*.csv")) for head in HEADS}
    found = [head for head in HEADS if logs[head]]
    if not found:
        sys.exit(f"docs/training_logs has no log of {model!r}; use the name of a model that has one")
    figure, panels = pyplot.subplots(1, len(found), figsize=(4.5 * max(len(found), 1.5), 3.5), layout="constrained")
    for axes, head in zip(np.atleast_1d(panels), found, strict=True):
        start = 0.0
        for log in logs[head]:
            columns = read(log)
            hours = start + columns["seconds"] / 3600
            mean = np.convolve(columns["loss"], np.ones(WINDOW) / WINDOW, mode="valid")
            axes.plot(hours[WINDOW - 1 :], mean, color="C0", lw=1, label=None if start else f"training, {WINDOW} steps")
            seen = np.isfinite(columns["held_out_loss"])
            held_out = columns["held_out_loss"][seen]
            axes.plot(hours[seen], held_out, "o-", ms=3, color="C1", label=None if start else "held out")
            start = float(hours[-1])
        axes.set(title=f"{model}, {HEADS[head]} network", xlabel="hours", ylabel="loss", yscale="log")
        # a loss may stay within one decade
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    figure.savefig(HERE / "images" / f"training_{model}.png", dpi=120)


if __name__ == "__main__":
    main(sys.argv[1])
