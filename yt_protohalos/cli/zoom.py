"""``protohalos zoom``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .common import say

if TYPE_CHECKING:
    from ..catalog.zoom import ZoomRegion

HELP = "write the Lagrangian region of one protohalo for a zoom with MUSIC or genetIC, or as a mask"
EXAMPLE = """  protohalos zoom protohalos --halo 0 -o points.txt
  protohalos zoom protohalos --halo 0 -o points.txt --contain 99% --confidence 90% --conf box.conf --levels 2
  protohalos zoom protohalos/protohalos.0.h5 --halo 3 -o points.txt --shape ellipsoid --padding 0.5Mpc/h
  protohalos zoom protohalos --halo 3 -o cells.txt --code genetic
  protohalos zoom protohalos --halo 3 -o mask.h5 --code mask"""

_TITLES = {"region": "sites themselves", "convex_hull": "convex hull", "ellipsoid": "ellipsoid"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "catalog", type=Path, metavar="CATALOG", help="folder that `protohalos find` wrote, its catalogue or prediction"
    )
    parser.add_argument("--halo", type=int, required=True, metavar="ID", help="identifier in the catalogue, from 0")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--code", choices=("music", "genetic", "mask"), default="music",
        help="what the file is for: MUSIC (points, and the configuration beside them), genetIC (cells), or a mask of "
        "the lattice in HDF5 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--shape", choices=tuple(_TITLES),
        help="what to refine (default: convex_hull for MUSIC, else region, the sites themselves)",
    )  # fmt: skip
    parser.add_argument(
        "--padding", metavar="DISTANCE",
        help="refine sites at this distance from a member too: 3 or 3sites, or 0.5Mpc/h (default: 2sites)",
    )  # fmt: skip
    parser.add_argument(
        "--contain", type=_share, metavar="SHARE",
        help="instead of a padding: the share of the halo that shall start inside, e.g. 99%%",
    )  # fmt: skip
    parser.add_argument(
        "--confidence", type=_share, default=0.9, metavar="SHARE",
        help="share of simulated haloes for which it did (default: 90%%)",
    )  # fmt: skip
    parser.add_argument("--levels", type=int, default=1, help="finer levels (default: %(default)s)")
    parser.add_argument(
        "--conf", type=Path, metavar="FILE", help="MUSIC's configuration of the box, to write that of the zoom from"
    )


def _share(text: str) -> float:
    """A share such as ``0.99`` or ``99%``."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; give one such as 0.99 or 99%")
    return value


def run(args: argparse.Namespace) -> None:
    from .._utils.files import atomic_path, check_writable
    from ..catalog.zoom import zoom_region
    from ..catalog.zoom_files import chosen_shape
    from ..exceptions import RegionError

    check_writable(args.output.parent)
    if args.output.is_dir():
        raise RegionError(f"{args.output} is a folder; give the file a name in it, e.g. points.txt")
    if args.conf is not None and args.code != "music":
        raise RegionError(f"--conf {args.conf} is for MUSIC, not for {args.code}; leave it out")
    conf = args.output.with_name(f"{args.output.name}.conf")
    if args.conf is not None and args.conf.absolute() == conf.absolute():
        raise RegionError(f"the configuration of the zoom would replace {conf}; give the output another name")
    shape = chosen_shape(args.code, args.shape)
    region = zoom_region(
        args.catalog, args.halo, args.padding, contain=args.contain, confidence=args.confidence, shape=shape
    )
    particles = region.particles(args.levels)
    what_to_add = _configuration(region, args, shape)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    region.write(args.output, args.code, shape)
    say(f"{region}")
    for name, title in _TITLES.items():
        say(f"  {title}: {region.enclosed[name]} sites, {particles[name]} particles {args.levels} levels finer")
    say(f"wrote {args.output}")
    if args.code == "music":
        with atomic_path(conf) as partial:
            partial.write_text(what_to_add + "\n")
        say(f"wrote {conf}")
    if what_to_add and args.conf is None:
        say(f"\n# for the {'parameter file of genetIC' if args.code == 'genetic' else 'configuration file of MUSIC'}:")
        say(what_to_add)


def _configuration(region: ZoomRegion, args: argparse.Namespace, shape: str) -> str:
    """Lines for the parameter file of the code, or the whole file where that of the box is given."""
    if args.code == "genetic":
        return region.genetic_lines(args.output, args.levels, shape)
    if args.code == "mask":
        return ""
    if args.conf is not None:
        return region.music_configuration(args.conf, args.output, shape, args.levels).rstrip("\n")
    n = region.lattice.n
    # MUSIC makes no other lattices, but its reader takes the points of any
    return region.music_lines(args.output, shape, args.levels if n & (n - 1) == 0 else None)
