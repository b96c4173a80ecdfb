"""A run whose simulation is known: the fast evolution itself, with small displacements added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from standins import SPACING, make_field

from yt_protohalos.fields.particle_mesh import FAST, final_positions
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.friends_of_friends import friends_of_friends
from yt_protohalos.training.settings import TrainingSettings


def make_position_run(
    folder: Path, settings: TrainingSettings, n: int = 32, min_sites: int = 60, spacing: float = SPACING
) -> LabelledField:
    """Run of a box of `n` sites per side, with what a position network learns; a tenth of a site is added."""
    field = make_field(n, spacing=spacing)
    noise = np.random.default_rng(1).normal(scale=0.05, size=(3, n, n, n))
    final = np.indices((n, n, n)) + final_positions(field, FAST)[0] + noise
    positions = (np.mod(final.reshape(3, -1).T, n) * field.spacing).astype(np.float32)
    labels = friends_of_friends(positions, field.lattice, 0.2, min_sites)
    source = folder / "run.h5"
    with h5py.File(source, "w") as file:
        file["positions"] = positions
    return replace(LabelledField.from_labels(field, labels), source=source).with_targets(settings)
