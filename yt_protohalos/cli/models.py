"""``protohalos models``."""

from __future__ import annotations

import argparse

from ..models import registry
from ..models.card import ModelCard
from .common import say

HELP = "list the bundled models, after verifying their weights"
EXAMPLE = "  protohalos models\n  protohalos models planck-v4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
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
    """What a user must know of a model, several lines."""
    cosmology = card.cosmology
    site_mass = cosmology.site_mass_msun_h(card.spacing)
    low, high = card.amplitude_range
    lines = [
        f"{card.name}, version {card.version}{' (default)' if card.name == registry.DEFAULT_MODEL else ''}",
        f"  {card.description}",
        f"  lattice spacing   {card.spacing:.5g} Mpc/h",
        f"  cosmology         h = {cosmology.h}, Omega_m = {cosmology.omega_m}, sigma_8 = {cosmology.sigma_8}, "
        f"n_s = {cosmology.n_s}; sigma_8 from {low:g} to {high:g}",
        f"  smallest halo     {card.min_sites} sites, {card.min_sites * site_mass:.3g} Msun/h",
        f"  threshold         {card.threshold:.3f}",
        f"  haloes apart by   {card.method if card.instance is not None else 'nothing: membership alone'}",
        *(f"  score             {name} = {value}" for name, value in card.scores.items()),
        "  weights           verified (SHA-256)",
    ]
    return "\n".join(lines)
