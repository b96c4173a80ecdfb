"""``protohalos bundle``."""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..exceptions import ModelError
from .common import say

HELP = "make a model of trained networks, or of another model: calibrate, choose the threshold, score, write the card"
EXAMPLE = """  protohalos bundle my-model --semantic training/semantic --instance training/instance \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/my-model
  protohalos bundle flooded --semantic planck-v4 --contour training/contour --core 96 \\
      --runs runs/run_010*.h5 --validation runs/run_0900.h5 -o models/flooded
  protohalos bundle mine --from planck-v4 --validation runs/mine.h5 -o models/mine     # its weights, recalibrated"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", help="name of the model")
    parser.add_argument(
        "--from", dest="parent", metavar="MODEL",
        help="instead of training folders: a model whose weights stay; calibration, threshold and clustering are "
        "fitted to the --validation runs",
    )  # fmt: skip
    parser.add_argument(
        "--keep-clustering", action="store_true", help="with --from: leave the clustering alone, which is much faster"
    )
    parser.add_argument(
        "--semantic",
        metavar="DIR",
        help="training folder, or name of the bundled model whose semantic network, calibration and threshold it has",
    )
    separating = parser.add_mutually_exclusive_group()
    separating.add_argument("--contour", type=Path, metavar="DIR", help="training folder, for haloes by watershed")
    separating.add_argument(
        "--instance",
        type=Path,
        metavar="DIR",
        help="training folder; without it, the model finds the members of haloes alone",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        type=Path,
        default=[],
        metavar="RUN",
        help="the runs trained on; of several sigma_8, they are the model's range and the first run's its cosmology",
    )
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="RUN", help="runs not trained on")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument(
        "--mantissa",
        type=int,
        default=10,
        choices=range(1, 11),
        metavar="BITS",
        help="of the weights of --instance or --contour, 1 to 10 (default: %(default)s, half precision): with fewer, "
        "the file is smaller",
    )
    for head in ("semantic", "instance", "contour"):
        parser.add_argument(
            f"--{head}-side", type=int, default=144, help=f"crop side of the {head} network (default: %(default)s)"
        )
    parser.add_argument("--core", type=int, default=64, help="kept part of a crop, sites (default: %(default)s)")
    parser.add_argument("--semantic-core", type=int, help="kept part of a semantic crop (default: as --core)")
    parser.add_argument(
        "--symmetries", type=int, default=1, help="symmetries to average the semantic network over (default: 1)"
    )
    parser.add_argument("--description", help="one line for the card")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..models.registry import available, load_card
    from ..training.dataset import LabelledField, measure_beta
    from ..training.export import bundle, export_network
    from ..training.run_files import describe_run

    _check_sources(args)
    if args.parent is not None:
        return _recalibrate(args)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    folder = args.output_dir
    base = None
    if args.semantic in available():
        base = load_card(args.semantic)[0]
        semantic = replace(base.semantic, model=base.name)
    else:
        semantic = export_network(args.semantic, folder / "semantic.weights.h5", args.semantic_side)
    instance, separating = None, {"instance": args.instance, "contour": args.contour}
    for head, trained in separating.items():
        if trained is not None:
            side = getattr(args, f"{head}_side")
            instance = export_network(trained, folder / f"{head}.weights.h5", side, mantissa=args.mantissa)
    runs = [LabelledField.from_run(path) for path in args.runs]
    field = runs[0].field
    training = {
        "runs": [describe_run(path) for path in args.runs],
        "validation": [describe_run(path) for path in args.validation],
        "semantic": describe_training(Path(args.semantic)) if base is None else f"of {base.name}",
        "instance": None,
        **{head: describe_training(trained) for head, trained in separating.items() if trained is not None},
    }  # fmt: skip
    beta, spacing = measure_beta(runs), field.spacing
    # a run stopped at another redshift counts with the amplitude that it had then
    cosmology = replace(field.cosmology, sigma_8=field.target_sigma_8)
    amplitudes = sorted({run.field.target_sigma_8 for run in runs})
    del runs, field
    description = args.description or "V-Nets trained with yt_protohalos"
    card = bundle(
        args.name, folder, semantic, instance, [LabelledField.from_run(path) for path in args.validation],
        beta, spacing, cosmology, description, training, core=args.core,
        symmetries=args.symmetries if base is None else base.symmetries,
        semantic_core=args.semantic_core if base is None else base.semantic_core,
        amplitude_range=(amplitudes[0], amplitudes[-1]) if len(amplitudes) > 1 else None, progress=not args.quiet,
        calibrated_as=base,
    )  # fmt: skip
    say(json.dumps(card.scores, indent=1))
    return 0


def _check_sources(args: argparse.Namespace) -> None:
    trained = {"--semantic": args.semantic, "--instance": args.instance, "--contour": args.contour, "--runs": args.runs}
    given = [name for name, value in trained.items() if value]
    if args.parent is not None and given:
        raise ModelError(f"--from takes the weights of a model, {' and '.join(given)} those of a training; give one")
    if args.parent is None and (args.semantic is None or not args.runs):
        raise ModelError("a model is made of --semantic and --runs, or --from another model; give either")
    if args.parent is None and args.keep_clustering:
        raise ModelError("--keep-clustering keeps that of the model of --from; leave it out")


def _recalibrate(args: argparse.Namespace) -> int:
    from ..training.dataset import LabelledField
    from ..training.recalibrate import recalibrate
    from ..training.run_files import describe_run

    card = recalibrate(
        args.parent, args.name, args.output_dir, [LabelledField.from_run(path) for path in args.validation],
        [describe_run(path) for path in args.validation], args.description or "",
        clustering=not args.keep_clustering, progress=not args.quiet,
    )  # fmt: skip
    before = card.training["recalibration"]["before"]
    for name, old in before.items():
        say(f"{name}: {json.dumps(old)} -> {json.dumps(getattr(card, name))}")
    say(json.dumps(card.scores, indent=1))
    return 0


def describe_training(folder: Path) -> dict[str, Any]:
    """What a card says of the training in a folder: settings, last step, wall time, last held-out loss."""
    log, stored = folder / "log.csv", folder / "settings.json"
    if not log.is_file() or not stored.is_file():
        raise ModelError(f"{folder} holds no log.csv and settings.json; give the folder of a training run")
    with log.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    settings = json.loads(stored.read_text(encoding="utf-8"))["settings"]
    # a card names the folder that a training began with, not where it lay
    settings["start"] = Path(settings.get("start", "")).name
    # without held-out runs their loss is NaN, which JSON does not know
    watched = [float(row["held_out_loss"]) for row in rows if row["held_out_loss"] not in ("", "nan")]
    return {
        "settings": settings, "steps": int(rows[-1]["step"]),
        "wall_seconds": float(rows[-1]["seconds"]), "held_out_loss": watched[-1] if watched else None,
    }  # fmt: skip
