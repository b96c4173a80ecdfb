r"""
Figure 1: the prediction problem
================================

Left, a slice of the linear overdensity from which a simulation starts, at the resolution of its particles. Right, in
the same slice, the regions whose matter ends in one halo each, as the simulation found them. Matter outside haloes is
white. A colour means nothing but "another halo than the neighbour's".

As in the paper, haloes come from dense patches (the mean overdensity is 2.1 in haloes of this slice and -1.7 outside),
but neither their borders nor how many haloes a patch makes can be read off the density: a third of the sites in haloes
are underdense, and of the sites above the threshold of spherical collapse, 1.686, less than half end in haloes. The
paper shows 50 Mpc/*h*, this run 18.75 Mpc/*h*; colours are chosen for readers with colour-vision deficiencies.
"""

from gallery_data import read
from paper_figures import plot_problem

run = read("treepm")
plane = int(run.attributes["plane"])
figure = plot_problem(run["delta_plane"], run["true"][:, :, plane], run.lattice)

# %%
# What the density alone says, in this slice:

delta, inside = run["delta_plane"].astype(float), run["true"][:, :, plane] > 0
print(f"mean overdensity: {delta[inside].mean():.2f} in haloes, {delta[~inside].mean():.2f} outside")
print(f"sites in haloes that are underdense: {(delta[inside] < 0).mean():.0%}")
print(f"sites above 1.686 that end in haloes: {inside[delta > 1.686].mean():.0%}")
