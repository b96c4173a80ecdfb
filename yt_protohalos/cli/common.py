"""Options that several commands share, and what they write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import StoreError
from ..models.fof_card import FOF
from ..models.registry import DEFAULT_MODEL, DEFAULT_MODELS, METHOD_NAMES
from ..models.validity import POLICIES
from ..prediction.result import PREDICTION_NAME

if TYPE_CHECKING:
    from ..catalog.catalog import Catalog

USER_ERROR = 2


def say(text: str = "") -> None:
    """Write a line to the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(message: str) -> int:
    """Write an error message in one line and return the exit status."""
    sys.stderr.write(f"protohalos: error: {' '.join(message.split())}\n")
    return USER_ERROR


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that predicts one box."""
    parser.add_argument(
        "--at-redshift", type=float, default=0.0, metavar="Z",
        help="redshift of the haloes to predict (default: 0), for which 'amplitude-v1' is valid up to 0.6 or so; not "
        "that of the initial conditions",
    )  # fmt: skip
    add_model_options(parser)


def add_model_options(parser: argparse.ArgumentParser, default: str = DEFAULT_MODEL) -> None:
    """Add the options of every command that predicts, at one redshift or several."""
    parser.add_argument(
        "--threshold", type=float,
        help="semantic threshold, 0 to 1 (default: the model's); with method positions it changes the mask alone",
    )  # fmt: skip
    parser.add_argument(
        "--on-spacing", choices=POLICIES, default="warn", help="if the spacing is not the model's (default: warn)"
    )
    parser.add_argument(
        "--on-range", choices=POLICIES, default="error", help="if sigma_8 is not in the model's range (default: error)"
    )
    parser.add_argument(
        "--resolution", metavar="LENGTH",
        help="find protohalos on a coarser lattice of this spacing, comoving Mpc/h or with a unit, and map them back",
    )  # fmt: skip
    add_network_options(parser, default)


def add_network_options(parser: argparse.ArgumentParser, default: str = DEFAULT_MODEL) -> None:
    """Add the options of every command that finds protohalos."""
    parser.add_argument(
        "--method", choices=METHOD_NAMES,
        help="how protohalos are separated (default: as the model does); without --model, "
        f"{', '.join(f'{method} means model {name}' for method, name in DEFAULT_MODELS.items())}; "
        f"{FOF}: friends of friends in final positions, without a model",
    )  # fmt: skip
    parser.add_argument("--model", help=f"bundled model or folder of one (default: {default})")
    parser.add_argument("--precision", choices=("auto", "float32", "mixed", "bfloat16"), default="auto")
    parser.add_argument("--cache", metavar="DIR", help="where predictions are kept (default: ~/.cache/yt_protohalos)")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep a cached prediction")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a stored prediction."""
    parser.add_argument("source", type=Path, metavar="DIR", help="folder that `protohalos find` wrote, or its cubes")


def add_ics_options(parser: argparse.ArgumentParser, required: bool, why: str) -> None:
    """Add the initial conditions of a stored prediction."""
    about = f"initial conditions that the prediction was made from: {why}"
    parser.add_argument("--ics", metavar="FILE", required=required, help=about)
    add_facts_options(parser)


def add_facts_options(parser: argparse.ArgumentParser) -> None:
    """Add the properties of initial conditions that some formats do not state."""
    parser.add_argument(
        "--box-size", metavar="LENGTH", help="comoving, if the format does not state it: 50 (Mpc/h) or with a unit"
    )
    parser.add_argument(
        "--redshift", type=float, help="of the initial conditions, not the haloes, if the format does not state it"
    )


def load_ics(args: argparse.Namespace) -> Any:
    """Load the initial conditions as a yt dataset."""
    from ..yt_interface.load import load

    return load(args.ics, box_size=args.box_size, redshift=args.redshift)


def chosen_cache(args: argparse.Namespace) -> bool | str:
    """Return the ``cache`` keyword of `predict`."""
    return False if args.no_cache else (args.cache or True)


def prediction_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `predict` from the options of `add_prediction_options` or `add_model_options`."""
    names = ("model", "method", "threshold", "precision", "on_spacing", "on_range", "resolution")
    options = {name: getattr(args, name) for name in names}
    return options | {"redshift": getattr(args, "at_redshift", None), "cache": chosen_cache(args)}


def stored_prediction(source: Path) -> Path:
    """Return the prediction file in a folder that `protohalos find` wrote, or the file itself."""
    path = source / PREDICTION_NAME if source.is_dir() else source
    if not path.is_file():
        raise StoreError(f"{path} does not exist; give a folder that `protohalos find` wrote")
    return path


def set_log_level(args: argparse.Namespace) -> None:
    """Show yt's messages with ``--verbose`` only."""
    import yt

    yt.set_log_level("info" if getattr(args, "verbose", False) else "warning")


@contextmanager
def all_ranks(args: argparse.Namespace) -> Iterator[None]:
    """Start the MPI ranks of a command, and stop them all if one fails."""
    from ..yt_interface.mpi import start_ranks, stop_ranks

    shared = start_ranks()
    set_log_level(args)
    try:
        yield
    except Exception as error:
        if not shared:
            raise
        fail(str(error))
        stop_ranks(USER_ERROR)


def write_results(ds: Any, folder: Path, options: dict[str, Any], progress: bool) -> None:
    """Predict, then write cubes, pictures and catalogue into `folder`."""
    from .._utils.files import check_plain, check_writable
    from ..analysis.pictures import write_pictures
    from ..catalog.catalog import protohalo_catalog
    from ..yt_interface.finder import find_protohalos
    from ..yt_interface.mpi import MPICommunicator
    from ..yt_interface.options import PredictionOptions
    from ..yt_interface.predict import box_prediction

    check_plain(folder)
    check_writable(folder)
    box = box_prediction(ds, PredictionOptions(**options))
    prediction = box.get(progress)
    if not MPICommunicator().is_root:
        if prediction.n_protohalos:
            find_protohalos(ds, folder, progress=False, **options)
        return
    folder.mkdir(parents=True, exist_ok=True)
    prediction.save(folder / PREDICTION_NAME)
    written = [folder / PREDICTION_NAME, *write_pictures(prediction, folder, box.field)]
    if prediction.n_protohalos:
        written.append(Path(find_protohalos(ds, folder, progress=progress, **options).filename))
        say(table(protohalo_catalog(prediction)))
    else:
        smallest = prediction.min_sites * prediction.site_mass_msun
        say(f"No protohalo of at least {prediction.min_sites} sites ({smallest:.3g} Msun): no catalogue written.")
    for path in written:
        say(f"wrote {path}")


def table(catalog: Catalog) -> str:
    """Return a text table of the ten largest protohalos."""
    count = min(10, len(catalog))
    lines = [
        f"{len(catalog)} protohalos at redshift {catalog.redshift:g}, the {count} largest, lengths comoving:",
        "  id   mass [Msun]   sites   R200m [Mpc/h]   Lagrangian centre [Mpc/h]   confidence",
    ]
    for i in range(count):
        x, y, z = catalog.lagrangian_center[i]
        lines.append(
            f"{catalog.identifier[i]:4d}   {catalog.mass[i]:11.3e}  {catalog.n_sites[i]:6d}   "
            f"{catalog.radius_200m[i]:13.3f}    {x:7.2f} {y:7.2f} {z:7.2f}    {catalog.confidence[i]:10.2f}"
        )
    return "\n".join(lines)
