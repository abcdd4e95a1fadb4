"""Configuration of the documentation site: ``make docs``."""

from __future__ import annotations

import re
from importlib.metadata import version as installed

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "flask-fernet"
author = "The flask-fernet developers"
copyright = "the flask-fernet developers"
release = version = installed("flask-fernet")
extensions = ["myst_parser", "pallets_sphinx_themes", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True

html_theme = "flask"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
# The API page lists the modules.
html_domain_indices = False
html_title = f"flask-fernet {version}"
html_show_copyright = False
html_copy_source = False
html_sidebars = {
    "**": ["localtoc.html", "relations.html", "searchbox.html", "pages.html"],
    "index": ["pages.html", "searchbox.html"],
}
html_context: dict[str, list[object]] = {"project_links": []}


def _plain(_app: object, _what: str, _name: str, _it: object, _o: object, lines: list[str]) -> None:
    """Addresses in docstrings of the stub are written for people, not for reStructuredText."""
    lines[:] = [re.sub(r"<(https?://\S+)>", r"\1", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain)
    # Lines of cron have no lexer of their own.
    app.add_lexer("crontab", TextLexer)
