"""``protohalos find``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_facts_options, add_prediction_options, all_ranks, load_ics, prediction_options, write_results

HELP = "find the protohalos of initial conditions: catalogue, label and probability cubes, pictures"
EXAMPLE = """  protohalos find ics_gadget.dat -o protohalos
  protohalos find music_generic.hdf5 -o out --box-size 50Mpc/h --redshift 49 --model planck-v5
  protohalos find ics_gadget.dat -o at_half --at-redshift 0.5 --model amplitude-v1     # haloes at z = 0.5
  protohalos find ics_gadget.dat -o paper --method pseudo-space --threshold 0.5        # model planck-v4
  protohalos find ics_gadget.dat -o flooded --method watershed                         # model watershed-v1
  protohalos find ics_gadget.dat -o groups --method fof                                # without a model
  mpirun -np 4 protohalos find ics_gadget.dat -o protohalos"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ics", metavar="ICS", help="file or folder of initial conditions")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    add_facts_options(parser)
    add_prediction_options(parser)


def run(args: argparse.Namespace) -> None:
    with all_ranks(args):
        write_results(load_ics(args), args.output_dir, prediction_options(args), progress=not args.quiet)
