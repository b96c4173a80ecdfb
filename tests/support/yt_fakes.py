"""A predictor without networks that counts its runs, and small datasets for the tests of the yt interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yt
from standins import SPACING, make_card, peak_positions, smoothed

from yt_protohalos._utils.progress import Progress, track
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.models.card import NetworkCard
from yt_protohalos.models.registry import file_sha256, write_card
from yt_protohalos.prediction.result import FIELD_SAMPLE, Prediction, field_sample
from yt_protohalos.segmentation.labels import relabel_by_size
from yt_protohalos.segmentation.overlap import OverlapGraph
from yt_protohalos.yt_interface.load import with_cosmology

N = 24
BOX = N * SPACING
REDSHIFT = 49.0


class FakePredictor:
    """Protohalos are the basins of the peaks of smoothed delta, where that exceeds a level."""

    precision = "float32"

    def __init__(self, level: float = 0.8, **card: Any) -> None:
        self.card = make_card(**card)
        self.level = level
        self.runs = 0

    def predict(self, field: LinearField, *, progress: Progress = True, **settings: Any) -> Prediction:
        self.runs += 1
        for _ in track(range(3), "Pretending", progress=progress):
            pass
        height = smoothed(field.delta, mode="wrap")
        probability = (1 / (1 + np.exp(self.level - height))).astype(np.float32)
        threshold = settings.get("threshold") or self.card.threshold
        mask = probability > threshold
        peaks = field.lattice.flat_index(peak_positions(height, periodic=True))
        _, basin = np.unique(peaks, return_inverse=True)
        labels = np.where(mask, 1 + basin.reshape(mask.shape), 0)
        return Prediction(
            probability=probability,
            mask=mask,
            labels=relabel_by_size(labels, self.card.min_sites).astype(np.int32),
            lattice=field.lattice,
            cosmology=field.cosmology,
            redshift=field.redshift,
            site_offset=field.site_offset,
            overlap=OverlapGraph.empty(),
            settings={"threshold": threshold, FIELD_SAMPLE: field_sample(field)},
            card=self.card,
            target_redshift=field.target_redshift,
        )


def write_fake_model(folder: Path, name: str = "fake") -> Path:
    """Model folder whose card verifies and whose weights are nonsense; for use with a patched `from_pretrained`."""
    folder.mkdir(parents=True)
    networks: dict[str, NetworkCard] = {}
    for head in ("semantic", "instance"):
        weights = folder / f"{head}.weights.h5"
        weights.write_bytes(head.encode())
        whole = getattr(make_card(), head)
        networks[head] = NetworkCard(
            whole.architecture, weights.name, file_sha256(weights), whole.channels, whole.normalisation
        )
    write_card(make_card(name=name, **networks), folder)
    return folder


def grid_dataset(field: LinearField, nprocs: int = 1) -> Any:
    """In-memory grid that stores the linear overdensity at the redshift of the initial conditions."""
    growth = float(field.cosmology.growth_factor(field.redshift))
    data = {"delta": (field.delta.astype(np.float64) * growth, "")}
    ds = yt.load_uniform_grid(data, field.lattice.shape, bbox=np.array([[0.0, field.box_size]] * 3), nprocs=nprocs)
    return with_cosmology(ds, field.cosmology, field.redshift)
