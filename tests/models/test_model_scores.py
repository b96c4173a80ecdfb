"""The pages of the models say what the cards say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_each_model_has_a_page_that_is_made_from_its_card() -> None:
    specification = importlib.util.spec_from_file_location("write_scores", DOCS / "write_scores.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    written = {path: path.read_text(encoding="utf-8") for path in module.FOLDER.glob("*.md")}
    assert written == module.pages(), "run: python docs/write_scores.py"
