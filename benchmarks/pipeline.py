"""The shipped pipeline beside a plain one that follows the paper step by step, on the same random box.

Run: python benchmarks/pipeline.py [--sides 128 256] [--model NAME] [--shipped-only] [-o FOLDER]

The plain pipeline runs every network in float32 on one crop of 144 sites a core of 64, clusters the unsorted points of
each crop with a k-d tree of scipy (two workers) and stitches with networkx. Both read the same file, use the same
weights and share the code of the grouping, so that what differs is what the project did about speed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SPACING = 50 / 256
PLAIN_SIDE, PLAIN_CORE = 144, 64
STAGES = ("read", "linear field", "evolved field", "semantic", "instance", "clustering", "stitching", "catalogue")


class Clock:
    """Wall and CPU seconds by stage; a stage inside another counts for itself alone.

    Stages of two threads run beside each other, so that all may add up to more than the whole. CPU seconds are those of
    the process in the main thread, and of the thread alone in any other. `current` is the main thread's stage.
    """

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.current = "start"
        self._own = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        main = threading.current_thread() is threading.main_thread()
        cpu_time = time.process_time if main else time.thread_time
        stack: list[str] = self._own.__dict__.setdefault("stack", [])
        started, cpu = time.perf_counter(), cpu_time()
        stack.append(name)
        if main:
            self.current = name
        try:
            yield
        finally:
            stack.pop()
            if main:
                self.current = stack[-1] if stack else "end"
            wall, used = time.perf_counter() - started, cpu_time() - cpu
            self.wall[name] += wall
            self.cpu[name] += used
            if stack:
                self.wall[stack[-1]] -= wall
                self.cpu[stack[-1]] -= used

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time on the account of a stage."""

        def run(*args: Any, **keywords: Any) -> Any:
            with self.stage(name):
                return function(*args, **keywords)

        return run


def plain_groups(points: np.ndarray, clustering: dict[str, float]) -> np.ndarray:
    """Appendix B on points as they come: one query of a k-d tree, then the grouping that the package uses too."""
    from scipy.spatial import cKDTree

    from yt_protohalos.segmentation.clustering import _grow_groups

    if len(points) == 0:
        return np.empty(0, dtype=np.int32)
    n_dens, n_ngb = (min(int(clustering[name]), len(points)) for name in ("n_dens", "n_ngb"))
    exact = points.astype(np.float64)
    distance, index = cKDTree(exact).query(exact, k=np.arange(1, max(n_dens, n_ngb) + 1), workers=2)
    with np.errstate(divide="ignore"):
        density = 3 * n_dens / (4 * np.pi * distance[:, n_dens - 1] ** 3)
    order = np.argsort(-density, kind="stable")
    neighbours = np.ascontiguousarray(index[:, :n_ngb].astype(np.int32))
    location = np.arange(len(points), dtype=np.int32)
    return _grow_groups(order, density, location, neighbours, float(clustering["persistence"]))


