r"""
Figure 1: the prediction problem
================================

Left, a slice of the linear overdensity from which a simulation starts, at the resolution of its particles. Right, in
the same slice, the regions whose matter ends in one halo each, as the simulation found them. Matter outside haloes is
white. A colour means nothing but "another halo than the neighbour's".

As in the paper, haloes come from dense patches, but neither their borders nor how many haloes a patch makes can be
read off the density. The paper shows 50 Mpc/*h*, this run 18.75 Mpc/*h*; colours are chosen for readers with
colour-vision deficiencies.
"""

from gallery_data import read

from yt_protohalos.analysis.paper_figures import plot_problem

run = read("treepm")
plane = int(run.attributes["plane"])
figure = plot_problem(run["delta_plane"], run["true"][:, :, plane], run.lattice)
