r"""
Figure 6: true positive rate by mass
====================================

The share of a halo's sites that the mask finds, by the mass of the simulated halo: the model on the TreePM run, and
either run of the baseline pair as a prediction of the other. Errors are a bootstrap over the octants of each box.

As in the paper, the rate rises with mass, and the model (|gallery_model|) keeps near the pair above
:math:`10^{12}\,h^{-1}M_\odot` and falls behind below. Part of the distance is between simulation codes, not the
model's: it learned from particle-mesh runs (:doc:`/validation`).
"""

from gallery_data import block_counts

from yt_protohalos.analysis.metrics import true_positive_rate
from yt_protohalos.analysis.score_figures import CENTRES, plot_rate_by_mass

figure = plot_rate_by_mass(*block_counts())

# %%
# The numbers:

model, pair = (true_positive_rate(one.total())[0] for one in block_counts())
for mass, found, limit in zip(CENTRES, model, pair, strict=True):
    if found == found:  # bins without haloes have none
        print(f"log10 M = {mass:.1f}: model {found:.3f}, pair {limit:.3f}")
