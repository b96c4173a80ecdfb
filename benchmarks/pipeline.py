"""From a file to the catalogue on one random box, stage by stage: the models in turn, in one run on one machine.

Run: python benchmarks/pipeline.py [--sides 128 256] [--models planck-v5 planck-v4] [--rounds 2] [--plain] [-o FILE]

Everything is in memory, as `predict` does without a store. --plain adds, for models of method "pseudo-space", the plain
pipeline of `plain_pipeline.py` on the same file with the same weights. Each run has a process of its own; importing and
loading the networks are not timed. One run of each model on a small box comes first and is not kept: it compiles.
Afterwards: `python docs/write_performance.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from stages import SPACING, Clock, described, in_process, measured, predict_timed, print_run

FILES = {False: "pipeline.json", True: "plain.json"}
"""Results by whether the plain pipeline is among them."""
SMALL_SIDE = 64


def run_package(ics: str, model: str) -> dict[str, Any]:
    """The pipeline of the package."""
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    predictor, clock = ProtohaloPredictor.from_pretrained(model), Clock()
    with measured(clock) as result:
        prediction = predict_timed(predictor, ics, clock)
    return {**result, **described(predictor, prediction.labels)}


def run_plain(ics: str, model: str) -> dict[str, Any]:
    """The plain pipeline, to the labels."""
    from plain_pipeline import plain_predict, plain_predictor

    import yt_protohalos as ph
    from yt_protohalos.fields.evolution import evolve_field

    predictor, clock, evolved = plain_predictor(model), Clock(), None
    with measured(clock) as result:
        with clock.stage("read"):
            dataset = ph.load(ics)
        with clock.stage("linear field"):
            field = ph.linear_field(dataset)
        if predictor.card.sees_evolution:
            with clock.stage("evolution"):
                evolved = evolve_field(field)
        labels = plain_predict(predictor, field, evolved, clock)
    return {**result, **described(predictor, labels), "plain": True}


def main() -> None:
    """Measure, print, and write the result."""
    import yt_protohalos as ph
    from yt_protohalos.models.registry import DEFAULT_MODELS, load_card

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[128], help="sites per side; with --plain multiples of 64"
    )
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODELS["positions"], DEFAULT_MODELS["pseudo-space"]])
    parser.add_argument("--rounds", type=int, default=1, help="how often each model runs, in turn with the others")
    parser.add_argument("--plain", action="store_true", help="add the plain pipeline")
    parser.add_argument("-o", "--output", type=Path, help="by default in benchmarks/results")
    args = parser.parse_args()
    output = args.output or Path(__file__).parent / "results" / FILES[args.plain]
    works = [(run_package, model) for model in args.models]
    if args.plain:
        works += [(run_plain, model) for model in args.models if load_card(model)[0].method == "pseudo-space"]
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        boxes = {side: str(Path(folder) / f"ics_{side}.hdf5") for side in (SMALL_SIDE, *args.sides)}
        for side, ics in boxes.items():
            ph.generate_initial_conditions(side, side * SPACING, seed=1, filename=ics)
        for work, model in works:
            in_process(work, boxes[SMALL_SIDE], model)
        for side in args.sides:
            for turn in range(args.rounds):
                for work, model in works:
                    one = {"model": model, "side": side, "round": turn, **in_process(work, boxes[side], model)}
                    print_run(one)
                    results.append(one)
                    output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
