"""The documentation site: `make docs` builds it into site/, and warnings are errors.

Sphinx rather than MkDocs: MkDocs' last release is of August 2024, its theme Material
gets security fixes only until May 2027, and the successor of both is at 0.1. Sphinx
and Furo are kept, need nothing from elsewhere at build or reading time, and their
search works on files that no server serves.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import command_reference  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402

from kerasdistill import __version__  # noqa: E402

project = "kerasdistill"
author = "the authors of kerasdistill"
project_copyright = "Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Pages are Markdown that reads well in a checkout too; headings are link targets.
myst_heading_anchors = 3
exclude_patterns = ["included/*"]

# Docstrings use single backticks for code.
default_role = "code"
smartquotes = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 72
add_module_names = False

html_theme = "furo"
html_title = f"kerasdistill {release}"
html_show_sphinx = False
html_copy_source = False

# What a browser fetches for a page, as opposed to links that a reader may follow.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["'](?:https?:)?//
    |<link(?![^>]*rel=["'](?:canonical|author)["'])[^>]*\shref=["'](?:https?:)?//
    |@import\s+(?:url\()?["']?(?:https?:)?//
    |url\(["']?(?:https?:)?//""",
    re.VERBOSE,
)


def commands(app, docname, source):
    """A section for each verb, in place of a comment in reference/commands.md."""
    if docname == "reference/commands":
        mark = "<!-- commands -->"
        source[0] = source[0].replace(mark, command_reference.sections())


def literal_tables(app, what, name, obj, options, lines):
    """Indented tables in docstrings stay as they are typed."""
    for number in range(len(lines) - 2):
        line, blank, table = lines[number : number + 3]
        indented = table.startswith("    ") and not line.startswith((" ", ":", "*"))
        if line.endswith(":") and not line.endswith("::") and not blank and indented:
            lines[number] = line + ":"


def without_new(app, what, name, obj, skip, options):
    """Keras gives every model a `__new__` that says nothing."""
    return True if name == "__new__" else None


def nothing_from_elsewhere(app, exception):
    """Fails the build if reading a page would fetch something from another host."""
    if exception is not None or app.builder.format != "html":
        return
    for file in sorted(Path(app.outdir).rglob("*")):
        if file.suffix in (".html", ".css") and (
            found := _FETCHED.search(file.read_text(encoding="utf-8"))
        ):
            raise ExtensionError(f"{file} fetches from elsewhere: {found.group()}")


def setup(app):
    app.connect("source-read", commands)
    app.connect("autodoc-process-docstring", literal_tables)
    app.connect("autodoc-skip-member", without_new)
    app.connect("build-finished", nothing_from_elsewhere)
