"""Sphinx configuration."""

import sys
from importlib import metadata
from pathlib import Path

import h5py

HERE = Path(__file__).parent
# figure_scraper, and the helper modules of the examples that pages document
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent / "examples", HERE.parent / "examples" / "gallery")]

project = "yt_protohalos"
author = "The yt_protohalos developers"
copyright = f"2026, {author}"
release = version = metadata.version("yt_protohalos")

extensions = [
    "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx_gallery.gen_gallery",
]  # fmt: skip
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "model_scores.md", "sg_execution_times.rst", "gallery/sg_execution_times.rst"]
default_role = "literal"
with h5py.File(HERE.parent / "examples" / "gallery" / "data" / "gallery.h5") as file:
    gallery_model = file["treepm"].attrs["model"]
# the pages of the gallery name the model that their data are of
rst_prolog = f".. |gallery_model| replace:: ``{gallery_model}``"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    # helper modules of the scripts are no examples
    "ignore_pattern": r"^(?!plot_)",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figure_scraper",),
    "reset_modules": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    # a notebook would not find gallery_data
    "notebook_extensions": set(),
    "show_signature": False,
    "min_reported_time": 10,
}

html_theme = "furo"
html_title = f"yt_protohalos {release}"
