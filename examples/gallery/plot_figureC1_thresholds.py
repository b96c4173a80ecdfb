r"""
Figure C1: scores by threshold
==============================

Each score of the mask, and the share of sites in it, for every threshold on the probability that the model gives the
TreePM run. Dashed lines are the baseline pair's scores and the simulated share; the dotted line is the model's
threshold.

As in the paper, the threshold at which the shares agree is near that of the best ACC, and ACC and F1 are flat there.
The paper chose its threshold on the runs that it shows; that of |gallery_model| was chosen on particle-mesh runs. The
numbers are below.
"""

import numpy as np
from gallery_data import block_counts, read

from yt_protohalos.analysis.metrics import scores_by_threshold
from yt_protohalos.analysis.score_figures import plot_threshold_scan

model, pair = block_counts()
used = float(read("treepm").attributes["threshold"])
figure = plot_threshold_scan(model, used, pair)

# %%
# Where scores are best, and what they are at the threshold in use:

thresholds, scores = scores_by_threshold(model.total())
for name in ("ACC", "F1"):
    best = int(np.argmax(scores[name][0]))
    here = np.interp(used, thresholds, scores[name][0])
    print(f"{name}: best {scores[name][0][best]:.3f} at {thresholds[best]:.2f}, {here:.3f} at {used:.2f}")
excess = scores["predicted_fraction"][0] - scores["true_fraction"][0]
print(f"share of sites: right at {thresholds[np.argmin(np.abs(excess))]:.2f}, ", end="")
print(f"{np.interp(used, thresholds, excess):+.3f} at {used:.2f}")
