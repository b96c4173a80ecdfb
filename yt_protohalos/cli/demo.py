"""``protohalos demo``."""

from __future__ import annotations

import argparse
import time
from importlib.resources import as_file, files
from pathlib import Path

from .common import add_prediction_options, prediction_options, say, set_log_level, write_results

HELP = "run everything on the bundled MUSIC initial conditions: fields, catalogue, pictures, the ten largest protohalos"
EXAMPLE = "  protohalos demo\n  protohalos demo -o somewhere"
ICS_NAME = "music64_gadget2.dat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output-dir", type=Path, default=Path("protohalos_demo"), metavar="DIR",
        help="where to write (default: %(default)s)",
    )  # fmt: skip
    add_prediction_options(parser)


def run(args: argparse.Namespace) -> None:
    import yt

    from ..yt_interface.fields import add_protohalo_fields
    from ..yt_interface.lattice_grid import lattice_dataset
    from ..yt_interface.load import load

    set_log_level(args)
    start = time.perf_counter()
    options = prediction_options(args)
    with as_file(files("yt_protohalos") / "data" / ICS_NAME) as path:
        ds = load(path)
        say(f"loaded {path.name}: {ds.domain_width[0].to('Mpccm/h'):.4g} per side at z = {ds.current_redshift:.4g}")
        names = add_protohalo_fields(ds, **options)
        say(f"added {len(names)} fields: {', '.join(name for ptype, name in names if ptype == 'all')}")
        write_results(ds, args.output_dir, options, progress=not args.quiet)
        inside = ds.all_data()["all", "particle_protohalo_id"] >= 0
        say(f"{inside.mean():.1%} of the particles are in protohalos")
        grid = lattice_dataset(ds, progress=False, **options)
        for name in ("linear_overdensity", "protohalo_mass"):
            plot = yt.SlicePlot(grid, "z", ("gas", name), axes_unit="Mpccm/h")
            plot.set_cmap(("gas", name), "viridis")
            say(f"wrote {plot.save(str(args.output_dir / f'yt_slice_{name}.png'))[0]}")
    say(f"done in {time.perf_counter() - start:.0f} s")
