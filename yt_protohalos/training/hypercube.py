"""Settings of runs that fill a range of cosmologies and box sizes evenly: a Latin hypercube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..exceptions import InitialConditionsError
from .simulation import SimulationSettings

RANGES: Mapping[str, tuple[float, float]] = {
    "box_size": (10.0, 400.0),
    "omega_m": (0.1, 0.5),
    "omega_b": (0.03, 0.07),
    "h": (0.5, 0.9),
    "n_s": (0.8, 1.2),
    "sigma_8": (0.6, 1.0),
}
"""Lowest and highest value of each parameter. Those of the cosmology are of the Quijote hypercube (Villaescusa-Navarro
et al. 2020, section 2). The box side, in comoving Mpc/h, is drawn evenly in its logarithm."""


def hypercube(
    count: int, seed: int, settings: SimulationSettings, ranges: Mapping[str, tuple[float, float]] = RANGES
) -> Iterator[SimulationSettings]:
    """Settings of runs whose cosmologies and box sides form a Latin hypercube.

    Each range is cut into `count` equal parts, and each part is used by one run.

    Parameters
    ----------
    count : int
        Number of runs.
    seed : int
        Seed of the drawing.
    settings : SimulationSettings
        What the runs have in common.
    ranges : mapping of str to (float, float), optional
        Lowest and highest value of ``box_size`` (comoving Mpc/h) and of parameters of `Cosmology`. The universes are
        flat: ``omega_lambda`` is 1 minus ``omega_m``.

    Yields
    ------
    SimulationSettings

    Raises
    ------
    InitialConditionsError
        The count is less than 1, a range is not rising or not positive, or it is of no such parameter.

    Examples
    --------
    >>> from yt_protohalos.training.hypercube import hypercube
    >>> from yt_protohalos.training.simulation import SimulationSettings
    >>> runs = list(hypercube(4, seed=7, settings=SimulationSettings(n=96, mesh=256)))
    >>> sorted(int(4 * (run.cosmology.omega_m - 0.1) / 0.4) for run in runs)
    [0, 1, 2, 3]
    """
    if count < 1:
        raise InitialConditionsError(f"a hypercube of {count} runs has none; use 1 or more")
    for name, (lowest, highest) in ranges.items():
        if name not in RANGES:
            raise InitialConditionsError(f"parameter {name!r} is unknown; use some of {', '.join(RANGES)}")
        if not 0 < lowest < highest:
            raise InitialConditionsError(f"{name} from {lowest:g} to {highest:g} is no rising range above 0")
    rng = np.random.default_rng(seed)
    parts = rng.permuted(np.tile(np.arange(count), (len(ranges), 1)), axis=1)
    for shares in ((parts + rng.random(parts.shape)) / count).T:
        values = {}
        for (name, (lowest, highest)), share in zip(ranges.items(), shares, strict=True):
            in_logarithm, evenly = lowest * (highest / lowest) ** share, lowest + share * (highest - lowest)
            values[name] = float(in_logarithm if name == "box_size" else evenly)
        box_size = values.pop("box_size", settings.box_size)
        cosmology = replace(settings.cosmology, **values)
        flat = replace(cosmology, omega_lambda=1 - cosmology.omega_m)
        yield replace(settings, box_size=box_size, cosmology=flat)
