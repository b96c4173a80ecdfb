"""Time and memory of a whole prediction against the size of the box, from reading to catalogue, streamed through disk.

Run: python benchmarks/scaling.py --sides 128 256 512 [--models planck-v5 planck-v4] [--repeat 1024] [--work FOLDER]

Each run has a process of its own on a random box, with a store of crops as `protohalos find` uses; at each side the
models take turns. --repeat adds boxes that repeat a smaller one, see `repeated_box.py`. Results of other sides and
models that the output holds already are kept. "anonymous" memory is what the process must have, "resident" counts pages
of mapped files too, which the system takes back when it needs them. Afterwards: `python docs/write_performance.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from repeated_box import run_repeated
from stages import GIB, SPACING, Clock, described, in_process, measured, predict_timed, print_run


def run_box(ics: str, model: str, side: int, store: Path) -> dict[str, Any]:
    """One box from its file to its catalogue."""
    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    predictor, clock = ProtohaloPredictor.from_pretrained(model), Clock()
    with measured(clock) as result:
        prediction = predict_timed(predictor, ics, clock, store=store)
    disk = sum(path.stat().st_size for path in store.iterdir())
    return {**result, **described(predictor, prediction.labels), "disk": disk}


def main() -> None:
    """Measure each box, print, and write the result."""
    import yt_protohalos as ph
    from yt_protohalos.models.registry import DEFAULT_MODELS, load_card

    models = [DEFAULT_MODELS["positions"], DEFAULT_MODELS["pseudo-space"]]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--models", nargs="+", default=models)
    parser.add_argument("--repeat", type=int, nargs="*", default=[], help="sides that repeat a box of --period")
    parser.add_argument("--period", type=int, default=256, help="sites per side, a multiple of 128")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder for stores, some 110 bytes per site; kept if given")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "scaling.json")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="scaling"))
    work.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else []
    pseudo_space = [model for model in args.models if load_card(model)[0].method == "pseudo-space"]
    runs = [(run_box, side, side, model) for side in args.sides for model in args.models]
    runs += [(run_repeated, side, args.period, model) for side in args.repeat for model in pseudo_space]
    for measure, side, random_side, model in runs:
        ics, store = work / f"ics_{random_side}.hdf5", work / f"{model}_{side}"
        if not ics.is_file():
            ph.generate_initial_conditions(random_side, random_side * SPACING, seed=args.seed, filename=str(ics))
        shutil.rmtree(store, ignore_errors=True)
        one = {"model": model, "side": side, **in_process(measure, str(ics), model, side, store)}
        shutil.rmtree(store)
        results = [old for old in results if (old["model"], old["side"]) != (model, side)]
        results = sorted([*results, one], key=lambda run: (run["model"], run["side"]))
        args.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print_run(one)
        if measure is run_repeated:
            print(f"  extrapolated to all crops and steps: {one['extrapolated_seconds']:.0f} s", flush=True)
        else:
            print(f"  {one['disk'] / GIB:.1f} GiB on disk", flush=True)
    if not args.work:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
