"""Turn network output into probabilities, and choose the semantic threshold (López-Cano et al. 2024, appendix C)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from .._utils.progress import Progress, track
from ..exceptions import ScoringError
from ..models.card import AMPLITUDE_KEYS, CALIBRATION_KEYS, CONTACT_KEY, ModelCard
from ..prediction.inference import bounded_logit, segment_core
from ..prediction.model_crops import ModelCrops
from ..prediction.pipeline import LabelCubes, Separation
from ..prediction.predictor import ProtohaloPredictor
from ..segmentation.labels import relabel_by_size
from ..segmentation.merging import join_in_contact
from ..segmentation.tiling import Crop
from ..segmentation.watershed import otsu_threshold
from .dataset import LabelledField
from .trials import Trials

CANDIDATES = (
    *(
        {"persistence": persistence, "width_ratio": width_ratio, "distance": distance}
        for persistence in (1.6, 2.5)
        for width_ratio in (0.7, 0.85, 1.0, 1.2)
        for distance in (0.0, 0.3, 0.5)
    ),
    {"persistence": 4.2, "width_ratio": 0.0, "distance": 0.0},
)
"""What `tune_clustering` tries; the last is the paper's and joins nothing."""

CONTOURS = (0.0, 0.1, 0.2)
"""What `watershed_candidates` adds to Otsu's contour threshold."""
LIKELY = 0.5
"""Calibrated probability above which a site is more likely in a halo than not."""
CONTACTS = (0.0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
"""Contacts that `tune_clustering` tries with the best of them, where there is an evolved field."""


def fit_calibration(
    raw: Sequence[NDArray[np.float32]],
    true: Sequence[NDArray[np.bool_]],
    changes: Sequence[float] = (),
    n_bins: int = 4000,
) -> dict[str, float]:
    """Fit logit(p) = slope logit(raw) + intercept by maximum likelihood (Platt scaling).

    The balanced cross-entropy shifts the odds by beta / (1 - beta); the intercept undoes that and what is left.

    raw, true : of the same shapes, output of the semantic network on each run, and membership in the simulation
    changes : ln(sigma_8 / the model's sigma_8) of each run, at least two of them different: slope and intercept are
        then fitted as linear functions of it (`ModelCard.calibration_at`)
    returns : ``slope`` and ``intercept``, and with `changes` what each gains for each unit of them
    raises : `ScoringError` if the shapes differ, one class is missing, or the changes are all the same
    """
    if len(set(changes)) == 1 or len(changes) not in (0, len(raw)):
        raise ScoringError(f"changes {list(changes)} for {len(raw)} runs; give one per run, not all alike, or none")
    if not any(cube.any() for cube in true) or all(cube.all() for cube in true):
        raise ScoringError("the validation runs have only one class; calibration needs sites in and outside haloes")
    counts = [_by_logit(*cubes, n_bins) for cubes in zip(raw, true, strict=True)]
    logit, sites, inside = (np.concatenate(columns) for columns in zip(*counts, strict=True))
    features = np.stack([logit, np.ones_like(logit)], axis=1)
    if changes:
        features = np.hstack([features, np.repeat(changes, n_bins)[:, None] * features])

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shifted = features @ parameters
        value = np.sum(sites * np.logaddexp(0, shifted) - inside * shifted)
        return float(value / sites.sum()), features.T @ (sites * expit(shifted) - inside) / sites.sum()

    start = np.zeros(features.shape[1])
    start[0] = 1.0
    best = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    return dict(zip((*CALIBRATION_KEYS, *AMPLITUDE_KEYS), (float(value) for value in best), strict=False))


def _by_logit(
    raw: NDArray[np.float32], true: NDArray[np.bool_], n_bins: int
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Mean logit, sites and members of one run in bins of the logit."""
    if raw.shape != true.shape:
        raise ScoringError(f"shapes {raw.shape} and {true.shape} differ; pass output and truth of the same sites")
    logit = bounded_logit(raw.ravel())
    index = np.rint((logit - logit.min()) / max(np.ptp(logit), 1e-9) * (n_bins - 1)).astype(np.int64)
    sites = np.bincount(index, minlength=n_bins)
    mean = np.bincount(index, weights=logit, minlength=n_bins) / np.maximum(sites, 1)
    return mean, sites, np.bincount(index[true.ravel()], minlength=n_bins)


def choose_threshold(probability: Sequence[NDArray[np.float32]], true: Sequence[NDArray[np.bool_]]) -> float:
    """Threshold at which the predicted share of members equals the true one on validation runs (appendix C)."""
    shapes, true_shapes = ([cube.shape for cube in cubes] for cubes in (probability, true))
    if shapes != true_shapes:
        raise ScoringError(f"shapes {shapes} and {true_shapes} differ; pass the same sites")
    sites, members = (np.concatenate([cube.ravel() for cube in cubes]) for cubes in (probability, true))
    return float(np.quantile(sites, 1.0 - float(np.mean(members))))


def model_threshold(
    card: ModelCard, probability: Sequence[NDArray[np.float32]], true: Sequence[NDArray[np.bool_]]
) -> float:
    """Threshold of a calibrated model: that of `choose_threshold`, or `LIKELY` for a position network.

    The mask of a position network makes no protohaloes, so that it need not have their mass. The more likely answer is
    right most often.
    """
    return LIKELY if card.predicts_positions else choose_threshold(probability, true)


def watershed_candidates(
    predictor: ProtohaloPredictor, runs: Sequence[LabelledField], probabilities: Sequence[NDArray[np.float32]]
) -> list[dict[str, float]]:
    """Thresholds of `find_seeds` to choose from: Otsu's, as in appendix A, first, and others about them.

    Otsu's are measured over the validation runs, of the contours on the first crop of each, and kept in the card:
    measured crop by crop, they would differ between crops that share a halo.
    """
    network, contours = predictor.instance_network, []
    for run, probability in zip(runs, probabilities, strict=True):
        crop = ModelCrops.of_box(predictor.card, run.field.n).instance[0]
        contours += network.run(replace(run.model_input, probability=probability), [crop])
    foreground, contour = otsu_threshold(np.stack(list(probabilities))), otsu_threshold(np.stack(contours))
    tried = [contour + change for change in CONTOURS if contour + change < 1]
    return [{"foreground": round(foreground, 4), "contour": round(value, 4)} for value in tried]


def tune_clustering(
    predictor: ProtohaloPredictor,
    runs: Sequence[LabelledField],
    probabilities: Sequence[NDArray[np.float32]],
    candidates: Sequence[Mapping[str, float]] = (),
    min_sites: int = 500,
    progress: Progress = True,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Choose the settings of clustering, merging and contact on validation runs, through the whole pipeline.

    `Trials.judge` chooses, by the share of matched haloes and then by the mass function: matches alone cannot tell the
    best apart, but whether large haloes are split or neighbours swallowed shows in the mass function. For a model that
    sees the evolved field, the contact of `join_in_contact` is then the one that matches most: it changes few haloes of
    the same labels, so that small differences count.

    predictor : with the threshold that its card shall keep
    probabilities : calibrated, (n, n, n), of each run
    candidates : settings that replace those of the card; by default `CANDIDATES` or `watershed_candidates`
    min_sites : haloes with more sites count; `ScoringError` if no run holds one
    returns : the chosen candidate (equal ones: the first), and the table of `Trials.judge`
    """
    runs = [run.with_evolution(predictor.card.channels, predictor.card.evolution) for run in runs]
    if not candidates:
        clustered = predictor.card.method == "pseudo-space"
        candidates = CANDIDATES if clustered else watershed_candidates(predictor, runs, probabilities)
    trials = Trials(runs, min_sites)
    with TemporaryDirectory() as folder:
        # the labels of all candidates together would not fit into memory
        kept = [[Path(folder) / f"{r}_{i}.npy" for i in range(len(candidates))] for r in range(len(runs))]
        for r, (run, probability) in enumerate(zip(runs, probabilities, strict=True)):
            for i, labels in enumerate(_labels_by_candidate(predictor, run, probability, candidates, progress)):
                trials.count(i, run, labels)
                np.save(kept[r][i], labels)
        best, table = trials.judge(candidates)
        chosen = {**predictor.card.clustering, **candidates[best]}
        if not predictor.card.sees_evolution:
            return chosen, table
        trials = Trials(runs, min_sites)
        for r, run in enumerate(runs):
            labels, evolved = np.load(kept[r][best]), run.evolved
            assert evolved is not None
            for i, contact in enumerate(CONTACTS):
                trials.count(i, run, join_in_contact(labels, evolved.displacement, contact))
    _, contact_table = trials.judge([{**candidates[best], CONTACT_KEY: contact} for contact in CONTACTS])
    most = max(range(len(CONTACTS)), key=lambda i: trials.matched[i])
    return {**chosen, CONTACT_KEY: CONTACTS[most]}, [*table, *contact_table]


def _labels_by_candidate(
    predictor: ProtohaloPredictor,
    run: LabelledField,
    probability: NDArray[np.float32],
    candidates: Sequence[Mapping[str, float]],
    progress: Progress,
) -> Iterator[NDArray[np.int32]]:
    """Final labels of a run for each candidate, before contacts; the network runs once a crop for all of them."""
    card, crops = predictor.card, ModelCrops.of_box(predictor.card, run.field.n)
    assert crops.plan is not None
    inputs = replace(run.model_input, probability=probability)
    cubes = [LabelCubes(inputs.field.lattice) for _ in candidates]

    def segment(output: NDArray[np.float32], near: NDArray[np.float32], crop: Crop) -> list[NDArray[np.int32]]:
        return segment_core(card, output, near, card.threshold, crop, candidates)

    blocks = Separation(predictor.instance_network, inputs, card.threshold, segment).run(crops.instance)
    for crop, labels in track(blocks, "Tuning the clustering", len(crops.instance), progress):
        for cube, block in zip(cubes, labels or (), strict=labels is not None):
            cube.add(crop, block)
    for cube in cubes:
        yield relabel_by_size(cube.stitch(crops.plan).labels, card.min_sites)
