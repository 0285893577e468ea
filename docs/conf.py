"""
The documentation: `nox -s docs` builds it into docs/_build/html.

A build needs no network. The links to Python's own documentation are written down in `PYTHON_NAMES`, because its index would
have to be downloaded; a name that is in neither is an error (nitpicky), as is each warning.
"""

from __future__ import annotations

import re
import zlib
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import graceful
import graceful.testing

DOCS = Path(__file__).parent

project = "graceful"
author = "the graceful authors"
project_copyright = "the graceful authors, MIT licence"
release = version_of("graceful-asyncio")
version = release

extensions = [
    "myst_parser",
    "notfound.extension",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build", "pictures"]
nitpicky = True
# Type variables, private aliases and private modules in signatures; what they stand for is in the text beside them.
nitpick_ignore_regex = [("py:.*", r"(graceful\._.*|_\w+|[A-Z]|Told|After|Reference|Action|Entrance|Main|Make|Check)")]

# --- Markdown ---

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "smartquotes"]
myst_heading_anchors = 3
smartquotes = False  # `--only` in running text is an option, not a dash

# --- HTML ---

html_theme = "furo"
html_title = "graceful"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_extra_path = [path.name for path in DOCS.glob("*.schema.json")]
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {
    "light_css_variables": {"color-brand-primary": "#1a6b3a", "color-brand-content": "#1a6b3a"},
    "dark_css_variables": {"color-brand-primary": "#5fd38a", "color-brand-content": "#5fd38a"},
}  # both have enough contrast; the browser check says so
pygments_style = "default"
pygments_dark_style = "github-dark"
copybutton_prompt_text = "$ "
copybutton_copy_empty_lines = False
notfound_urls_prefix = ""  # or it would guess the paths of Read the Docs
ogp_site_url = "https://graceful-asyncio.readthedocs.io/"
ogp_site_name = "graceful"
ogp_social_cards = {"enable": False}  # they need matplotlib
linkcheck_ignore = ["https?://.*"]  # only what is in this repository

# --- the reference ---

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_rtype = False

#: What the docstrings and pages name of Python's own: its kind, and the page of the library where it is described.
PYTHON_NAMES = {
    "asyncio-runner": ["function asyncio.run", "class asyncio.Runner"],
    "asyncio-task": [
        "class asyncio.Task",
        "class asyncio.TaskGroup",
        "function asyncio.gather",
        "function asyncio.to_thread",
        "function asyncio.wait",
    ],
    "asyncio-subprocess": [
        "class asyncio.subprocess.Process",
        "function asyncio.create_subprocess_exec",
        "function asyncio.create_subprocess_shell",
    ],
    "asyncio-eventloop": [
        "method asyncio.loop.add_signal_handler",
        "method asyncio.loop.call_exception_handler",
        "method asyncio.loop.set_exception_handler",
    ],
    "contextlib": ["class contextlib.AsyncExitStack"],
    "exceptions": [
        "exception AssertionError",
        "exception BaseException",
        "exception BaseExceptionGroup",
        "exception Exception",
        "exception ExceptionGroup",
        "exception KeyboardInterrupt",
        "exception OSError",
        "exception RuntimeError",
        "exception SystemExit",
        "exception TypeError",
        "exception ValueError",
    ],
    "collections.abc": ["class collections.abc.Mapping"],
    "signal": ["function signal.signal", "class signal.Signals"],
    "time": ["function time.monotonic"],
}
INVENTORY = DOCS / "_build" / "python.inv"
intersphinx_mapping = {"python": ("https://docs.python.org/3", str(INVENTORY))}


def write_inventory() -> None:
    """Write the index of Python's documentation, as far as it is needed, in the format of Sphinx (version 2)."""
    entries = [[*line.split(), page] for page, lines in PYTHON_NAMES.items() for line in lines]
    lines = [f"{name} py:{kind} 1 library/{page}.html#$ -\n" for kind, name, page in entries]
    head = "# Sphinx inventory version 2\n# Project: Python\n# Version: 3\n# The remainder of this file is compressed using zlib.\n"
    INVENTORY.parent.mkdir(exist_ok=True)
    INVENTORY.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))


#: Public names that a docstring may mention between single backticks, and where they lead.
METHODS = [name for name in dir(graceful.App) if not name.startswith("_") and callable(getattr(graceful.App, name))]
KNOWN = {name: f"graceful.{name}" for name in graceful.__all__}
KNOWN |= {name: f"graceful.testing.{name}" for name in graceful.testing.__all__}
KNOWN |= {f"App.{name}": f"graceful.App.{name}" for name in METHODS}
KNOWN |= {name: f"graceful.App.{name}" for name in METHODS if name in graceful.__all__ and name != "run"}


def link_names(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Docstrings are written with single backticks: a public name becomes a link, all else code."""

    def marked(found: re.Match[str]) -> str:
        text = found[1]
        return f":py:obj:`{text} <{KNOWN[text]}>`" if text in KNOWN else f"``{text}``"

    lines[:] = [re.sub(r"```` (`+\w*) ````", r"``\1``", line) for line in lines]
    lines[:] = [re.sub(r"(?<![`:\w])`([^`]+)`(?!`)", marked, line) for line in lines]
    if what == "property":  # napoleon would take what stands before a colon for a type
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    write_inventory()
    app.connect("autodoc-process-docstring", link_names, priority=100)  # before napoleon
