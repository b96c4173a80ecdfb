"""How the gallery finds its figures: those that a code block leaves in its variables.

The figures of this package are made without pyplot, where sphinx-gallery's own scraper looks.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

DOTS = 130
"""Dots an inch: a page-wide figure fills the text column of the theme."""


def save_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save what has not been saved yet and return the lines that show it."""
    shown = block_vars["example_globals"].setdefault("_shown_figures", [])
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and not any(value is other for other in shown):
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=DOTS)
            shown.append(value)
            paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])


def _get_sg_image_scraper() -> Any:
    return save_figures
