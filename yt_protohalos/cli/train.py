"""``protohalos train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..exceptions import ModelError
from ..fields.particle_mesh import COARSE, PLANS
from ..models.channels import CHANNEL_SETS
from ..models.network_card import HEADS, PAPER_FILTERS, POSITION_FILTERS
from .common import say

HELP = "train a network on finished runs; run it again to resume"
EXAMPLE = """  protohalos train semantic --runs runs/run_010*.h5 --held-out runs/run_0900.h5 -o training/semantic
  protohalos train instance --runs runs/run_010*.h5 --held-out runs/run_0900.h5 -o training/instance \\
      --stages 96:4000 --loss weighted --push-weight 20 --semantic training/semantic
  protohalos train contour --channels evolved --semantic planck-v4 --runs runs/run_010*.h5 -o training/contour
  protohalos train semantic --channels evolved --runs runs/run_010*.h5 -o training/evolved
  protohalos train semantic --start planck-v4 --channels evolved --runs mine/run_*.h5 -o training/mine"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("head", choices=HEADS, help="which network")
    parser.add_argument("--runs", nargs="+", type=Path, required=True, metavar="RUN", help="run files to train on")
    parser.add_argument("--held-out", nargs="+", type=Path, default=[], metavar="RUN", help="runs to watch the loss on")
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="checkpoint, log, settings")
    parser.add_argument("--stages", nargs="+", default=["144:8000"], metavar="SIDE:STEPS", help="default: 144:8000")
    parser.add_argument("--batch", type=int, default=1, help="crops per step (default: %(default)s)")
    parser.add_argument("--clip", type=float, default=0.05, help="longest gradient (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="highest rate (default: %(default)s)")
    parser.add_argument(
        "--loss", choices=("weinberger", "weighted", "scaled"), default="weinberger",
        help="of the instance network: the paper's (default), with haloes weighted by radius, or margins of their size",
    )  # fmt: skip
    parser.add_argument("--push-weight", type=float, help="c_Push (default: the paper's 1, or 2 for the scaled loss)")
    parser.add_argument(
        "--semantic", metavar="DIR",
        help="for the instance and the contour network: the semantic network whose predicted members it learns on "
        "and whose probability it sees, by training folder, model folder or name of a bundled model (default, for the "
        "instance network alone: the true members, as in the paper)",
    )  # fmt: skip
    parser.add_argument(
        "--channels", choices=("linear", "evolved", "delta", "phi"),
        help="delta and phi (default, the paper's), with the approximately evolved field (the instance network then "
        "needs --semantic), or one field alone (semantic network); a position network has its own",
    )  # fmt: skip
    parser.add_argument(
        "--evolution", choices=[*PLANS], default="accurate",
        help="of the field that a position network sees (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--filters", nargs="+", type=int, metavar="N",
        help=f"default: the paper's, or {' '.join(map(str, POSITION_FILTERS))} for a position network",
    )  # fmt: skip
    parser.add_argument(
        "--start", default="", metavar="MODEL",
        help="begin with the weights of a bundled model, a model folder or a training folder (default: at random); its "
        "strongest filters are kept where --filters are fewer",
    )  # fmt: skip
    parser.add_argument("--residual", action="store_true", help="residual blocks")
    parser.add_argument("--seed", type=int, default=1, help="seed of crops and first weights (default: %(default)s)")
    parser.add_argument(
        "--float32", action="store_true",
        help="train in float32 (default: mixed bfloat16 where the machine computes it, float32 elsewhere)",
    )  # fmt: skip
    parser.add_argument("--hours", type=float, default=float("inf"), help="stop after this wall time, resumable")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> None:
    from ..models.runtime import best_precision
    from ..training.losses import loss_weights
    from ..training.settings import MASK_THRESHOLD, TrainingSettings
    from ..training.trainer import train

    positions = args.head == "positions"
    channels = args.channels or ("evolved" if positions else "linear")
    if channels not in CHANNEL_SETS[args.head]:
        raise ModelError(
            f"--channels {channels} is not for the {args.head} network; use {' or '.join(CHANNEL_SETS[args.head])}"
        )
    if args.head == "instance" and channels == "evolved" and args.semantic is None:
        raise ModelError("--channels evolved needs --semantic DIR: the instance network sees the probability too")
    instance = args.head == "instance"
    settings = TrainingSettings(
        head=args.head, stages=tuple(parse_stage(word) for word in args.stages), batch=args.batch,
        learning_rate=args.learning_rate, seed=args.seed,
        filters=tuple(args.filters or (POSITION_FILTERS if positions else PAPER_FILTERS)),
        start=args.start, input_skip=instance,
        dtype_policy="float32" if args.float32 or best_precision() == "float32" else "mixed_bfloat16",
        instance_loss=args.loss, loss_weights=loss_weights(args.loss, args.push_weight), residual=args.residual,
        mask_threshold=MASK_THRESHOLD if instance and args.semantic is not None else 0.0,
        channels=() if channels == "linear" else CHANNEL_SETS[args.head][channels],
        evolution=args.evolution if positions else COARSE, clip_norm=args.clip,
    )  # fmt: skip
    seconds = 3600 * args.hours
    trainer = train(settings, args.runs, args.held_out, args.output_dir, args.semantic, not args.quiet, seconds)
    say(f"{trainer.step} of {settings.total_steps} steps; held-out loss {trainer.held_out_loss():.4f}")


def parse_stage(word: str) -> tuple[int, int]:
    """Crop side and steps of a word such as ``144:8000``."""
    side, _, steps = word.partition(":")
    if not side.isdigit() or not steps.isdigit():
        raise ModelError(f"stage {word!r} is not SIDE:STEPS; use e.g. 144:8000")
    return int(side), int(steps)
