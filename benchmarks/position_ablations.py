"""What each part of the default way adds: protohaloes of a position network with parts of it left out.

Run: python benchmarks/position_ablations.py --runs RUN.h5 ... [--model NAME] [-o FILE.json]

The runs are tuning runs of `protohalos simulate`, and are pooled. Where a part is left out, the linking length is
chosen anew, for the largest share of matched haloes on these same runs.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LENGTHS = (0.16, 0.18, 0.2, 0.22, 0.25, 0.28, 0.32)
ROWS = (
    # positions, candidates, divided by cores
    ("corrected", "in_group", True),
    ("corrected", "in_group", False),
    ("corrected", "members", True),
    ("corrected", "all", True),
    ("evolved", "in_group", True),
    ("evolved", "members", True),
    ("evolved", "all", False),
)


def main() -> None:
    import numpy as np

    import yt_protohalos as ph
    from yt_protohalos.analysis.block_counts import count_box
    from yt_protohalos.analysis.score_tables import validation_table
    from yt_protohalos.fields.particle_mesh import PLANS
    from yt_protohalos.prediction.evolved_channels import evolve_with_channels
    from yt_protohalos.segmentation.position_groups import LinkedPositions, labels_of_members
    from yt_protohalos.training.run_files import read_run

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--model", default="planck-v5", help="a model with a position network (default %(default)s)")
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON too")
    args = parser.parse_args()
    predictor = ph.PositionPredictor.from_pretrained(args.model)
    settings, min_sites = predictor.card.clustering, predictor.card.min_sites
    counts: dict[tuple[str, str, bool, float], list[Any]] = {}
    for path in args.runs:
        field, true_labels, _ = read_run(path)
        evolved = evolve_with_channels(field, PLANS[predictor.card.evolution])
        outputs = predictor.site_outputs(field, progress=False, evolved=evolved)
        positions = {"corrected": outputs.displacement, "evolved": evolved.displacement}
        candidates = {
            "in_group": outputs.in_group > np.float32(settings["in_group"]),
            "members": outputs.probability > np.float32(predictor.card.threshold),
            "all": np.ones(field.lattice.shape, dtype=bool),
        }
        for where, which, divided in ROWS:
            linked = LinkedPositions(positions[where], candidates[which])
            min_core = int(settings["min_core"]) if divided else field.n**3
            for length in LENGTHS:
                numbers = linked.numbers(length, min(settings["core_length"], length), min_core)
                members = outputs.in_group > np.float32(settings["member"]) if which == "in_group" else None
                labels = labels_of_members(numbers, candidates[which], members, min_sites)
                counted = count_box(labels, true_labels, field.lattice, field.site_mass_msun_h, mask=labels > 0)
                counts.setdefault((where, which, divided, length), []).append(counted)
    rows = []
    for where, which, divided in ROWS:
        tables = {length: validation_table(counts[where, which, divided, length]) for length in LENGTHS}
        length = max(LENGTHS, key=lambda each: tables[each]["matched_share_all"]["value"])
        names = ("ACC", "F1", "matched_share_large", "matched_share_all")
        row = {"positions": where, "candidates": which, "cores": divided, "linking_length": length}
        rows.append({**row, **{name: tables[length][name] for name in names}})
        shown = "  ".join(f"{name} {rows[-1][name]['value']:.3f} +- {rows[-1][name]['error']:.3f}" for name in names)
        print(f"{where:9s} {which:8s} {'cores' if divided else '-':5s} {length:.2f}  {shown}", flush=True)
    if args.output is not None:
        args.output.write_text(json.dumps({"runs": [path.stem for path in args.runs], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
