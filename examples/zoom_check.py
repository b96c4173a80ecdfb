"""Does the zoom region of a protohalo hold the halo that forms? Compare it with a simulation of the same box.

For the largest protohaloes and several paddings, the script prints the share of the halo's particles that start inside
the region, its convex hull and its ellipsoid, and the volume of each. Particles that start outside would enter the halo
as coarse particles.

Run: python zoom_check.py [--ics FILE --labels FILE] [--model NAME_OR_FOLDER] [--largest N]
     python zoom_check.py --runs run_0901.h5 run_0902.h5        # files of protohalos simulate
"""

import argparse
from importlib.resources import files
from pathlib import Path

from containment import Containment, format_containment, zoom_containment

import yt_protohalos as ph
from yt_protohalos.models.registry import DEFAULT_MODEL
from yt_protohalos.training.halo_catalogs import read_labels
from yt_protohalos.training.run_files import read_run
from yt_protohalos.yt_interface.predict import predict_field

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", default=files("yt_protohalos") / "data" / "music64_gadget2.dat")
parser.add_argument("--labels", type=Path, default=HERE / "data" / "music64_haloes.h5", help="haloes of a simulation")
parser.add_argument("--runs", type=Path, nargs="*", default=[], help="instead of both")
parser.add_argument("--model", default=DEFAULT_MODEL)
parser.add_argument("--largest", type=int, default=10, help="protohaloes a box (default: %(default)s)")
parser.add_argument("--cache", help="folder for predictions (default: the user's cache)")
args = parser.parse_args()

cache = args.cache or True
if args.runs:
    predictor = ph.ProtohaloPredictor.from_pretrained(args.model)
    runs = (read_run(path)[:2] for path in args.runs)
    boxes = ((predict_field(field, predictor, cache), labels) for field, labels in runs)
else:
    boxes = ((ph.predict(ph.load(args.ics), args.model, cache=cache), read_labels(path)) for path in [args.labels])

found = [zoom_containment(prediction, labels, largest=args.largest) for prediction, labels in boxes]
print(format_containment(Containment.pooled(found)))
