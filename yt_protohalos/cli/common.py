"""What several commands share: their options, and what they leave in the output folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.files import atomic_path
from ..exceptions import StoreError
from ..models.registry import DEFAULT_MODEL, DEFAULT_MODELS
from ..prediction.result import PREDICTION_NAME as PREDICTION_NAME

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..catalog.catalog import Catalog
    from ..fields.linear_field import LinearField
    from ..prediction.result import Prediction

TABLE_ROWS = 10
USER_ERROR = 2


def say(text: str = "") -> None:
    """Write a line to the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(message: str) -> int:
    """Write what went wrong in one line; returns the exit status."""
    sys.stderr.write(f"protohalos: error: {' '.join(message.split())}\n")
    return USER_ERROR


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that predicts one box."""
    parser.add_argument(
        "--at-redshift", type=float, default=0.0, metavar="Z",
        help="redshift of the haloes to predict (default: 0), for which 'amplitude-v1' is valid up to 0.6 or so; not "
        "that of the initial conditions",
    )  # fmt: skip
    add_model_options(parser)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that runs the networks."""
    parser.add_argument("--model", help=f"bundled model or folder of one (default: {DEFAULT_MODEL}, or by --method)")
    parser.add_argument(
        "--method", choices=tuple(DEFAULT_MODELS),
        help="how protohalos are separated (default: as the model does); without --model, watershed means model "
        f"{DEFAULT_MODELS['watershed']}",
    )  # fmt: skip
    parser.add_argument("--threshold", type=float, help="semantic threshold, 0 to 1 (default: the model's)")
    parser.add_argument("--precision", choices=("auto", "float32", "mixed", "bfloat16"), default="auto")
    parser.add_argument(
        "--on-spacing", choices=("warn", "error", "allow"), default="warn",
        help="when the lattice spacing is not the model's (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--on-range", choices=("warn", "error", "allow"), default="error",
        help="when sigma_8 is outside the model's range (default: %(default)s)",
    )  # fmt: skip
    add_cache_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def add_ics_options(parser: argparse.ArgumentParser, required: bool, why: str) -> None:
    """The initial conditions of a stored prediction, beside its cubes."""
    parser.add_argument(
        "--ics", metavar="FILE", required=required, help=f"initial conditions that the prediction was made from: {why}"
    )
    add_facts_options(parser)


def add_facts_options(parser: argparse.ArgumentParser) -> None:
    """What some formats do not say of the initial conditions."""
    parser.add_argument("--box-size", type=float, help="comoving Mpc/h, for formats that do not say it")
    parser.add_argument(
        "--redshift", type=float,
        help="of the initial conditions, for formats that do not say it; not that of the haloes",
    )  # fmt: skip


def load_ics(args: argparse.Namespace) -> Any:
    """The yt dataset of the initial conditions in the options."""
    from ..yt_interface.load import load

    facts = {"box_size": args.box_size, "redshift": args.redshift}
    return load(args.ics, **{name: value for name, value in facts.items() if value is not None})


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Where predictions and the finished crops of interrupted ones are kept."""
    parser.add_argument(
        "--cache", metavar="DIR", help="folder that keeps predictions (default: ~/.cache/yt_protohalos)"
    )
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep a cached prediction")


def chosen_cache(args: argparse.Namespace) -> bool | str:
    """The ``cache`` keyword of `predict`."""
    return False if args.no_cache else (args.cache or True)


def prediction_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keywords of `predict` from the options of `add_prediction_options` or `add_model_options`."""
    return {
        "model": args.model, "method": args.method, "threshold": args.threshold, "precision": args.precision,
        "on_spacing": args.on_spacing, "on_range": args.on_range, "redshift": getattr(args, "at_redshift", None),
        "cache": chosen_cache(args),
    }  # fmt: skip


def stored_prediction(source: Path) -> Path:
    """File of the prediction that a folder of `protohalos find` holds, or the file itself.

    Raises
    ------
    StoreError
        There is none.
    """
    path = source / PREDICTION_NAME if source.is_dir() else source
    if not path.is_file():
        raise StoreError(f"{path} does not exist; give a folder that `protohalos find` wrote")
    return path


def set_log_level(args: argparse.Namespace) -> None:
    """Show yt's messages only where asked for."""
    import yt

    yt.set_log_level("info" if args.verbose else "warning")


def write_results(ds: Any, folder: Path, options: dict[str, Any], progress: bool) -> Prediction:
    """Predict, then write cubes, pictures and catalogue into `folder`.

    Returns
    -------
    Prediction
    """
    from .._utils.files import check_writable
    from ..catalog.catalog import protohalo_catalog
    from ..yt_interface.finder import find_protohalos
    from ..yt_interface.mpi import MPICommunicator
    from ..yt_interface.options import PredictionOptions
    from ..yt_interface.predict import box_prediction

    check_writable(folder)
    box = box_prediction(ds, PredictionOptions(**options))
    prediction = box.get(progress)
    if not MPICommunicator().is_root:
        if prediction.n_protohalos:
            find_protohalos(ds, folder, progress=False, **options)
        return prediction
    folder.mkdir(parents=True, exist_ok=True)
    prediction.save(folder / PREDICTION_NAME)
    written = [folder / PREDICTION_NAME, *write_pictures(prediction, folder, box.field)]
    if prediction.n_protohalos:
        catalog = find_protohalos(ds, folder, progress=progress, **options)
        written.append(Path(catalog.filename))
        say(table(protohalo_catalog(prediction)))
    else:
        smallest = prediction.card.min_sites * prediction.site_mass_msun
        say(f"No protohalo of at least {prediction.card.min_sites} sites ({smallest:.3g} Msun): no catalogue written.")
    for path in written:
        say(f"wrote {path}")
    return prediction


def write_pictures(
    prediction: Prediction,
    folder: Path,
    field: LinearField | None = None,
    axis: str = "z",
    index: int | None = None,
    truth: NDArray[np.integer] | None = None,
    protohalo: int | None = None,
) -> list[Path]:
    """Draw the standard pictures of a prediction; returns their files.

    With `truth`, halo labels of a simulation on the same lattice, also the map of errors; with `protohalo`, an
    identifier, also that object.
    """
    from ..analysis import plots, score_figures
    from ..analysis.drawing import fullest_plane

    drawn = {
        "protohalos.png": plots.plot_overview(prediction, field, axis, index),
        "masses.png": plots.plot_masses(prediction, axis, index, field),
        "probability.png": plots.plot_probability(prediction, axis, index),
        "mass_function.png": plots.plot_mass_function(prediction),
    }
    if truth is not None:
        plane = fullest_plane(prediction.labels, axis) if index is None else index
        drawn["errors.png"] = score_figures.plot_confusion(
            truth > 0, prediction.probability, prediction.mask, prediction.lattice, axis, plane
        )
    if protohalo is not None:
        drawn[f"protohalo_{protohalo}.png"] = plots.plot_object(prediction, protohalo, axis, index)
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
    return [folder / name for name in drawn]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all; `StoreError` if the disk refuses it."""
    try:
        with atomic_path(path) as partial:
            figure.savefig(partial, dpi=150, format=path.suffix[1:])
    except OSError as error:
        raise StoreError(f"picture {path} cannot be written ({error}); make room there, or give another") from error


def table(catalog: Catalog, rows: int = TABLE_ROWS) -> str:
    """Text table of the largest protohalos."""
    count = min(rows, len(catalog))
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
