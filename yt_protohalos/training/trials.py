"""Choice among candidate settings by the haloes that they match and by their mass function."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..analysis.matching import match_haloes
from ..exceptions import ScoringError
from ..segmentation.labels import label_sizes
from .dataset import LabelledField


class Trials:
    """Matches and mass functions of several candidates over several runs.

    min_sites : haloes with more sites count; `ScoringError` if no run holds one
    """

    def __init__(self, runs: Sequence[LabelledField], min_sites: int) -> None:
        self.min_sites = min_sites
        self.simulated = np.concatenate([label_sizes(run.labels)[1:] for run in runs])
        self.total = int(np.count_nonzero(self.simulated > min_sites))
        if not self.total:
            raise ScoringError(
                f"no validation run holds a halo of more than {min_sites} sites; tune on runs that do, or lower "
                "min_sites"
            )
        self.matched: Counter[int] = Counter()
        self.found: defaultdict[int, list[NDArray[np.int64]]] = defaultdict(list)

    def count(self, candidate: int, run: LabelledField, labels: NDArray[np.int32]) -> None:
        """Add the labels of a candidate in a run."""
        matches = match_haloes(labels, run.labels)
        self.matched[candidate] += int(np.count_nonzero(matches.iou[matches.size > self.min_sites] > 0.5))
        self.found[candidate].append(label_sizes(labels)[1:])

    def shares(self, count: int) -> NDArray[np.float64]:
        """Share of haloes that each of the first `count` candidates matches with IoU > 0.5."""
        return np.array([self.matched[i] for i in range(count)]) / self.total

    def nearly_best(self, count: int) -> NDArray[np.bool_]:
        """Mask of the candidates whose share is within a binomial standard error of the best share."""
        share = self.shares(count)
        best = share.max()
        nearly: NDArray[np.bool_] = share >= best - np.sqrt(best * (1 - best) / self.total)
        return nearly

    def judge(
        self, candidates: Sequence[Mapping[str, float]], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[int, list[dict[str, float]]]:
        """The best candidate, and the table of all.

        Of the candidates that are `nearly_best`, and `allowed` if that leaves any, the best is the one with the
        smallest `mass_function_error`; of equal ones the first.

        table : every candidate with its ``share`` of haloes matched with IoU > 0.5 and its ``mass_function_error``
        """
        share = self.shares(len(candidates))
        found = [np.concatenate(self.found[i]) for i in range(len(candidates))]
        error = np.array([mass_function_error(sizes, self.simulated, self.min_sites) for sizes in found])
        equal = self.nearly_best(len(candidates))
        if allowed is not None and (equal & allowed).any():
            equal &= allowed
        table = [
            {**candidate, "share": round(float(share[i]), 4), "mass_function_error": round(float(error[i]), 4)}
            for i, candidate in enumerate(candidates)
        ]
        return int(np.argmin(np.where(equal, error, np.inf))), table


def mass_function_error(predicted: ArrayLike, simulated: ArrayLike, min_sites: int, fewest: int = 10) -> float:
    """Mean departure |predicted / simulated - 1| of the counts of haloes in bins of 0.2 dex above `min_sites`.

    Bins weigh as the root of their simulated haloes, the inverse of the scatter of such a ratio.

    predicted, simulated : int arrays, sites of each halo
    fewest : bins with fewer simulated haloes are left out; with none left, the bins are joined into one
    """
    predicted, simulated = np.asarray(predicted), np.asarray(simulated)
    largest = max(int(predicted.max(initial=0)), int(simulated.max(initial=0)), min_sites + 1)
    edges = np.log10(min_sites) + 0.2 * np.arange(np.ceil(np.log10(largest / min_sites) / 0.2) + 1)
    a, b = (np.histogram(np.log10(sizes[sizes > min_sites]), edges)[0] for sizes in (predicted, simulated))
    kept = b >= fewest
    if not kept.any():
        return float(abs(a.sum() - b.sum()) / max(b.sum(), 1))
    return float(np.average(np.abs(a[kept] / b[kept] - 1), weights=np.sqrt(b[kept])))