def plain_stitch(a: np.ndarray, b: np.ndarray, core: int, threshold: float = 0.5) -> np.ndarray:
    """Appendix D with networkx: overlaps by octant, connected components, the larger label where they disagree."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(np.unique(a[a > 0]).tolist())
    graph.add_nodes_from(np.unique(b[b > 0]).tolist())
    half = core // 2
    for x in range(0, len(a), half):
        for y in range(0, len(a), half):
            for z in range(0, len(a), half):
                octant = (slice(x, x + half), slice(y, y + half), slice(z, z + half))
                first, second = a[octant].ravel(), b[octant].ravel()
                sizes = [dict(zip(*(v.tolist() for v in np.unique(one, return_counts=True)), strict=True))
                         for one in (first, second)]  # fmt: skip
                both = (first > 0) & (second > 0)
                pairs, shared = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
                for (p, q), common in zip(pairs.T.tolist(), shared.tolist(), strict=True):
                    if common / (sizes[0][p] + sizes[1][q] - common) >= threshold:
                        graph.add_edge(p, q)
    component = np.zeros(max(int(a.max()), int(b.max())) + 1, dtype=np.int64)
    for number, members in enumerate(networkx.connected_components(graph), start=1):
        component[list(members)] = number
    first, second = component[a], component[b]
    sizes_all = np.bincount(first.ravel(), minlength=component.max() + 1)
    larger = np.where(sizes_all[second] > sizes_all[first], second, first)
    return np.where(first == 0, second, np.where(second == 0, first, larger))


def plain_predict(predictor: Any, field: Any, evolved: Any, clock: Clock) -> np.ndarray:
    """Labels of a box by the paper's steps in their order, one crop after the other."""
    from yt_protohalos.models.channels import ModelInput
    from yt_protohalos.prediction.inference import CropNetwork, calibrated, join_core
    from yt_protohalos.segmentation.labels import relabel_by_size
    from yt_protohalos.segmentation.tiling import CropPlan

    card, lattice = predictor.card, field.lattice
    probability = np.empty(lattice.shape, dtype=np.float32)
    inputs = ModelInput(field, evolved, probability)
    semantic, instance = CropNetwork(predictor.semantic, card.semantic), CropNetwork(predictor.instance, card.instance)
    plan = CropPlan(lattice.n, PLAIN_SIDE, card.semantic.margin, PLAIN_CORE)
    with clock.stage("semantic"):
        for crop in plan.crops("a"):
            output = semantic.run(inputs, [crop])[0][..., 0][crop.output_core]
            lattice.paste(probability, calibrated(output, **predictor.calibration(field)), crop.core_start)
    mask = probability > np.float32(card.threshold)
    plan = CropPlan(lattice.n, PLAIN_SIDE, card.instance.margin, PLAIN_CORE)
    cubes, offset = {which: np.zeros(lattice.shape, dtype=np.int64) for which in ("a", "b")}, 0
    for crop in [*plan.crops("a"), *plan.crops("b")]:
        seen = lattice.crop(mask, crop.output_start, crop.output_shape)
        with clock.stage("instance"):
            points = instance.run(inputs, [crop])[0][seen]
        with clock.stage("clustering"):
            block = join_core(points, plain_groups(points, card.clustering), seen, crop, card.clustering)
        lattice.paste(cubes[crop.lattice], np.where(block > 0, block + offset, 0), crop.core_start)
        offset += int(block.max(initial=0))
    with clock.stage("stitching"):
        return relabel_by_size(plain_stitch(cubes["a"], cubes["b"], PLAIN_CORE), card.min_sites)


def shipped_predict(predictor: Any, field: Any, evolved: Any, clock: Clock) -> Any:
    """`ProtohaloPredictor.predict`, its stages timed."""
    from yt_protohalos.prediction import pipeline as module

    predictor.semantic = clock.timed("semantic", predictor.semantic)
    predictor.instance = clock.timed("instance", predictor.instance)
    kept = module.segment_core, module.stitch
    module.segment_core, module.stitch = clock.timed("clustering", kept[0]), clock.timed("stitching", kept[1])
    try:
        with clock.stage("other"):
            return predictor.predict(field, evolved=evolved, progress=False)
    finally:
        module.segment_core, module.stitch = kept


def plain_predictor(model: str) -> Any:
    """The model with both networks built for crops of the plain side, in float32."""
    from dataclasses import replace

    from yt_protohalos.models.registry import load_card
    from yt_protohalos.models.runtime import load_network
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    card, folder = load_card(model)
    cards = {}
    for role in ("semantic", "instance"):
        network = getattr(card, role)
        cards[role] = replace(network, architecture={**network.architecture, "side": PLAIN_SIDE})
    networks = [load_network(cards[role], folder, "float32") for role in ("semantic", "instance")]
    return ProtohaloPredictor(replace(card, core=PLAIN_CORE, symmetries=1, **cards), *networks)


