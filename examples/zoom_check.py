"""Does the zoom region of a protohalo hold the halo that forms? Compare it with a simulation of the same box.

For the largest protohaloes and several paddings, the script prints the share of the halo's particles that start inside
the region, its convex hull and its ellipsoid, and the volume of each. Particles that start outside would enter the halo
as coarse particles.

Run: python zoom_check.py [--ics FILE --labels FILE] [--model NAME_OR_FOLDER] [--largest N]
     python zoom_check.py --runs run_0901.h5 run_0902.h5        # files of protohalos simulate
     python zoom_check.py --runs run_1250.h5 --largest 337 --every 4 --table yt_protohalos/data/zoom_padding.json
"""

import argparse
import json
from importlib.resources import files
from pathlib import Path

from containment import Containment, format_containment, padding_entry, zoom_containment

import yt_protohalos as ph
from yt_protohalos.models.fof_card import FOF
from yt_protohalos.models.registry import DEFAULT_MODEL
from yt_protohalos.training.halo_catalogs import read_labels
from yt_protohalos.training.run_files import read_run
from yt_protohalos.yt_interface.predict import predict_field

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--ics", default=files("yt_protohalos") / "data" / "music64_gadget2.dat")
parser.add_argument("--labels", type=Path, default=HERE / "data" / "music64_haloes.h5", help="haloes of a simulation")
parser.add_argument("--runs", type=Path, nargs="*", default=[], help="instead of both")
parser.add_argument("--model", default=DEFAULT_MODEL, help=f"bundled model or folder of one, or {FOF}")
parser.add_argument("--largest", type=int, default=10, help="protohaloes a box (default: %(default)s)")
parser.add_argument("--every", type=int, default=1, help="only every so many of these (default: all)")
parser.add_argument(
    "--table", type=Path, help="write what was found into this table of paddings, under the model's name"
)
parser.add_argument("--cache", help="folder for predictions (default: the user's cache)")
args = parser.parse_args()

if args.runs:
    boxes = [read_run(path)[:2] for path in args.runs]
else:
    boxes = [(ph.linear_field(ph.load(args.ics)), read_labels(args.labels))]
if args.model == FOF:
    predictor = ph.FriendsOfFriendsPredictor()
else:
    predictor = ph.ProtohaloPredictor.from_pretrained(args.model)
predictions = [predict_field(field, predictor, args.cache or True) for field, _ in boxes]
found = Containment.pooled(
    [
        zoom_containment(prediction, labels, largest=args.largest, every=args.every)
        for prediction, (_, labels) in zip(predictions, boxes, strict=True)
    ]
)
print(format_containment(found))
if args.table is not None:
    table = json.loads(args.table.read_text()) if args.table.exists() else {}
    table[predictor.card.name] = padding_entry(found, boxes[0][0].spacing)
    args.table.write_text(json.dumps(table, indent=1) + "\n")
