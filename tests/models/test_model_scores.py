"""The page of model scores says what the cards say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_cards() -> None:
    specification = importlib.util.spec_from_file_location("write_scores", DOCS / "write_scores.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run: python docs/write_scores.py"
