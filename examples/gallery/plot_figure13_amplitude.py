r"""
Figure 13: other amplitudes of the fluctuations
===============================================

Mass functions for :math:`\sigma_8` = 0.58, 0.83 and 1.08: simulated and predicted by ``amplitude-v1``, two runs of
37.5 Mpc/*h* each that neither its training nor its tuning saw, and the fit of Watson et al. (2013) to
friends-of-friends haloes. Below, predicted over simulated.

The paper's networks knew one amplitude, and away from it were off below :math:`10^{12.7}\,h^{-1}M_\odot`. This model
was trained on all three: from :math:`10^{11.75}` to :math:`10^{13}\,h^{-1}M_\odot` it is within 11 % of the
simulations. Below, haloes are too few, the more so the larger :math:`\sigma_8`. ``--scores`` takes files of
``protohalos validate -o`` for runs of your own.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from gallery_data import COSMOLOGY, card_counts, card_scores
from mass_function_figures import plot_amplitudes

from yt_protohalos import Cosmology
from yt_protohalos.analysis.mass_function import HaloCounts

parser = argparse.ArgumentParser()
parser.add_argument("--scores", type=Path, nargs="*", default=[], help="instead: one file an amplitude")
parser.add_argument("-o", "--output", type=Path, help="save the figure as this image")
args = parser.parse_args()


def from_file(path):
    """Counts that `protohalos validate -o` wrote."""
    scores = json.loads(path.read_text())
    table = scores["tables"]["model"]
    counts = []
    for name in ("simulated_haloes", "predicted_haloes"):
        bins = table[name]["bins"]
        edges = [bins[0][0], *(high for _, high in bins)]
        counts.append(HaloCounts(edges, [round(value or 0) for value in table[name]["value"]], scores["volume"]))
    return Cosmology(**scores["cosmology"]), *counts


if args.scores:
    samples = [from_file(path) for path in args.scores]
else:
    tested = {sigma_8: card_scores("amplitude-v1", sigma_8) for sigma_8 in (0.58, COSMOLOGY.sigma_8, 1.08)}
    samples = [
        (replace(COSMOLOGY, sigma_8=sigma_8), card_counts(runs, "true"), card_counts(runs, "predicted"))
        for sigma_8, runs in tested.items()
    ]

figure = plot_amplitudes(samples)
if args.output:
    figure.savefig(args.output, dpi=150)

# %%
# Predicted over simulated, by mass:

for cosmology, simulated, predicted in samples:
    kept = simulated.number >= 10
    cells = [
        f"{low:.2f}: {b / a:.2f}"
        for low, a, b in zip(simulated.edges[:-1][kept], simulated.number[kept], predicted.number[kept], strict=True)
    ]
    print(f"sigma_8 = {cosmology.sigma_8:.2f}, from log10 M", "  ".join(cells))
