"""Sphinx configuration; ``make docs`` builds the pages."""

import os
import sys
from pathlib import Path

import pyrodgm

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

# For the programs of the pages: figures that do not depend on the number of cores, and no word on missing widgets.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"

project = "pyrodgm"
copyright = "the pyrodgm developers"  # noqa: A001
release = pyrodgm.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "myst_nb",
    "mathml",
    "other_libraries",
    "reference_pages",
    "sources",
]
bibtex_bibfiles = ["references.bib"]
autosummary_generate = False  # pages of their own come from reference_pages
html_theme = "furo"
html_title = f"pyrodgm {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = [("pages.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
exclude_patterns = ["_build", "_checks", "_extensions"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "dollarmath"]
napoleon_use_ivar = True  # a named tuple's attributes would appear twice
default_role = "code"
nb_execution_mode = "force"  # outputs are those of this version
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "warn"  # a warning of a program is one of the build, and stops it
