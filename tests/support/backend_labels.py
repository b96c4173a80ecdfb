"""Script: labels of models in a process with settings of its own.

python backend_labels.py SITES CORES MODEL=OUTPUT ...
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Predict a box and store labels, probability and the backend's name of each model."""
    sites, cores, *pairs = sys.argv[1:]
    # before any library asks how many there are
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    import keras
    import numpy as np
    from standins import make_field

    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    field = make_field(int(sites))
    for pair in pairs:
        model, output = pair.split("=")
        predictor = ProtohaloPredictor.from_pretrained(model, precision="float32")
        found = predictor.predict(field, progress=False, on_spacing="allow", on_range="allow")
        np.savez(
            output, labels=found.labels, probability=found.probability, backend=keras.backend.backend(),
            cores=len(os.sched_getaffinity(0)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
