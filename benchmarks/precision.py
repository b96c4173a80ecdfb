"""What the precision of the networks changes in the labels: the bundled box in float32, mixed and bfloat16.

python benchmarks/precision.py [--model NAME]
"""

from __future__ import annotations

import argparse
from importlib.resources import files

import numpy as np
import yt

import yt_protohalos as ph
from yt_protohalos.predictor import PRECISIONS


def main() -> None:
    """Predict in every precision and print what differs from float32."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="planck-v4")
    arguments = parser.parse_args()
    yt.set_log_level(50)
    field = ph.linear_field(ph.load(files("yt_protohalos") / "data" / "music64_gadget2.dat"))
    found = {}
    for precision in PRECISIONS[1:]:
        predictor = ph.ProtohaloPredictor.from_pretrained(arguments.model, precision=precision)
        found[precision] = predictor.predict(field, progress=False)
    truth = found["float32"]
    print(f"{arguments.model}, {field.n}^3 sites, float32: {truth.n_protohalos} protohalos")
    for precision in PRECISIONS[2:]:
        other = found[precision]
        change = np.abs(other.probability - truth.probability)
        compared = ph.compare(truth, other)
        partner = np.zeros(truth.n_protohalos + 1, dtype=int)
        partner[compared.matched[:, 0]] = compared.matched[:, 1]
        inside = (truth.labels > 0) | (other.labels > 0)
        same = (partner[truth.labels] == other.labels) & (truth.labels > 0)
        print(
            f"{precision}: {other.n_protohalos} protohalos, {len(compared.matched)} matched; probability differs by "
            f"{change.mean():.1e} in the mean and {change.max():.2g} at most; {np.mean(other.mask != truth.mask):.2%} "
            f"of the sites change sides of the threshold; {np.sum(same) / np.sum(inside):.1%} of the labelled sites "
            "keep their protohalo"
        )


if __name__ == "__main__":
    main()
