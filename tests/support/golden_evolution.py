"""Evolved fields of a fixed initial field at some sites, as they were when they were last looked at.

Run `python tests/support/golden_evolution.py` to write them anew, after a change that is meant to change them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.evolution import evolve_field
from yt_protohalos.fields.fourier import potential
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.fields.particle_mesh import PLANS
from yt_protohalos.prediction.evolved_channels import evolve_with_channels

GOLDEN = Path(__file__).parents[1] / "fields" / "golden_evolution.json"
N, STRIDE = 16, 7
WAVES = (
    ((1, 0, 0), 1.6, 0.3), ((0, 1, 1), 1.3, 1.1), ((1, 1, 2), 1.1, 2.0), ((2, 0, 3), 0.9, 0.7), ((3, 2, 1), 0.8, 2.9),
    ((0, 4, 2), 0.7, 0.1), ((5, 1, 0), 0.5, 1.7), ((4, 4, 3), 0.4, 2.2),
)  # fmt: skip
"""Wave vector in units of the fundamental one, amplitude and phase of each wave of delta."""


def initial_field() -> LinearField:
    """A sum of waves, so that neither a random generator nor a power spectrum decides about it."""
    sites, lattice = np.indices((N, N, N)) * (2 * np.pi / N), Lattice(N, 0.2 * N)
    waves = [amplitude * np.cos(np.tensordot(k, sites, 1) + phase) for k, amplitude, phase in WAVES]
    delta = np.sum(waves, axis=0).astype(np.float32)
    return LinearField(delta, potential(delta, lattice), lattice, PAPER_COSMOLOGY, 49.0)


def sampled(cube: NDArray) -> list[float]:
    """Every seventh site of each axis, to five decimals."""
    return [round(float(value), 5) for value in cube[..., ::STRIDE, ::STRIDE, ::STRIDE].ravel()]


def evolved() -> dict[str, dict[str, list[float]]]:
    """Displacement [sites] and other arrays of each evolution at some sites."""
    field, found = initial_field(), {}
    coarse = evolve_field(field)
    arrays = (coarse.displacement, coarse.velocity, coarse.density)
    found["coarse"] = dict(zip(("displacement", "velocity", "density"), map(sampled, arrays), strict=True))
    for name, plan in PLANS.items():
        result = evolve_with_channels(field, plan)
        found[name] = {"displacement": sampled(result.displacement), "velocity": sampled(result.velocity)}
        found[name] |= {channel: sampled(cube) for channel, cube in result.channels.items()}
    return found


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(evolved()).replace("], ", "],\n") + "\n", encoding="utf-8")
