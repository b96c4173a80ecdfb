"""``protohalos plot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import say, stored_prediction, write_pictures

HELP = "draw the pictures of a stored prediction again"
EXAMPLE = "  protohalos plot protohalos --axis x --index 32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("source", type=Path, metavar="DIR", help="folder that `protohalos find` wrote, or its cubes")
    parser.add_argument(
        "-o", "--output-dir", type=Path, metavar="DIR", help="where to write (default: beside the cubes)"
    )
    parser.add_argument("--axis", choices="xyz", default="z", help="normal of the slice (default: %(default)s)")
    parser.add_argument("--index", type=int, help="lattice plane (default: the one with most protohalo sites)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..prediction import Prediction

    path = stored_prediction(args.source)
    folder = args.output_dir or path.parent
    prediction = Prediction.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    for written in write_pictures(prediction, folder, axis=args.axis, index=args.index):
        say(f"wrote {written}")
    return 0
