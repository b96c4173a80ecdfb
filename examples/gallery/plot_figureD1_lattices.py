r"""
Figure D1: two lattices of crops become one box
===============================================

The instance network of ``planck-v4`` sees crops, and labels mean nothing outside theirs. So the box is covered twice,
by two lattices of crops offset by half a core. Left and middle, the labels of either, cut at the faces of its cores;
right, what becomes of them: labels that overlap are joined, small ones dropped. A colour means nothing but "another
label than the neighbour's". The default model needs no such lattices, because it groups sites of the whole box.

As in the paper, objects that a face cuts in one lattice are whole in the other, and in the result: 42 labels of the
first lattice and 47 of the second become 24 objects in this slice, 8 of which lie across a face of the first. A step
follows that the paper does not have: objects that the evolved field puts in contact are joined
(:doc:`/method`).
"""

import numpy as np
from gallery_data import read
from paper_figures import plot_lattices

run = read("lattices")
planes = {"first lattice": run["first"], "second lattice": run["second"], "stitched": run["stitched"]}
# cores of 48 sites
figure = plot_lattices(planes, run.lattice, faces={"first lattice": (0, 48), "second lattice": (24, 72)})

# %%
# Labels in the slice:

print(*(f"{title}: {len(np.unique(plane[plane > 0]))}" for title, plane in planes.items()), sep="\n")
whole = planes["stitched"]
for title, (low, high) in {"first": (0, 48), "second": (24, 72)}.items():
    cut = set()
    for face in (low, high):
        for one, other in ((whole[face - 1], whole[face]), (whole[:, face - 1], whole[:, face])):
            cut |= set(one[(one == other) & (one > 0)].tolist())
    print(f"objects across a face of the {title} lattice: {len(cut)}")
