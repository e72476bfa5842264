"""The pages read as plain Markdown and as a site: every link leads somewhere, every page is in the menu, and the
reference that the site writes from the code is complete.
"""

from __future__ import annotations

import importlib
import re
import sys
import urllib.parse
from pathlib import Path

import pytest

import mest.cli as cli

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "site"))
reference = importlib.import_module("reference")
sys.path.pop(0)

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "pkl" / "README.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as repository hosts make them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    plain = (re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading that it has."""
    for link in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        where, _, anchor = urllib.parse.unquote(link).partition("#")
        target = (page.parent / where).resolve() if where else page
        assert target.is_file(), f"{page.name}: {link} leads to no file, which the site needs"
        assert target.suffix != ".md" or target in PAGES, f"{page.name}: {link} is no page of the site"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_every_page_is_in_the_menu() -> None:
    """docs/index.md lists it; a new page is put under one of its headings."""
    listed = set(re.findall(r"^- \[[^]]+\]\(([^)#]+)\)", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    there = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert not there - listed, "not in docs/index.md: put each under one of its headings"


def test_the_reference_of_commands_is_complete() -> None:
    """Every command with every option, each with its help; and docs/commands.md names every command."""
    written = reference.commands()
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name in cli.SUMMARIES:
        assert re.search(rf"`{name}`|`mest {name}`|mest {name} ", page), name
        section = re.split(r"^## mest ", written, flags=re.MULTILINE)[1 + list(cli.SUMMARIES).index(name)]
        for action in reference.parser_of(name)._actions:
            assert all(f"`{option}`" in section for option in action.option_strings), (name, action.dest)
            assert action.help, f"mest {name}: {action.option_strings or action.dest} has no help"


def test_the_reference_of_the_python_interface_is_complete() -> None:
    """Every public name, and what its docstring says."""
    written = reference.python_api()
    for package in reference.PACKAGES:
        for name in importlib.import_module(package).__all__:
            assert f"### `{package}.{name}`" in written
    assert "start_epoch" in written
