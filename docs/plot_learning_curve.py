"""Print and draw scores against the number of training runs: `python docs/plot_learning_curve.py`.

Reads docs/training_logs: learning_curve_N.csv is the log of the training on N runs, and learning_curve.csv has the
scores of each on the held-out run, as `protohalos bundle` prints them.
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

HERE = Path(__file__).parent
LOGS = HERE / "training_logs"
WINDOW = 300
"""Last steps over which the training loss is averaged: a step sees one crop."""


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a table; NaN where a cell is empty."""
    with path.open(newline="") as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    """Losses on the left, accuracy on the right."""
    scores = read(LOGS / "learning_curve.csv")
    runs = [int(row["runs"]) for row in scores]
    logs = [read(LOGS / f"learning_curve_{n}.csv") for n in runs]
    last = np.array([[row["loss"] for row in log[-WINDOW:]] for log in logs])
    loss, error = last.mean(axis=1), last.std(axis=1) / np.sqrt(WINDOW)
    held_out = [log[-1]["held_out_loss"] for log in logs]
    for n, row, mean, spread, seen, log in zip(runs, scores, loss, error, held_out, logs, strict=True):
        print(f"{n} runs: loss {mean:.4f} +- {spread:.4f}, held out {seen:.4f}, ACC {row['ACC']}, F1 {row['F1']}, "
              f"{log[-1]['seconds'] / 60:.0f} minutes")  # fmt: skip
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.plot(runs, held_out, "o-", label="held-out run")
    left.errorbar(runs, loss, error, fmt="s--", capsize=2, label="training crops")
    left.set(ylabel="balanced cross-entropy")
    left.legend()
    right.plot(runs, [row["ACC"] for row in scores], "o-")
    right.set(ylabel="ACC on the held-out run")
    for axes in (left, right):
        axes.set(xlabel="training runs of $192^3$ sites", xscale="log")
        axes.set_xticks(runs, [str(one) for one in runs])
        axes.minorticks_off()
    figure.savefig(HERE / "images" / "learning_curve.png", dpi=120)


if __name__ == "__main__":
    main()