def measure(kind: str, ics: str, model: str, queue: Any) -> None:
    """One pipeline from file to catalogue in a process of its own, whose peak memory is then its own."""
    import yt

    import yt_protohalos as ph
    from yt_protohalos.catalog.catalog import protohalo_catalog
    from yt_protohalos.fields.evolution import evolve_field
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    yt.set_log_level(50)
    predictor = plain_predictor(model) if kind == "plain" else ProtohaloPredictor.from_pretrained(model)
    clock, started, cpu = Clock(), time.perf_counter(), time.process_time()
    with clock.stage("read"):
        dataset = ph.load(ics)
    with clock.stage("linear field"):
        field = ph.linear_field(dataset)
    evolved = None
    if predictor.card.sees_evolution:
        with clock.stage("evolved field"):
            evolved = evolve_field(field)
    if kind == "plain":
        labels = plain_predict(predictor, field, evolved, clock)
    else:
        prediction = shipped_predict(predictor, field, evolved, clock)
        labels = prediction.labels
        with clock.stage("catalogue"):
            protohalo_catalog(prediction, field)
    queue.put({
        "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "stages": dict(clock.wall), "cpu_stages": dict(clock.cpu),
        "protohaloes": int(labels.max()), "sites": float(np.mean(labels > 0)),
    })  # fmt: skip


def in_process(work: Callable[..., None], kind: str, ics: str, model: str) -> dict[str, Any]:
    """What ``work(kind, ics, model, queue)`` puts into the queue, run in a fresh process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(kind, ics, model, queue))
    process.start()
    while True:
        try:
            result = queue.get(timeout=5)
            break
        except Exception as error:
            if not process.is_alive():
                raise RuntimeError(f"the {kind} pipeline ended with code {process.exitcode}") from error
    process.join()
    return result


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Stacked bars of wall time by stage, and marks at the whole, which is less where stages run beside each other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.8 * len(results)), layout="constrained")
    left = np.zeros(len(results))
    names = [f"{one['kind']}, {one['side']}³" for one in results]
    for stage in (*STAGES, "other"):
        width = np.array([one["stages"].get(stage, 0.0) for one in results])
        axes.barh(names, width, left=left, label=stage)
        left += width
    axes.plot([one["seconds"] for one in results], names, "k|", ms=30, mew=2, label="whole")
    axes.margins(x=0.02)
    axes.set_xlim(left=0)
    axes.set_xlabel("wall time [s]; stages that run beside each other add up to more than the whole")
    axes.invert_yaxis()
    axes.legend(fontsize="small", ncols=3, markerscale=0.4)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, and write the result with a picture."""
    import yt_protohalos as ph
    from yt_protohalos.models.registry import DEFAULT_MODELS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[128], help="sites per side, multiples of 64")
    parser.add_argument(
        "--model", default=DEFAULT_MODELS["pseudo-space"], help="with a semantic and an instance network"
    )
    parser.add_argument("--shipped-only", action="store_true", help="leave the plain pipeline out")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path("benchmark"))
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    results = []
    for side in args.sides:
        with tempfile.TemporaryDirectory() as folder:
            ics = str(Path(folder) / "ics.hdf5")
            ph.generate_initial_conditions(side, side * SPACING, seed=1, filename=ics)
            for kind in ("shipped",) if args.shipped_only else ("shipped", "plain"):
                results.append({"kind": kind, "side": side, **in_process(measure, kind, ics, args.model)})
                one = results[-1]
                print(f"{kind:8s} {side}^3 {one['seconds']:8.1f} s wall {one['cpu_seconds']:8.1f} s CPU "
                      f"{one['peak_gib']:5.2f} GiB {one['protohaloes']} protohaloes", flush=True)  # fmt: skip
                print("  " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in one["stages"].items()), flush=True)
                (args.output_dir / "pipeline.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    plot(results, args.output_dir / "pipeline.png")


if __name__ == "__main__":
    main()
