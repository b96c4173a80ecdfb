r"""
Figure 11: linear Lagrangian bias
=================================

The bias :math:`b_{1L}` by halo mass, from the linear overdensity, smoothed over 6 Mpc/*h*, at the Lagrangian centres
(eq. 14). Errors are a jackknife over 27 parts of each box. Grey, two fits to simulations of far larger boxes: Tinker
et al. (2010), for haloes of 200 times the mean density, and Bhattacharya et al. (2011), for friends-of-friends
haloes.

As in the paper, the prediction agrees with the simulation of the same initial conditions (37.5 Mpc/*h*, seed 901), and
a box of that size is too small for either: bias is below the fits for small haloes and above them for large ones,
because density on scales beyond the box is missing. The prediction of a larger box (50 Mpc/*h*, seed 930) is nearer the
fits, as in the paper; one of 100 Mpc/*h* has the smallest errors, and remains below the fits for small haloes and above
them for large ones. The legend names the model of each prediction, and the numbers are below. A part of the difference
is the estimator's: 6 Mpc/*h* is no large scale for haloes whose own Lagrangian radius is 5 Mpc/*h*. How large a part
has not been measured. The paper's curve is called that of Lazeyras et al. (2016), whose formulas are for :math:`b_2`
and :math:`b_3` as functions of :math:`b_1`; there is none for :math:`b_1` by mass, so that the two fits stand in.
``--boxes`` measures predictions of larger boxes, and
``docs/make_gallery_data.py --boxes`` keeps what it measures for this page.
"""

import argparse
from pathlib import Path

from experiment_figures import plot_bias
from gallery_data import COSMOLOGY, biases, box_name

import yt_protohalos as ph
from yt_protohalos.analysis.bias import bias_fit, lagrangian_bias
from yt_protohalos.prediction.result import Prediction

parser = argparse.ArgumentParser()
parser.add_argument("--boxes", type=Path, nargs="*", default=[], help="files that Prediction.save wrote")
parser.add_argument("--ics", type=Path, nargs="*", default=[], help="their initial conditions, a file a box")
parser.add_argument("--seeds", type=int, nargs="*", default=[], help="or seeds of generate_initial_conditions")
parser.add_argument("-o", "--output", type=Path, help="save the figure as this image")
args = parser.parse_args()

# measured before, because the boxes are too large to keep
measured = biases()
for path, origin in zip(args.boxes, args.ics or args.seeds, strict=True):
    box = Prediction.load(path)
    side = box.lattice.box_size
    if args.ics:
        field = ph.linear_field(ph.load(origin))
    else:
        field = ph.generate_initial_conditions(box.lattice.n, side, origin, box.cosmology, box.redshift)
    box.check_field(field)
    edges = (11.0, 11.5, 12.0, 12.5, 13.0, 13.5, 14.0, 14.5, 15.0)
    measured[box_name("predicted", side, box.card.name)] = lagrangian_bias(box, field, edges)

figure = plot_bias(measured, COSMOLOGY)
if args.output:
    figure.savefig(args.output, dpi=150)

# %%
# The numbers, beside the fit of Tinker et al.:

for name, bias in measured.items():
    print(name)
    for mass, value, error, number in zip(bias.log10_mass, bias.value, bias.error, bias.number, strict=True):
        if number:
            fit = bias_fit(COSMOLOGY, mass)[0]
            print(f"   log10 M = {mass:.2f}: {value:6.2f} +- {error:.2f} from {number} haloes, fit {fit:5.2f}")
