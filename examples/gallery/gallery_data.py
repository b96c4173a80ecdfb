"""The small data that the figures of this gallery are drawn from; `docs/make_gallery_data.py` makes the file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import yt_protohalos as ph
from yt_protohalos.analysis.bias import LagrangianBias
from yt_protohalos.analysis.tally import Tally, tally_box
from yt_protohalos.models.registry import load_card
from yt_protohalos.prediction import LabelledSites

FILE = Path(__file__).with_name("data") / "gallery.h5"
COSMOLOGY = ph.PAPER_COSMOLOGY


@dataclass(frozen=True, eq=False)
class Labels(LabelledSites):
    """Labels of a box and where they are: as much of a `Prediction` as pictures and comparisons need."""

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
    def site_mass(self) -> float:
        """Mass of a site, Msun/h."""
        return COSMOLOGY.site_mass(self.lattice.spacing)

    def labelled(self, name: str) -> Labels:
        """A cube of labels with its lattice."""
        return Labels(self.cubes[name], self.lattice)


@cache
def read(name: str) -> Group:
    """The groups are `treepm`, `pair` and `experiments`."""
    with h5py.File(FILE) as file:
        group = file[name]
        attributes = dict(group.attrs)
        cubes = {key: cube[()].astype(np.int32) if cube.dtype == np.uint16 else cube[()] for key, cube in group.items()}
    if name == "treepm":
        # kept by bins of probability: the middle of each
        cubes["probability"] = ((cubes["probability"] + 0.5) / attributes["probability_levels"]).astype(np.float32)
        cubes["mask"] = cubes["mask"].astype(bool)
    return Group(cubes, attributes, ph.Lattice(int(attributes["n"]), float(attributes["box_size"])))


@cache
def tallies() -> tuple[Tally, Tally]:
    """Counts of the model on the TreePM run, and of the baseline pair, both ways pooled."""
    run, pair = read("treepm"), read("pair")
    model = tally_box(
        run["predicted"], run["true"], run.lattice, run.site_mass, mask=run["mask"], probability=run["probability"]
    )
    first, second = pair["first"], pair["second"]
    ways = [tally_box(a, b, pair.lattice, pair.site_mass) for a, b in ((first, second), (second, first))]
    return model, Tally.pooled(ways)


def biases() -> dict[str, LagrangianBias]:
    """Bias measured in boxes too large to keep, by kind and size."""
    with h5py.File(FILE) as file:
        entries = sorted(file["bias"].values(), key=lambda entry: (entry.attrs["box_size"], entry.attrs["kind"]))
        return {
            rf"{entry.attrs['kind']}, {entry.attrs['box_size']:g} $h^{{-1}}$Mpc": LagrangianBias(
                **{key: value[()] for key, value in entry.items()}
            )
            for entry in entries
        }


def card_scores(model: str, prefix: str) -> list[dict[str, Any]]:
    """Scores that the card of a bundled model states for runs whose name starts so."""
    scores = load_card(model)[0].scores
    found = [runs for name, runs in scores.items() if name.startswith(prefix)]
    return [one for runs in found for one in (runs if isinstance(runs, list) else [runs])]
