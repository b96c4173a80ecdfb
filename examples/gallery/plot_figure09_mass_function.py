r"""
Figure 9: the halo mass function
================================

Haloes counted by mass: simulated, and predicted by the model in runs of 37.5 Mpc/*h* that neither its training nor its
tuning saw (their counts are in the model's card), and two fits to friends-of-friends haloes, Watson et al. (2013) and
Angulo et al. (2012). Below, the ratios to the first.

As in the paper, the prediction (|gallery_model|) follows the simulations over more than two orders of magnitude. Haloes
of a few hundred sites are at the limit of the lattice: the paper's notebooks have 0.58 of them at 11.5 and 0.22 at
11.1. The numbers are below. The fit of the paper's figure, Ondaro-Mallea et al. (2022),
depends on growth rate and spectral slope; its parameters were not at hand in a source that can be cited, so it is not
drawn. Boxes of this size lack large haloes; a prediction of a box of 100 Mpc/*h* (:math:`512^3` sites, no simulation
beside it), by the model that the legend names, goes on to larger masses. Its numbers are below too, over the first fit.
``--boxes`` adds predictions of other boxes, and ``docs/make_gallery_data.py --boxes`` keeps their counts for this
page.
"""

import argparse
from pathlib import Path

from gallery_data import COSMOLOGY, box_counts, box_name, card_counts, card_scores, read
from mass_function_figures import plot_abundance

from yt_protohalos.analysis.mass_function import HaloCounts, mean_fit
from yt_protohalos.prediction.result import Prediction

parser = argparse.ArgumentParser()
parser.add_argument("--boxes", type=Path, nargs="*", default=[], help="files that Prediction.save wrote")
parser.add_argument("-o", "--output", type=Path, help="save the figure as this image")
args = parser.parse_args()

model = read("treepm").attributes["model"]
runs = card_scores(model)
samples = {
    f"{kind}, {len(runs)} $\\times$ 37.5 $h^{{-1}}$Mpc": card_counts(runs, key)
    for kind, key in (("simulated", "true"), (f"predicted by {model}", "predicted"))
}
# counted before, because the boxes are too large to keep
boxes = box_counts()
for path in args.boxes:
    box = Prediction.load(path)
    side = box.lattice.box_size
    boxes[box_name("predicted", side, box.card.name)] = HaloCounts.of_labels(
        box.labels, box.site_mass_msun * box.cosmology.h, side**3
    )

figure = plot_abundance(samples | boxes, COSMOLOGY)
if args.output:
    figure.savefig(args.output, dpi=150)

# %%
# Predicted over simulated, by mass:

simulated, predicted = list(samples.values())[:2]
for low, high, true, found in zip(
    simulated.edges, simulated.edges[1:], simulated.number, predicted.number, strict=False
):
    print(f"{low:.2f} to {high:.2f}: {true:5d} simulated, {found:5d} predicted, ratio {found / true:.2f}")

# %%
# Larger boxes, which have no simulation beside them, over the first fit:

for name, counts in boxes.items():
    expected = mean_fit(COSMOLOGY, counts.edges, "watson13")[0]
    print(name)
    for low, high, number, density, fit in zip(
        counts.edges, counts.edges[1:], counts.number, counts.density, expected, strict=False
    ):
        if number:
            print(f"   {low:.2f} to {high:.2f}: {number:6d} haloes, {density / fit:.2f} of the fit")
