"""The direction of imports: every layer imports only lower ones, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "yt_protohalos"
NAME = PACKAGE.name

# from the bottom up, in the order in which data flows: a room imports itself and those before it
ROOMS = (
    "exceptions", "_utils", "fields", "initial_conditions", "models", "segmentation", "prediction", "catalog",
    "analysis", "yt_interface", "training", "cli",
)  # fmt: skip
YT_ALLOWED = {"yt_interface", "cli"}
LAZY = {"keras", "tensorflow"}


def modules() -> list[str]:
    """Dotted names below the package, e.g. ``yt_interface.load``; a package's own name stands for its ``__init__``."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append(".".join(p for p in parts if p != "__init__"))
    return found


def path_of(module: str) -> Path:
    stem = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """Absolute dotted names that a module imports anywhere in its tree."""
    parents = [NAME, *(module.split(".") if module else [])]
    if path_of(module).name != "__init__.py":
        parents = parents[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            yield target
            yield from (f"{target}.{alias.name}" for alias in node.names if _is_module(f"{target}.{alias.name}"))


def _is_module(dotted: str) -> bool:
    if not dotted.startswith(NAME + "."):
        return False
    stem = PACKAGE.joinpath(*dotted.split(".")[1:])
    return stem.is_dir() or stem.with_suffix(".py").is_file()


def top_level_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: all but function bodies and ``if TYPE_CHECKING``."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


MODULES = modules()


def test_the_root_holds_rooms_alone():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "exceptions.py"}


@pytest.mark.parametrize("module", [m for m in MODULES if m])
def test_rooms_import_only_lower_rooms(module):
    room = module.split(".")[0]
    lower = ROOMS[: ROOMS.index(room) + 1]
    for name in imports(module, ast.parse(path_of(module).read_text())):
        head, *rest = name.split(".")
        assert head != "yt" or room in YT_ALLOWED, f"{module} imports {name}: only {sorted(YT_ALLOWED)} import yt"
        if head == NAME and rest and _is_module(name):
            assert rest[0] in lower, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", MODULES)
def test_networks_libraries_are_imported_inside_functions_only(module):
    for node in top_level_statements(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            roots = {n.split(".")[0] for n in imports(module, node)}
            assert not roots & LAZY, f"{module} line {node.lineno} imports {roots & LAZY} at import time"


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_under_400_lines(module):
    lines = path_of(module).read_text().count("\n")
    assert lines < 400, f"{module} has {lines} lines; split it"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light():
    """Under a second beyond yt's own import, and no network library; the best of three, as the machine may be busy."""
    code = (
        "import sys, time, yt; start = time.perf_counter(); import yt_protohalos; "
        "print(time.perf_counter() - start); "
        "print(*({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    seconds = []
    for _ in range(3):
        first, loaded = run_python(code).split("\n")[:2]
        assert loaded == ""
        seconds.append(float(first))
        if seconds[-1] < 1:
            break
    assert min(seconds) < 1, f"import took {seconds} s beyond yt's"


def test_frontends_are_light():
    """yt imports the module of every ``yt.frontends`` entry point on each ``yt.load``."""
    code = (
        "import sys, yt_protohalos; from importlib.metadata import entry_points; "
        "found = [e.load() for e in entry_points(group='yt.frontends') if e.value.startswith('yt_protohalos')]; "
        "print(*({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    assert run_python(code).strip() == ""


def test_public_names_are_lazy_and_the_only_ones_shown():
    code = (
        "import sys, yt_protohalos as ph; "
        "assert not {'keras', 'tensorflow', 'yt', 'numba'} & set(sys.modules); "
        "from yt_protohalos.fields.linear_field import LinearField; "
        "import yt_protohalos.yt_interface.linear as linear; "
        "assert ph.linear_field is linear.linear_field and ph.LinearField is LinearField; "
        "[getattr(ph, name) for name in ph.__all__]; "
        "assert dir(ph) == sorted(ph.__all__) and 'load' in dir(ph); "
        "assert not {'catalog', 'fields', 'models', 'sys', 'lazy_loader'} & set(dir(ph)); "
        "import yt.extensions.protohalos as extension; "
        "assert extension is ph; "
        "assert not {'keras', 'tensorflow'} & set(sys.modules); "
        "assert not hasattr(ph, 'nonsense')"
    )
    assert run_python(code) == ""


@pytest.mark.parametrize("first", ["yt", "yt_protohalos.yt_interface"])
def test_the_name_in_yt_is_this_package_whichever_is_imported_first(first):
    run_python(f"import {first}, yt_protohalos as ph, yt; assert yt.extensions.protohalos is ph")
