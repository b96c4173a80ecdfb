"""``protohalos label``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..exceptions import InitialConditionsError
from ..training.members import HALOES, OBJECTS
from .common import add_facts_options, load_ics, say, set_log_level

HELP = "make a training run of your own simulation: initial conditions, and its final snapshot or halo catalogue"
EXAMPLE = """  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z0.hdf5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --catalog fof_members.h5 -o runs/mine.h5
  protohalos label --ics ics_gadget.hdf5 --catalog halos_0.0.bin --parents parents.list -o runs/rockstar.h5
  protohalos label --ics ics_gadget.hdf5 --catalog fof_subhalo_tab_010.hdf5 --snapshot snapshot_010.hdf5 \\
      --objects subhaloes -o runs/subfind.h5
  protohalos label --ics ics_gadget.hdf5 --snapshot snapshot_z05.hdf5 --at-redshift 0.5 -o runs/mine_z0.5.h5
  protohalos train semantic --runs runs/mine.h5 -o training/semantic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ics", required=True, type=Path, metavar="ICS", help="initial conditions")
    parser.add_argument(
        "--snapshot", type=Path, metavar="FILE",
        help="final snapshot with particle IDs, whose friends-of-friends groups become the labels",
    )  # fmt: skip
    parser.add_argument(
        "--catalog", type=Path, metavar="FILE",
        help="instead: a halo catalogue with members, of Rockstar (halos_0.0.bin, .particles), AHF (.AHF_particles), "
        "HBT+ (SubSnap), yt, or HDF5 lists; with --snapshot: of SOAP, or Gadget-4 and AREPO with SUBFIND",
    )  # fmt: skip
    parser.add_argument(
        "--objects", choices=OBJECTS, default=HALOES,
        help="what becomes a label: each halo with all its subhaloes (default), or each halo and subhalo on its own",
    )  # fmt: skip
    parser.add_argument(
        "--parents", type=Path, metavar="FILE",
        help="table that says which halo lies in which: of Rockstar's find_parents, or .AHF_halos if it lies elsewhere",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="RUN", help="run file to write")
    add_facts_options(parser)
    parser.add_argument(
        "--at-redshift", type=float, metavar="Z", help="of the haloes (default: 0); must agree with the snapshot"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def run(args: argparse.Namespace) -> None:
    from ..training.halo_labels import label_run

    set_log_level(args)
    if args.snapshot is None and args.catalog is None:
        raise InitialConditionsError("haloes are needed; give --snapshot FILE, --catalog FILE or both")
    run = label_run(
        load_ics(args), snapshot=args.snapshot, catalog=args.catalog, output=args.output, redshift=args.at_redshift,
        objects=args.objects, parents=args.parents,
    )  # fmt: skip
    then = f" at z = {run.field.target_redshift:g}" if run.field.target_redshift else ""
    say(f"wrote {args.output}: {len(run.centres) - 1} haloes{then} hold {1 - run.outside_fraction:.1%} of the sites")
