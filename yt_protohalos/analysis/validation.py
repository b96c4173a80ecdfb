"""Validate a model: run it on simulations whose haloes are known, and score what it predicts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .._utils.files import atomic_path
from .._utils.progress import Progress
from ..exceptions import ScoringError
from ..fields.cosmology import Cosmology
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from ..fields.units import Quantity, comoving_length
from ..models.card import ModelCard
from ..prediction.interface import Predictor
from ..prediction.predictor import ProtohaloPredictor
from ..prediction.result import Prediction
from ..segmentation.labels import relabel_by_size
from . import score_figures
from .baselines import SimpleMethod
from .block_counts import BlockCounts, count_box
from .catalog_scores import CatalogComparison, SimulatedHaloes, compare_catalog
from .catalog_tables import catalog_tables, format_catalog_tables
from .pictures import save_figure
from .score_tables import Table, format_table, pair_table, score_table, validation_table
from .verdicts import Row, format_verdicts, verdict_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT_FORMAT = 3
SPACING_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """Initial conditions and the haloes that a simulation formed from them.

    Attributes
    ----------
    field : LinearField
        At the redshift of the haloes, see `LinearField.at_redshift`.
    labels : int, (n, n, n)
        Halo of each initial lattice site: 0 outside, 1..K.
    haloes : SimulatedHaloes, optional
        Positions and velocities of the haloes, to validate the catalogue too.

    Examples
    --------
    >>> from yt_protohalos.analysis.validation import SimulatedRun
    >>> run = SimulatedRun(field, prediction.labels)
    """

    field: LinearField
    labels: NDArray[np.integer]
    haloes: SimulatedHaloes | None = None


@dataclass(frozen=True, eq=False)
class Validation:
    """Scores of a model on simulated runs; `validate` makes it.

    Attributes
    ----------
    model, precision : str
        Name of the model, and the precision its networks ran in.
    scores, tables : dict of dict
        `score_table` of each run; `validation_table` of the ``model`` and of each simple method, and `pair_table` of
        the ``pair``.
    verdicts : list of dict
        `verdict_table` of the model.
    catalog : dict, optional
        `catalog_tables` of the runs.
    counts, pair_counts : BlockCounts
        Of the model, runs pooled, and of the baseline pair, both ways pooled; None without a pair.
    cosmology : Cosmology
        Of the first run.
    redshift, threshold : float
        Redshift of the haloes; semantic threshold of the model.
    confusion_map : matplotlib.figure.Figure
        Slice through the first run.

    Examples
    --------
    >>> from yt_protohalos.analysis.validation import SimulatedRun, validate
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v2")
    >>> result = validate({"mine": SimulatedRun(field, prediction.labels)}, predictor, progress=False)
    >>> paths = result.save_figures("figures")
    """

    model: str
    precision: str
    scores: dict[str, Table]
    tables: dict[str, Table]
    verdicts: list[Row]
    catalog: dict[str, Any] | None
    counts: BlockCounts
    pair_counts: BlockCounts | None
    cosmology: Cosmology
    redshift: float
    threshold: float
    confusion_map: Figure

    @property
    def text(self) -> str:
        """Every table as text."""
        sizes = sorted({scores["min_sites"] for scores in self.scores.values()})
        compared = f"haloes of at least {' or '.join(map(str, sizes))} sites are compared"
        parts = [compared, format_table(self.tables), format_verdicts(self.verdicts)]
        return "\n".join(parts if self.catalog is None else [*parts, format_catalog_tables(self.catalog)])

    def write(self, filename: str | Path) -> None:
        """Write every table as JSON."""
        result = {
            "format": RESULT_FORMAT, "model": self.model, "precision": self.precision,
            "runs": [{"run": name, **scores} for name, scores in self.scores.items()],
            "cosmology": asdict(self.cosmology), "redshift": self.redshift,
            "volume": float(self.counts.volume.sum()), "tables": self.tables, "verdicts": self.verdicts,
        }  # fmt: skip
        if self.catalog is not None:
            result["catalog"] = self.catalog
        with atomic_path(Path(filename)) as unfinished:
            unfinished.write_text(json.dumps(result, indent=1), encoding="utf-8")

    def save_figures(self, folder: str | Path) -> list[Path]:
        """Draw the figures as PNG files into a folder; returns their paths."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        figures = {Path(folder) / f"{name}.png": figure for name, figure in self.figures().items()}
        for path, figure in figures.items():
            save_figure(figure, path)
        return list(figures)

    def figures(self) -> dict[str, Figure]:
        """Draw the figures of the paper: some need probabilities, and some a model that separates haloes."""
        counts, pair = self.counts, self.pair_counts
        drawn = {"confusion": self.confusion_map}
        if counts.probability_sites.any():
            drawn["reliability"] = score_figures.plot_reliability(counts)
            drawn["thresholds"] = score_figures.plot_threshold_scan(counts, self.threshold, pair)
        if np.isnan(counts.predicted).any():
            return drawn
        return drawn | {
            "rate_by_mass": score_figures.plot_rate_by_mass(counts, pair),
            "voxel_masses": score_figures.plot_voxel_masses(counts, pair),
            "mass_functions": score_figures.plot_mass_functions(counts, self.cosmology, redshift=self.redshift),
        }


