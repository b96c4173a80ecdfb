"""Sphinx configuration."""

import sys
from importlib import metadata
from pathlib import Path

import h5py

HERE = Path(__file__).parent
# figure_scraper, mathml, and the helper modules of the examples that pages document
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent / "examples", HERE.parent / "examples" / "gallery")]

project = "yt_protohalos"
author = "The yt_protohalos developers"
copyright = f"2026, {author}"
release = version = metadata.version("yt_protohalos")

extensions = [
    "mathml", "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode", "sphinx_copybutton", "sphinx_gallery.gen_gallery",
]  # fmt: skip
html_math_renderer = "mathml"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "inventories", "_templates", "sg_execution_times.rst", "*/sg_execution_times.rst"]
default_role = "literal"
with h5py.File(HERE.parent / "examples" / "gallery" / "data" / "gallery.h5") as file:
    gallery_model = file["treepm"].attrs["model"]
# the pages of the gallery name the model that their data are of
rst_prolog = f".. |gallery_model| replace:: ``{gallery_model}``"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autosummary_ignore_module_all = False
templates_path = ["_templates"]
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {
    "array": "numpy.ndarray", "path": "pathlib.Path", "networkx Graph": "networkx.Graph",
    "unyt_array": "unyt.array.unyt_array", "unyt_quantity": "unyt.array.unyt_quantity",
    "Prediction": "yt_protohalos.Prediction", "LinearField": "yt_protohalos.LinearField",
    "Cosmology": "yt_protohalos.Cosmology", "Lattice": "yt_protohalos.Lattice",
    # numpydoc's own links to these are to paragraphs, which the lists of names below have not
    **dict.fromkeys(("bool", "boolean", "True", "False"), "bool"), "array_like": "numpy.ndarray",
    "sequence": "collections.abc.Sequence", "iterable": "collections.abc.Iterable",
    "callable": "collections.abc.Callable",
}  # fmt: skip
numpydoc_xref_ignore = "all"
# committed lists of the few names that the pages link to, so that a build needs no network
intersphinx_mapping = {
    name: (address, f"inventories/{name}.txt")
    for name, address in (
        ("python", "https://docs.python.org/3/"), ("numpy", "https://numpy.org/doc/stable/"),
        ("networkx", "https://networkx.org/documentation/stable/"),
        ("unyt", "https://unyt.readthedocs.io/en/stable/"),
    )
}  # fmt: skip
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/gallery", "../examples/tasks"],
    "gallery_dirs": ["gallery", "tasks"],
    "filename_pattern": r"/plot_",
    # the others are helper modules; only plot_... are run
    "ignore_pattern": r"^(?!plot_|train_)",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("figure_scraper",),
    "reset_modules": (),
    # what a script prints is shown, not the value of its last line
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    # a notebook would not find gallery_data
    "notebook_extensions": set(),
    "show_signature": False,
    "min_reported_time": 10,
}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["pages.js"]
html_title = f"yt_protohalos {release}"
