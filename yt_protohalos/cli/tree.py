"""``protohalos tree``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.registry import AMPLITUDE_MODEL
from .common import (
    USER_ERROR,
    add_facts_options,
    add_model_options,
    fail,
    load_ics,
    prediction_options,
    say,
    set_log_level,
)

if TYPE_CHECKING:
    from ..catalog.progenitors import ProgenitorLinks

HELP = "predict the protohalos of several redshifts, and link each to its descendant: a tree that ytree loads"
EXAMPLE = """  protohalos tree ics_gadget.dat --redshifts 0 0.2 0.4 0.6 -o tree
  python -c 'import ytree; a = ytree.load("tree/tree_0003.0.h5"); print(a[0]["prog", "mass"])'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("ics", metavar="ICS", help="file or folder of initial conditions")
    parser.add_argument(
        "--redshifts", nargs="+", type=float, required=True, metavar="Z",
        help="of the haloes, two or more; the model must cover them all",
    )  # fmt: skip
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    add_facts_options(parser)
    add_model_options(parser)
    parser.set_defaults(model=AMPLITUDE_MODEL)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..yt_interface.mpi import MPICommunicator, start_ranks, stop_ranks
    from ..yt_interface.tree import progenitor_tree

    shared = start_ranks()
    set_log_level(args)
    try:
        ds = load_ics(args)
        options = prediction_options(args)
        tree = progenitor_tree(ds, args.redshifts, args.output_dir, progress=not args.quiet, **options)
    except Exception as error:
        if not shared:
            raise
        fail(str(error))
        stop_ranks(USER_ERROR)
    if MPICommunicator().is_root:
        say(table(tree.links))
        say(f"wrote {tree.path} and {len(tree.links) - 1} more; ytree.load('{tree.path}') reads them all")
    return 0


def table(links: ProgenitorLinks) -> str:
    """Text table of the levels: how many protohalos there are, and what becomes of them."""
    lines = ["redshift   protohalos   linked   sites kept"]
    for z, sizes, descendant, shared in zip(
        links.redshifts, links.n_sites, links.descendant, links.shared, strict=True
    ):
        linked = descendant >= 0
        kept = f"{shared.sum() / sizes[linked].sum():10.1%}" if linked.any() else f"{'-':>10s}"
        lines.append(f"{z:8.3f}   {len(sizes):10d}   {linked.sum():6d}   {kept}")
    return "\n".join(lines)
