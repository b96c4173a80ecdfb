"""``protohalos tree``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.registry import AMPLITUDE_MODEL
from .common import add_facts_options, add_model_options, all_ranks, load_ics, prediction_options, say

if TYPE_CHECKING:
    from ..catalog.progenitors import ProgenitorLinks

HELP = "predict the protohalos of several redshifts, and link each to its descendant: a tree that ytree loads"
EXAMPLE = """  protohalos tree ics_gadget.dat --redshifts 0 0.2 0.4 0.6 -o tree
  python -c 'import ytree; a = ytree.load("tree/tree_0003.0.h5"); print(a[0]["prog", "mass"])'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ics", metavar="ICS", help="file or folder of initial conditions")
    parser.add_argument(
        "--redshifts",
        nargs="+",
        type=float,
        required=True,
        metavar="Z",
        help="of the haloes: two or more, all in the model's range",
    )
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    add_facts_options(parser)
    add_model_options(parser, AMPLITUDE_MODEL)


def run(args: argparse.Namespace) -> None:
    from ..yt_interface.mpi import MPICommunicator
    from ..yt_interface.tree import progenitor_tree

    with all_ranks(args):
        ds, options = load_ics(args), prediction_options(args)
        tree = progenitor_tree(ds, args.redshifts, args.output_dir, progress=not args.quiet, **options)
    if MPICommunicator().is_root:
        say(table(tree.links))
        say(f"wrote {tree.path} and {len(tree.links) - 1} more; ytree.load('{tree.path}') reads them all")


def table(links: ProgenitorLinks) -> str:
    """Return a text table of the redshifts: number of protohalos, those with a descendant, and the sites they keep."""
    lines = ["redshift   protohalos   linked   sites kept"]
    for z, sizes, descendant, shared in zip(
        links.redshifts, links.n_sites, links.descendant, links.shared, strict=True
    ):
        linked = descendant >= 0
        kept = f"{shared.sum() / sizes[linked].sum():10.1%}" if linked.any() else f"{'-':>10s}"
        lines.append(f"{z:8.3f}   {len(sizes):10d}   {linked.sum():6d}   {kept}")
    return "\n".join(lines)
