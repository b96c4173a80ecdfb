r"""
Figure 8: predicted against simulated mass, site by site
========================================================

Below, the mass that each site's halo is predicted to have, for sites that are in haloes in both, by the mass that it
has in the simulation: the model left and the baseline pair right of each violin's middle. Points are medians and bars
span the 16th to 84th percentile. Above, the share of sites that the prediction misses, by simulated mass (FNR), and the
share of predicted sites that belong to no halo, by predicted mass (FDR).

As in the paper, medians lie near the diagonal, the scatter falls with mass, and the pair's violins are narrower than
the model's. The paper's medians leave the diagonal for small haloes, by 0.37 dex at 11.2; the numbers below say where
those of |gallery_model| are. The pair's FNR and FDR are one line, for either run stands in for the truth once. A box of
18.75 Mpc/*h* has few haloes above :math:`10^{12.5}\,h^{-1}M_\odot`, and a violin there is a few haloes; larger runs are
in :doc:`/validation`.
"""

from gallery_data import block_counts

from yt_protohalos.analysis.metrics import voxel_offset
from yt_protohalos.analysis.score_figures import CENTRES, plot_voxel_masses

figure = plot_voxel_masses(*block_counts())

# %%
# log10 of predicted over simulated mass, the median and the distance of the 16th to the 84th percentile:

for name, one in zip(("model", "pair"), block_counts(), strict=True):
    low, middle, high = (voxel_offset(one.total(), quantile)[0][: len(CENTRES)] for quantile in (0.16, 0.5, 0.84))
    rows = zip(CENTRES, low, middle, high, strict=True)
    cells = [f"{mass:.1f}: {b:+.3f} ({c - a:.2f})" for mass, a, b, c in rows if b == b]
    print(name, *cells, sep="\n   ")
