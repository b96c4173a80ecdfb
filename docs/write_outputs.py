"""Run the quickstart with the bundled model and write what it gives: `python docs/write_outputs.py`.

The Python blocks of docs/quickstart.md run in order in an empty folder. What a block prints becomes the text block
after it, the pictures that it saves go to docs/images/quickstart_NAME.png, and page, code and outputs together become
the notebook examples/quickstart.ipynb.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "quickstart.md"
NOTEBOOK = HERE.parent / "examples" / "quickstart.ipynb"
PICTURE = "images/quickstart_{}.png"
CODE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"^!\[.*?\)\n\n?", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r"\{doc\}`(?:([^`<]*) <)?([^`<>]+)>?`")


def split(text: str) -> list[tuple[str, str]]:
    """Parts of a page in order: ("markdown", text) or ("code", code); text blocks that outputs fill are dropped."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        parts += [("markdown", text[end : match.start()]), ("code", match[1])]
        end = match.end()
    return [*parts, ("markdown", text[end:])]


def run(code: str, names: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """Run a block of code in the current folder: what it prints, and the pictures that it saves."""
    before, printed = set(Path().glob("*.png")), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<quickstart>", "exec"), names)
    pictures = {path.stem: path.read_bytes() for path in sorted(set(Path().glob("*.png")) - before)}
    return printed.getvalue(), pictures


def cell(kind: str, text: str, outputs: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """A cell of a notebook, without a time or an id that would differ in every run."""
    made: dict[str, Any] = {"cell_type": kind, "id": f"part-{number}", "metadata": {}, "source": text.splitlines(True)}
    return made | ({"execution_count": None, "outputs": outputs} if kind == "code" else {})


def output_cells(printed: str, pictures: dict[str, bytes]) -> list[dict[str, Any]]:
    """Outputs of a cell as a notebook keeps them."""
    texts = [{"name": "stdout", "output_type": "stream", "text": printed.splitlines(True)}] if printed else []
    return texts + [
        {"data": {"image/png": base64.b64encode(data).decode()}, "metadata": {}, "output_type": "display_data"}
        for data in pictures.values()
    ]


def main() -> None:
    import yt

    yt.set_log_level("warning")
    page, cells = "", []
    names: dict[str, Any] = {"__name__": "__main__"}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, (kind, text) in enumerate(split(PAGE.read_text(encoding="utf-8"))):
            if kind == "markdown":
                page += text
                # a notebook knows neither the pages nor the pictures of the documentation
                words = ROLE.sub(lambda match: f"*{match[1] or match[2]}*", IMAGE.sub("", text))
                if words.strip():
                    cells.append(cell(kind, words.strip(), [], number))
                continue
            printed, pictures = run(text, names)
            page += f"```python\n{text}```\n" + (f"\n```text\n{printed}```\n" if printed else "")
            for stem, data in pictures.items():
                (HERE / PICTURE.format(stem)).write_bytes(data)
            cells.append(cell(kind, text.strip(), output_cells(printed, pictures), number))
        os.chdir(here)
    PAGE.write_text(page, encoding="utf-8")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
