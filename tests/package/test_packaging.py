"""What is distributed: metadata that agree with each other, entry points that resolve, data and models in the wheel."""

from __future__ import annotations

import configparser
import fnmatch
import hashlib
import importlib
import re
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LARGEST_WEIGHTS = 64_000_000
"""Bytes of all bundled weights. Older models have 59.96 MB, and their files never change, although those of planck-v2
could be compressed by 1.7 MB without another bit in a weight; the rest is room for planck-v5."""
BUNDLED_ICS_SHA256 = "b405fcf7c97eebacfec66be1f33663c5da9390d364a14a2313fe039181af9bb1"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_one_version_everywhere(setup_cfg):
    """The package states the version; setup.cfg reads it from there, and people read it in two other files."""
    version = importlib.import_module("yt_protohalos").__version__
    citation = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    changes = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation is not None and changes is not None
    assert citation[1] == version
    assert changes[1] == version
    assert PROJECT["dynamic"] == ["version"]
    assert setup_cfg["metadata"]["version"] == "attr: yt_protohalos.__version__"
    assert metadata.version("yt_protohalos") == version


def test_one_licence_everywhere():
    assert PROJECT["license"] == "BSD-3-Clause"
    assert "license: BSD-3-Clause" in (ROOT / "CITATION.cff").read_text()
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")


def declared_entry_points() -> list[tuple[str, str, str]]:
    groups = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    return [(group, name, value) for group, entries in groups.items() for name, value in entries.items()]


@pytest.mark.parametrize(("group", "name", "value"), declared_entry_points())
def test_entry_points_resolve_and_are_installed(group, name, value):
    assert metadata.EntryPoint(name, value, group).load() is not None
    assert (name, value) in {(e.name, e.value) for e in metadata.entry_points(group=group)}


def test_every_file_beside_the_code_is_package_data(setup_cfg):
    """A data file or a model that no pattern covers would be missing from the wheel."""
    patterns = lines(setup_cfg["options.package_data"]["yt_protohalos"])
    package = ROOT / "yt_protohalos"
    others = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".nbi", ".nbc"}
    ]
    assert "data/music64_gadget2.dat" in others
    missed = [name for name in others if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    assert missed == []


def test_bundled_weights_stay_small():
    """A package index may limit a wheel, and most of it is weights."""
    sizes = {path: path.stat().st_size for path in (ROOT / "yt_protohalos").rglob("*.weights.h5")}
    assert sizes
    assert sum(sizes.values()) <= LARGEST_WEIGHTS, sizes


def test_every_module_is_in_a_package():
    """`find:` skips folders without an __init__, and their modules would be missing from the wheel."""
    folders = {path.parent for path in (ROOT / "yt_protohalos").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_bundled_initial_conditions_are_the_measured_ones():
    data = (resources.files("yt_protohalos") / "data" / "music64_gadget2.dat").read_bytes()
    assert hashlib.sha256(data).hexdigest() == BUNDLED_ICS_SHA256


def test_extras_named_in_the_readme_exist():
    extras = set(PROJECT["optional-dependencies"])
    named = {
        extra.strip()
        for text in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for group in re.findall(r"\.\[([\w, ]+)\]", text.read_text())
        for extra in group.split(",")
    }
    assert named and named <= extras


PUBLIC_NAMES = (
    "load", "linear_field", "add_protohalo_fields", "predict", "find_protohalos", "ProtohaloFinder",
    "ProtohaloPredictor", "Prediction", "lattice_dataset", "generate_initial_conditions", "LinearField", "Lattice",
    "Cosmology", "PAPER_COSMOLOGY", "cluster_embedding", "stitch_lattices", "zoom_region", "ZoomRegion", "Region",
    "RegionPrediction", "add_overdensity", "add_tide", "scale_amplitude", "compare",
    "lagrangian_bias", "progenitor_links", "ProgenitorLinks", "progenitor_tree", "ProgenitorTree",
)  # fmt: skip


def test_public_names_are_there():
    package = importlib.import_module("yt_protohalos")
    assert set(PUBLIC_NAMES) <= set(dir(package))
    missing = [name for name in PUBLIC_NAMES if getattr(package, name, None) is None]
    assert missing == []
    with pytest.raises(AttributeError, match="attribute no_such_name"):
        package.no_such_name  # noqa: B018
