"""``protohalos validate``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .._utils.files import check_writable, open_hdf5
from ..exceptions import ScoringError
from .common import add_network_options, chosen_cache, say, set_log_level

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..analysis.validation import SimulatedRun
    from ..fields.linear_field import LinearField

HELP = "score a model or method against simulations of the same initial conditions"
EXAMPLE = """  protohalos validate --ics ics_gadget.hdf5 --labels halo_labels.h5 --figures figures -o scores.json
  protohalos validate --runs run_0901_z0.5.h5 --model amplitude-v1 --catalog     # at z = 0.5, as the file says
  protohalos validate --runs run_0901.h5 --method fof                            # without a model
  (halo_labels.h5: dataset `labels`, 0 outside, 1..K, or `halo_id`, -1 outside, 0..K-1, on the initial lattice)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ics", nargs="+", default=[], metavar="FILE", help="initial conditions, one file a run")
    parser.add_argument(
        "--labels", nargs="+", default=[], type=Path, metavar="FILE", help="HDF5 files of halo labels in the same order"
    )
    parser.add_argument(
        "--runs", nargs="+", default=[], type=Path, metavar="FILE", help="runs of `protohalos simulate`, too or alone"
    )
    parser.add_argument(
        "--at-redshift", type=float, default=0.0, metavar="Z", help="of --labels (default: 0); --runs state their own"
    )
    parser.add_argument(
        "--pair", nargs=2, type=Path, metavar=("A", "B"),
        help="label files of a baseline pair, two simulations that differ only below the resolution: the limit",
    )  # fmt: skip
    parser.add_argument(
        "--min-sites", type=int, metavar="N",
        help="sites of the smallest haloes of the labels; smaller ones are not compared (default: as the model, 155)",
    )  # fmt: skip
    parser.add_argument("--baselines", action="store_true", help="score simple methods on the same runs too")
    parser.add_argument(
        "--catalog", action="store_true",
        help="compare positions, velocities, spins and shapes too: the label files must hold halo_position",
    )  # fmt: skip
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw the figures into this folder")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the tables as JSON")
    add_network_options(parser)


def run(args: argparse.Namespace) -> None:
    from ..analysis.baselines import SIMPLE_METHODS
    from ..analysis.validation import validate
    from ..yt_interface.options import PredictionOptions
    from ..yt_interface.predict import predict_field

    set_log_level(args)
    options = PredictionOptions(args.model, precision=args.precision, method=args.method)
    runs = dict(_runs(args))
    for folder in (args.figures, None if args.output is None else args.output.parent):
        if folder is not None:
            check_writable(folder)
    pair, pair_spacing = (None, None) if args.pair is None else _read_pair(*args.pair)
    predictor = options.make_predictor()
    progress = not args.quiet
    result = validate(
        runs, predictor, pair=pair, pair_spacing=pair_spacing, catalog=args.catalog, progress=progress,
        min_sites=args.min_sites,
        simple_methods=SIMPLE_METHODS if args.baselines else None,
        predict=lambda field: predict_field(field, predictor, chosen_cache(args), progress),
    )  # fmt: skip
    say(result.text)
    if args.output is not None:
        result.write(args.output)
        say(f"wrote {args.output}")
    if args.figures is not None:
        for path in result.save_figures(args.figures):
            say(f"wrote {path}")


def _runs(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], SimulatedRun]]]:
    """Name of each run and the function that reads it; checks that the files exist."""
    if len(args.ics) != len(args.labels):
        raise ScoringError(
            f"{len(args.ics)} initial conditions and {len(args.labels)} label files; give one of each for every run"
        )
    if not args.ics and not args.runs:
        raise ScoringError("nothing to score; give --ics and --labels, or --runs")
    for path in map(Path, (*args.ics, *args.labels, *args.runs)):
        if not path.exists():
            raise FileNotFoundError(f"no file {path}; give existing files, for --runs those of `protohalos simulate`")
    for number, (ics, labels) in enumerate(zip(args.ics, args.labels, strict=True)):
        yield f"{number}: {labels}", partial(_read_run, labels, args.catalog, ics, args.at_redshift)
    for number, path in enumerate(args.runs, len(args.ics)):
        yield f"{number}: {path}", partial(_read_run, path, args.catalog)


def _read_run(path: Path, catalog: bool, ics: str | None = None, redshift: float = 0.0) -> SimulatedRun:
    """Read a run from initial conditions and labels, or from one file of `protohalos simulate`."""
    from ..analysis.validation import SimulatedRun
    from ..training.halo_catalogs import read_labels
    from ..training.run_files import read_haloes, read_run
    from ..yt_interface.linear import linear_field
    from ..yt_interface.load import load

    field: LinearField
    labels: NDArray[np.integer]
    if ics is None:
        field, labels, _ = read_run(path)
    else:
        field, labels = linear_field(load(ics)).at_redshift(redshift), read_labels(path)
    return SimulatedRun(field, labels, read_haloes(path, labels) if catalog else None)


def _read_pair(a: Path, b: Path) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], float | None]:
    """Read the labels of a baseline pair, and their spacing where the files state it."""
    from ..training.halo_catalogs import read_labels

    labels = read_labels(a), read_labels(b)
    spacings = set()
    for path in (a, b):
        with open_hdf5(path) as file:
            settings = json.loads(file.attrs.get("settings", "{}"))
        if {"n", "box_size"} <= set(settings):
            spacings.add(settings["box_size"] / settings["n"])
    if len(spacings) > 1:
        raise ScoringError(f"{a} and {b} have spacings {spacings} Mpc/h; give a pair of one resolution")
    return labels, next(iter(spacings), None)
