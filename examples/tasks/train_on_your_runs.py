"""
Train on your own runs
======================

A network is trained on simulations of your own: their initial conditions, and a final snapshot with the same IDs.
Without files of yours, a substitute for a simulation is made, so that the example runs in seconds.

:doc:`/training` trains a model of full size. The documentation shows this script without running it.

Run: python train_on_your_runs.py [--ics FILE --snapshot FILE] [-o DIR]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

import yt_protohalos as ph
from yt_protohalos.initial_conditions.generate import lagrangian_particles
from yt_protohalos.initial_conditions.readers.gadget_hdf5 import write_gadget_hdf5
from yt_protohalos.training.dataset import LabelledField
from yt_protohalos.training.halo_labels import label_run
from yt_protohalos.training.settings import TrainingSettings
from yt_protohalos.training.trainer import Trainer

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", type=Path, help="initial conditions (default: generated)")
parser.add_argument("--snapshot", type=Path, help="their final snapshot (default: a substitute for one)")
parser.add_argument("--model", help="accepted as in the other examples, but not used")
parser.add_argument("-o", "--output-dir", type=Path, default=Path("own_runs"))
args = parser.parse_args()
if (args.ics is None) != (args.snapshot is None):
    parser.error("--ics and --snapshot belong together")
args.output_dir.mkdir(parents=True, exist_ok=True)


def write_substitute(ics: Path, snapshot: Path, n: int = 24, seed: int = 2) -> None:
    """Initial conditions, and particles that moved by 2LPT or, near a peak of the overdensity, fell onto it."""
    field = ph.generate_initial_conditions(n, n * 50 / 256, seed, filename=ics)
    final, velocities = lagrangian_particles(field, redshift=0.0)
    start = field.lattice.sites(np.arange(n**3)) * field.spacing
    height = gaussian_filter(field.delta, 2, mode="wrap").ravel()
    for _ in range(4):
        peak = start[np.argmax(height)]
        away = field.lattice.minimum_image(start - peak)
        near = np.linalg.norm(away, axis=1) < 6 * field.spacing
        final[near] = (peak + 0.1 * away[near]) % field.box_size
        height[near] = -np.inf
    write_gadget_hdf5(snapshot, final, velocities, field.lattice, field.cosmology, redshift=0.0)


ics, snapshot = args.ics, args.snapshot
if ics is None:
    ics, snapshot = args.output_dir / "ics.hdf5", args.output_dir / "snapshot.hdf5"
    write_substitute(ics, snapshot)

# the same as: protohalos label --ics ICS --snapshot SNAPSHOT -o own_runs/run.h5
run = label_run(ics, snapshot=snapshot, output=args.output_dir / "run.h5")
print(f"{len(run.centres) - 1} haloes hold {1 - run.outside_fraction:.1%} of the initial conditions")

# a network of the paper's size takes hours: protohalos train semantic --runs own_runs/run*.h5 -o training/semantic
runs = [LabelledField.from_run(args.output_dir / "run.h5")]
settings = TrainingSettings(
    "semantic", stages=((16, 30),), margin=2, filters=(4, 8), batch=2, warmup=5, learning_rate=1e-2, validate_every=10
)
trainer = Trainer(settings, runs, held_out=runs, folder=args.output_dir / "semantic")
trainer.run(progress=False)
print((args.output_dir / "semantic" / "log.csv").read_text())