class _RunScores(NamedTuple):
    min_sites: int
    model: BlockCounts
    simple: dict[str, BlockCounts]
    catalog: CatalogComparison | None
    confusion_map: Figure | None


def validate(
    runs: Mapping[str, SimulatedRun | Callable[[], SimulatedRun]],
    predictor: Predictor,
    *,
    pair: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    pair_spacing: Quantity | None = None,
    simple_methods: Mapping[str, SimpleMethod] | None = None,
    catalog: bool = False,
    predict: Callable[[LinearField], Prediction] | None = None,
    min_sites: int | None = None,
    progress: Progress = True,
) -> Validation:
    """Score a model on simulated runs.

    Every run is read and checked before a network runs. Runs are pooled by adding their counts. Haloes of both sides
    are compared from the larger of `min_sites` and the smallest protohalo of the prediction (`Prediction.min_sites`).

    Parameters
    ----------
    runs : mapping of str to SimulatedRun, or to a function that returns one
        By name. With functions only one run is in memory at a time; each is called twice.
    predictor : ProtohaloPredictor or FriendsOfFriendsPredictor
    pair : tuple of two int (n, n, n), optional
        Halo labels of a baseline pair, two simulations whose initial conditions differ only below the resolution: the
        limit of every method.
    pair_spacing : float or quantity, optional
        Lattice spacing of the pair, comoving Mpc/h, checked against that of the runs.
    simple_methods : mapping of str to function, optional
        Methods to score on the same runs, e.g. `baselines.SIMPLE_METHODS`.
    catalog : bool
        Compare positions, velocities, spins and shapes too. Every run needs its `haloes`.
    predict : function, optional
        Makes the prediction of a field, e.g. one that uses a cache; by default the predictor's own.
    min_sites : int, optional
        Sites of the smallest haloes that the labels of the simulation hold; smaller ones count as none. By default as
        in the labels that the model learned from.
    progress : bool or function

    Returns
    -------
    Validation

    Raises
    ------
    ScoringError
        No run; labels that are not on the lattice of their field; runs of several spacings or redshifts; a pair of
        another spacing; or a catalogue that the model or the runs cannot give.

    Examples
    --------
    >>> from yt_protohalos.analysis.validation import SimulatedRun, validate
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v2")
    >>> result = validate({"mine": SimulatedRun(field, prediction.labels)}, predictor, progress=False)
    >>> accuracy, error = (result.tables["model"]["ACC"][name] for name in ("value", "error"))
    """
    card = predictor.card
    if catalog and isinstance(card, ModelCard) and not card.separates_haloes:
        raise ScoringError(f"model {card.name} separates no haloes and makes no catalogue; leave the catalogue out")
    readers = {name: run if callable(run) else (lambda run=run: run) for name, run in runs.items()}
    lattice, cosmology, redshift = _check_runs(readers, catalog)
    methods = simple_methods or {}
    least = card.min_sites if min_sites is None else min_sites
    ways = None if pair is None else _pair_counts(*pair, pair_spacing, lattice.spacing, cosmology, least)
    scored = [
        _score_run(read(), predictor, methods, catalog, predict, least, progress, draw=number == 0)
        for number, read in enumerate(readers.values())
    ]
    counts = [run.model for run in scored]
    tables = {"model": validation_table(counts)}
    if ways is not None:
        tables["pair"] = pair_table([ways[0]], [ways[1]])
    tables |= {name: validation_table([run.simple[name] for run in scored]) for name in methods}
    assert scored[0].confusion_map is not None
    return Validation(
        model=card.name,
        precision=predictor.precision,
        scores={
            name: {"min_sites": run.min_sites, **score_table(run.model)}
            for name, run in zip(readers, scored, strict=True)
        },
        tables=tables,
        verdicts=verdict_table(tables["model"], tables.get("pair")),
        catalog=catalog_tables([run.catalog for run in scored if run.catalog is not None]) if catalog else None,
        counts=BlockCounts.pooled(counts),
        pair_counts=None if ways is None else BlockCounts.pooled(ways),
        cosmology=cosmology,
        redshift=redshift,
        threshold=card.threshold,
        confusion_map=scored[0].confusion_map,
    )


