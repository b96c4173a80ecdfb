"""Read the protohalo fields of the bundled initial conditions, for all particles and in a sphere.

Run: python quickstart_fields.py [--ics FILE] [--model NAME_OR_FOLDER]
"""

import argparse
from importlib.resources import files

import yt_protohalos as ph
from yt_protohalos.models.registry import DEFAULT_MODEL

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", default=files("yt_protohalos") / "data" / "music64_gadget2.dat")
parser.add_argument("--model", default=DEFAULT_MODEL)
args = parser.parse_args()

ds = ph.load(args.ics)
ph.add_protohalo_fields(ds, model=args.model)
ph.predict(ds, model=args.model)

ad = ds.all_data()
probability = ad["all", "particle_protohalo_probability"]
identifier = ad["all", "particle_protohalo_id"]
mass = ad["all", "particle_protohalo_mass"]

print(f"particles:              {identifier.size}")
print(f"mean probability:       {probability.mean():.3f}")
print(f"fraction in protohalos: {(identifier >= 0).mean():.3f}")
print(f"protohalos:             {int(identifier.max()) + 1}")
print(f"largest:                {mass.max().to('Msun'):.3e}")

sphere = ds.sphere("center", (2, "Mpccm/h"))
inside = sphere["all", "particle_protohalo_id"]
print(f"within 2 Mpc/h of the centre: {inside.size} particles, {(inside >= 0).sum()} of them in protohalos")
