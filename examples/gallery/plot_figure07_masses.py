r"""
Figure 7: simulated and predicted haloes
========================================

Two slices of the TreePM run. Colours are the masses of the haloes that the simulation formed, left, and of those that
the model predicts, right, on the same scale.

As in the paper, large patches are found with their shapes and masses. What differs is connectivity: what one of the two
calls one halo the other may call two. The smallest haloes are missed most often; the particle-mesh runs that taught the
model (|gallery_model|) resolve such haloes less well than the TreePM code does. The numbers are below; the paper gives
none.
"""

from gallery_data import read
from paper_figures import plot_mass_slices

from yt_protohalos.analysis.matching import match_haloes

run = read("treepm")
samples = {"simulated": run["true"], "predicted": run["predicted"]}
figure = plot_mass_slices(samples, run.lattice, run.site_mass_msun_h, planes=[20, 60])

# %%
# Halo by halo:

matches = match_haloes(run["predicted"], run["true"])
print(f"{run['true'].max()} haloes formed, {run['predicted'].max()} are predicted")
for least in (155, 500, 2000):
    share, iou = matches.share(least), matches.median_iou(least)
    print(f"more than {least} particles: {share:.0%} matched, median IoU {iou:.2f}")
small = matches.iou[matches.size < 250]
print(f"fewer than 250 particles: {(small > 0.5).mean():.0%} of {len(small)} matched")
