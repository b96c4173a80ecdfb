r"""
Figure 12: the response to a large-scale tide
=============================================

The same slice in three tidal fields, :math:`\lambda_z` = -0.5, 0 and 0.5 (eqs. 15 and 16): the overdensity stays as
it is, the potential gains a quadratic term that compresses along one axis and stretches along the other.
``planck-v2`` predicts all three.

As in the paper, protohaloes grow along the axis in which the tide contracts and shrink along the other: 9 % longer and
8 % shorter for :math:`\lambda_z` = 0.5, 6 % and 8 % the other way. Some merge and some split (9 and 7 of 85), and
masses hardly change in the median (-0.004 and -0.018 dex). The paper shows this in a picture, without numbers.
"""

import numpy as np
from experiment_figures import plot_responses
from gallery_data import read

import yt_protohalos as ph

box = read("experiments")
names = {-0.5: "tide -0.5", 0: "reference", 0.5: "tide 0.5"}
panels = {rf"$\lambda_z$ = {value}": box.labelled(name) for value, name in names.items()}
figure = plot_responses(panels, axis="x")

# %%
# Extent along z over extent along y, of the protohaloes that match between the reference and either tide:

reference = box.labelled("reference")


def extents(labels, of):
    """Rms size along y and z of the labels that are asked for, Mpc/h."""
    sites = [labels.lattice.unwrapped(np.argwhere(labels.labels == label)) for label in of]
    return np.array([one.std(axis=0)[1:] for one in sites]) * labels.lattice.spacing


for value in (-0.5, 0.5):
    changed = box.labelled(names[value])
    pairs = ph.compare(reference, changed).matched
    before, after = extents(reference, pairs[:, 0]), extents(changed, pairs[:, 1])
    ratio = np.median(after / before, axis=0)
    print(f"lambda_z = {value:4}: y {ratio[0]:.2f}, z {ratio[1]:.2f} times the reference, median of {len(pairs)}")
    print(ph.compare(reference, changed).table(largest=1), end="\n\n")
