"""Damage small valid files of every format and read them: each is refused by name, or gives a finite field.

Run as ``python tests/support/fuzz_readers.py --count 300 --format all --seed 1``. Every file is read in a process of
its own with limits on time and memory, so that a crash or a hang is counted like any other failure.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import yt
from initial_files import (
    REDSHIFT,
    Particles,
    realisation,
    write_enzo,
    write_gadget2,
    write_grafic,
    write_monofonic,
    write_music,
    write_tipsy,
)

from yt_protohalos.exceptions import ProtohaloError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load

SIDE = 16
SECONDS = 20.0
"""Processor time allowed a file; the valid ones take under one second."""
MEMORY = 1 << 29
"""Bytes a reading may take beyond what the process already holds; the files have under half a megabyte."""
FORMATS = ("gadget1", "gadget2", "hdf5", "swift", "tipsy", "enzo", "music", "monofonic", "grafic")
NEEDS_FACTS = ("tipsy", "enzo", "music", "monofonic")


@dataclass(frozen=True)
class Outcome:
    """What reading one file came to: "field", "refused", or what went wrong; and the details."""

    kind: str
    detail: str = ""
    cause: str = ""


def write_valid(name: str, folder: Path, particles: Particles) -> Path:
    """Write one small file or folder of a format, and return what to load."""
    path = folder / f"ics_{name}"
    lattice = particles.field.lattice
    arrays = particles.positions, particles.velocities, lattice, PAPER_COSMOLOGY, REDSHIFT
    if name in ("gadget1", "gadget2"):
        return write_gadget2(path, particles, file_format=int(name[-1]))
    if name == "hdf5":
        return write_gadget_hdf5(path.with_suffix(".hdf5"), *arrays)
    if name == "swift":
        return write_swift(path.with_suffix(".hdf5"), particles)
    if name == "enzo":
        return write_enzo(path, particles)
    writer: Callable = {
        "tipsy": write_tipsy,
        "music": write_music,
        "monofonic": write_monofonic,
        "grafic": write_grafic,
    }[name]
    return writer(path, particles)


def write_swift(path: Path, particles: Particles) -> Path:
    """SWIFT as MUSIC writes it: lengths in Mpc and masses in 1e10 Msun, without h, and a Units group."""
    h = PAPER_COSMOLOGY.h
    write_gadget_hdf5(
        path, particles.positions / np.float32(h), particles.velocities, particles.field.lattice, PAPER_COSMOLOGY,
        REDSHIFT,
    )  # fmt: skip
    with h5py.File(path, "a") as file:
        header = file["Header"].attrs
        header["BoxSize"] = header["BoxSize"] / h
        header["MassTable"] = header["MassTable"] / h
        # SWIFT keeps peculiar velocities as they are
        file["PartType1/Velocities"][...] = particles.velocities
        centimetres, grams = 3.08567758149e24, 1.98841e43
        file.create_group("Units").attrs.update(
            {
                "Unit length in cgs (U_L)": centimetres,
                "Unit mass in cgs (U_M)": grams,
                "Unit time in cgs (U_t)": centimetres / 1e5,
            }
        )
    return path


def facts(name: str, particles: Particles) -> dict:
    """Keywords of `load` for the formats that need them."""
    if name not in NEEDS_FACTS:
        return {}
    known = {"box_size": particles.field.box_size, "cosmology": PAPER_COSMOLOGY}
    return known if name in ("tipsy", "enzo") else {**known, "redshift": REDSHIFT}


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """One kind of damage, by name, and the damaged bytes."""
    raw, size = np.frombuffer(data, dtype=np.uint8).copy(), len(data)
    kind = str(rng.choice(["flip", "head flip", "head bytes", "truncate", "swap", "splice", "zero", "ones", "insert"]))
    a, b = (int(each) for each in np.sort(rng.integers(0, size, 2)))
    if kind in ("flip", "head flip"):
        reach = size if kind == "flip" else min(size, 4096)
        at = rng.integers(0, reach, int(rng.integers(1, 40)))
        raw[at] ^= (1 << rng.integers(0, 8, at.size)).astype(np.uint8)
    elif kind == "head bytes":
        at = rng.integers(0, min(size, 512), int(rng.integers(1, 8)))
        raw[at] = rng.choice(np.array([0, 1, 127, 128, 255], dtype=np.uint8), at.size)
    elif kind == "truncate":
        raw = raw[:a]
    elif kind == "swap":
        length = int(rng.integers(1, max(2, min(4096, size - b))))
        first, second = raw[a : a + length].copy(), raw[b : b + length].copy()
        raw[a : a + len(second)], raw[b : b + len(second)] = second, first[: len(second)]
    elif kind == "splice":
        piece = np.frombuffer(other, dtype=np.uint8)[a:b]
        raw[a : a + piece.size] = piece
    elif kind in ("zero", "ones"):
        raw[a : min(b, a + 4096)] = 0 if kind == "zero" else 255
    else:
        raw = np.insert(raw, a, rng.integers(0, 256, int(rng.integers(1, 64)), dtype=np.uint8))
    return kind, raw.tobytes()


def damage_copy(valid: Path, target: Path, others: list[bytes], rng: np.random.Generator) -> tuple[Path, str]:
    """A copy of a valid file, or of a folder, with one file damaged; and what was done to it."""
    if valid.is_file():
        kind, data = damaged(valid.read_bytes(), others[rng.integers(len(others))], rng)
        target.write_bytes(data)
        return target, kind
    shutil.copytree(valid, target)
    # the file that everything hangs on is hit as often as all others
    files = sorted(each for each in target.iterdir() if each.is_file())
    first = [each for each in files if each.name in ("ic_deltab", "ParticleDisplacements_x")]
    hit = first[0] if first and rng.random() < 0.5 else files[rng.integers(len(files))]
    kind, data = damaged(hit.read_bytes(), others[rng.integers(len(others))], rng)
    hit.write_bytes(data)
    return target, f"{kind} of {hit.name}"


def read_outcome(path: Path, keywords: dict, truth: Particles) -> Outcome:
    """Read one file here and now."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            field = linear_field(load(path, **keywords))
    except ProtohaloError as error:
        cause = error.__cause__
        return Outcome("refused", f"{type(error).__name__}: {error}", "" if cause is None else type(cause).__name__)
    except BaseException as error:
        return Outcome("unexpected", f"{type(error).__name__}: {error}"[:300])
    if not (np.all(np.isfinite(field.delta)) and np.all(np.isfinite(field.phi))):
        return Outcome("unexpected", "a field that is not finite")
    return Outcome("field", "; ".join(_changes(field, truth.field)))


