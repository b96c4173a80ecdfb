"""``protohalos simulate``."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY
from .common import say

HELP = "make training runs: initial conditions by seed, N-body, FoF labels on the initial lattice"
EXAMPLE = """  protohalos simulate --seeds 101-104 900 -o runs --n 192 --box-size 37.5 --mesh 512
  protohalos simulate --seeds 901 --fine-seeds 1 2 -o runs     # a baseline pair: run_0901_fine_0001.h5, ..._0002.h5
  protohalos simulate --seeds 901 --redshifts 0.5 0 -o runs    # two outputs: run_0901_z0.5.h5, run_0901.h5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", nargs="+", required=True, metavar="SEED", help="seeds, or ranges such as 101-104")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where run files go")
    parser.add_argument("--n", type=int, default=192, help="particles per side (default: %(default)s)")
    parser.add_argument(
        "--box-size", metavar="LENGTH", default="37.5Mpc/h", help="comoving, with a unit or in Mpc/h (default: 37.5)"
    )
    parser.add_argument("--mesh", type=int, default=512, help="force mesh cells per side (default: %(default)s)")
    parser.add_argument("--courant-factor", type=float, default=3.0, help="cells per step (default: %(default)s)")
    sigma_8 = PAPER_COSMOLOGY.sigma_8
    parser.add_argument("--sigma-8", type=float, default=sigma_8, help="of the linear power (default: %(default)s)")
    parser.add_argument(
        "--fine-seeds", nargs="+", metavar="SEED", default=[],
        help="run each seed once for each of these, which draw the modes below the lattice: a baseline pair takes two",
    )  # fmt: skip
    parser.add_argument(
        "--redshifts", nargs="+", type=float, default=[0.0], metavar="Z", help="outputs, a file each (default: 0)"
    )
    parser.add_argument(
        "--keep-positions", action="store_true", help="store the final positions of all particles too, 12 bytes each"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no lines of progress")


def run(args: argparse.Namespace) -> None:
    from ..training.simulation import SimulationSettings, simulate

    cosmology = replace(PAPER_COSMOLOGY, sigma_8=args.sigma_8)
    settings = SimulationSettings(
        args.n, args.box_size, args.mesh, courant_factor=args.courant_factor, cosmology=cosmology
    )
    fine_seeds: list[int | None] = [*parse_seeds(args.fine_seeds)] or [None]
    for seed, fine_seed in itertools.product(parse_seeds(args.seeds), fine_seeds):
        name = f"run_{seed:04d}" if fine_seed is None else f"run_{seed:04d}_fine_{fine_seed:04d}"

        def report(step: int, scale_factor: float, name: str = name) -> None:
            if not args.quiet and step % 10 == 0:
                say(f"{name}: step {step}, scale factor {scale_factor:.3f}")

        path = args.output_dir / f"{name}.h5"
        options: dict[str, Any] = {"fine_seed": fine_seed, "keep_positions": args.keep_positions}
        for written in simulate(seed, settings, path, args.redshifts, report, **options):
            say(f"wrote {written}")


def parse_seeds(words: list[str]) -> list[int]:
    """Seeds of words such as ``7`` and ``101-104``; `InitialConditionsError` for anything else."""
    seeds: list[int] = []
    for word in words:
        first, _, last = word.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
            raise InitialConditionsError(f"seed {word!r} is neither a number nor a rising range; use e.g. 7 or 101-104")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds
