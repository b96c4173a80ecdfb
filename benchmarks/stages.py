"""What the benchmarks of whole predictions share: stages, clock, memory, facts of the machine, a fresh process."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SPACING = 50 / 256
GIB = 2**30
STAGES = (
    "read", "linear field", "evolution", "channels", "position network", "groups", "semantic network",
    "instance network", "clustering", "stitching", "contact", "catalogue", "other",
)  # fmt: skip
"""In the order of a prediction; each model has some of them."""
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_PACKAGES = ("yt_protohalos", "numpy", "scipy", "numba", "keras", "tensorflow")


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


class Memory:
    """Peaks of anonymous and of resident memory by stage of a clock, in bytes, sampled twenty times a second."""

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
            time.sleep(0.05)


@contextmanager
def measured(clock: Clock) -> Iterator[dict[str, Any]]:
    """A dictionary that at the end holds what the block took: seconds, memory in bytes, and facts of the machine.

    ``others_cores`` is how many cores other programs kept busy meanwhile: times count if it is nearly zero.
    """
    # importing is not timed
    for name in (
        "catalog.catalog",
        "prediction.position_predictor",
        "prediction.evolved_channels",
        "yt_interface.load",
    ):
        import_module(f"yt_protohalos.{name}")
    memory, result = Memory(clock), {}
    busy, started, cpu = _busy_seconds(), time.perf_counter(), time.process_time()
    yield result
    seconds, used, busy = time.perf_counter() - started, time.process_time() - cpu, _busy_seconds() - busy
    result |= {
        "seconds": seconds, "cpu_seconds": used, "others_cores": max(0.0, busy - used) / seconds,
        "stages": dict(clock.wall), "cpu_stages": dict(clock.cpu),
        "anonymous": dict(memory.anonymous), "resident": dict(memory.resident),
        "peak_resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "machine": machine(),
    }  # fmt: skip


def _busy_seconds() -> float:
    """Processor seconds that all programs of the machine have taken."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """Processor, its instructions that matter to networks, cores of this process, and versions."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # another backend, or a checkout
            continue
    return {
        "processor": facts.get("model name", platform.machine()), "cores": len(os.sched_getaffinity(0)),
        "instructions": [name for name in _INSTRUCTIONS if name in facts.get("flags", "").split()],
        "versions": versions,
    }  # fmt: skip


@contextmanager
def timed_stages(predictor: Any, clock: Clock) -> Iterator[None]:
    """Put the steps of ``predictor.predict`` on the account of their stages."""
    from yt_protohalos.prediction import evolved_channels, pipeline, position_predictor
    from yt_protohalos.prediction import predictor as networks

    steps = {
        "positions": (
            (evolved_channels, "final_positions", "evolution"), (evolved_channels, "position_channels", "channels"),
            (predictor, "semantic", "position network"), (position_predictor, "group_positions", "groups"),
        ),
        "pseudo-space": (
            (networks, "evolve_field", "evolution"), (predictor, "semantic", "semantic network"),
            (predictor, "instance", "instance network"), (pipeline, "segment_core", "clustering"),
            (pipeline, "stitch", "stitching"), (pipeline, "join_in_contact", "contact"),
        ),
    }  # fmt: skip
    with ExitStack() as stack:
        for owner, name, stage in steps[predictor.card.method]:
            stack.enter_context(patch.object(owner, name, clock.timed(stage, getattr(owner, name))))
        yield


def predict_timed(predictor: Any, ics: str, clock: Clock, cosmology: Any = None, **keywords: Any) -> Any:
    """Prediction of a file of initial conditions, its catalogue included; `keywords` are for ``predictor.predict``."""
    import yt

    import yt_protohalos as ph
    from yt_protohalos.catalog.catalog import protohalo_catalog

    yt.set_log_level(50)
    with clock.stage("read"):
        dataset = ph.load(ics) if cosmology is None else ph.load(ics, cosmology=cosmology)
    with clock.stage("linear field"):
        field = ph.linear_field(dataset)
    with timed_stages(predictor, clock), clock.stage("other"):
        prediction = predictor.predict(field, progress=False, **keywords)
    with clock.stage("catalogue"):
        protohalo_catalog(prediction, field)
    return prediction


def described(predictor: Any, labels: Any) -> dict[str, Any]:
    """Which weights made a result, and what it holds."""
    return {
        "weights": predictor.card.sha256, "precision": predictor.precision, "protohaloes": int(labels.max()),
        "sites": float((labels > 0).mean()),
    }  # fmt: skip


def in_process(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Result of ``work(*arguments)``, run in a fresh process, whose peak of memory is then its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_work, args=(work, arguments, queue))
    process.start()
    while True:
        try:
            result: dict[str, Any] = queue.get(timeout=5)
            break
        except Exception as error:
            if not process.is_alive():
                raise RuntimeError(f"the run of {arguments} ended with code {process.exitcode}") from error
    process.join()
    return result


def _work(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...], queue: Any) -> None:
    queue.put(work(*arguments))


def print_run(one: dict[str, Any]) -> None:
    """A line for the whole, and one for each stage."""
    anonymous = max(one["anonymous"].values()) / GIB
    print(
        f"{one['model']}{', plain' if one.get('plain') else ''}, {one['side']}^3: {one['seconds']:.1f} s wall, "
        f"{one['cpu_seconds']:.1f} s CPU, {anonymous:.2f} GiB anonymous, {one['peak_resident'] / GIB:.2f} GiB "
        f"resident, {one['protohaloes']} protohaloes; others kept {one['others_cores']:.1f} cores busy"
    )
    for stage in STAGES:
        if stage in one["stages"]:
            used = one["anonymous"].get(stage, 0) / GIB
            print(
                f"  {stage:17s} {one['stages'][stage]:8.2f} s wall {one['cpu_stages'][stage]:8.2f} s CPU "
                f"{used:6.2f} GiB",
                flush=True,
            )
