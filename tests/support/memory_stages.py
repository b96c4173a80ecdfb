"""Memory of a whole-box prediction, stage by stage, in bytes per site: what the process holds beside mapped files.

Run as ``python tests/support/memory_stages.py --side 256 --folder FOLDER``. Analytic networks stand in for trained
ones, with the evolved field and the joining of protohaloes in contact; what large boxes do (fields on disk, files read
in chunks) is done at any side. The fixed part, of libraries and one crop, is in the figures: compare two sides for the
slope.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yt
from standins import SPACING, StandIns, make_card, make_network, smoothed

import yt_protohalos as ph
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.models.channels import EVOLVED_SEMANTIC
from yt_protohalos.prediction import inference, store
from yt_protohalos.prediction import pipeline as pipeline_module
from yt_protohalos.prediction import predictor as predictor_module
from yt_protohalos.prediction.pipeline import Pipeline
from yt_protohalos.prediction.predictor import ProtohaloPredictor
from yt_protohalos.yt_interface import finder, linear, shared_field
from yt_protohalos.yt_interface.predict import BoxPrediction

CROP, MARGIN, CORE = 80, 8, 64
BLOCK = 12
"""Sites per side of the cubes that the stand-in takes for protohaloes."""


class Sampler:
    """Largest anonymous memory of this process in each stage, sampled every few milliseconds (Linux)."""

    def __init__(self) -> None:
        self.peak: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self._stages = ["start"]
        self._running = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while self._running:
            stage = self._stages[-1]
            self.peak[stage] = max(self.peak.get(stage, 0), anonymous_bytes())
            time.sleep(0.003)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose calls are a stage."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            if stage in self.seconds:
                # what is asked for again is at hand
                return function(*arguments, **keywords)
            self._stages.append(stage)
            start = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self._stages.pop()
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
                self.kept[stage] = anonymous_bytes()

        return run

    def stop(self) -> None:
        """End the sampling."""
        self._running = False
        self._thread.join()


def anonymous_bytes() -> int:
    """Memory of the process that no file backs."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


class CheapNetworks(StandIns):
    """Stand-ins whose protohaloes are the cubes of a grid, so that a crop takes a fraction of a second."""

    def instance(self, batch: np.ndarray) -> np.ndarray:
        """Corner of the cube that holds each site, spread a little."""
        places = np.stack(np.indices(batch.shape[1:4]), axis=-1)[self._inner, self._inner, self._inner]
        return (places // BLOCK * BLOCK + 0.01 * places)[None].astype(np.float32)

    def semantic(self, batch: np.ndarray) -> np.ndarray:
        """As `StandIns`, for about 40 % of the sites."""
        density = smoothed(batch[0, ..., 0])[self._inner, self._inner, self._inner]
        return (1 / (1 + np.exp(0.3 - density)))[None, ..., None]


def corner_groups(points: np.ndarray, clustering: Any) -> np.ndarray:
    """Clustering that knows the stand-in: one group a cube."""
    corner = np.rint(points / BLOCK - 0.05).astype(np.int64)
    return np.unique((corner[:, 0] * CROP + corner[:, 1]) * CROP + corner[:, 2], return_inverse=True)[1].astype(
        np.int32
    )


def make_predictor() -> ProtohaloPredictor:
    """Predictor of the cheap networks, whose card has all that a shipped one has."""
    semantic = make_network("semantic", CROP, MARGIN)
    architecture = {**semantic.architecture, "in_channels": len(EVOLVED_SEMANTIC)}
    semantic = replace(semantic, architecture=architecture, channels=EVOLVED_SEMANTIC)
    clustering = {"n_dens": 20, "n_ngb": 15, "persistence": 4.2, "contact": 0.65}
    card = make_card(CROP, MARGIN, CORE, semantic=semantic, clustering=clustering)
    networks = CheapNetworks(MARGIN)
    return ProtohaloPredictor(card, networks.semantic, networks.instance)


def measure(path: Path, folder: Path) -> tuple[int, Sampler]:
    """Predict a file and write its catalogue; sites per side and what each stage took."""
    linear.LARGEST_HELD = 0
    store.MAPPED_SIDE = shared_field.MAPPED_SIDE = 0
    inference.group_members = corner_groups
    sampler = Sampler()
    for owner, name, stage in (
        (shared_field, "linear_field", "reading, linear field"),
        (shared_field, "_write", "field to disk"),
        (predictor_module, "evolve_in_store", "evolved field"),
        (Pipeline, "membership", "semantic network"),
        (Pipeline, "core_labels", "instance network, clustering"),
        (Pipeline, "stitched", "labels into cubes"),
        (pipeline_module, "stitch", "stitching"),
        (Pipeline, "protohalos", "contact"),
        (BoxPrediction, "_keep", "writing the prediction"),
        (finder, "protohalo_catalog", "catalogue"),
        (finder, "member_ids", "member IDs"),
        (finder, "write_catalog", "writing the catalogue"),
    ):
        setattr(owner, name, sampler.timed(stage, getattr(owner, name)))
    ds = ph.load(path)
    keywords = {"predictor": make_predictor(), "cache": folder / "cache", "progress": False, "on_range": "allow"}
    prediction = sampler.timed("prediction, the rest", ph.predict)(ds, **keywords)
    sampler.timed("finding, the rest", ph.find_protohalos)(ds, folder / "out", **keywords)
    field = ph.linear_field(ds)
    sampler.timed("catalogue by LPT", protohalo_catalog)(prediction, field, lpt_order=2)
    sampler.stop()
    return field.n, sampler


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    yt.set_log_level(50)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        path = folder / "ics.hdf5"
        # in a process of its own, whose memory is not that of the prediction
        code = f"import yt_protohalos as ph; ph.generate_initial_conditions({arguments.side}, "
        code += f"{arguments.side * SPACING}, seed=5, filename={str(path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        n, sampler = measure(path, folder)
    print(f"{n}^3 sites, {sampler.peak['start'] / 2**20:.0f} MiB at the start")  # noqa: T201
    for stage, seconds in sampler.seconds.items():
        peak, kept = (value.get(stage, 0) / n**3 for value in (sampler.peak, sampler.kept))
        print(f"{stage:30s} peak {peak:6.1f}  after {kept:6.1f} bytes per site  {seconds:7.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
