r"""
Figure 8: predicted against simulated mass, site by site
========================================================

Below, the mass that each site's halo is predicted to have, for sites that are in haloes in both, by the mass that it
has in the simulation: ``planck-v4`` left and the baseline pair right of each violin's middle. Points are medians and
bars span the 16th to 84th percentile. Above, the share of sites that the prediction misses, by simulated mass (FNR),
and the share of predicted sites that belong to no halo, by predicted mass (FDR).

As in the paper, medians lie on the diagonal and the scatter falls with mass. Unlike there, they do so down to the
smallest haloes. A box of 18.75 Mpc/*h* has few haloes above :math:`10^{12.5}\,h^{-1}M_\odot`: each of these violins is a
halo or two. Seven larger runs are in :doc:`/validation`.
"""

from gallery_data import tallies

from yt_protohalos.analysis.figures import plot_voxel_masses

figure = plot_voxel_masses(*tallies())
