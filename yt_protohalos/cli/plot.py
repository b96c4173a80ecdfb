"""``protohalos plot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_ics_options, add_source, load_ics, say, set_log_level, stored_prediction

HELP = "draw the pictures of a stored prediction again"
EXAMPLE = """  protohalos plot protohalos --axis x --index 32 --ics ics_gadget.dat --protohalo 3
  protohalos plot protohalos --labels halo_labels.h5 -o pictures"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("-o", "--output-dir", type=Path, metavar="DIR", help="default: beside the cubes")
    parser.add_argument("--axis", choices="xyz", default="z", help="normal of the slice (default: %(default)s)")
    parser.add_argument("--index", type=int, help="lattice plane (default: the one with most protohalo sites)")
    parser.add_argument("--protohalo", type=int, metavar="ID", help="draw this one in 3-D too, in protohalo_ID.png")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="halo labels, as `validate` takes them, to draw the errors by site"
    )
    add_ics_options(parser, required=False, why="the overdensity and the contours of the potential come from them")


def run(args: argparse.Namespace) -> None:
    from ..analysis.pictures import write_pictures
    from ..prediction.result import Prediction

    path = stored_prediction(args.source)
    folder = args.output_dir or path.parent
    prediction = Prediction.load(path)
    field = truth = None
    if args.ics is not None:
        from ..yt_interface.linear import linear_field

        set_log_level(args)
        field = linear_field(load_ics(args)).at_redshift(prediction.target_redshift)
        prediction.check_field(field)
    if args.labels is not None:
        from ..training.halo_catalogs import read_labels

        truth = read_labels(args.labels)
    folder.mkdir(parents=True, exist_ok=True)
    for written in write_pictures(prediction, folder, field, args.axis, args.index, truth, args.protohalo):
        say(f"wrote {written}")
