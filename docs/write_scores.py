"""Write docs/model_cards/NAME.md, a page for each bundled model, from the cards: `python docs/write_scores.py`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from yt_protohalos.models import registry
from yt_protohalos.models.card import ModelCard

FOLDER = Path(__file__).with_name("model_cards")
COLUMNS = (
    ("ACC", "ACC"),
    ("F1", "F1"),
    ("TPR", "TPR"),
    ("PPV", "PPV"),
    ("in mask", "predicted_fraction"),
    ("in haloes", "true_fraction"),
    ("> 500", "haloes_above_500_sites"),
    ("matched", "matched_share_above_500_sites"),
    ("IoU", "median_iou_above_500_sites"),
    ("all", "matched_share_all"),
    ("cal.", "largest_calibration_error"),
)
EXPLAINED = """A row is a run. *In mask* and *in haloes* are the predicted and the true share of sites. *> 500* is the
number of haloes of more than 500 sites, *matched* the share of them that is matched (IoU above 0.5), and *IoU* their
median IoU. *All* is the share of matched haloes from the smallest on, and *cal.* the largest calibration error in ten
bins. {doc}`../validation` defines the scores.
"""


def table(titles: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a Markdown table: shares with three digits, empty where a cell is None."""
    titles = list(titles)
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return lines + ["| " + " | ".join("" if cell is None else _digits(cell) for cell in row) + " |" for row in rows]


def _digits(cell: Any) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def page(card: ModelCard) -> str:
    """Page of one model."""
    facts = [fact for fact in card.facts() if fact[0] != "scores"]
    lines = [f"# {card.name}", "", f"{card.description}.", ""]
    lines += table(("", ""), [("version", card.version), *facts, ("threshold", f"{card.threshold:.3f}")])
    lines += ["", f"`protohalos models {card.name}` prints the same, and {{doc}}`../models` compares the models."]
    runs = [(name, scores) for name, every in card.scores.items() for scores in _listed(every)]
    if not runs:
        return "\n".join([*lines, "", "It is not scored.", ""])
    lines += ["", "## Scores", "", EXPLAINED]
    titles, keys = zip(*COLUMNS, strict=True)
    lines += table(("run", *titles), [(name, *(scores[key] for key in keys)) for name, scores in runs])
    edges = runs[0][1]["log10_mass_edges"]
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    lines += ["", "## By mass", "", "TPR of the sites of simulated haloes, by log10 of their mass in Msun/h:", ""]
    lines += table(("run", *bins), [(name, *scores["TPR_by_mass"]) for name, scores in runs])
    counted = [(name, scores) for name, scores in runs if scores["predicted_haloes_by_mass"]]
    if counted:
        lines += ["", "Predicted / simulated haloes, by log10 of the mass in Msun/h:", ""]
        lines += table(("run", *bins), [(name, *_counts(scores)) for name, scores in counted])
    return "\n".join([*lines, ""])


def _counts(scores: dict[str, Any]) -> list[str]:
    pairs = zip(scores["predicted_haloes_by_mass"], scores["true_haloes_by_mass"], strict=True)
    return [f"{predicted} / {true}" for predicted, true in pairs]


def _listed(scores: Any) -> list[dict[str, Any]]:
    return scores if isinstance(scores, list) else [scores]


def pages() -> dict[Path, str]:
    """Text of every page."""
    cards = [registry.load_card(name)[0] for name in registry.available()]
    return {FOLDER / f"{card.name}.md": page(card) for card in cards}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
