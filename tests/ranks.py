"""Script of the tests of several ranks: predicts with the stand-in networks and writes what each rank got.

python ranks.py ICS CACHE OUTPUT [die=CRASHES_AT_CROP] [full=BYTES]
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import yt
from standins import make_predictor

import yt_protohalos as ph
from yt_protohalos.surface.parallel import RankTeam, start_ranks


def main() -> None:
    ics, cache, output = sys.argv[1:4]
    options = dict(word.split("=") for word in sys.argv[4:])
    start_ranks()
    yt.set_log_level("error")
    predictor, team = make_predictor(), RankTeam()
    if "die" in options:
        finished, network = [0], predictor.instance

        def dying(batch: np.ndarray) -> np.ndarray:
            finished[0] += 1
            if not team.is_root and finished[0] > int(options["die"]):
                os.kill(os.getpid(), signal.SIGKILL)
            return network(batch)

        predictor.instance = dying
    if "full" in options and not team.is_root:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(options["full"]),) * 2)
    prediction = ph.predict(ph.load(ics), predictor=predictor, cache=cache, progress=False)
    np.savez(
        Path(output) / f"rank{team.rank}.npz", labels=prediction.labels, probability=prediction.probability,
        calls=[predictor.standins.calls[role] for role in ("semantic", "instance")],
    )  # fmt: skip


if __name__ == "__main__":
    main()
