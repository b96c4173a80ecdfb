"""Script: one small file of every kind that the package stores, as the current version writes them.

python stored_files.py FOLDER

`tests/data/stored` holds what version 0.1.0 wrote. A version that changes a format adds a folder beside it and leaves
the old one as it is: test_stored_files opens all of them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from standins import SPACING
from yt_fakes import FakePredictor

import yt_protohalos as ph
from yt_protohalos.prediction.result import field_sample
from yt_protohalos.training.run_files import write_field_run, write_seed_run
from yt_protohalos.training.simulation import SimulationSettings
from yt_protohalos.yt_interface.finder import rebuild_catalog

SIDE, SEED = 16, 11


def main() -> None:
    """Write the files, and what they must say as JSON."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    ics = folder / "ics.hdf5"
    field = ph.generate_initial_conditions(SIDE, SIDE * SPACING, seed=SEED, filename=ics)
    ds = ph.load(ics)
    field = ph.linear_field(ds)
    prediction = FakePredictor(level=0.4).predict(field, progress=False)
    # few digits make a small file
    prediction = replace(prediction, probability=prediction.probability.round(2))
    prediction.save(folder / "prediction.h5")
    rebuild_catalog(ds, prediction, folder)
    zeros = np.zeros((SIDE**3, 3), dtype=np.float32)
    settings = SimulationSettings(SIDE, field.box_size, 2 * SIDE)
    write_seed_run(folder / "run_seed.h5", prediction.labels, zeros, zeros, settings, {"seed": SEED, "steps": 1})
    write_field_run(folder / "run_field.h5", field, prediction.labels, {"halo_finder": "peaks"})
    ics.unlink()
    (folder / "card.json").write_text(prediction.card.to_json())
    facts = {
        "package_version": ph.__version__, "model": prediction.card.name, "sites": SIDE, "box_size": field.box_size,
        "threshold": prediction.settings["threshold"], "sizes": prediction.sizes.tolist(),
        "field_sample": field_sample(field), "mass_of_largest": float(prediction.label_mass[1]),
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
