"""Choose the settings by which the groups of predicted final positions become haloes, on validation runs.

In three steps, because all combinations would take hours: first which sites are candidates and how far apart friends
are, then the cores that divide a group, then which candidates stay in a halo. The network does not run again; a trial
is one `group_positions` of a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, product
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from .._utils.progress import Progress, track
from ..models.card import ModelCard
from ..prediction.positions import SiteOutputs
from ..segmentation.labels import label_sizes
from ..segmentation.position_groups import LinkedPositions, labels_of_members
from .dataset import LabelledField
from .trials import Trials

UNTUNED_GROUPS = {"in_group": 0.3, "linking_length": 0.25, "core_length": 0.1, "min_core": 120, "member": 0.45}
"""Where the choice begins for a new model."""
GROUP_CANDIDATES = tuple(
    {"in_group": in_group, "linking_length": length}
    for in_group, length in product((0.2, 0.25, 0.3, 0.35, 0.4), (0.2, 0.22, 0.25, 0.28))
)
"""First step: least probability of a candidate, and linking length, in sites, of the groups.

A higher probability and a shorter length lose small haloes; the opposite joins neighbours.
"""
CORE_CANDIDATES = tuple(
    {"core_length": length, "min_core": sites} for length, sites in product((0.09, 0.1, 0.11, 0.12), (90, 120, 160))
)
"""Second step: linking length, in sites, and least number of sites of the cores.

Shorter lengths and fewer sites divide more groups: bridges are cut, but large haloes may be split too.
"""
MEMBER_CANDIDATES = tuple({"member": member} for member in (0.4, 0.425, 0.45, 0.475, 0.5, 0.525, 0.55))
"""Third step: least probability of a candidate that stays in its halo. A higher one makes haloes lighter."""
STEPS = (("groups", GROUP_CANDIDATES), ("cores", CORE_CANDIDATES), ("members", MEMBER_CANDIDATES))

LARGE = 500
"""Haloes of more sites are judged by themselves too, because small haloes outnumber them by far."""


def tune_groups(
    card: ModelCard, runs: Sequence[LabelledField], outputs: Sequence[SiteOutputs], progress: Progress = True
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Choose the settings of `group_positions` on validation runs by the rule of `Trials.judge`.

    Haloes count from the smallest that the model keeps; the share of those above `LARGE` sites must be nearly the best
    too. `GROUP_CANDIDATES` are tried with the other settings of the card, then each of the later `STEPS` with what the
    steps before it chose.

    outputs : of the position network, for each run
    returns : the chosen settings, and the tables of all steps
    raises : `ScoringError` if no run holds a halo of the model's smallest size
    """
    chosen: dict[str, float] = dict(card.clustering)
    tables: list[dict[str, float]] = []
    for step, changes in STEPS:
        candidates = [{**chosen, **change} for change in changes]
        # Trials counts haloes of more sites than it is given
        trials = Trials(runs, max(card.min_sites - 1, 1))
        large = Trials(runs, LARGE) if any(label_sizes(run.labels)[1:].max(initial=0) > LARGE for run in runs) else None
        tried = (
            (i, run, labels)
            for run, output in zip(runs, outputs, strict=True)
            for i, labels in enumerate(_labels_by_candidate(output, candidates, card.min_sites))
        )
        for i, run, labels in track(tried, f"Tuning the {step}", len(runs) * len(candidates), progress):
            trials.count(i, run, labels)
            if large is not None:
                large.count(i, run, labels)
        allowed = None if large is None else large.nearly_best(len(candidates))
        best, table = trials.judge(candidates, allowed)
        chosen = candidates[best]
        tables += table
    return chosen, tables


def _labels_by_candidate(
    output: SiteOutputs, candidates: Sequence[Mapping[str, float]], min_sites: int
) -> Iterator[NDArray[np.int32]]:
    """Labels of a run for each candidate; those of equal groups follow each other, and are linked once."""
    for in_group, alike in groupby(candidates, itemgetter("in_group")):
        chosen = output.in_group > np.float32(in_group)
        linked = LinkedPositions(output.displacement, chosen)
        for (length, core, sites), same in groupby(alike, itemgetter("linking_length", "core_length", "min_core")):
            numbers = linked.numbers(length, core, int(sites))
            for each in same:
                members = output.in_group > np.float32(each["member"])
                yield labels_of_members(numbers, chosen, members, min_sites)
