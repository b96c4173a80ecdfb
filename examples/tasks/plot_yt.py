"""
Slices and profiles with yt
===========================

Fields of protohaloes are fields like any other of yt: they can be sliced, projected, profiled and cut. Particle
fields cannot be sliced, so they go onto their Lagrangian lattice first.
"""

from importlib.resources import files

import yt

import yt_protohalos as ph

yt.set_log_level("warning")
ds = ph.load(files("yt_protohalos") / "data" / "music64_gadget2.dat")
grid = ph.lattice_dataset(ds, method="fof")
place = {"origin": "native", "axes_unit": "Mpccm/h", "fontsize": 14}

# %%
# Which site belongs to which protohalo. Identifiers are names, so they get colours without an order. Sites outside
# have the identifier -1.

identifier = ("gas", "protohalo_id")
plot = yt.SlicePlot(grid, "z", identifier, **place)
plot.set_log(identifier, False)
plot.set_cmap(identifier, "tab20")
plot.render()
identifiers = plot.plots[identifier].figure

# %%
# The mass of the protohalo of each site, in Msun. It is zero outside protohaloes, so the scale begins at the smallest
# protohalo, and what is below has the colour of the background.

mass = ("gas", "protohalo_mass")
plot = yt.SlicePlot(grid, "z", mass, **place)
plot.set_zlim(mass, (1.4e11, "Msun"), (2e13, "Msun"))
plot.set_log(mass, True)
plot.set_background_color(mass, "0.92")
plot.render()
masses = plot.plots[mass].figure

# %%
# How dense, in the linear field, are sites of heavy and of light protohaloes?

inside = grid.all_data().cut_region(["obj['gas', 'protohalo_mass'] > 0"])
profile = yt.create_profile(
    inside, mass, [("gas", "linear_overdensity")], n_bins=5, weight_field=("index", "ones"), units={mass: "Msun"}
)
for value, delta in zip(profile.x, profile["gas", "linear_overdensity"], strict=True):
    print(f"{value:.1e}: mean linear overdensity {delta.value:.2f}")
