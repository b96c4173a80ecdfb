"""Kill predictions at random moments, resume them, and compare with one that was left alone, bit for bit.

Run as ``python tests/support/kill_loop.py --kills 50 --seed 1 --method positions``. Each run is ``protohalos find`` in
a process of its own, with analytic networks in place of trained ones; everything else is the package's: readers,
evolved field, store, groups or stitching, cubes, pictures, catalogue. After each kill every file under a final name
must be whole.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import matplotlib
import numpy as np
import yt
from position_standins import STANDINS, Groups, position_card
from standins import SPACING, StandIns, make_card, make_network

import yt_protohalos as ph
from yt_protohalos import cli
from yt_protohalos.models.channels import EVOLVED_SEMANTIC
from yt_protohalos.models.registry import file_sha256, load_card, write_card
from yt_protohalos.prediction.position_predictor import PositionPredictor
from yt_protohalos.prediction.predictor import ProtohaloPredictor

N = 24
UNFINISHED = ("probability.npy", "labels_a.npy", "labels_b.npy", "evolving_", "in_group.npy", "displacement_")
"""Arrays that are mapped and filled, and that no later start takes for finished."""


def write_model(folder: Path, method: str = "pseudo-space") -> Path:
    """Model whose networks see the evolved field, with weights of nonsense."""
    folder.mkdir()
    networks = {}
    if method == "positions":
        card = position_card(name="killed")
        weights = folder / card.semantic.weights
        weights.write_bytes(b"positions")
        write_card(replace(card, semantic=replace(card.semantic, sha256=file_sha256(weights))), folder)
        return folder
    for head in ("semantic", "instance"):
        weights = folder / f"{head}.weights.h5"
        weights.write_bytes(head.encode())
        networks[head] = make_network(head, sha256=file_sha256(weights))
    semantic = networks["semantic"]
    architecture = {**semantic.architecture, "in_channels": len(EVOLVED_SEMANTIC)}
    networks["semantic"] = replace(semantic, architecture=architecture, channels=EVOLVED_SEMANTIC)
    write_card(make_card(name="killed", **networks), folder)
    return folder


def standin_predictor(name: str | Path, precision: str = "auto") -> ProtohaloPredictor:
    """In place of `ProtohaloPredictor.from_pretrained`."""
    card, _ = load_card(name)
    if card.predicts_positions:
        return PositionPredictor(card, Groups(), None)
    networks = StandIns(card.semantic.margin)
    return ProtohaloPredictor(card, networks.semantic, networks.instance)


def find(ics: Path, model: Path, folder: Path) -> int:
    """``protohalos find`` into ``folder/out`` with the cache ``folder/cache``."""
    options = ["--model", model, "--cache", folder / "cache", "--quiet", "--on-range", "allow"]
    return cli.main(["find", str(ics), "-o", str(folder / "out"), *map(str, options)])


def _child(connection: Any, ics: Path, model: Path, folder: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(folder / "errors.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    status = find(ics, model, folder)
    connection.send(status)
    connection.close()
    os._exit(0)


def run_apart(ics: Path, model: Path, folder: Path, kill_after: float | None = None) -> bool:
    """Run in a forked process, and kill it after some seconds unless it has ended; returns whether it ended.

    Raises
    ------
    AssertionError
        It ended, but not well.
    """
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, ics, model, folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, on Python 3.12
        child.start()
    theirs.close()
    ended = ours.poll(kill_after)
    if not ended:
        os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]
    status = None
    if ended:
        try:
            status = ours.recv()
        except EOFError:
            status = f"no answer, exit code {child.exitcode}"
    child.join()
    ours.close()
    if ended and status != 0:
        raise AssertionError(f"a run ended with {status}: {(folder / 'errors.txt').read_text()[-2000:]}")
    return ended


def check_whole(folder: Path) -> int:
    """Raise unless every file under a final name can be read whole; returns the number of finished crops."""
    crops = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith(".partial") or path.name.startswith(UNFINISHED):
            continue
        if path.suffix == ".npy":
            crops += np.load(path, allow_pickle=False).size > 0
        elif path.suffix == ".h5" and (path.name == "prediction.h5" or path.parent.name == "cache"):
            ph.Prediction.load(path)
        elif path.suffix == ".h5":
            with h5py.File(path, "r") as file:
                file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        elif path.suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise AssertionError(f"{path} is half a picture")
        elif path.suffix == ".json":
            json.loads(path.read_text())
    return crops


def digests(folder: Path) -> dict[str, str]:
    """What the files of an output folder hold: bytes of pictures, arrays and attributes of HDF5 files."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".partial"):
            continue
        if path.suffix == ".png":
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            continue
        with h5py.File(path, "r") as file:
            names: list[str] = []
            file.visit(names.append)
            for name in names:
                if isinstance(file[name], h5py.Dataset):
                    value = file[name][()]
                    data = value if isinstance(value, bytes) else np.asarray(value).tobytes()
                    found[f"{path.name}/{name}"] = hashlib.sha256(data).hexdigest()
            for name, value in file.attrs.items():
                found[f"{path.name}@{name}"] = repr(value)
    return found


def loop(
    kills: int, seed: int, folder: Path, report: Any = lambda line: None, method: str = "pseudo-space"
) -> dict[str, int]:
    """Kill `kills` runs at random moments of their work; counts of what happened.

    Raises
    ------
    AssertionError
        A resumed run failed, differs from the reference, or left half a file.
    """
    matplotlib.use("Agg")
    yt.set_log_level(50)
    ProtohaloPredictor.from_pretrained = staticmethod(standin_predictor)  # type: ignore[method-assign,assignment]
    model, ics = write_model(folder / "model", method), folder / "ics.hdf5"
    ph.generate_initial_conditions(N, N * SPACING, seed=3, filename=ics)
    start = time.monotonic()
    run_apart(ics, model, folder / "reference")
    seconds = time.monotonic() - start
    reference = digests(folder / "reference" / "out")
    report(f"uninterrupted: {seconds:.1f} s, {len(reference)} arrays, attributes and pictures")
    rng = np.random.default_rng(seed)
    counts = {"kills": 0, "finished": 0, "kills with finished crops": 0, "kills with a finished prediction": 0}
    work = folder / "run0"
    while True:
        last = counts["kills"] == kills
        moment = None if last else float(rng.uniform(0, seconds))
        fresh, start = not work.exists(), time.monotonic()
        ended = run_apart(ics, model, work, moment)
        if ended and fresh:  # how long a run takes changes with what else the machine does
            seconds = time.monotonic() - start
        crops = check_whole(work)
        if not ended:
            counts["kills"] += 1
            counts["kills with finished crops"] += crops > 0
            counts["kills with a finished prediction"] += any((work / "cache").glob("*.h5"))
            kept = "prediction kept" if any((work / "cache").glob("*.h5")) else f"{crops} arrays finished"
            report(f"kill {counts['kills']} after {moment:.2f} s: {kept}")
            continue
        differ = {name for name, value in digests(work / "out").items() if reference.get(name) != value}
        if differ or digests(work / "out").keys() != reference.keys():
            raise AssertionError(f"a resumed run differs in {sorted(differ)[:10]}")
        counts["finished"] += 1
        if last:
            return counts
        work = folder / f"run{counts['finished']}"


def main() -> int:
    """Run the loop and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--method", choices=STANDINS, default="positions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = loop(arguments.kills, arguments.seed, Path(folder), partial(print, flush=True), arguments.method)
    print(", ".join(f"{value} {name}" for name, value in counts.items()))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
