"""Generate initial conditions, write them as a Gadget file, read them back, and predict protohaloes.

Run: python own_initial_conditions.py [-n SITES] [--seed SEED] [--model NAME_OR_FOLDER] [-o DIR]
"""

import argparse
from pathlib import Path

import numpy as np

import yt_protohalos as ph
from yt_protohalos.models.registry import DEFAULT_MODEL

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("-n", type=int, default=64, help="sites per side")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--model", default=DEFAULT_MODEL)
parser.add_argument("-o", "--output-dir", type=Path, default=Path("own_ics"))
args = parser.parse_args()

args.output_dir.mkdir(parents=True, exist_ok=True)
path = args.output_dir / "ics.hdf5"
box_size = args.n * 50 / 256  # Mpc/h, at the lattice spacing of the paper
truth = ph.generate_initial_conditions(args.n, box_size, args.seed, filename=path)

field = ph.linear_field(ph.load(path))
difference = np.std(field.delta - truth.delta) / np.std(truth.delta)
print(f"overdensity read back from particles: rms difference {difference:.1e} of the signal")

predictor = ph.ProtohaloPredictor.from_pretrained(args.model)
prediction = predictor.predict(field)
prediction.save(args.output_dir / "prediction.h5")
print(f"{prediction.n_protohalos} protohalos; the largest has {prediction.sizes[1:].max(initial=0)} sites")
