"""Data of the figures of this gallery; `docs/make_gallery_data.py` makes the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import yt_protohalos as ph
from yt_protohalos.analysis.bias import LagrangianBias
from yt_protohalos.analysis.block_counts import BlockCounts, count_box
from yt_protohalos.analysis.mass_function import HaloCounts
from yt_protohalos.models.registry import load_card
from yt_protohalos.prediction.result import LabelledSites

FILE = Path(__file__).with_name("data") / "gallery.h5"
COSMOLOGY = ph.PAPER_COSMOLOGY


@dataclass(frozen=True, eq=False)
class Labels(LabelledSites):
    """Labels of a box and their positions: the part of a `Prediction` that pictures and comparisons need."""

    labels: np.ndarray
    lattice: ph.Lattice
    cosmology: ph.Cosmology = COSMOLOGY
    site_offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Group:
    """Cubes of one group of the file, labels as int32, with its attributes."""

    cubes: dict[str, np.ndarray]
    attributes: dict[str, Any]
    lattice: ph.Lattice

    def __getitem__(self, name: str) -> np.ndarray:
        return self.cubes[name]

    @property
    def site_mass_msun_h(self) -> float:
        """Mass of a site, Msun/h."""
        return COSMOLOGY.site_mass_msun_h(self.lattice.spacing)

    def labelled(self, name: str) -> Labels:
        """A cube of labels with its lattice."""
        return Labels(self.cubes[name], self.lattice)


@cache
def read(name: str) -> Group:
    """Read a group of the file: `treepm`, `lattices`, `pair` or `experiments`."""
    with h5py.File(FILE) as file:
        group = file[name]
        attributes = dict(group.attrs)
        cubes = {key: cube[()].astype(np.int32) if cube.dtype == np.uint16 else cube[()] for key, cube in group.items()}
    if name == "treepm":
        # the file holds bins of probability; take the middle of each
        cubes["probability"] = ((cubes["probability"] + 0.5) / attributes["probability_levels"]).astype(np.float32)
        cubes["mask"] = cubes["mask"].astype(bool)
    return Group(cubes, attributes, ph.Lattice(int(attributes["n"]), float(attributes["box_size"])))


@cache
def block_counts() -> tuple[BlockCounts, BlockCounts]:
    """Counts of the model on the TreePM run, and of the baseline pair, both ways pooled."""
    run, pair = read("treepm"), read("pair")
    model = count_box(
        run["predicted"],
        run["true"],
        run.lattice,
        run.site_mass_msun_h,
        mask=run["mask"],
        probability=run["probability"],
    )
    first, second = pair["first"], pair["second"]
    ways = [count_box(a, b, pair.lattice, pair.site_mass_msun_h) for a, b in ((first, second), (second, first))]
    return model, BlockCounts.pooled(ways)


def biases() -> dict[str, LagrangianBias]:
    """Bias measured in boxes that are too large to keep, by kind and size."""
    return _of_boxes("bias", LagrangianBias)


def box_counts() -> dict[str, HaloCounts]:
    """Haloes counted in boxes that are too large to keep, by kind and size."""
    return _of_boxes("abundance", HaloCounts)


def _of_boxes(name: str, kind: type) -> dict[str, Any]:
    with h5py.File(FILE) as file:
        entries = sorted(
            file[name].values() if name in file else [],
            key=lambda entry: (entry.attrs["box_size"], entry.attrs["kind"]),
        )
        return {
            box_name(entry.attrs["kind"], entry.attrs["box_size"], entry.attrs.get("model", "")): kind(
                **{key: value[()] for key, value in entry.items()}
            )
            for entry in entries
        }


def box_name(kind: str, side: float, model: str = "") -> str:
    """Name of a box in a legend; `side` in Mpc/h, `model` of a prediction."""
    return rf"{kind}{' by ' * bool(model)}{model}, {side:g} $h^{{-1}}$Mpc"


def card_scores(model: str, sigma_8: float = COSMOLOGY.sigma_8) -> list[dict[str, Any]]:
    """Scores on the test runs of one amplitude, 37.5 Mpc/h each, as the card of a model states them."""
    found = []
    for name, scores in load_card(model)[0].scores.items():
        stated = re.search(r"sigma_8 = ([\d.]+)", name)
        amplitude = float(stated[1]) if stated else COSMOLOGY.sigma_8
        if name.startswith("run") and "neither trained nor tuned on" in name and amplitude == sigma_8:
            found.append(scores)
    return found


def card_counts(runs: list[dict[str, Any]], kind: str) -> HaloCounts:
    """Haloes of such runs, counted together; `kind` is `true` or `predicted`."""
    return HaloCounts.pooled(
        HaloCounts(scores["log10_mass_edges"], scores[f"{kind}_haloes_by_mass"], 37.5**3) for scores in runs
    )
