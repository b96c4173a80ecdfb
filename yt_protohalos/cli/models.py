"""``protohalos models``."""

from __future__ import annotations

import argparse

from ..models import registry
from .common import say

HELP = "list the bundled models, after verifying their weights"
EXAMPLE = "  protohalos models\n  protohalos models planck-v5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="*", help="names or folders of models (default: all that are bundled)")


def run(args: argparse.Namespace) -> None:
    names = args.model or registry.available()
    if not names:
        say("no models are bundled; pass the folder of one")
    for name in names:
        card, folder = registry.load_card(name)
        registry.verify(card, folder)
        say(f"{card.name}, version {card.version}{' (default)' if card.name == registry.DEFAULT_MODEL else ''}")
        say(f"  {card.description}")
        facts = [*card.facts(), ("threshold", f"{card.threshold:.3f}"), ("weights", "verified (SHA-256)")]
        for title, text in facts:
            say(f"  {title:18s}{text}")
