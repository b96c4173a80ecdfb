"""Pages agree with what they speak of: links and anchors lead somewhere, commands parse, named files are there."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from yt_protohalos.cli import COMMANDS, build_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("model_cards/*.md"))]
LINKED = [*PAGES, *sorted((ROOT / "examples").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.rst"))]
BLOCK = re.compile(r"^ *```(\S*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MARKDOWN_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
ROLE = re.compile(r"(?:\{doc\}|:doc:)`(?:[^`<]*<)?([^`<>]+)>?`")
FILE_DIRECTIVE = re.compile(r"^```\{(?:literal)?include\} (\S+)", re.MULTILINE)
ADDRESS = re.compile(r"https?://[^\s)>\"'`]+")
FILE_NAME = re.compile(r"`((?:\.ci|tests|benchmarks|examples|docs|yt_protohalos)/[\w./-]+)`")
CONTINUED = re.compile(r"\\\n\s*")
MADE_BY_BUILD = ("docs/_build", "gallery/index", "tasks/index")
"""What a build of the documentation writes."""


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    return [body for name, body in BLOCK.findall(path.read_text()) if name == language]


def prose(path: Path) -> str:
    return BLOCK.sub("", path.read_text()) if path.suffix == ".md" else path.read_text()


def anchors(path: Path) -> set[str]:
    """Names of the headings of a page, as MyST and GitHub make them."""
    titles = re.findall(r"^#{1,3} (.+)$", BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def lead(path: Path, target: str) -> str | None:
    """What is wrong with a link from a page, None if nothing."""
    if target.startswith(("http:", "https:")):
        return None if urlsplit(target).netloc.count(".") else "is no address"
    name, _, anchor = target.partition("#")
    file = (path.parent / name) if name else path
    if not file.exists():
        return "leads nowhere"
    if anchor and anchor not in anchors(file):
        return f"has no heading; there are {sorted(anchors(file))}"
    return None


def lead_role(target: str) -> str | None:
    """What is wrong with a Sphinx reference to a page, None if nothing."""
    name = target.removeprefix("/").removeprefix("../")
    if name in MADE_BY_BUILD or (DOCS / f"{name}.md").is_file():
        return None
    # the gallery makes a page of each of its scripts
    script = ROOT / "examples" / f"{name}.py"
    return None if name.startswith(("gallery/plot_", "tasks/")) and script.is_file() else "is no page"


@pytest.mark.parametrize("path", LINKED, ids=page_name)
def test_links_lead_somewhere(path):
    text = prose(path)
    wrong = {target: lead(path, target) for target in MARKDOWN_LINK.findall(text)}
    wrong |= {target: lead_role(target) for target in ROLE.findall(text)}
    wrong |= {target: lead(path, target) for target in FILE_DIRECTIVE.findall(path.read_text())}
    wrong |= {address: lead(path, address) for address in ADDRESS.findall(text)}
    assert {target: why for target, why in wrong.items() if why} == {}


def test_the_check_of_links_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One title\n\n[a](#one-title) [b](page.md#one-title) [c](#other) [d](gone.md) [e](https://x)\n")
    found = {target: lead(page, target) is None for target in MARKDOWN_LINK.findall(prose(page))}
    assert found == {
        "#one-title": True, "page.md#one-title": True, "#other": False, "gone.md": False, "https://x": False,
    }  # fmt: skip
    assert lead_role("method") is None and lead_role("/method") is None and lead_role("no_such_page")


def test_every_page_is_in_the_table_of_contents():
    groups = re.findall(
        r"^```\{toctree\}\n(?::.*\n)*\n((?:[\w/]+\n)+)```", (DOCS / "index.md").read_text(), re.MULTILINE
    )
    listed = [name for group in groups for name in group.split()]
    assert len(listed) == len(set(listed))
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} == set(listed) - set(MADE_BY_BUILD)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_named_files_are_there(path):
    missing = [name for name in FILE_NAME.findall(path.read_text()) if not (ROOT / name).exists()]
    # NAME stands for the reader's own
    assert [name for name in missing if not name.startswith(MADE_BY_BUILD) and "NAME" not in name] == []


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_python_blocks_are_python(path):
    """They are run too, by test_examples; a block that no page runs must at least compile."""
    for block in blocks(path, "python"):
        assert ast.parse(block).body, f"a python block of {path.name} has no statement"


def test_blocks_have_a_language_that_is_checked():
    names = {name for path in PAGES for name, _ in BLOCK.findall(path.read_text())}
    assert {name for name in names if name[:1] != "{"} <= {"python", "bash", "text"}


def commands(text: str) -> list[list[str]]:
    """Arguments of each ``protohalos`` command of a shell text."""
    found = []
    for line in CONTINUED.sub(" ", text).splitlines():
        words = shlex.split(line, comments=True)
        at = [i for i, word in enumerate(words) if word.rpartition("/")[2] == "protohalos"]
        # "protohalos" is the name of folders too, in commands of others
        if at and (at[0] == 0 or words[0] in ("mpirun", "srun", "python3")):
            found.append(words[at[0] + 1 :])
    return found


def documented() -> list[tuple[str, list[str]]]:
    """Every command of pages and of the help texts, with where it stands."""
    texts = [(page_name(path), text) for path in PAGES for text in blocks(path, "bash")]
    texts += [(name, import_module(module).EXAMPLE) for name, module in COMMANDS.items()]
    return [(where, words) for where, text in texts for words in commands(text)]


@pytest.mark.parametrize(("where", "words"), documented(), ids=lambda value: value if isinstance(value, str) else None)
def test_documented_commands_parse(where, words, capsys):
    parser = build_parser()
    try:
        parser.parse_args(words)
    except SystemExit as end:
        assert end.code == 0, f"{where}: protohalos {' '.join(words)}\n{capsys.readouterr().err}"


def test_the_documentation_shows_every_command():
    assert {words[0] for where, words in documented() if where.endswith(".md")} == set(COMMANDS)


def test_documented_scripts_are_there():
    texts = [CONTINUED.sub(" ", text) for path in PAGES for text in blocks(path, "bash")]
    scripts = [name for text in texts for name in re.findall(r"python3? ([\w/]+\.py)", text)]
    assert scripts
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


def test_errors_of_the_troubleshooting_page_exist():
    from yt_protohalos import exceptions

    text = (DOCS / "troubleshooting.md").read_text()
    named = set(re.findall(r"`(\w+(?:Error|Warning))`", text))
    builtin = {"OSError", "KeyError", "RuntimeError"}
    assert {name for name in named - builtin if not hasattr(exceptions, name)} == set()
    ours = {name for name, value in vars(exceptions).items() if isinstance(value, type)}
    assert {"FormatError", "StoreError", "ModelError"} <= named & ours
