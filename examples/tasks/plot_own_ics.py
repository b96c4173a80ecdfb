"""
Your own initial conditions
===========================

From a file, `ph.load` is all that is needed (:doc:`/formats`). A density cube in memory, for example of your own
generator, becomes a linear field by itself: it is the linear overdensity extrapolated to redshift zero.
"""

import tempfile
from pathlib import Path

import numpy as np
import yt

import yt_protohalos as ph
from yt_protohalos.analysis import plots

yt.set_log_level("warning")
# sites per side, and comoving Mpc/h: the lattice spacing of the bundled models
n, box_size = 48, 9.375
# put your cube (n, n, n) here
delta = ph.generate_initial_conditions(n, box_size, seed=4).delta

cosmology = ph.PAPER_COSMOLOGY  # or ph.Cosmology with your parameters
field = ph.LinearField.from_density(delta, box_size, cosmology, redshift=49)
print(f"rms of the overdensity at z = 0: {np.std(field.delta):.2f}")

# %%
# The predictor takes the field. ``ph.ProtohaloPredictor.from_pretrained("planck-v5")`` is the one with the network.

prediction = ph.FriendsOfFriendsPredictor().predict(field, progress=False)
print(prediction)

# %%
# One slice of the density that went in, and of what came out:

figure = plots.plot_overview(prediction, field)

# %%
# The same from particles: write them as a file that a simulation code reads, then load it.

path = Path(tempfile.mkdtemp()) / "ics.hdf5"  # or wherever you want it
ph.generate_initial_conditions(n, box_size, seed=4, filename=path)
print(f"rms of the overdensity read back: {np.std(ph.linear_field(ph.load(path)).delta):.2f}")
