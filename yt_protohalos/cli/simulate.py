"""``protohalos simulate``."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import InitialConditionsError
from ..fields.cosmology import PAPER_COSMOLOGY
from .common import say

if TYPE_CHECKING:
    from ..training.simulation import SimulationSettings

HELP = "make training runs: initial conditions by seed, N-body, FoF labels on the initial lattice"
EXAMPLE = """  protohalos simulate --seeds 101-104 900 -o runs --n 192 --box-size 37.5 --mesh 512
  protohalos simulate --seeds 901 --fine-seeds 1 2 -o runs     # a baseline pair: run_0901_fine_0001.h5, ..._0002.h5
  protohalos simulate --seeds 901 --redshifts 0.5 0 -o runs    # two outputs: run_0901_z0.5.h5, run_0901.h5
  protohalos simulate --seeds 5 --box-size 50 --omega-m 0.25 --sigma-8 0.9 -o runs
  protohalos simulate --hypercube 64 --seed 7 -o runs --n 96 --mesh 256     # run_0007.h5 to run_0070.h5"""


BOX_SIZE = 37.5
COSMOLOGY = {
    "omega_m": "matter density over critical density; the universe is flat",
    "omega_b": "of baryons",
    "h": "Hubble constant in 100 km/s/Mpc",
    "n_s": "spectral index",
    "sigma_8": "linear rms overdensity in spheres of 8 Mpc/h at z = 0",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", nargs="+", metavar="SEED", help="seeds, or ranges such as 101-104")
    which.add_argument(
        "--hypercube", type=int, metavar="N",
        help="N runs of box sides from 10 to 400 Mpc/h and the cosmologies of the Quijote hypercube, instead of "
        "--box-size and one cosmology",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, help="with --hypercube: of the hypercube and its first run, later ones count on"
    )
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where run files go")
    parser.add_argument("--n", type=int, default=192, help="particles per side (default: %(default)s)")
    parser.add_argument(
        "--box-size", metavar="LENGTH", help=f"comoving, with a unit or in Mpc/h (default: {BOX_SIZE:g})"
    )
    parser.add_argument("--mesh", type=int, default=512, help="force mesh cells per side (default: %(default)s)")
    parser.add_argument("--courant-factor", type=float, default=3.0, help="cells per step (default: %(default)s)")
    for name, what in COSMOLOGY.items():
        flag, default = f"--{name.replace('_', '-')}", getattr(PAPER_COSMOLOGY, name)
        parser.add_argument(flag, type=float, metavar="VALUE", help=f"{what} (default: {default:g})")
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
    from ..training.simulation import simulate

    fine_seeds: list[int | None] = [*parse_seeds(args.fine_seeds)] or [None]
    for (seed, settings), fine_seed in itertools.product(chosen_runs(args), fine_seeds):
        name = f"run_{seed:04d}" if fine_seed is None else f"run_{seed:04d}_fine_{fine_seed:04d}"

        def report(step: int, scale_factor: float, name: str = name) -> None:
            if not args.quiet and step % 10 == 0:
                say(f"{name}: step {step}, scale factor {scale_factor:.3f}")

        path = args.output_dir / f"{name}.h5"
        options: dict[str, Any] = {"fine_seed": fine_seed, "keep_positions": args.keep_positions}
        for written in simulate(seed, settings, path, args.redshifts, report, **options):
            say(f"wrote {written}")


def chosen_runs(args: argparse.Namespace) -> list[tuple[int, SimulationSettings]]:
    """Seed and settings of each run; `InitialConditionsError` for options that contradict each other."""
    from ..training.hypercube import hypercube
    from ..training.simulation import SimulationSettings

    given = {name: getattr(args, name) for name in COSMOLOGY if getattr(args, name) is not None}
    if (args.hypercube is None) != (args.seed is None):
        raise InitialConditionsError("--hypercube and --seed go together: use e.g. --hypercube 64 --seed 7")
    if args.hypercube is not None and (given or args.box_size is not None):
        names = [f"--{name.replace('_', '-')}" for name in given] + ["--box-size"] * (args.box_size is not None)
        raise InitialConditionsError(f"--hypercube draws box sides and cosmologies; leave out {', '.join(names)}")
    cosmology = replace(PAPER_COSMOLOGY, **given)
    if "omega_m" in given:
        cosmology = replace(cosmology, omega_lambda=1 - cosmology.omega_m)
    settings = SimulationSettings(
        args.n, args.box_size or BOX_SIZE, args.mesh, courant_factor=args.courant_factor, cosmology=cosmology
    )
    if args.hypercube is None:
        return [(seed, settings) for seed in parse_seeds(args.seeds)]
    return list(enumerate(hypercube(args.hypercube, args.seed, settings), start=args.seed))


def parse_seeds(words: list[str]) -> list[int]:
    """Seeds of words such as ``7`` and ``101-104``; `InitialConditionsError` for anything else."""
    seeds: list[int] = []
    for word in words:
        first, _, last = word.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
            raise InitialConditionsError(f"seed {word!r} is neither a number nor a rising range; use e.g. 7 or 101-104")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds
