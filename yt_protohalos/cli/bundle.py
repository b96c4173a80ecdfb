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
CORE = 64
POSITION_SIDE, POSITION_CORE = 144, 128
EXAMPLE = """  protohalos bundle my-model --semantic training/semantic --instance training/instance \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/my-model
  protohalos bundle flooded --semantic planck-v4 --contour training/contour --core 96 \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/flooded
  protohalos bundle my-positions --positions training/positions \\
      --runs runs/run_120*.h5 --validation runs/run_1250.h5 -o models/my-positions
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
    separating.add_argument(
        "--positions", type=Path, metavar="DIR",
        help="training folder of a position network, instead of --semantic: it finds members and haloes",
    )  # fmt: skip
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
        help="of the weights of --instance, --contour or --positions, 1 to 10 (default: %(default)s, half precision): "
        "with fewer, the file is smaller",
    )  # fmt: skip
    for head in HEADS:
        side = POSITION_SIDE if head == "positions" else 144
        parser.add_argument(f"--{head}-side", type=int, default=side, help=f"of the {head} crops (default: {side})")
    parser.add_argument(
        "--core", type=int,
        help=f"kept part of a crop, sites (default: {CORE}; of --positions {POSITION_CORE}, which leaves it a margin "
        f"of {(POSITION_SIDE - POSITION_CORE) // 2} on each face)",
    )  # fmt: skip
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
    from ..training.dataset import LabelledField
    from ..training.export import bundle
    from ..training.run_files import describe_run, finder_of_runs

    args.output_dir.mkdir(parents=True, exist_ok=True)
    about = {"runs": args.runs, "validation": args.validation}
    training = {name: [describe_run(path) for path in paths] for name, paths in about.items()}
    draft = _positions_draft if args.positions is not None else _draft
    card = draft(args, [LabelledField.from_run(path) for path in args.runs], training)
    definition = {**card.halo_definition, "finder": finder_of_runs(training["runs"])}
    description = args.description or card.description
    card = replace(card, description=description, training=training, halo_definition=definition)
    return bundle(card, args.output_dir, validation, progress=not args.quiet)


def _positions_draft(args: argparse.Namespace, runs: list[LabelledField], training: dict[str, Any]) -> ModelCard:
    """Card of a position network; adds its record to `training`."""
    from ..training.export import draft_card, export_network

    training["positions"] = _describe(args.positions, "positions")
    side, core = args.positions_side, POSITION_CORE if args.core is None else args.core
    if side < core:
        raise ModelError(f"--positions-side {side} is less than the --core {core} that is kept; use {core + 32}")
    network = export_network(
        args.positions, args.output_dir / "positions.weights.h5", side, mantissa=args.mantissa,
        margin=(side - core) // 2,
    )  # fmt: skip
    evolution = training["positions"]["settings"]["evolution"]
    return draft_card(args.name, network, None, runs, core, symmetries=args.symmetries, evolution=evolution)


def _draft(args: argparse.Namespace, runs: list[LabelledField], training: dict[str, Any]) -> ModelCard:
    """Card of a semantic network, and of one that separates haloes; adds their record to `training`."""
    from ..models.registry import available, load_card
    from ..training.export import draft_card, export_network

    folder, training["instance"] = args.output_dir, None
    semantic: NetworkCard | ModelCard
    if args.semantic in available():
        semantic = load_card(args.semantic)[0]
        training["semantic"] = f"of {semantic.name}"
    else:
        training["semantic"] = _describe(Path(args.semantic), "semantic")
        semantic = export_network(args.semantic, folder / "semantic.weights.h5", args.semantic_side)
    instance = None
    for head in ("instance", "contour"):
        if (trained := getattr(args, head)) is not None:
            training[head] = _describe(trained, head)
            side = getattr(args, f"{head}_side")
            instance = export_network(trained, folder / f"{head}.weights.h5", side, mantissa=args.mantissa)
    core = CORE if args.core is None else args.core
    return draft_card(args.name, semantic, instance, runs, core, args.semantic_core, args.symmetries)


def _describe(folder: Path, head: str) -> dict[str, Any]:
    """Record of a training, which must be that of a network with this head."""
    from ..training.export import describe_training

    record = describe_training(folder)
    if (trained := record["settings"]["head"]) != head:
        raise ModelError(f"{folder} holds the training of a {trained} network; give it with --{trained}")
    return record


def _check_sources(args: argparse.Namespace) -> None:
    heads = ("semantic", "instance", "contour", "positions")
    given = [f"--{name}" for name in (*heads, "runs") if getattr(args, name)]
    if args.parent is not None and given:
        raise ModelError(f"--from takes the weights of a model, {' and '.join(given)} those of a training; give one")
    if args.parent is None and ((args.semantic or args.positions) is None or not args.runs):
        raise ModelError(
            "a model is made of --semantic or --positions and --runs, or --from another model; give either"
        )
    if args.parent is None and args.keep_clustering:
        raise ModelError("--keep-clustering keeps that of the model of --from; leave it out")
    if args.positions is not None and (args.semantic is not None or args.semantic_core is not None):
        raise ModelError("--positions names a network that finds members too; leave out --semantic and --semantic-core")


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
