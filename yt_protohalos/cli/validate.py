"""``protohalos validate``."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.files import open_hdf5
from ..exceptions import ScoringError
from ..models.registry import DEFAULT_MODEL
from .common import add_cache_options, chosen_cache, say, set_log_level

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..analysis.block_counts import BlockCounts
    from ..analysis.catalog_scores import CatalogErrors, ShapeErrors, SimulatedHaloes
    from ..fields.cosmology import Cosmology
    from ..fields.lattice import Lattice
    from ..fields.linear_field import LinearField
    from ..models.card import ModelCard
    from ..prediction.result import Prediction

HELP = "score a model against simulations of the same initial conditions"
EXAMPLE = """  protohalos validate --ics ics_gadget.hdf5 --labels halo_labels.h5 --figures figures -o scores.json
  protohalos validate --runs run_0901_z0.5.h5 --model amplitude-v1 --catalog     # at z = 0.5, as the file says
  (halo_labels.h5: dataset `labels`, 0 outside, 1..K, or `halo_id`, -1 outside, 0..K-1, on the initial lattice)"""

RESULT_FORMAT = 2
SPACING_TOLERANCE = 0.01
BASELINES = ("threshold+watershed", "spheres", "evolved+FoF")
"""Simple methods: the watershed's mask is the threshold, so that its scores per site are the threshold's; the last is
what the evolved field gives without a network, and needs yt_astro_analysis."""
EVOLVED_LINKING_LENGTH = 0.25
"""Longer than the 0.2 of the halo definition, for the mesh blurs."""
Run = tuple["LinearField", "NDArray[np.integer]"]
CatalogScores = tuple["CatalogErrors", "CatalogErrors", "ShapeErrors"]
"""Errors of the catalogue, of one made of the true members, and of the shapes."""


@dataclass
class Counts:
    """What is kept of the runs: counts of the model, of each simple method, and the first run's pictures."""

    model: list[BlockCounts]
    simple: dict[str, list[BlockCounts]]
    scores: list[dict[str, Any]]
    catalog: list[CatalogScores]
    cosmology: Cosmology | None = None
    redshift: float = 0.0
    spacing: float = 0.0
    site_mass: float = 0.0
    threshold: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--ics", nargs="+", default=[], metavar="FILE", help="initial conditions, one file a run")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        type=Path,
        metavar="FILE",
        help="HDF5 files of halo labels, in the same order",
    )
    parser.add_argument(
        "--runs", nargs="+", default=[], type=Path, metavar="FILE",
        help="runs made by `protohalos simulate`, instead of or beside --ics and --labels",
    )  # fmt: skip
    parser.add_argument(
        "--at-redshift", type=float, default=0.0, metavar="Z",
        help="redshift of the haloes of --labels (default: 0); files of --runs state their own",
    )  # fmt: skip
    parser.add_argument(
        "--pair", nargs=2, type=Path, metavar=("A", "B"),
        help="label files of a baseline pair, two simulations that differ only below the resolution: the limit",
    )  # fmt: skip
    parser.add_argument("--baselines", action="store_true", help="score simple methods on the same runs too")
    parser.add_argument(
        "--catalog", action="store_true",
        help="compare positions, velocities, spins and shapes too: the label files must hold halo_position",
    )  # fmt: skip
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw the figures into this folder")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled model or folder of one (default: %(default)s)")
    parser.add_argument("--precision", choices=("auto", "float32", "mixed", "bfloat16"), default="auto")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the tables as JSON")
    add_cache_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    parser.add_argument("-v", "--verbose", action="store_true", help="yt's own messages too")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from .._utils.files import atomic_path, check_writable
    from ..analysis.block_counts import BlockCounts
    from ..analysis.score_tables import format_table, pair_table, validation_table
    from ..analysis.verdicts import format_verdicts, verdict_table
    from ..prediction.predictor import ProtohaloPredictor
    from ..training.run_files import read_haloes
    from ..yt_interface.predict import predict_field

    set_log_level(args)
    readers = dict(_readers(args))
    for folder in (args.figures, None if args.output is None else args.output.parent):
        if folder is not None:
            check_writable(folder)
    lattice = _check_runs(readers)
    pair = None if args.pair is None else _read_pair(args.pair[0], args.pair[1], lattice)
    predictor = ProtohaloPredictor.from_pretrained(args.model, precision=args.precision)

    complete = predictor.card.instance is not None
    files = dict(zip(readers, [*args.labels, *args.runs], strict=True))
    if args.catalog:
        _check_catalog(complete, list(files.values()), args.model)
    counts = Counts([], {name: [] for name in _methods(args.baselines)}, [], [])
    for name, read in readers.items():
        field, truth = read()
        labels: NDArray[np.int32] | None = None
        if complete:
            prediction = predict_field(field, predictor, chosen_cache(args), not args.quiet)
            probability, labels = prediction.probability, prediction.labels
            if args.catalog:
                counts.catalog.append(_compare_catalog(prediction, field, read_haloes(files[name], truth)))
            del prediction
        else:
            probability = predictor.probability(field, not args.quiet)
        _count(name, field, truth, probability, labels, predictor.card, counts, args.figures)
        del field, truth, probability, labels
    columns = {"model": validation_table(counts.model, haloes=complete)}
    result: dict[str, Any] = {
        "format": RESULT_FORMAT, "model": args.model, "precision": predictor.precision, "runs": counts.scores,
    }  # fmt: skip
    limit, pooled_pair = None, None
    if pair is not None:
        ways = _pair_tallies(*pair, counts)
        columns["pair"] = limit = pair_table([ways[0]], [ways[1]])
        pooled_pair = BlockCounts.pooled(ways)
    columns.update((name, validation_table(tallies)) for name, tallies in counts.simple.items())
    assert counts.cosmology is not None
    result["cosmology"], result["redshift"] = asdict(counts.cosmology), counts.redshift
    result["volume"] = float(sum(tally.volume.sum() for tally in counts.model))
    result["tables"], result["limits"] = columns, verdict_table(columns["model"], limit)
    say(format_table(columns))
    say(format_verdicts(result["limits"]))
    if counts.catalog:
        result["catalog"] = _catalog_tables(counts.catalog)
    if args.output is not None:
        with atomic_path(args.output) as partial:
            partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
        say(f"wrote {args.output}")
    if args.figures is not None:
        for path in _draw(counts, pooled_pair, args.figures, complete):
            say(f"wrote {path}")
    return 0


