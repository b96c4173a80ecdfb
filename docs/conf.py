"""Sphinx configuration."""

from configparser import ConfigParser
from pathlib import Path

_setup = ConfigParser()
_setup.read(Path(__file__).parents[1] / "setup.cfg")

project = "yt_protohalos"
author = _setup["metadata"]["author"]
copyright = f"2026, {author}"
release = version = _setup["metadata"]["version"]

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "model_scores.md"]
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"yt_protohalos {release}"
