"""Sphinx configuration; ``make docs`` builds the pages."""

import pyrodgm

project = "pyrodgm"
copyright = "the pyrodgm developers"  # noqa: A001
release = pyrodgm.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
html_theme = "furo"
html_title = f"pyrodgm {release}"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
napoleon_use_ivar = True  # a named tuple's attributes would appear twice
default_role = "code"
