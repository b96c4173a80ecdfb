"""``protohalos catalog``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..catalog.frames import EULERIAN, FRAMES
from .common import add_ics_options, add_source, load_ics, say, set_log_level, stored_prediction, table

HELP = "write the catalogue of a stored prediction again, without running any network"
EXAMPLE = """  protohalos catalog protohalos --ics ics_gadget.dat
  protohalos catalog protohalos --ics ics_gadget.dat --frame lagrangian"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("-o", "--output-dir", type=Path, metavar="DIR", help="default: beside the cubes")
    parser.add_argument(
        "--frame", choices=FRAMES, default=EULERIAN,
        help="of the positions: haloes at their redshift, or regions in the initial conditions (default: %(default)s)",
    )  # fmt: skip
    add_ics_options(parser, required=True, why="positions, velocities, tides, spins and particle IDs come from them")


def run(args: argparse.Namespace) -> None:
    from ..catalog.catalog import protohalo_catalog
    from ..prediction.result import Prediction
    from ..yt_interface.finder import rebuild_catalog

    set_log_level(args)
    path = stored_prediction(args.source)
    prediction = Prediction.load(path)
    written = rebuild_catalog(load_ics(args), prediction, args.output_dir or path.parent, frame=args.frame)
    say(table(protohalo_catalog(prediction)))
    say(f"wrote {written.filename}")
