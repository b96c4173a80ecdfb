"""``protohalos report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_source, say, stored_prediction

HELP = "write one HTML page of a stored prediction: slices, table, 3-D, mass function, settings and model card"
EXAMPLE = "  protohalos report protohalos\n  protohalos report protohalos --output pages/run7.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html beside the cubes")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="default: the catalogue beside the cubes")


def run(args: argparse.Namespace) -> None:
    from .._utils.files import check_writable
    from ..analysis.report.page import REPORT_NAME, write_report
    from ..catalog.members import catalog_in
    from ..exceptions import StoreError
    from ..prediction.result import Prediction

    path = stored_prediction(args.source)
    output = args.output or path.parent / REPORT_NAME
    check_writable(output.parent)
    if output.is_dir():
        raise StoreError(f"{output} is a folder; give the page a name in it, e.g. {output / REPORT_NAME}")
    prediction = Prediction.load(path)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_report(prediction, output, args.catalog or catalog_in(path.parent))
    say(f"wrote {output}: {output.stat().st_size / 1e6:.1f} MB, opens in a browser without a network")
