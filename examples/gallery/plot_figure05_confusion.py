r"""
Figure 5 and table 2: which sites end in haloes
===============================================

A slice through the haloes of the TreePM run, the probability that the model gives each site, and the outcome once the
probability is cut at the model's threshold.

As in the paper, haloes' cores are sure and their borders are not, and sites that are missed are strings along the
borders: matter that has just fallen in. The paper's networks reach ACC 0.864 and F1 0.838, of a limit of 0.903 and
0.884 there and 0.914 and 0.892 here; the table below has the scores of |gallery_model|. It sees an approximately
evolved field beside the linear one; ``planck-v2``, which as the paper's networks does not, has 0.868 and 0.834 on this
run. The probability is calibrated here, so that 0.7 means seven in ten (the last line below says how nearly on this run
of another code); the paper's is what its network gives. False positives are yellow instead of red, for red and green
look alike to many.
"""

from gallery_data import block_counts, read

from yt_protohalos.analysis.metrics import calibration_error, site_scores
from yt_protohalos.analysis.score_figures import plot_confusion

run = read("treepm")
figure = plot_confusion(run["true"] > 0, run["probability"], run["mask"], run.lattice, index=60)

# %%
# The scores of table 2. The model is scored on a TreePM run and the pair on particle-mesh runs of the same size; the
# paper's networks and pair are both of its own code.

PAPER = {
    "paper, model": {"TPR": 0.838, "TNR": 0.883, "PPV": 0.838, "ACC": 0.864, "F1": 0.838},
    "paper, pair": {"TPR": 0.887, "TNR": 0.914, "PPV": 0.882, "ACC": 0.903, "F1": 0.884},
}
measured = [{name: value[0] for name, value in site_scores(one.total()).items()} for one in block_counts()]
rows = {run.attributes["model"]: measured[0], "pair": measured[1], **PAPER}
print(" " * 14 + "".join(f"{name:>7s}" for name in PAPER["paper, pair"]))
for title, scores in rows.items():
    print(f"{title:14s}" + "".join(f"{scores[name]:7.3f}" for name in PAPER["paper, pair"]))
error = calibration_error(block_counts()[0].total())[0]
print(f"largest distance of probability and observed share in ten bins: {error:.3f}")
