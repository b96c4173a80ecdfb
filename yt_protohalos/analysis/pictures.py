"""Picture files of a prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .._utils.files import atomic_path
from ..exceptions import StoreError
from ..fields.linear_field import LinearField
from ..prediction.result import Prediction
from . import plots, score_figures
from .drawing import fullest_plane


def write_pictures(
    prediction: Prediction,
    folder: Path,
    field: LinearField | None = None,
    axis: str = "z",
    index: int | None = None,
    truth: NDArray[np.integer] | None = None,
    protohalo: int | None = None,
) -> list[Path]:
    """Draw the standard pictures of a prediction and return their files; `axis` and `index` are those of `plot_masses`.

    A field adds the overdensity and contours of the potential. The halo labels of a simulation on the same lattice,
    `truth`, (n, n, n), add a map of the errors, ``errors.png``, and the identifier of a protohalo its view in three
    dimensions, ``protohalo_ID.png``. Raises `StoreError` if a file cannot be written.
    """
    drawn = {
        "protohalos.png": plots.plot_overview(prediction, field, axis, index),
        "masses.png": plots.plot_masses(prediction, axis, index, field),
        "probability.png": plots.plot_probability(prediction, axis, index),
        "mass_function.png": plots.plot_mass_function(prediction),
    }
    if truth is not None:
        plane = fullest_plane(prediction.labels, axis) if index is None else index
        drawn["errors.png"] = score_figures.plot_confusion(
            truth > 0, prediction.probability, prediction.mask, prediction.lattice, axis, plane,
            prediction.card.probability_name,
        )  # fmt: skip
    if protohalo is not None:
        drawn[f"protohalo_{protohalo}.png"] = plots.plot_object(prediction, protohalo, axis, index)
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
    return [folder / name for name in drawn]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; raise `StoreError` if the file cannot be written."""
    try:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=150, format=path.suffix[1:])
    except OSError as error:
        raise StoreError(f"picture {path} cannot be written ({error}); make room there, or give another") from error
