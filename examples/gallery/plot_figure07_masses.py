r"""
Figure 7: simulated and predicted haloes
========================================

Two slices of the TreePM run. Colours are the masses of the haloes that the simulation formed, left, and of those that
``planck-v4`` predicts, right, on the same scale.

As in the paper, large patches are found with their shapes and masses. What differs is connectivity: what one of the
two calls one halo the other may call two. The smallest haloes are missed more often than not.
"""

from gallery_data import read

from yt_protohalos.analysis.paper_figures import plot_mass_slices
from yt_protohalos.analysis.scores import match_haloes

run = read("treepm")
samples = {"simulated": run["true"], "predicted": run["predicted"]}
figure = plot_mass_slices(samples, run.lattice, run.site_mass, planes=[20, 60])

# %%
# Halo by halo:

matches = match_haloes(run["predicted"], run["true"])
print(f"{run['true'].max()} haloes formed, {run['predicted'].max()} are predicted")
for least in (155, 500, 2000):
    share, iou = matches.share(least), matches.median_iou(least)
    print(f"more than {least} particles: {share:.0%} matched, median IoU {iou:.2f}")
