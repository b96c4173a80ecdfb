"""Script: labels of a model in a process with settings of its own.

python backend_labels.py MODEL SITES OUTPUT [CORES]
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Predict a box and store labels, probability and the backend's name."""
    model, sites, output = sys.argv[1:4]
    if len(sys.argv) > 4:
        # before any library asks how many there are
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[4])])
    import keras
    import numpy as np
    from standins import make_field

    from yt_protohalos.prediction.predictor import ProtohaloPredictor

    field = make_field(int(sites))
    predictor = ProtohaloPredictor.from_pretrained(model, precision="float32")
    found = predictor.predict(field, progress=False, on_spacing="allow", on_range="allow")
    np.savez(
        output, labels=found.labels, probability=found.probability, backend=keras.backend.backend(),
        cores=len(os.sched_getaffinity(0)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