def _score_run(
    run: SimulatedRun,
    predictor: Predictor,
    methods: Mapping[str, SimpleMethod],
    catalog: bool,
    predict: Callable[[LinearField], Prediction] | None,
    min_sites: int,
    progress: Progress,
    draw: bool,
) -> _RunScores:
    """Predict and score one run; `draw` the confusion map too."""
    field, truth, card = run.field, run.labels, predictor.card
    labels, compared = None, None
    if isinstance(card, ModelCard) and not card.separates_haloes:
        probability = cast(ProtohaloPredictor, predictor).probability(field, progress)
    else:
        prediction = predictor.predict(field, progress=progress) if predict is None else predict(field)
        min_sites = max(min_sites, prediction.min_sites)
        probability, labels = prediction.probability, relabel_by_size(prediction.labels, min_sites)
        if catalog and run.haloes is not None:
            compared = compare_catalog(prediction, field, run.haloes)
        del prediction
    truth = relabel_by_size(truth, min_sites)
    mask = probability > np.float32(card.threshold)
    count = partial(count_box, true_labels=truth, lattice=field.lattice, site_mass_msun_h=field.site_mass_msun_h)
    model = count(labels, mask=mask, probability=probability if card.gives_probability else None)
    drawn = None
    if draw:
        drawn = score_figures.plot_confusion(truth > 0, probability, mask, field.lattice, name=card.probability_name)
    del probability, labels, mask
    simple = {}
    for name, method in methods.items():
        found, inside = method(field, float((truth > 0).mean()), min_sites)
        simple[name] = count(found, mask=inside)
    return _RunScores(min_sites, model, simple, compared, drawn)


def _check_runs(readers: Mapping[str, Callable[[], SimulatedRun]], catalog: bool) -> tuple[Lattice, Cosmology, float]:
    """Read every run, for a mistake in the last would cost the time of all others; returns facts of the first."""
    if not readers:
        raise ScoringError("nothing to score; give at least one run")
    first: tuple[str, Lattice, Cosmology, float] | None = None
    for name, read in readers.items():
        run = read()
        field, truth = run.field, run.labels
        if truth.shape != field.lattice.shape:
            raise ScoringError(
                f"run {name}: labels have shape {truth.shape}, the initial conditions {field.lattice.shape}; "
                "use one lattice"
            )
        if truth.min() < 0:
            raise ScoringError(f"run {name}: labels hold negative numbers; use 0 outside haloes and 1..K inside")
        if catalog and run.haloes is None:
            raise ScoringError(f"run {name} has no halo positions to compare the catalogue with; give its haloes")
        first = first or (name, field.lattice, field.cosmology, field.target_redshift)
        if _differ(field.spacing, first[1].spacing):
            raise ScoringError(
                f"runs {first[0]} and {name} have spacings {first[1].spacing:.4g} and {field.spacing:.4g} Mpc/h; "
                "pool runs of one resolution"
            )
        if field.target_redshift != first[3]:
            raise ScoringError(
                f"the haloes of {first[0]} and {name} are at z = {first[3]:g} and {field.target_redshift:g}; score "
                "runs of one redshift at a time"
            )
    assert first is not None
    return first[1:]


def _differ(spacing: float, other: float) -> bool:
    return abs(spacing / other - 1) > SPACING_TOLERANCE


def _pair_counts(
    first: NDArray[np.integer], second: NDArray[np.integer], own: Quantity | None, spacing: float,
    cosmology: Cosmology, min_sites: int,
) -> tuple[BlockCounts, BlockCounts]:  # fmt: skip
    """Counts of each run of the pair as the prediction of the other, for haloes of at least so many sites."""
    if first.shape != second.shape or first.ndim != 3 or len(set(first.shape)) != 1:
        raise ScoringError(f"the pair has shapes {first.shape} and {second.shape}; give two equal cubes")
    own = spacing if own is None else comoving_length(own, "pair_spacing", cosmology.h)
    if _differ(own, spacing):
        raise ScoringError(
            f"the pair has spacing {own:.4g}, the runs {spacing:.4g} Mpc/h; give a pair of the same resolution"
        )
    lattice, site_mass = Lattice(len(first), len(first) * spacing), cosmology.site_mass_msun_h(spacing)
    first, second = (relabel_by_size(labels, min_sites) for labels in (first, second))
    return count_box(first, second, lattice, site_mass), count_box(second, first, lattice, site_mass)
