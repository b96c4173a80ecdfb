"""Draw scores against the number of training runs: `python docs/plot_learning_curve.py`.

Reads docs/training_logs/learning_curve.csv, one row a training: runs, final training loss, loss and ACC on the
held-out run.
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent


def main() -> None:
    """Losses on the left, accuracy on the right."""
    with (HERE / "training_logs" / "learning_curve.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    runs = [row["runs"] for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.plot(runs, [row["held_out_loss"] for row in rows], "o-", label="held-out run")
    left.plot(runs, [row["loss"] for row in rows], "s--", label="training crops")
    left.set(ylabel="balanced cross-entropy")
    left.legend()
    right.plot(runs, [row["ACC"] for row in rows], "o-")
    right.set(ylabel="ACC on the held-out run")
    for axes in (left, right):
        axes.set(xlabel="training runs of $192^3$ sites", xscale="log", xticks=runs)
        axes.set_xticks(runs, [f"{one:g}" for one in runs])
        axes.minorticks_off()
    figure.savefig(HERE / "images" / "learning_curve.png", dpi=120)


if __name__ == "__main__":
    main()
