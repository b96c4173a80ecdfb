"""Match the objects of two labellings: two predictions, or a prediction and a simulation.

Both label the same sites, so objects are compared by the sites they share, without any tolerance in space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ScoringError
from ..fields.units import Quantity, mass_msun
from ..prediction.result import LabelledSites
from ..segmentation.labels import contingency, label_sizes

Ints = NDArray[np.int64]

MATCH_IOU = 0.5
"""Least intersection over union, exclusive, of a match: at a half and above, no object can have two."""
MAJORITY = 0.5
"""Share of an object's sites, exclusive, that an heir or an origin holds: so there is at most one."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Relations of the objects of predictions a and b, labels 1..Ka and 1..Kb; 0 stands for none.

    An object may be in several: a large one that swallows a small one is matched and has merged.

    Attributes
    ----------
    matched : int64, (M, 2)
        Pairs of labels (a, b) with an intersection over union above `MATCH_IOU`, by the label of a.
    iou, log10_mass_ratio : float64, (M,)
        Intersection over union of the pairs, and log10 of the mass in b over the mass in a.
    heir, origin : int64, (Ka,), (Kb,)
        The object of b with more than half of the sites of object i + 1 of a, or 0; the same with a and b exchanged.
    merged, split : int64, (P,), (Q,)
        Objects of b that are the heir of several of a; objects of a that are the origin of several of b.
    vanished, new : int64, (V,), (W,)
        Objects of a with at least half of their sites in no object of b; the same with a and b exchanged.
    size_a, size_b : int64, (Ka,), (Kb,)
        Sites.
    site_mass_msun : float
        Mass of a site, Msun.

    Examples
    --------
    >>> a = np.array([1, 1, 2, 2, 3, 0]).reshape(1, 1, 6)
    >>> b = np.array([1, 1, 1, 1, 0, 2]).reshape(1, 1, 6)
    >>> from yt_protohalos.analysis.matching import compare_labels
    >>> relation = compare_labels(a, b)
    >>> relation.merged, relation.vanished, relation.new
    (array([1]), array([3]), array([2]))
    """

    matched: Ints
    iou: NDArray[np.float64]
    log10_mass_ratio: NDArray[np.float64]
    heir: Ints
    origin: Ints
    merged: Ints
    split: Ints
    vanished: Ints
    new: Ints
    size_a: Ints
    size_b: Ints
    site_mass_msun: float

    def parts_of_merged(self, label: int) -> Ints:
        """List the labels of a whose heir is an object of b."""
        return np.flatnonzero(self.heir == _checked(label, self.size_b, "b")) + 1

    def parts_of_split(self, label: int) -> Ints:
        """List the labels of b whose origin is an object of a."""
        return np.flatnonzero(self.origin == _checked(label, self.size_a, "a")) + 1

    def summary(self) -> dict[str, Any]:
        """Counts, and the median and spread of the mass ratio, as JSON values; None without matches."""
        low = middle = high = iou = None
        if len(self.matched):
            low, middle, high = np.quantile(self.log10_mass_ratio, (0.16, 0.5, 0.84)).tolist()
            iou = float(np.median(self.iou))
        return {
            "objects_a": len(self.size_a),
            "objects_b": len(self.size_b),
            "sites_a": int(self.size_a.sum()),
            "sites_b": int(self.size_b.sum()),
            "matched": len(self.matched),
            "merged": len(self.merged),
            "merged_parts": int(np.isin(self.heir, self.merged).sum()),
            "split": len(self.split),
            "split_parts": int(np.isin(self.origin, self.split).sum()),
            "vanished": len(self.vanished),
            "new": len(self.new),
            "median_iou": iou,
            "log10_mass_ratio_median": middle,
            "log10_mass_ratio_16": low,
            "log10_mass_ratio_84": high,
        }

    def table(self, largest: int = 10) -> str:
        """Print the summary, and a line for each of the `largest` objects of a; 0 for the summary alone."""
        found = self.summary()
        pairs = ""
        if len(self.matched):
            pairs = (
                "   median IoU {median_iou:.2f}, log10 mass ratio {log10_mass_ratio_median:+.3f} "
                "({log10_mass_ratio_16:+.3f} to {log10_mass_ratio_84:+.3f} for two thirds)"
            ).format(**found)
        lines = [
            f"{'':12s} {'a':>9s} {'b':>9s}",
            f"{'objects':12s} {found['objects_a']:9d} {found['objects_b']:9d}",
            f"{'sites':12s} {found['sites_a']:9d} {found['sites_b']:9d}",
            f"matched  {found['matched']:6d}" + pairs,
            f"merged   {found['merged']:6d}   out of {found['merged_parts']} of a",
            f"split    {found['split']:6d}   into {found['split_parts']} of b",
            f"vanished {found['vanished']:6d}",
            f"new      {found['new']:6d}",
        ]
        shown = min(largest, len(self.size_a))
        if shown:
            lines += ["", f"{'a':>6s} {'mass [Msun]':>12s} {'b':>6s} {'mass [Msun]':>12s} {'log10 ratio':>12s}  became"]
            lines += [self._line(label) for label in (np.argsort(-self.size_a, kind="stable")[:shown] + 1).tolist()]
        return "\n".join(lines)

    def _line(self, label: int) -> str:
        mass = self.size_a[label - 1] * self.site_mass_msun
        heir, words = int(self.heir[label - 1]), []
        if label in self.matched[:, 0]:
            heir = int(self.matched[self.matched[:, 0] == label, 1][0])
            words.append("matched")
        if heir and heir in self.merged and self.heir[label - 1] == heir:
            words.append(f"merged with {np.count_nonzero(self.heir == heir) - 1} more")
        if label in self.split:
            words.append(f"split into {np.count_nonzero(self.origin == label)}")
        if label in self.vanished:
            words.append("vanished")
        if not words:
            words.append("part of a larger object" if heir else "scattered")
        other = f"{'-':>6s} {'-':>12s} {'-':>12s}"
        if heir:
            size = self.size_b[heir - 1]
            other = f"{heir:6d} {size * self.site_mass_msun:12.3e} {np.log10(size / self.size_a[label - 1]):+12.3f}"
        return f"{label:6d} {mass:12.3e} {other}  {', '.join(words)}"


def compare(prediction_a: LabelledSites, prediction_b: LabelledSites) -> Comparison:
    """Relate the protohaloes of two predictions of the same lattice.

    With a and b exchanged, merged and split change places, so do vanished and new, and mass ratios change sign.

    Parameters
    ----------
    prediction_a, prediction_b : Prediction or RegionPrediction
        Of the same sites: the same lattice and, for regions, the same start and side. The masses are those of a's
        cosmology. Objects that a region's face cuts are compared as they are cut.

    Returns
    -------
    Comparison

    Raises
    ------
    ScoringError
        The sites differ.

    Examples
    --------
    >>> pairs = ph.compare(prediction, ph.predict(ds, threshold=0.4)).matched
    """
    first, second = prediction_a.lattice, prediction_b.lattice
    # formats state the side of one box with different rounding
    if first.n != second.n or not math.isclose(first.box_size, second.box_size, rel_tol=1e-6):
        raise ScoringError(f"predictions are on {first} and {second}; compare those of one lattice")
    starts = [getattr(prediction, "start", None) for prediction in (prediction_a, prediction_b)]
    if starts[0] != starts[1]:
        raise ScoringError(f"regions start at sites {starts[0]} and {starts[1]}; compare predictions of one region")
    return compare_labels(prediction_a.labels, prediction_b.labels, prediction_a.site_mass_msun)


def compare_labels(
    labels_a: NDArray[np.integer], labels_b: NDArray[np.integer], site_mass_msun: Quantity = 1.0
) -> Comparison:
    """Relate the objects of two label cubes, see `compare`.

    Parameters
    ----------
    labels_a, labels_b : int, of one shape
        0 none, 1..K without gaps.
    site_mass_msun : float or quantity
        Msun.

    Returns
    -------
    Comparison

    Raises
    ------
    ScoringError
        Shapes differ, or labels are negative or have gaps.

    Examples
    --------
    >>> from yt_protohalos.analysis.matching import compare_labels
    >>> compare_labels(prediction.labels, np.zeros_like(prediction.labels)).matched.shape
    (0, 2)
    """
    a, b, shared, iou, size_a, size_b = _overlaps(labels_a, labels_b)
    for name, size in (("labels_a", size_a), ("labels_b", size_b)):
        if (size == 0).any():
            raise ScoringError(f"{name} lack {int(np.argmin(size)) + 1}; number the objects 1..K without gaps")
    match = iou > MATCH_IOU
    heir, origin = _majority(a, b, shared, size_a), _majority(b, a, shared, size_b)
    matched = np.stack([a[match], b[match]], axis=-1)
    return Comparison(
        matched=matched,
        iou=iou[match],
        log10_mass_ratio=np.log10(size_b[matched[:, 1] - 1] / size_a[matched[:, 0] - 1]),
        heir=heir,
        origin=origin,
        merged=_repeated(heir),
        split=_repeated(origin),
        vanished=_mostly_alone(a, shared, size_a),
        new=_mostly_alone(b, shared, size_b),
        size_a=size_a,
        size_b=size_b,
        site_mass_msun=mass_msun(site_mass_msun, "site_mass_msun"),
    )


@dataclass(frozen=True)
class Matches:
    """Best predicted counterpart of each true halo.

    label, iou : (K,), predicted label of the largest intersection over union (IoU) with true label i + 1, and this
        IoU; both 0 without overlap
    size : (K,), sites of the true halo
    """

    label: Ints
    iou: NDArray[np.float64]
    size: Ints

    def share(self, min_sites: int = 500, iou: float = 0.5) -> float:
        """Share of haloes of more than `min_sites` sites whose counterpart exceeds `iou`; NaN without such haloes."""
        large = self.size > min_sites
        return float(np.mean(self.iou[large] > iou)) if large.any() else float("nan")

    def median_iou(self, min_sites: int = 500) -> float:
        """Median IoU of haloes of more than `min_sites` sites; NaN without such haloes."""
        large = self.size > min_sites
        return float(np.median(self.iou[large])) if large.any() else float("nan")


def match_haloes(predicted: NDArray[np.integer], true: NDArray[np.integer]) -> Matches:
    """Match true haloes to predicted ones by IoU; `ScoringError` for cubes of two shapes or negative labels."""
    true_label, label, _, iou, size, _ = _overlaps(true, predicted)
    best_iou, best_label = np.zeros(len(size)), np.zeros(len(size), dtype=np.int64)
    # of entries assigned to one halo the last stays
    order = np.argsort(iou, kind="stable")
    best_iou[true_label[order] - 1], best_label[true_label[order] - 1] = iou[order], label[order]
    return Matches(best_label, best_iou, size)


def _overlaps(
    labels_a: NDArray[np.integer], labels_b: NDArray[np.integer]
) -> tuple[Ints, Ints, Ints, NDArray[np.float64], Ints, Ints]:
    """Pairs of objects that share sites: labels a and b, shared sites, IoU, each (P,); then the sizes of all."""
    if labels_a.shape != labels_b.shape:
        raise ScoringError(f"shapes {labels_a.shape} and {labels_b.shape} differ; compare cubes of one lattice")
    if labels_a.min(initial=0) < 0 or labels_b.min(initial=0) < 0:
        raise ScoringError("labels hold negative numbers; use 0 outside haloes and 1..K inside")
    size_a, size_b = label_sizes(labels_a), label_sizes(labels_b)
    a, b, shared = contingency(labels_a, labels_b)
    kept = (a > 0) & (b > 0)
    a, b, shared = a[kept], b[kept], shared[kept]
    iou = shared / (size_a[a] + size_b[b] - shared)
    return a, b, shared, iou, size_a[1:], size_b[1:]


def _majority(own: Ints, other: Ints, shared: Ints, size: Ints) -> Ints:
    """Label of the other prediction with the majority of each object's sites, (K,); 0 where none has it."""
    result = np.zeros(len(size), dtype=np.int64)
    large = shared > MAJORITY * size[own - 1]
    result[own[large] - 1] = other[large]
    return result


def _repeated(labels: Ints) -> Ints:
    """Labels that occur more than once, ascending, without 0."""
    found, count = np.unique(labels[labels > 0], return_counts=True)
    return found[count > 1]


def _mostly_alone(own: Ints, shared: Ints, size: Ints) -> Ints:
    """Labels of the objects of which at most the minority lies in objects of the other prediction."""
    inside = np.bincount(own - 1, weights=shared, minlength=len(size))
    return np.flatnonzero(inside <= MAJORITY * size) + 1


def _checked(label: int, size: Ints, name: str) -> int:
    if not 1 <= label <= len(size):
        raise ScoringError(f"prediction {name} has no object {label}; use 1 to {len(size)}")
    return label
