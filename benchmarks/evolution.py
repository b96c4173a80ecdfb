"""Friends-of-friends haloes, without any network, of plans of evolution beside simulations.

Run: python benchmarks/evolution.py RUN [RUN ...] [-o FILE]     RUN: a file of `protohalos simulate`

Prints for each plan the scores pooled over the runs, and processor seconds for each run. The runs are tuning runs from
then on: what was chosen by looking at them must not be scored on them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MIN_SITES = 155
SCORES = ("ACC", "F1", "matched_share_large", "matched_share_all")


def plans() -> dict[str, Callable[[Any], np.ndarray]]:
    """Name and function that gives the displacement of a field, float32 (3, n, n, n), in sites."""
    from yt_protohalos.fields.evolution import evolve_field
    from yt_protohalos.fields.particle_mesh import ACCURATE, FAST, MeshPlan, final_positions

    def mesh(plan: MeshPlan) -> Callable[[Any], np.ndarray]:
        return lambda field: final_positions(field, plan)[0]

    others = {
        "fast, start 0": MeshPlan(1, 16, 0.0, 2.0, 4.0, 4),
        "fast, equal steps": MeshPlan(1, 16, 0.1, 1.0, 4.0, 4),
        "fast, 12 steps": MeshPlan(1, 12, 0.1, 2.0, 4.0, 4),
        "fast, 24 steps": MeshPlan(1, 24, 0.1, 2.0, 4.0, 4),
        "fast, not sharpened": MeshPlan(1, 16, 0.1, 2.0, 4.0, 0),
        "two cells, 16 steps": MeshPlan(2, 16, 0.1, 2.0, 5.0, 0),
        "two cells, 24 steps, start 0": MeshPlan(2, 24, 0.0, 2.0, 5.0, 0),
        "two cells, 32 steps, start 0": MeshPlan(2, 32, 0.0, 2.0, 5.0, 0),
        "accurate without its late filter": MeshPlan(2, 32, 0.04, 2.0, 5.0, 0),
    }
    return {
        "networks' field": lambda field: evolve_field(field).displacement,
        "fast": mesh(FAST),
        "accurate": mesh(ACCURATE),
        **{name: mesh(plan) for name, plan in others.items()},
    }


def scores(runs: list[Path], displace: Callable[[Any], np.ndarray]) -> dict[str, Any]:
    from yt_protohalos.analysis.block_counts import count_box
    from yt_protohalos.analysis.score_tables import validation_table
    from yt_protohalos.models.fof_card import LINKING_LENGTH
    from yt_protohalos.segmentation.friends_of_friends import group_sites
    from yt_protohalos.training.run_files import read_run

    counts, seconds = [], 0.0
    for path in runs:
        field, truth = read_run(path)[:2]
        start = time.process_time()
        labels = group_sites(displace(field), LINKING_LENGTH, MIN_SITES)
        seconds += time.process_time() - start
        counts.append(count_box(labels, truth, field.lattice, field.site_mass_msun_h))
    table = validation_table(counts)
    ratio = table["mass_function_ratio"]
    return {
        **{name: table[name] for name in SCORES},
        "mass_function": dict(zip(map(str, ratio["bins"]), ratio["value"], strict=True)),
        "seconds": seconds / len(runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    found = {}
    for name, displace in plans().items():
        found[name] = scores(args.runs, displace)
        one = found[name]
        columns = [f"{key} {one[key]['value']:.4f} +- {one[key]['error']:.4f}" for key in SCORES]
        print(f"{name:20s}", *columns, f"{one['seconds']:.1f} s", sep="  ", flush=True)
    if args.output is not None:
        args.output.write_text(json.dumps({"runs": [path.stem for path in args.runs], "plans": found}, indent=1))


if __name__ == "__main__":
    main()
