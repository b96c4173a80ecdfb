"""Draw docs/images/watershed.png: `python docs/plot_watershed.py runs/run_0901.h5 --cache DIR`.

A slice through a run: its haloes, the probability of a contour, and what watershed and clustering make of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from yt_protohalos.analysis.matching import match_haloes
from yt_protohalos.fields.evolution import evolve_field
from yt_protohalos.models.channels import ModelInput
from yt_protohalos.models.registry import DEFAULT_MODELS
from yt_protohalos.prediction.model_crops import ModelCrops
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.training.run_files import read_run
from yt_protohalos.yt_interface.predict import predict_field

TARGET = Path(__file__).with_name("images") / "watershed.png"
SIDE = 96
METHODS = ("watershed", "pseudo-space")


def coloured(truth: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels renumbered so that one that matches a halo (IoU > 0.5) has the halo's number."""
    matches = match_haloes(labels, truth)
    numbers = np.arange(labels.max() + 1) + truth.max()
    numbers[0] = 0
    matched = np.flatnonzero(matches.iou > 0.5)
    numbers[matches.label[matched]] = matched + 1
    return numbers[labels]


def show(axes: Axes, labels: NDArray[np.int32], title: str) -> None:
    """Slice of labels, each in the colour of its number; none is white."""
    palette = mpl.colormaps["tab20"](np.arange(20))
    picture = np.where((labels > 0)[..., None], palette[(labels * 7) % 20], 1.0)
    axes.imshow(picture.transpose(1, 0, 2), origin="lower", interpolation="nearest")
    axes.set_title(title)


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", required=True, help="where `protohalos validate --cache` left the predictions")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    args = parser.parse_args()
    field, truth, _ = read_run(args.run)
    predictors = {name: ProtohaloPredictor.from_pretrained(DEFAULT_MODELS[name]) for name in METHODS}
    found = {name: predict_field(field, one, cache=args.cache) for name, one in predictors.items()}
    flooding = predictors["watershed"]
    crop = ModelCrops.of_box(flooding.card, field.n).instance[0]
    evolved = evolve_field(field) if flooding.card.sees_evolution else None
    inputs = ModelInput(field, evolved, found["watershed"].probability)
    contour = flooding.instance_network.run(inputs, [crop])[0][..., 0]

    side = min(SIDE, *crop.core_shape)
    cut = tuple(slice(start, start + side) for start in crop.core_start[:2])
    plane = crop.core_start[2] + crop.core_shape[2] // 2
    figure, axes = plt.subplots(2, 2, figsize=(9, 8.5), layout="constrained", sharex=True, sharey=True)
    show(axes[0, 0], truth[(*cut, plane)], "haloes of the simulation")
    there = contour[crop.output_core][:side, :side, crop.core_shape[2] // 2]
    image = axes[0, 1].imshow(there.T, origin="lower", cmap="cividis", vmin=0, vmax=1)
    axes[0, 1].set_title("probability of a contour (network output)")
    figure.colorbar(image, ax=axes[0, 1], shrink=0.8)
    for panel, name in zip(axes[1], METHODS, strict=True):
        show(panel, coloured(truth, found[name].labels)[(*cut, plane)], f"{name}, {predictors[name].card.name}")
    for panel in axes[1]:
        panel.set_xlabel("x [sites]")
    for panel in axes[:, 0]:
        panel.set_ylabel("y [sites]")
    figure.savefig(args.output, dpi=110)


if __name__ == "__main__":
    main()
