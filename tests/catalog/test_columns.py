"""The table of columns and the page that documents them agree."""

from __future__ import annotations

import re
from pathlib import Path

from yt_protohalos.catalog.columns import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "finder.md"
INTERNAL = {"particle_number", "particle_index_start"}
"""Columns with which yt finds the members."""


def test_the_page_of_the_finder_lists_every_column_with_its_unit():
    documented = {}
    for names, unit in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE):
        first = ""
        for name in re.findall("`([^`]*)`", names):
            first = first if name.startswith("_") else name
            full = re.sub("_[^_]*$", name, first) if name.startswith("_") else name
            documented[full] = unit.replace("dimensionless", "").replace("^", "**").replace(" Mpc", "*Mpc")
    table = {
        column.name + suffix: column.unit
        for column in COLUMNS
        if column.name not in INTERNAL
        for suffix in column.components
    }
    assert table.items() <= documented.items()
