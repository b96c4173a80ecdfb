"""``protohalos models``."""

from __future__ import annotations

import argparse

from ..models import registry
from ..models.card import ModelCard
from .common import say

HELP = "list the bundled models, after verifying their weights"
EXAMPLE = "  protohalos models\n  protohalos models planck-v4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", nargs="*", help="names or folders of models (default: all that are bundled)")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    names = args.model or registry.available()
    if not names:
        say("no models are bundled; pass the folder of one")
    for name in names:
        card, folder = registry.load_card(name)
        registry.verify(card, folder)
        say(describe(card))
    return 0


def describe(card: ModelCard) -> str:
    """Text of several lines about a model whose weights were verified."""
    default = " (default)" if card.name == registry.DEFAULT_MODEL else ""
    facts = [*card.facts(), ("threshold", f"{card.threshold:.3f}"), ("weights", "verified (SHA-256)")]
    return "\n  ".join(
        [
            f"{card.name}, version {card.version}{default}",
            card.description,
            *(f"{key:18s}{text}" for key, text in facts),
        ]
    )
