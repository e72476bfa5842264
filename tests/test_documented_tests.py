"""Tests that the documentation names as what holds a promise exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
DEFINED = re.compile(r"^def (test_[a-z0-9_]+)\(", re.MULTILINE)


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """The names of all tests."""
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in DEFINED.findall(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_tests_exist(page: Path, defined: set[str]) -> None:
    """No promise is said to be held by a test that was renamed or removed."""
    assert not set(NAMED.findall(page.read_text(encoding="utf-8"))) - defined


def test_the_table_of_threats_names_a_test_on_each_line() -> None:
    """Or a script that is there."""
    text = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    lines = [
        line for line in text.partition("## What holds against a stranger")[2].splitlines() if line.startswith("| ")
    ]
    assert len(lines) > 10
    for line in lines[1:]:
        held = line.rstrip(" |").rpartition(" | ")[2]
        scripts = re.findall(r"`(tests/[a-z_/.]+)`", held)
        assert NAMED.search(held) or scripts, line
        assert all((ROOT / script).is_file() for script in scripts), line
