"""Make a halo catalogue in yt's format, load it again with plain yt, and print it.

Run: python halo_catalogue.py [--ics FILE] [--model NAME_OR_FOLDER] [-o DIR]
"""

import argparse
from importlib.resources import files

import yt

import yt_protohalos as ph
from yt_protohalos.models.registry import DEFAULT_MODEL

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", default=files("yt_protohalos") / "data" / "music64_gadget2.dat")
parser.add_argument("--model", default=DEFAULT_MODEL)
parser.add_argument("-o", "--output-dir", default="protohalos")
args = parser.parse_args()

ds = ph.load(args.ics)
catalogue = ph.find_protohalos(ds, model=args.model, output_dir=args.output_dir)

haloes = yt.load(catalogue.filename).all_data()
mass = haloes["halos", "particle_mass"].to("Msun")
radius = haloes["halos", "virial_radius"].to("Mpccm/h")
position = haloes["halos", "particle_position"].to("Mpccm/h")

print(f"{mass.size} protohalos in {catalogue.filename}")
print("rank   mass [Msun]   R200m [Mpc/h]   position [Mpc/h]")
for rank in range(min(10, mass.size)):
    x, y, z = position[rank].v
    print(f"{rank:4d}   {mass[rank].v:11.3e}   {radius[rank].v:13.3f}   {x:7.2f} {y:7.2f} {z:7.2f}")
