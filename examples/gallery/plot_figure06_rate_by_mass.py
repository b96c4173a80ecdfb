r"""
Figure 6: true positive rate by mass
====================================

The share of a halo's sites that the mask finds, by the mass of the simulated halo: ``planck-v4`` on the TreePM run, and
either run of the baseline pair as a prediction of the other. Errors are a bootstrap over the octants of each box.

As in the paper, the rate rises with mass, and the model keeps near the pair above :math:`10^{12}\,h^{-1}M_\odot` and
falls behind below. Part of the distance here is not the model's: it learned from particle-mesh runs, and such a run
from the TreePM run's own phases finds as few of the smallest haloes' sites.
"""

from gallery_data import tallies

from yt_protohalos.analysis.figures import plot_rate_by_mass

figure = plot_rate_by_mass(*tallies())