def _readers(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Name of each run and what reads it; files are looked at, not read whole."""
    from ..training.halo_catalogs import read_labels
    from ..yt_interface.linear import linear_field
    from ..yt_interface.load import load

    if len(args.ics) != len(args.labels):
        raise ScoringError(
            f"{len(args.ics)} initial conditions and {len(args.labels)} label files; give one of each for every run"
        )
    if not args.ics and not args.runs:
        raise ScoringError("nothing to score; give --ics and --labels, or --runs")

    def user_run(ics: str, labels: Path) -> Callable[[], Run]:
        return lambda: (linear_field(load(ics)).at_redshift(args.at_redshift), read_labels(labels))

    def stored_run(path: Path) -> Callable[[], Run]:
        def read() -> Run:
            from ..training.run_files import read_run

            return read_run(path)[:2]

        return read

    for number, (ics, labels) in enumerate(zip(args.ics, args.labels, strict=True)):
        for path in (Path(ics), labels):
            if not path.exists():
                raise FileNotFoundError(f"no file {path}; --ics and --labels take existing files")
        yield f"{number}: {labels}", user_run(ics, labels)
    for number, path in enumerate(args.runs, len(args.ics)):
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; --runs takes files made by `protohalos simulate`")
        yield f"{number}: {path}", stored_run(path)


def _check_runs(readers: dict[str, Callable[[], Run]]) -> Lattice:
    """Read every run once before any network runs: a mistake in the last would cost the time of all others.

    Returns the lattice of the first.
    """
    lattices: dict[str, Lattice] = {}
    redshifts: dict[str, float] = {}
    for name, read in readers.items():
        field, truth = read()
        if truth.shape != field.lattice.shape:
            raise ScoringError(
                f"run {name}: labels have shape {truth.shape}, the initial conditions {field.lattice.shape}; "
                "use one lattice"
            )
        if truth.min() < 0:
            raise ScoringError(f"run {name}: labels hold negative numbers; use 0 outside haloes and 1..K inside")
        lattices[name] = field.lattice
        first = next(iter(lattices))
        if abs(field.spacing / lattices[first].spacing - 1) > SPACING_TOLERANCE:
            raise ScoringError(
                f"runs {first} and {name} have spacings {lattices[first].spacing:.4g} and {field.spacing:.4g} Mpc/h; "
                "pool runs of one resolution"
            )
        redshifts[name] = field.target_redshift
        if redshifts[name] != redshifts[first]:
            raise ScoringError(
                f"the haloes of {first} and {name} are at z = {redshifts[first]:g} and {redshifts[name]:g}; score runs "
                "of one redshift at a time"
            )
    return next(iter(lattices.values()))


def _read_pair(a: Path, b: Path, lattice: Lattice) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels of a pair; where its files say their spacing, it must be that of the runs."""
    from ..training.halo_catalogs import read_labels

    for path in (a, b):
        if path.is_file():
            with open_hdf5(path) as file:
                settings = json.loads(file.attrs.get("settings", "{}"))
            if {"n", "box_size"} <= set(settings):
                spacing = settings["box_size"] / settings["n"]
                if abs(spacing / lattice.spacing - 1) > SPACING_TOLERANCE:
                    raise ScoringError(
                        f"{path} has spacing {spacing:.4g}, the runs {lattice.spacing:.4g} Mpc/h; "
                        "give a pair of the same resolution"
                    )
    first, second = read_labels(a), read_labels(b)
    if first.shape != second.shape or first.ndim != 3 or len(set(first.shape)) != 1:
        raise ScoringError(f"the pair has shapes {first.shape} and {second.shape}; give two equal cubes")
    return first, second


def _count(
    name: str,
    field: LinearField,
    truth: NDArray,
    probability: NDArray,
    labels: NDArray | None,
    card: ModelCard,
    counts: Counts,
    figures: Path | None,
) -> None:
    """Add one run to the counts, and draw the confusion map of the first."""
    import numpy as np

    from ..analysis.block_counts import count_box
    from ..analysis.pictures import save_figure
    from ..analysis.score_figures import plot_confusion
    from ..analysis.scores import score_table

    lattice, mass = field.lattice, field.site_mass_msun_h
    mask = probability > np.float32(card.threshold)
    if not counts.model:
        counts.cosmology, counts.spacing, counts.site_mass = field.cosmology, field.spacing, mass
        counts.redshift = field.target_redshift
        counts.threshold = card.threshold
        if figures is not None:
            figures.mkdir(parents=True, exist_ok=True)
            save_figure(plot_confusion(truth > 0, probability, mask, lattice), figures / "confusion.png")
    separate = np.zeros(lattice.shape, dtype=np.int32) if labels is None else labels
    counts.model.append(count_box(separate, truth, lattice, mass, mask=mask, probability=probability))
    counts.scores.append({"run": name, **score_table(probability, mask, labels, truth, mass)})
    if counts.simple:
        found = _simple_methods(field, float((truth > 0).mean()), card.min_sites)
        for method, tallies in counts.simple.items():
            found_labels, inside = found[method]()
            tallies.append(count_box(found_labels, truth, lattice, mass, mask=inside))


def _check_catalog(complete: bool, files: list[Path], model: str) -> None:
    if not complete:
        raise ScoringError(f"model {model} has no instance network and makes no catalogue; leave --catalog out")
    for path in files:
        with open_hdf5(path) as file:
            if "halo_position" not in file:
                raise ScoringError(f"{path} lacks halo_position, (K, 3); --catalog needs it, or leave it out")


def _compare_catalog(prediction: Prediction, field: LinearField, haloes: SimulatedHaloes) -> CatalogScores:
    from ..analysis.catalog_scores import catalog_errors, shape_errors
    from ..catalog.catalog import protohalo_catalog
    from ..fields.evolution import evolve_field

    if prediction.card.sees_evolution and prediction.evolved is None:
        prediction = replace(prediction, evolved=evolve_field(field))
    found = protohalo_catalog(prediction, field)
    true = protohalo_catalog(replace(prediction, labels=haloes.labels.astype("int32")), field)
    return (
        catalog_errors(found, haloes, field.site_mass_msun_h),
        catalog_errors(true, haloes, field.site_mass_msun_h),
        shape_errors(found, true, field.site_mass_msun_h),
    )


def _catalog_tables(several: list[CatalogScores]) -> dict[str, Any]:
    from ..analysis.catalog_scores import (
        CatalogErrors,
        ShapeErrors,
        confidence_table,
        errors_by_mass,
        format_catalog,
        format_shapes,
        shapes_by_mass,
    )

    predicted, true, shapes = zip(*several, strict=True)
    errors = CatalogErrors.pooled(predicted)
    tables = {
        "by_mass": errors_by_mass(errors),
        "by_confidence": confidence_table(errors),
        "by_mass_true_members": errors_by_mass(CatalogErrors.pooled(true)),
        "shapes": shapes_by_mass(ShapeErrors.pooled(shapes)),
    }
    say(format_catalog(tables["by_mass"], tables["by_confidence"]))
    say("\nthe same with the true members: what is left is the error of their approximate motion")
    say(format_catalog(tables["by_mass_true_members"]))
    say("\n" + format_shapes(tables["shapes"]))
    return tables


def _methods(wanted: bool) -> tuple[str, ...]:
    if not wanted or importlib.util.find_spec("yt_astro_analysis") is not None:
        return BASELINES if wanted else ()
    say("evolved+FoF is left out; for it: pip install 'yt_protohalos[astro]'")
    return BASELINES[:-1]


def _simple_methods(
    field: LinearField, fraction: float, smallest: int
) -> dict[str, Callable[[], tuple[NDArray, NDArray | None]]]:
    """What finds labels and mask by each simple method; the threshold takes the simulation's share of sites."""
    import numpy as np

    from ..analysis import baselines
    from ..fields.evolution import evolve_field
    from ..training.friends_of_friends import friends_of_friends

    delta, lattice = field.delta, field.lattice
    mask = baselines.threshold_mask(delta, lattice, fraction)

    def evolved() -> NDArray:
        places = np.indices(lattice.shape, dtype=np.float32) + evolve_field(field).displacement
        positions = lattice.spacing * places.reshape(3, -1).T
        return friends_of_friends(positions, lattice, EVOLVED_LINKING_LENGTH, smallest)

    return {
        "threshold+watershed": lambda: (baselines.watershed_labels(delta, lattice, mask, min_sites=smallest), mask),
        "spheres": lambda: (baselines.excursion_set_spheres(delta, lattice, min_sites=smallest), None),
        "evolved+FoF": lambda: (evolved(), None),
    }


def _pair_tallies(first: NDArray, second: NDArray, counts: Counts) -> tuple[BlockCounts, BlockCounts]:
    """Both ways of a pair, taken to have the spacing of the runs."""
    from ..analysis.block_counts import count_box
    from ..fields.lattice import Lattice

    lattice = Lattice(len(first), len(first) * counts.spacing)
    return (
        count_box(first, second, lattice, counts.site_mass),
        count_box(second, first, lattice, counts.site_mass),
    )


def _draw(counts: Counts, pair: BlockCounts | None, folder: Path, complete: bool) -> list[Path]:
    from ..analysis import score_figures
    from ..analysis.block_counts import BlockCounts
    from ..analysis.pictures import save_figure

    tally = BlockCounts.pooled(counts.model)
    drawn = {
        "reliability.png": score_figures.plot_reliability(tally),
        "thresholds.png": score_figures.plot_threshold_scan(tally, counts.threshold, pair),
    }
    if complete:
        drawn |= {
            "rate_by_mass.png": score_figures.plot_rate_by_mass(tally, pair),
            "voxel_masses.png": score_figures.plot_voxel_masses(tally, pair),
            "mass_functions.png": score_figures.plot_mass_functions(tally, counts.cosmology, redshift=counts.redshift),
        }
    for name, figure in drawn.items():
        save_figure(figure, folder / name)
    return [folder / name for name in ("confusion.png", *drawn)]
