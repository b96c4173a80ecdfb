"""``protohalos label``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_facts_options, load_ics, say, set_log_level

HELP = "make a training run of your own simulation: initial conditions and its final snapshot or FoF catalogue"
EXAMPLE = """  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z0.hdf5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --catalog fof_members.h5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z05.hdf5 --at-redshift 0.5 -o runs/mine_z0.5.h5
  protohalos train semantic --runs runs/mine.h5 -o training/semantic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ics", required=True, type=Path, metavar="ICS", help="initial conditions")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--snapshot", type=Path, metavar="FILE", help="final snapshot with particle IDs")
    source.add_argument("--catalog", type=Path, metavar="FILE", help="HDF5 friends-of-friends catalogue with members")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="RUN", help="run file to write")
    add_facts_options(parser)
    parser.add_argument(
        "--at-redshift", type=float, metavar="Z", help="of the haloes (default: 0); must agree with the snapshot"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def run(args: argparse.Namespace) -> None:
    from ..training.halo_labels import label_run

    set_log_level(args)
    run = label_run(
        load_ics(args), snapshot=args.snapshot, catalog=args.catalog, output=args.output, redshift=args.at_redshift
    )
    then = f" at z = {run.field.target_redshift:g}" if run.field.target_redshift else ""
    say(f"wrote {args.output}: {len(run.centres) - 1} haloes{then} hold {1 - run.outside_fraction:.1%} of the sites")