def _changes(field: object, truth: object) -> list[str]:
    """What an accepted file says otherwise than the undamaged one."""
    found = []
    for name in ("n", "box_size", "redshift"):
        value, wanted = getattr(field, name), getattr(truth, name)
        if abs(value / wanted - 1) > 1e-4:
            found.append(f"{name} {value:g}")
    for name in ("h", "omega_m", "omega_lambda"):
        value, wanted = getattr(field.cosmology, name), getattr(truth.cosmology, name)
        if abs(value / wanted - 1) > 1e-4:
            found.append(f"{name} {value:g}")
    if field.n == truth.n:
        difference = np.sqrt(np.mean((field.delta - truth.delta) ** 2)) / truth.delta.std()
        if difference > 0.1:
            found.append(f"delta by {difference:.2g} rms")
    return found


def _read_in_child(connection, path: Path, keywords: dict, truth: Particles) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 1))
    outcome = read_outcome(path, keywords, truth)
    connection.send((outcome.kind, outcome.detail, outcome.cause))
    connection.close()
    os._exit(0)


def read_apart(path: Path, keywords: dict, truth: Particles) -> tuple[Outcome, float]:
    """Read one file in a forked process; a crash, a hang or a lack of memory is an outcome."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_read_in_child, args=(theirs, path, keywords, truth))
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, on Python 3.12
        child.start()
    theirs.close()
    outcome = Outcome("unexpected", "no answer in 10 times the limit")
    if ours.poll(10 * SECONDS):
        try:
            outcome = Outcome(*ours.recv())
        except EOFError:
            child.join()
            outcome = Outcome("unexpected", f"the process died ({child.exitcode})")
    else:
        child.kill()
    child.join()
    ours.close()
    return outcome, time.monotonic() - start


def fuzz(name: str, count: int, seed: int, folder: Path, keep: Path | None = None) -> list[tuple[str, Outcome, float]]:
    """Damage and read `count` files of one format: (damage, outcome, seconds) of each."""
    particles = realisation(SIDE)
    originals = folder / "valid"
    originals.mkdir(exist_ok=True)
    valid = {each: write_valid(each, originals, particles) for each in FORMATS}
    others = [path.read_bytes() for path in valid.values() if path.is_file()]
    # read here, so that the forked processes find everything imported
    sound = read_outcome(valid[name], facts(name, particles), particles)
    if sound != Outcome("field"):
        raise AssertionError(f"the undamaged {name} file gives {sound}")
    found = []
    for index in range(count):
        rng = np.random.default_rng([seed, FORMATS.index(name), index])
        path, kind = damage_copy(valid[name], folder / f"{name}_{index}{valid[name].suffix}", others, rng)
        outcome, seconds = read_apart(path, facts(name, particles), particles)
        if outcome.kind == "unexpected" and keep is not None:
            shutil.move(path, keep / path.name)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        found.append((kind, outcome, seconds))
    return found


def report(line: str) -> None:
    """Write one line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz the formats asked for, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="files a format (default 300)")
    parser.add_argument("--format", default="all", choices=("all", *FORMATS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that make trouble")
    parser.add_argument("--report", type=Path, help="JSON file of every outcome")
    arguments = parser.parse_args()
    yt.set_log_level(50)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    names = FORMATS if arguments.format == "all" else (arguments.format,)
    everything, bad = {}, 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = fuzz(name, arguments.count, arguments.seed, Path(folder), arguments.keep)
        everything[name] = [(kind, vars(outcome), seconds) for kind, outcome, seconds in found]
        kinds = collections.Counter(outcome.kind for _, outcome, _ in found)
        changed = sum(outcome.kind == "field" and bool(outcome.detail) for _, outcome, _ in found)
        bad += kinds["unexpected"]
        report(
            f"{name}: {len(found)} files, {kinds['refused']} refused, {kinds['field']} read ({changed} of them "
            f"otherwise than undamaged), {kinds['unexpected']} unexpected; slowest {max(s for *_, s in found):.1f} s"
        )
        troubles = collections.Counter(o.detail for _, o, _ in found if o.kind == "unexpected")
        for detail, times in troubles.most_common(10):
            report(f"    {times} x {detail}")
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(everything, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
