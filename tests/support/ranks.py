"""Script of the tests of several ranks: predicts with the stand-in networks and writes what each rank got.

python ranks.py ICS CACHE OUTPUT [method=METHOD] [die=CRASHES_AT_CROP] [full=BYTES] [redshift=Z] [catalog=FOLDER]
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yt
from position_standins import STANDINS

import yt_protohalos as ph
from yt_protohalos.prediction import position_predictor
from yt_protohalos.yt_interface.linear import particle_sites
from yt_protohalos.yt_interface.mpi import MPICommunicator, start_ranks
from yt_protohalos.yt_interface.particles import YTParticles
from yt_protohalos.yt_interface.predict import box_prediction


def main() -> None:
    ics, cache, output = sys.argv[1:4]
    options = dict(word.split("=") for word in sys.argv[4:])
    start_ranks()
    yt.set_log_level("error")
    predictor, communicator = STANDINS[options.get("method", "pseudo-space")](), MPICommunicator()
    if "die" in options:
        # the last network that runs
        role = "instance" if predictor.instance else "semantic"
        finished, network = [0], getattr(predictor, role)

        def dying(batch: np.ndarray) -> np.ndarray:
            finished[0] += 1
            if not communicator.is_root and finished[0] > int(options["die"]):
                os.kill(os.getpid(), signal.SIGKILL)
            return network(batch)

        setattr(predictor, role, dying)
    if "full" in options and not communicator.is_root:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(options["full"]),) * 2)
    read, evolutions = count_particles(), count_evolutions()
    ds, redshift = ph.load(ics), float(options.get("redshift", 0))
    keywords = {"predictor": predictor, "cache": cache, "progress": False, "redshift": redshift, "on_range": "allow"}
    try:
        prediction = ph.predict(ds, **keywords)
    except Exception as error:
        (Path(output) / f"rank{communicator.rank}.txt").write_text(f"{type(error).__name__}: {error}")
        # the first rank that leaves ends the others, who must have their say
        start = time.monotonic()
        while len(list(Path(output).glob("rank*.txt"))) < communicator.size and time.monotonic() < start + 10:
            time.sleep(0.05)
        raise
    box = box_prediction(ds)
    found = {"read": read[0], "mapped": box.field.is_mapped and ph.linear_field(ds).is_mapped}
    if "catalog" in options:
        catalog = ph.find_protohalos(ds, options["catalog"], **keywords)
        ph.add_protohalo_fields(ds, **{name: value for name, value in keywords.items() if name != "progress"})
        data = ds.all_data()
        found["id"] = data["all", "particle_protohalo_id"]
        found["site"] = particle_sites(ds, "all", data)
        found["members"] = catalog.halo("halos", 0)["member_ids"]
    np.savez(
        Path(output) / f"rank{communicator.rank}.npz", labels=prediction.labels, probability=prediction.probability,
        delta=box.field.delta, key=box.key, evolutions=evolutions[0],
        calls=[predictor.standins.calls[role] for role in ("semantic", "instance")], **found,
    )  # fmt: skip


def count_evolutions() -> list[int]:
    """Evolutions for a position network that this process makes from now on."""
    made, evolve = [0], position_predictor.evolve_with_channels

    def counted(*arguments: object) -> object:
        made[0] += 1
        return evolve(*arguments)

    position_predictor.evolve_with_channels = counted
    return made


def count_particles() -> list[int]:
    """Particles that this process has read from a file, in all passes, from now on."""
    read, chunks = [0], YTParticles.chunks

    def counted(self: YTParticles, *names: str) -> Iterator[dict]:
        for chunk in chunks(self, *names):
            read[0] += len(chunk[names[0]])
            yield chunk

    YTParticles.chunks = counted
    return read


if __name__ == "__main__":
    main()
