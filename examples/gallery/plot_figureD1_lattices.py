r"""
Figure D1: two lattices of crops become one box
===============================================

The instance network sees crops, and labels mean nothing outside theirs. So the box is covered twice, by two lattices
of crops offset by half a core. Left and middle, the labels of either, cut at the faces of its cores; right, what
becomes of them: labels that overlap are joined, small ones dropped. A colour means nothing but "another label than
the neighbour's".

As in the paper, objects that a face cuts in one lattice are whole in the other, and in the result. For ``planck-v4``
a step follows that the paper does not have: objects that the evolved field puts in contact are joined
(:doc:`/method`).
"""

from gallery_data import read

from yt_protohalos.analysis.paper_figures import plot_lattices

run = read("treepm")
planes = {
    "first lattice": run["lattice_a_plane"],
    "second lattice": run["lattice_b_plane"],
    "stitched": run["predicted"][:, :, int(run.attributes["plane"])],
}
# cores of 48 sites
figure = plot_lattices(planes, run.lattice, faces={"first lattice": (0, 48), "second lattice": (24, 72)})
