"""``protohalos validate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import ScoringError
from ..models.registry import DEFAULT_MODEL
from .common import say, set_log_level

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "score a model against a simulation of the same initial conditions"
EXAMPLE = """  protohalos validate --ics ics_gadget.hdf5 --labels halo_labels.h5 -o scores.json
  (halo_labels.h5: dataset `labels`, 0 outside, 1..K, or `halo_id`, -1 outside, 0..K-1, on the initial lattice)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--ics", required=True, metavar="FILE", help="initial conditions")
    parser.add_argument("--labels", required=True, type=Path, metavar="FILE", help="HDF5 file of halo labels")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled model or folder of one (default: %(default)s)")
    parser.add_argument("--precision", choices=("auto", "float32", "mixed", "bfloat16"), default="auto")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the table as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from ..analysis.scores import score_table
    from ..atomic import atomic_path
    from ..predictor import ProtohaloPredictor
    from ..surface.linear import linear_field
    from ..surface.load import load

    set_log_level(args)
    truth = read_labels(args.labels)
    field = linear_field(load(args.ics))
    if truth.shape != field.lattice.shape:
        raise ScoringError(
            f"labels have shape {truth.shape}, the initial conditions {field.lattice.shape}; use one lattice"
        )
    predictor = ProtohaloPredictor.from_pretrained(args.model, precision=args.precision)
    prediction = predictor.predict(field, progress=not args.quiet)
    scores = score_table(prediction.probability, prediction.mask, prediction.labels, truth, field.site_mass)
    say(format_scores(scores))
    if args.output is not None:
        with atomic_path(args.output) as partial:
            partial.write_text(json.dumps(scores, indent=1), encoding="utf-8")
        say(f"wrote {args.output}")
    return 0


def read_labels(path: Path) -> NDArray[np.int64]:
    """Halo labels of an HDF5 file, 0 outside and 1..K, whichever of the two conventions it follows.

    Raises
    ------
    ScoringError
        The file has neither dataset, or both.
    """
    import h5py
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give an HDF5 file with halo labels on the initial lattice")
    with h5py.File(path, "r") as file:
        found = [name for name in ("labels", "halo_id") if name in file]
        if len(found) != 1:
            raise ScoringError(f"{path} holds {found or 'neither'} of `labels` and `halo_id`; it needs exactly one")
        values = file[found[0]][()].astype(np.int64)
    return values if found[0] == "labels" else values + 1


def format_scores(scores: dict[str, Any]) -> str:
    """Text of a score table."""
    lines = [f"{name:32s} {value}" for name, value in scores.items() if not isinstance(value, list)]
    lines.append("log10 M [Msun/h]      TPR    predicted   simulated haloes")
    edges = scores["log10_mass_edges"]
    for i in range(len(edges) - 1):
        rate = scores["TPR_by_mass"][i]
        lines.append(
            f"{edges[i]:6.2f} - {edges[i + 1]:6.2f}    {'  -  ' if rate is None else f'{rate:.3f}'}   "
            f"{scores['predicted_haloes_by_mass'][i]:9d}   {scores['true_haloes_by_mass'][i]:9d}"
        )
    return "\n".join(lines)
