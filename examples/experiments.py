"""Predict protohaloes with a large-scale overdensity and with a large-scale tide (figures 10 and 12 of the paper).

Run: python experiments.py [-n SITES] [--seed SEED] [--model NAME_OR_FOLDER] [-o DIR]

The perturbations are uniform, so the model must see the linear field alone, as planck-v2 does.
"""

import argparse
from pathlib import Path

from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import yt_protohalos as ph
from yt_protohalos.analysis.drawing import fullest_plane
from yt_protohalos.analysis.plots import draw_masses

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("-n", type=int, default=64, help="sites per side")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--model", default="planck-v2")
parser.add_argument("-o", "--output-dir", type=Path, default=Path("experiments"))
args = parser.parse_args()

field = ph.generate_initial_conditions(args.n, args.n * 50 / 256, args.seed)  # at the lattice spacing of the paper
predictor = ph.ProtohaloPredictor.from_pretrained(args.model)
reference = predictor.predict(field)
plane = fullest_plane(reference.labels, "x")  # the one with most protohalo sites

args.output_dir.mkdir(parents=True, exist_ok=True)
for name, add, symbol in (
    ("overdensity", ph.add_overdensity, r"$\delta_\epsilon$"),
    ("tide", ph.add_tide, r"$\lambda_z$"),
):
    low, high = predictor.predict(add(field, -0.5)), predictor.predict(add(field, 0.5))
    panels = {f"{symbol} = -0.5": low, f"{symbol} = 0": reference, f"{symbol} = 0.5": high}
    figure = Figure(figsize=(15, 4.4), layout="constrained")
    for ax, (title, prediction) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        draw_masses(ax, prediction, axis="x", index=plane, norm=LogNorm(1e11, 1e14))  # Msun
        ax.set_title(title)
    figure.savefig(args.output_dir / f"{name}.png", dpi=120)
    print(f"a: without, b: with {name} of 0.5")
    print(ph.compare(reference, high).table(largest=5), end="\n\n")
