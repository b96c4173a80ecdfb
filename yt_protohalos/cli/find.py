"""``protohalos find``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import USER_ERROR, add_prediction_options, fail, prediction_options, set_log_level, write_results

HELP = "find the protohalos of initial conditions: catalogue, label and probability cubes, pictures"
EXAMPLE = """  protohalos find ics_gadget.dat -o protohalos
  protohalos find music_generic.hdf5 -o out --box-size 50 --redshift 49 --model planck-v4 --threshold 0.5
  protohalos find ics_gadget.dat -o at_half --at-redshift 0.5 --model amplitude-v1     # haloes at z = 0.5
  mpirun -np 4 protohalos find ics_gadget.dat -o protohalos"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("ics", metavar="ICS", help="file or folder of initial conditions")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--box-size", type=float, help="comoving Mpc/h, for formats that do not say it")
    parser.add_argument(
        "--redshift", type=float,
        help="of the initial conditions, for formats that do not say it; not that of the haloes: see --at-redshift",
    )  # fmt: skip
    add_prediction_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..surface.load import load
    from ..surface.parallel import start_ranks, stop_ranks

    shared = start_ranks()
    set_log_level(args)
    facts = {"box_size": args.box_size, "redshift": args.redshift}
    try:
        ds = load(args.ics, **{name: value for name, value in facts.items() if value is not None})
        write_results(ds, args.output_dir, prediction_options(args), progress=not args.quiet)
    except Exception as error:
        if not shared:
            raise
        fail(str(error))
        stop_ranks(USER_ERROR)
    return 0
