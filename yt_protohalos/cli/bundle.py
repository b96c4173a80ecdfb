"""``protohalos bundle``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import ModelError
from ..models.network_card import HEADS
from .common import say

if TYPE_CHECKING:
    from ..models.card import ModelCard, NetworkCard
    from ..training.dataset import LabelledField

HELP = "make a model of trained networks, or of another model: calibrate, choose the threshold, score, write the card"
EXAMPLE = """  protohalos bundle my-model --semantic training/semantic --instance training/instance \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/my-model
  protohalos bundle flooded --semantic planck-v4 --contour training/contour --core 96 \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/flooded
  protohalos bundle mine --from planck-v4 --validation runs/mine.h5 -o models/mine     # its weights, recalibrated"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the model")
    parser.add_argument(
        "--from", dest="parent", metavar="MODEL",
        help="instead of training folders: a model whose weights stay; calibration, threshold and clustering are "
        "fitted to the --validation runs",
    )  # fmt: skip
    parser.add_argument("--keep-clustering", action="store_true", help="with --from: do not fit it; much faster")
    parser.add_argument(
        "--semantic", metavar="DIR", help="training folder, or bundled model whose network and calibration are taken"
    )
    separating = parser.add_mutually_exclusive_group()
    separating.add_argument("--contour", type=Path, metavar="DIR", help="training folder, for haloes by watershed")
    separating.add_argument(
        "--instance",
        type=Path,
        metavar="DIR",
        help="training folder; without it or --contour the model predicts members alone",
    )
    parser.add_argument(
        "--runs", nargs="+", type=Path, default=[], metavar="RUN",
        help="the runs trained on; of several sigma_8, they are the model's range and the first run's its cosmology",
    )  # fmt: skip
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="RUN", help="runs not trained on")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument(
        "--mantissa", type=int, default=10, choices=range(1, 11), metavar="BITS",
        help="of the weights of --instance or --contour, 1 to 10 (default: %(default)s, half precision): with fewer, "
        "the file is smaller",
    )  # fmt: skip
    for head in HEADS:
        parser.add_argument(f"--{head}-side", type=int, default=144, help=f"of the {head} crops (default: 144)")
    parser.add_argument("--core", type=int, default=64, help="kept part of a crop, sites (default: %(default)s)")
    parser.add_argument("--semantic-core", type=int, help="kept part of a semantic crop (default: as --core)")
    parser.add_argument(
        "--symmetries", type=int, default=1, help="of the cube, averaged by the semantic network (default: 1)"
    )
    parser.add_argument("--description", help="one line for the card")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> None:
    _check_sources(args)
    from ..training.dataset import LabelledField

    validation = [LabelledField.from_run(path) for path in args.validation]
    card = _bundle(args, validation) if args.parent is None else _recalibrate(args, validation)
    say(json.dumps(card.scores, indent=1))


def _bundle(args: argparse.Namespace, validation: list[LabelledField]) -> ModelCard:
    from ..models.registry import available, load_card
    from ..training.dataset import LabelledField
    from ..training.export import bundle, describe_training, draft_card, export_network
    from ..training.run_files import describe_run

    folder = args.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    training: dict[str, Any] = {
        "runs": [describe_run(path) for path in args.runs],
        "validation": [describe_run(path) for path in args.validation],
        "instance": None,
    }
    semantic: NetworkCard | ModelCard
    if args.semantic in available():
        semantic = load_card(args.semantic)[0]
        training["semantic"] = f"of {semantic.name}"
    else:
        semantic = export_network(args.semantic, folder / "semantic.weights.h5", args.semantic_side)
        training["semantic"] = describe_training(Path(args.semantic))
    instance = None
    for head in ("instance", "contour"):
        if (trained := getattr(args, head)) is not None:
            side = getattr(args, f"{head}_side")
            instance = export_network(trained, folder / f"{head}.weights.h5", side, mantissa=args.mantissa)
            training[head] = describe_training(trained)
    runs = [LabelledField.from_run(path) for path in args.runs]
    card = draft_card(args.name, semantic, instance, runs, args.core, args.semantic_core, args.symmetries)
    card = replace(card, description=args.description or card.description, training=training)
    return bundle(card, folder, validation, progress=not args.quiet)


def _check_sources(args: argparse.Namespace) -> None:
    trained = {"--semantic": args.semantic, "--instance": args.instance, "--contour": args.contour, "--runs": args.runs}
    given = [name for name, value in trained.items() if value]
    if args.parent is not None and given:
        raise ModelError(f"--from takes the weights of a model, {' and '.join(given)} those of a training; give one")
    if args.parent is None and (args.semantic is None or not args.runs):
        raise ModelError("a model is made of --semantic and --runs, or --from another model; give either")
    if args.parent is None and args.keep_clustering:
        raise ModelError("--keep-clustering keeps that of the model of --from; leave it out")


def _recalibrate(args: argparse.Namespace, validation: list[LabelledField]) -> ModelCard:
    from ..training.recalibrate import recalibrate
    from ..training.run_files import describe_run

    card = recalibrate(
        args.parent, args.name, args.output_dir, validation, [describe_run(path) for path in args.validation],
        args.description or "", clustering=not args.keep_clustering, progress=not args.quiet,
    )  # fmt: skip
    for name, old in card.training["recalibration"]["before"].items():
        say(f"{name}: {json.dumps(old)} -> {json.dumps(getattr(card, name))}")
    return card
