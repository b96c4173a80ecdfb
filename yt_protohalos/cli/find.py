"""``protohalos find``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import (
    USER_ERROR,
    add_facts_options,
    add_prediction_options,
    fail,
    load_ics,
    prediction_options,
    set_log_level,
    write_results,
)

HELP = "find the protohalos of initial conditions: catalogue, label and probability cubes, pictures"
EXAMPLE = """  protohalos find ics_gadget.dat -o protohalos
  protohalos find music_generic.hdf5 -o out --box-size 50 --redshift 49 --model planck-v4 --threshold 0.5
  protohalos find ics_gadget.dat -o at_half --at-redshift 0.5 --model amplitude-v1     # haloes at z = 0.5
  protohalos find ics_gadget.dat -o flooded --method watershed                         # model watershed-v1
  mpirun -np 4 protohalos find ics_gadget.dat -o protohalos"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("ics", metavar="ICS", help="file or folder of initial conditions")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    add_facts_options(parser)
    add_prediction_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..yt_interface.mpi import start_ranks, stop_ranks

    shared = start_ranks()
    set_log_level(args)
    try:
        write_results(load_ics(args), args.output_dir, prediction_options(args), progress=not args.quiet)
    except Exception as error:
        if not shared:
            raise
        fail(str(error))
        stop_ranks(USER_ERROR)
    return 0
