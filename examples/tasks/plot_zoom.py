"""
A zoom region from a file
=========================

A zoom simulation refines the region from which one halo forms. Here it is predicted from the file of initial
conditions, and written as the point file that MUSIC reads. :doc:`/zoom` says how far to trust it, and how much
padding the halo needs.
"""

import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import yt
from matplotlib.figure import Figure

import yt_protohalos as ph

yt.set_log_level("warning")
ds = ph.load(files("yt_protohalos") / "data" / "music64_gadget2.dat")
prediction = ph.predict(ds, method="fof")

# %%
# Choose a halo of about :math:`3 \times 10^{12}` Msun. Identifiers count from the heaviest, and label 1 is
# identifier 0.

halo_id = int(np.argmin(np.abs(np.log(prediction.label_mass[1:] / 3e12))))
mass = prediction.label_mass[halo_id + 1]
region = ph.zoom_region(prediction, halo_id, padding=2)
region.write(Path(tempfile.mkdtemp()) / "points.txt")  # or wherever you want it
print(f"halo {halo_id}: {mass:.2e} Msun, {region.n_members} sites")
print(f"region: {len(region.points)} sites")
for shape, volume in region.volumes.items():
    print(f"volume of the {shape}: {volume:.1f} (Mpc/h)^3")
print(region.music_lines("points.txt"))

# %%
# The points of the region, and those of the halo in it, seen along z. Points are in units of the box.

lattice = prediction.lattice
figure = Figure(figsize=(5.2, 4.8), layout="constrained")
ax = figure.subplots()
box, first = lattice.box_size, region.points[0]
members = np.argwhere(prediction.labels == halo_id + 1) + prediction.site_offset
for points, label, size in ((region.points, "region", 14), (members / lattice.n, "halo", 6)):
    # across periodic faces, as near to the first point as they can be
    x, y, _ = box * ((points - first + 0.5) % 1 - 0.5).T
    ax.scatter(x, y, s=size, label=label, linewidths=0)
ax.set(xlabel="x from the first point [Mpc/h]", ylabel="y [Mpc/h]", aspect="equal")
ax.legend(frameon=False)
