"""Time and memory of a whole prediction against the size of the box, from reading to catalogue, streamed through disk.

Run: python benchmarks/scaling.py --sides 128 256 512 [--repeat 1024] [--model NAME] [--work FOLDER] [-o FOLDER]

Each side is run in a process of its own on a random box, with a store of crops as `protohalos find` uses. --repeat adds
a box that repeats the random box of 256^3, for sides that would take hours: every stage that holds the whole box is run
whole, but of the crops only those of one period, whose results stand for their copies, and of the evolution only the
first steps; the times of both are multiplied, and the JSON says by how much. Memory is measured, not extrapolated:
"anonymous" is what the process must have, "resident" counts pages of mapped files too, which the system takes back when
it needs them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from pipeline import SPACING, STAGES, Clock, in_process

PERIOD = 256
STEPS = 12
EVOLUTION_STEPS = 2
GIB = 2**30


class Memory:
    """Peaks of anonymous and of resident memory by stage of a clock, sampled ten times a second."""

    def __init__(self, clock: Clock) -> None:
        self.anonymous: dict[str, int] = defaultdict(int)
        self.resident: dict[str, int] = defaultdict(int)
        self._clock = clock
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            anonymous, resident = (int(found[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS"))
            stage = self._clock.current
            self.anonymous[stage] = max(self.anonymous[stage], anonymous)
            self.resident[stage] = max(self.resident[stage], resident)
            time.sleep(0.1)


class Period:
    """A communicator that computes the crops of one period of a repeated box and links the others to them.

    Once the networks are done, the evolved densities are let go on disk, so that 62 bytes per site are enough.

    Attributes
    ----------
    shares : list of (seconds, share)
        Of each loop over crops: how long it took, and which share of all crops it computed.
    """

    size, is_root = 1, True

    def __init__(self, store: Path) -> None:
        self.store = store
        self.shares: list[tuple[float, float]] = []
        self._every: Sequence[Any] = ()

    def share(self, items: Sequence[Any]) -> list[Any]:
        """The crops whose core starts in the first period."""
        self._every = items
        return [crop for crop in items if max(crop.core_start) < PERIOD]

    def broadcast(self, make: Callable[[], Any]) -> Any:
        """What `make` returns."""
        return make()

    @contextmanager
    def barrier(self) -> Iterator[None]:
        """Link what was computed to where its copies belong."""
        started = time.perf_counter()
        yield
        first = {(crop.lattice, crop.core_start): crop.key for crop in self._every if max(crop.core_start) < PERIOD}
        if first:
            self.shares.append((time.perf_counter() - started, len(first) / len(self._every)))
        for crop in self._every:
            source = first[crop.lattice, tuple(start % PERIOD for start in crop.core_start)]
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
                repeat(target, period)
        return EvolvedField(**cubes)


def repeat(target: np.ndarray, period: np.ndarray) -> None:
    """Fill a cube with copies of a smaller one."""
    side = len(period)
    for i in range(len(target)):
        target[i] = np.tile(period[i % side], (len(target) // side,) * 2)


def write_repeated(small: Any, side: int, path: Path) -> None:
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
            cube[i] = np.tile(small.delta[i % PERIOD] * np.float32(growth), (side // PERIOD,) * 2)


def prepare_repeated(ics: str, store: Path, evolved: bool) -> tuple[str, dict[str, Path]]:
    """File of a repeated box, beside its store, and the evolved field of its period on disk."""
    import yt_protohalos as ph
    from yt_protohalos.fields.evolution import evolve_field

    small = ph.linear_field(ph.load(ics))
    path, cubes = store.with_suffix(".hdf5"), {}
    write_repeated(small, int(store.name), path)
    period = evolve_field(small) if evolved else None
    for name in ("displacement", "velocity", "density") if evolved else ():
        cubes[name] = store.parent / f"period_{name}.npy"
        np.save(cubes[name], getattr(period, name))
    return str(path), cubes


def run_box(kind: str, ics: str, model: str, queue: Any) -> None:
    """One box from its file to its catalogue in this process; `kind` is the folder of its store, or "repeat:" and it.

    With "repeat:", the file is the random box of one period, and the side that of the folder's name.
    """
    import yt

    import yt_protohalos as ph
    from yt_protohalos.catalog.catalog import protohalo_catalog
    from yt_protohalos.prediction import pipeline as module
    from yt_protohalos.prediction import store as store_module
    from yt_protohalos.prediction.communicator import SerialCommunicator

    yt.set_log_level(50)
    store, clock, repeated = Path(kind.removeprefix("repeat:")), Clock(), kind.startswith("repeat:")
    predictor = ph.ProtohaloPredictor.from_pretrained(model)
    communicator: Any = Period(store) if repeated else SerialCommunicator()
    evolve: Any = store_module.evolve_field
    if repeated:
        ics, cubes = prepare_repeated(ics, store, predictor.card.sees_evolution)
        evolve = RepeatedEvolution(evolve, cubes)
    memory = Memory(clock)
    started, cpu = time.perf_counter(), time.process_time()
    with clock.stage("read"):
        dataset = ph.load(ics, **({"cosmology": ph.PAPER_COSMOLOGY} if repeated else {}))
    with clock.stage("linear field"):
        field = ph.linear_field(dataset)
    store_module.evolve_field = clock.timed("evolved field", evolve)
    predictor.semantic = clock.timed("semantic", predictor.semantic)
    predictor.instance = clock.timed("instance", predictor.instance)
    module.segment_core = clock.timed("clustering", module.segment_core)
    module.stitch = clock.timed("stitching", module.stitch)
    with clock.stage("other"):
        prediction = predictor.predict(field, progress=False, store=store, communicator=communicator)
    with clock.stage("catalogue"):
        protohalo_catalog(prediction, field)
    seconds = time.perf_counter() - started
    result = {
        "seconds": seconds, "cpu_seconds": time.process_time() - cpu, "stages": dict(clock.wall),
        "cpu_stages": dict(clock.cpu), "anonymous": dict(memory.anonymous), "resident": dict(memory.resident),
        "protohaloes": int(prediction.labels.max()),
    }  # fmt: skip
    if not repeated:
        result["disk"] = sum(path.stat().st_size for path in store.iterdir())
    else:
        result["shares"] = communicator.shares
        result["evolution_share"] = EVOLUTION_STEPS / STEPS
        whole = sum(spent * (1 / share - 1) for spent, share in communicator.shares)
        result["extrapolated_seconds"] = seconds + whole + evolve.seconds * (STEPS / EVOLUTION_STEPS - 1)
        shares = dict(zip(("semantic", "instance"), (share for _, share in communicator.shares), strict=True))
        shares["clustering"] = shares["instance"]
        result["extrapolated_stages"] = {name: clock.wall[name] / share for name, share in shares.items()} | {
            "evolved field": evolve.seconds * STEPS / EVOLUTION_STEPS
        }
    prediction.save(store.with_suffix(".prediction.h5"))
    queue.put(result)


def summary(results: list[dict[str, Any]]) -> dict[str, float]:
    """Bytes a site by which the peaks grow with the box, and what they start from, by least squares."""
    sites = np.array([one["side"] ** 3 for one in results], dtype=float)
    found = {}
    for name in ("anonymous", "resident"):
        peaks = np.array([max(one[name].values()) for one in results], dtype=float)
        slope, start = np.polyfit(sites, peaks, 1)
        found |= {f"{name}_bytes_per_site": float(slope), f"{name}_start_gib": float(start / GIB)}
    return found


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Time and memory against the number of sites."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    sides = np.array([one["side"] for one in results])
    for number, stage in enumerate(STAGES[1:]):
        taken = [(one["stages"] | one.get("extrapolated_stages", {})).get(stage, np.nan) for one in results]
        times.plot(sides, taken, "o-", color=f"C{number}", ms=4, lw=1, label=stage)
        guessed = np.array([stage in one.get("extrapolated_stages", {}) for one in results])
        times.plot(sides[guessed], np.array(taken)[guessed], "o", ms=4, mfc="white", mec=f"C{number}")
    whole = [one.get("extrapolated_seconds", one["seconds"]) for one in results]
    times.plot(sides, whole, "ks-", label="whole")
    guessed = np.array(["extrapolated_seconds" in one for one in results])
    times.plot(sides[guessed], np.array(whole)[guessed], "s", mfc="white", mec="k", label="extrapolated")
    times.set(ylabel="wall time [s]", xlim=(sides[0] / 1.2, sides[-1] * 3.5))
    times.legend(fontsize="small", loc="center right")
    for name, marker in (("anonymous", "o-"), ("resident", "s--")):
        memory.plot(sides, [max(one[name].values()) / GIB for one in results], marker, label=name)
    found = summary(results)
    fit = [found["anonymous_start_gib"] + found["anonymous_bytes_per_site"] * float(side) ** 3 / GIB for side in sides]
    label = f"{found['anonymous_start_gib']:.1f} GiB + {found['anonymous_bytes_per_site']:.0f} bytes per site"
    memory.plot(sides, fit, "k:", label=label)
    memory.set_ylabel("peak memory [GiB]")
    for axes in (times, memory):
        axes.set(xscale="log", yscale="log", xlabel="sites per side")
        axes.set_xticks(sides, [f"{side}" for side in sides])
        axes.grid(alpha=0.3)
    memory.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    memory.legend(fontsize="small")
    for axes in (times, memory):
        axes.minorticks_off()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure each box, print, and write the result with a picture."""
    import yt_protohalos as ph
    from yt_protohalos.models.registry import DEFAULT_MODELS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--repeat", type=int, nargs="*", default=[], help=f"sides that repeat a box of {PERIOD}^3")
    parser.add_argument(
        "--model", default=DEFAULT_MODELS["pseudo-space"], help="with a semantic and an instance network"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder for stores, some 80 bytes per site; kept if given")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path("scaling"))
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    work = args.work or Path(tempfile.mkdtemp(prefix="scaling"))
    work.mkdir(parents=True, exist_ok=True)
    path = args.output_dir / "scaling.json"
    results = json.loads(path.read_text(encoding="utf-8"))["boxes"] if path.is_file() else []
    for side, repeated in [*((side, False) for side in args.sides), *((side, True) for side in args.repeat)]:
        random_side = PERIOD if repeated else side
        ics, store = work / f"ics_{random_side}.hdf5", work / f"{side}"
        if not ics.is_file():
            ph.generate_initial_conditions(random_side, random_side * SPACING, seed=args.seed, filename=str(ics))
        shutil.rmtree(store, ignore_errors=True)
        one = {"side": side, **in_process(run_box, f"{'repeat:' * repeated}{store}", str(ics), args.model)}
        shutil.rmtree(store)
        results = sorted([*(old for old in results if old["side"] != side), one], key=lambda box: box["side"])
        result = {"model": args.model, "boxes": results, **(summary(results) if len(results) > 1 else {})}
        path.write_text(json.dumps(result, indent=1), encoding="utf-8")
        anonymous, resident = (max(one[name].values()) / GIB for name in ("anonymous", "resident"))
        print(
            f"{side}^3 {one['seconds']:.0f} s wall, {one['cpu_seconds']:.0f} s CPU, {anonymous:.2f} GiB anonymous, "
            f"{resident:.2f} GiB resident, {one.get('disk', np.nan) / GIB:.1f} GiB on disk, {one['protohaloes']} "
            "protohaloes"
        )
        if repeated:
            print(f"  extrapolated to all crops and steps: {one['extrapolated_seconds']:.0f} s")
        for name in (*STAGES, "other"):
            print(
                f"  {name:14s} {one['stages'].get(name, 0):8.1f} s {one['anonymous'].get(name, 0) / GIB:6.2f} GiB",
                flush=True,
            )
    if len(results) > 1:
        plot(results, args.output_dir / "scaling.png")
    if not args.work:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
