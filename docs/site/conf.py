"""The site: Sphinx over the Markdown files as they lie in the repository, so that their links work in both places.

    pip install -e ".[docs]"
    sphinx-build -W --keep-going -c docs/site . site

The navigation is docs/index.md: the list under each of its headings becomes a part of the menu. A page that it does not
list, and a link that leads nowhere, fail the build.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

project = "MEST"
author = "the MEST developers"
extensions = ["myst_parser"]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = ["docs/*.md", "*.md", "pkl/*.md"]
html_theme = "furo"
html_title = "MEST"
html_copy_source = False
html_extra_path = ["root"]  # index.html at the top, which leads to docs/index.html
smartquotes = False  # they make a dash of the two hyphens of an option, which nobody can paste
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
suppress_warnings = ["myst.header"]
highlight_language = "text"

PART = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"^- \[([^\]]+)\]\(([^)#]+)\.md\)", re.MULTILINE)


def navigation(index: str) -> str:
    """The menu as Sphinx reads it, of the lists in docs/index.md."""
    parts = []
    for title, text in PART.findall(index):
        pages = "\n".join(f"{name} <{page}>" for name, page in LINK.findall(text))
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```")
    return "\n\n".join(parts)


def extended(app: Any, name: str, source: list[str]) -> None:
    """A page with what is written from the code behind it."""
    if name == "docs/index":
        source[0] += "\n\n" + navigation(source[0])
    elif name in ("docs/commands", "docs/python-api"):
        import reference

        source[0] += "\n\n" + (reference.commands() if name == "docs/commands" else reference.python_api())


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", extended)
    return {"parallel_read_safe": True}
