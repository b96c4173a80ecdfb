"""
Slices and profiles with yt
===========================

Fields of protohaloes are fields like any other of yt: they can be sliced, projected, profiled and cut. Particle
fields cannot be sliced, so they go onto their Lagrangian lattice first.
"""

from importlib.resources import files

import yt
from matplotlib.colors import ListedColormap

import yt_protohalos as ph
from yt_protohalos.analysis.drawing import LABEL_COLOURS

yt.set_log_level("warning")
ds = ph.load(files("yt_protohalos") / "data" / "music64_gadget2.dat")
grid = ph.lattice_dataset(ds, method="fof")
place = {"origin": "native", "axes_unit": "Mpccm/h", "fontsize": 14}

# %%
# Which site belongs to which protohalo. Identifiers are names, so they get colours without an order, which repeat.
# Sites outside have the identifier -1 and are grey.

identifier = ("gas", "protohalo_id")
count = int(grid.all_data()[identifier].max()) + 1
colours = (LABEL_COLOURS * count)[:count]
plot = yt.SlicePlot(grid, "z", identifier, **place)
plot.set_log(identifier, False)
plot.set_zlim(identifier, -0.5, count - 0.5)
plot.set_cmap(identifier, ListedColormap(colours).with_extremes(under="0.92"))
plot.render()
identifiers = plot.plots[identifier].figure

# %%
# The mass of the protohalo of each site, in Msun. It is zero outside protohaloes, so the scale begins at the smallest
# protohalo, and what is below has the colour of the background.

mass = ("gas", "protohalo_mass")
plot = yt.SlicePlot(grid, "z", mass, **place)
plot.set_zlim(mass, (1.4e11, "Msun"), (2e13, "Msun"))
plot.set_log(mass, True)
plot.set_cmap(mass, "viridis")
plot.set_background_color(mass, "0.92")
plot.render()
masses = plot.plots[mass].figure

# %%
# How dense, in the linear field, are sites of heavy and of light protohaloes?

inside = grid.all_data().cut_region(["obj['gas', 'protohalo_mass'] > 0"])
delta = ("gas", "linear_overdensity")
volume = ("index", "ones")
profile = yt.create_profile(inside, mass, delta, 5, weight_field=volume, units={mass: "Msun"})
for value, mean in zip(profile.x, profile[delta], strict=True):
    print(f"{value:.1e}: mean linear overdensity {mean.value:.2f}")
