"""Plot slices of the linear overdensity, the membership probability and the protohalo masses with yt.

With yt_astro_analysis, the masses have a circle for each protohalo near the slice.

Run: python plot_slices.py [--ics FILE] [--model NAME_OR_FOLDER] [-o DIR]
"""

import argparse
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import yt

import yt_protohalos as ph
from yt_protohalos.models.registry import DEFAULT_MODEL

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", default=files("yt_protohalos") / "data" / "music64_gadget2.dat")
parser.add_argument("--model", default=DEFAULT_MODEL)
parser.add_argument("-o", "--output-dir", type=Path, default=Path("slices"))
args = parser.parse_args()

ds = ph.load(args.ics)
ph.add_protohalo_fields(ds, model=args.model)
ph.predict(ds, model=args.model)

# particle fields cannot be sliced: put them on their Lagrangian lattice first
grid = ph.lattice_dataset(ds, model=args.model)
args.output_dir.mkdir(parents=True, exist_ok=True)

for name, colours in (
    ("linear_overdensity", "RdBu_r"),
    ("protohalo_probability", "viridis"),
    ("protohalo_mass", "magma"),
):
    plot = yt.SlicePlot(grid, "z", ("gas", name), origin="native")
    plot.set_cmap(("gas", name), colours)
    if name == "protohalo_mass" and find_spec("yt_astro_analysis"):
        # positions and radii of the regions in the initial conditions, which the grid shows
        haloes = ph.find_protohalos(ds, args.output_dir, model=args.model, frame="lagrangian")
        plot.annotate_halos(haloes, width=(4, "Mpccm/h"))
    plot.save(str(args.output_dir / f"{name}.png"))
