"""``protohalos zoom``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import say

HELP = "write the Lagrangian region of one protohalo as the point file that MUSIC's zooms read"
EXAMPLE = """  protohalos zoom protohalos --halo 0 -o points.txt
  protohalos zoom protohalos/protohalos.0.h5 --halo 3 -o points.txt --padding 0.5Mpc/h --levels 2"""

_TITLES = {"region": "sites themselves", "convex_hull": "convex hull", "ellipsoid": "ellipsoid"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "catalog", type=Path, metavar="CATALOG", help="folder that `protohalos find` wrote, its catalogue or prediction"
    )
    parser.add_argument("--halo", type=int, required=True, metavar="ID", help="identifier in the catalogue, from 0")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="point file to write")
    parser.add_argument(
        "--padding", default="2sites", metavar="DISTANCE",
        help="refine sites at this distance from a member too: 3 or 3sites, or 0.5Mpc/h (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--levels", type=int, default=1, help="finer levels whose particles are counted (default: 1)")


def run(args: argparse.Namespace) -> None:
    from .._utils.files import check_writable
    from ..catalog.zoom import SHAPES, zoom_region
    from ..exceptions import RegionError

    check_writable(args.output.parent)
    if args.output.is_dir():
        raise RegionError(f"{args.output} is a folder; give the point file a name in it, e.g. points.txt")
    region = zoom_region(args.catalog, args.halo, args.padding)
    particles = region.particles(args.levels)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    region.write(args.output)
    say(f"{region}")
    for name, title in _TITLES.items():
        say(f"  {title}: {region.enclosed[name]} sites, {particles[name]} particles {args.levels} levels finer")
    say(f"wrote {args.output}")
    for i, shape in enumerate(SHAPES):
        say(f"\n# {'instead' if i else 'for the configuration file of MUSIC'}: {_TITLES[shape]}")
        say(region.music_lines(args.output, shape))
