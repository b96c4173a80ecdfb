"""A box that repeats a smaller one, for sides that would take hours; for models of method "pseudo-space".

Every stage that holds the whole box runs whole. Of the crops only those of one period run, and their results stand for
their copies; of the evolution only the first steps run. The result says by how much the times of both are multiplied.
Memory is measured, not extrapolated.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from stages import Clock, described, measured, predict_timed

EVOLUTION_STEPS = 2


class Period:
    """A communicator that computes the crops of one period of a repeated box and links the others to them.

    Once the networks are done, the evolved densities are let go on disk, so that 62 bytes per site are enough.

    Attributes
    ----------
    shares : list of (seconds, share)
        Of each loop over crops: how long it took, and which share of all crops it computed.
    """

    size, is_root = 1, True

    def __init__(self, store: Path, period: int) -> None:
        self.store, self.period = store, period
        self.shares: list[tuple[float, float]] = []
        self._every: Sequence[Any] = ()

    def share(self, items: Sequence[Any]) -> list[Any]:
        """The crops whose core starts in the first period."""
        self._every = items
        return [crop for crop in items if max(crop.core_start) < self.period]

    def broadcast(self, make: Callable[[], Any]) -> Any:
        """What `make` returns."""
        return make()

    @contextmanager
    def barrier(self) -> Iterator[None]:
        """Link what was computed to where its copies belong."""
        started = time.perf_counter()
        yield
        first = {
            (crop.lattice, crop.core_start): crop.key for crop in self._every if max(crop.core_start) < self.period
        }
        if first:
            self.shares.append((time.perf_counter() - started, len(first) / len(self._every)))
        for crop in self._every:
            source = first[crop.lattice, tuple(start % self.period for start in crop.core_start)]
            for kind in ("probability", "labels"):
                path, copy = (self.store / f"{kind}_{key}.npy" for key in (source, crop.key))
                if path.is_file() and not copy.exists():
                    copy.hardlink_to(path)
        density = self.store / "evolved_density.npy"
        if len(self.shares) == 2 and density.is_file():
            # no step after the networks reads it, and the label cubes need the room
            os.truncate(density, 0)
        self._every = ()


class _EnoughError(Exception):
    """Ends an evolution of which only the first steps are timed."""


class RepeatedEvolution:
    """`evolve_field` that takes a few steps for their time and memory, and then the repeated result of a period."""

    def __init__(self, evolve: Any, cubes: dict[str, Path]) -> None:
        self.seconds = 0.0
        self._evolve, self._cubes = evolve, cubes

    def __call__(self, field: Any, progress: Any, allocate: Any) -> Any:
        from yt_protohalos.fields.evolution import EvolvedField

        def first_steps(iterable: Any, title: str, total: int) -> Iterator[Any]:
            for number, item in enumerate(iterable):
                if number == EVOLUTION_STEPS:
                    raise _EnoughError
                yield item

        started = time.perf_counter()
        with suppress(_EnoughError):
            self._evolve(field, first_steps, allocate)
        self.seconds = time.perf_counter() - started
        cubes = {}
        for name, path in self._cubes.items():
            source = np.load(path, mmap_mode="r")
            cubes[name] = allocate(name, (len(source), *field.lattice.shape), source.dtype.type)
            for target, period in zip(cubes[name], source, strict=True):
                _repeat(target, period)
        return EvolvedField(**cubes)


def _repeat(target: np.ndarray, period: np.ndarray) -> None:
    """Fill a cube with copies of a smaller one."""
    side = len(period)
    for i in range(len(target)):
        target[i] = np.tile(period[i % side], (len(target) // side,) * 2)


def _write_repeated(small: Any, side: int, path: Path) -> None:
    """Density of a field, repeated to a larger side, as a monofonIC file."""
    import h5py

    cosmology = small.cosmology
    growth = float(cosmology.growth_factor(small.redshift))
    with h5py.File(path, "w") as file:
        file.create_group("Header").attrs.update(
            Boxsize=side * small.spacing, astart=1 / (1 + small.redshift), Omega_m=cosmology.omega_m,
            Omega_L=cosmology.omega_lambda, Omega_b=cosmology.omega_b,
        )  # fmt: skip
        cube = file.create_dataset("DM_delta", (side,) * 3, dtype=np.float32)
        for i in range(side):
            cube[i] = np.tile(small.delta[i % small.n] * np.float32(growth), (side // small.n,) * 2)


def _prepare(small: Any, side: int, store: Path) -> tuple[str, dict[str, Path]]:
    """File of the repeated box, beside its store, and the evolved field of its period on disk."""
    from yt_protohalos.fields.evolution import ARRAYS, evolve_field

    path, period = store.with_suffix(".hdf5"), evolve_field(small)
    _write_repeated(small, side, path)
    cubes = {name: store.parent / f"period_{name}.npy" for name in ARRAYS}
    for name, cube in cubes.items():
        np.save(cube, getattr(period, name))
    return str(path), cubes


def run_repeated(ics: str, model: str, side: int, store: Path) -> dict[str, Any]:
    """One repeated box from its file to its catalogue; `ics` is the file of its period."""
    import yt_protohalos as ph
    from yt_protohalos.fields.evolution import STEPS
    from yt_protohalos.prediction import predictor as module

    predictor, clock, small = ph.ProtohaloPredictor.from_pretrained(model), Clock(), ph.linear_field(ph.load(ics))
    repeated, cubes = _prepare(small, side, store)
    communicator, evolve = Period(store, small.n), RepeatedEvolution(module.evolve_field, cubes)
    del small
    with patch.object(module, "evolve_field", evolve), measured(clock) as result:
        prediction = predict_timed(
            predictor, repeated, clock, ph.PAPER_COSMOLOGY, store=store, communicator=communicator
        )
    whole = sum(spent * (1 / share - 1) for spent, share in communicator.shares)
    shares = dict(
        zip(("semantic network", "instance network"), (share for _, share in communicator.shares), strict=True)
    )
    shares["clustering"] = shares["instance network"]
    return {
        **result, **described(predictor, prediction.labels),
        "shares": communicator.shares, "evolution_share": EVOLUTION_STEPS / STEPS,
        "extrapolated_seconds": result["seconds"] + whole + evolve.seconds * (STEPS / EVOLUTION_STEPS - 1),
        "extrapolated_stages": {name: clock.wall[name] / share for name, share in shares.items()} | {
            "evolution": evolve.seconds * STEPS / EVOLUTION_STEPS
        },
    }  # fmt: skip
