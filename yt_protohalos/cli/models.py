"""``protohalos models``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models import registry
from ..models.card import ModelCard
from .common import say

HELP = "list the bundled models, after verifying their weights"
EXAMPLE = (
    "  protohalos models                     # a line for each\n  protohalos models planck-v5           # all facts"
)
REFERENCE = "TreePM reference"
COLUMNS = ("model", "method", "lattice [Mpc/h]", "ACC", "F1", "> 500", "MB")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="*", help="names or folders of models whose facts are shown (default: a table)")


def run(args: argparse.Namespace) -> None:
    names = args.model or registry.available()
    if not names:
        say("no models are bundled; pass the folder of one")
        return
    cards = []
    for name in names:
        card, folder = registry.load_card(name)
        registry.verify(card, folder)
        cards.append((card, folder))
    if args.model:
        for card, _ in cards:
            describe(card)
        return
    # the default first
    cards.sort(key=lambda each: (each[0].name != registry.DEFAULT_MODEL, each[0].name))
    rows = [COLUMNS, *(summary(card, folder) for card, folder in cards)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    say(
        "* default. ACC, F1 and the share of haloes above 500 sites that are matched are those on a TreePM run that no "
        "model was trained on.\nprotohalos models NAME shows all facts of a model."
    )


def summary(card: ModelCard, folder: Path) -> tuple[str, ...]:
    """Cells of a model's line in the table."""
    scores = card.scores.get(REFERENCE, {})
    shown = []
    for key in ("ACC", "F1", "matched_share_above_500_sites"):
        value = scores.get(key)
        shown.append("-" if value is None else f"{value:.3f}")
    # weights of another model count there
    size = sum((folder / network.weights).stat().st_size for _, network in card.networks if not network.model)
    spacing = f"{card.spacing:.3g}"
    if card.field_range is not None:
        spacing = "{:.2g} to {:.2g}".format(*card.field_range.spacing)
    return (
        card.name + (" *" if card.name == registry.DEFAULT_MODEL else ""),
        card.method if card.separates_haloes else "membership",
        spacing, *shown, f"{size / 1e6:.1f}",
    )  # fmt: skip


def describe(card: ModelCard) -> None:
    """Print every fact of a model."""
    say(f"{card.name}, version {card.version}{' (default)' if card.name == registry.DEFAULT_MODEL else ''}")
    say(f"  {card.description}")
    for title, text in (*card.facts(), ("threshold", f"{card.threshold:.3f}"), ("weights", "verified (SHA-256)")):
        say(f"  {title:18s}{text}")
