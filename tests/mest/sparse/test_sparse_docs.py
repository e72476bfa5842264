"""The examples in the documentation run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import mest

DOCS = Path(__file__).resolve().parents[3] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST_EXTENSION = 30


@pytest.mark.parametrize("page", ["own-loop.md", "extending.md"])
def test_examples_run(page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All blocks of a page, in order, as one program in an empty folder; their asserts hold."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mest.sparse.methods.METHODS", dict(mest.sparse.METHODS))
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) >= 4
    module = type(sys)("example")
    monkeypatch.setitem(sys.modules, "example", module)
    for block in blocks:
        line = text[: text.index(block)].count("\n")
        exec(compile("\n" * line + block, str(DOCS / page), "exec"), module.__dict__)


def test_extensions_take_thirty_lines_at_most() -> None:
    """Each of the four examples, imports and blank lines counted."""
    blocks = BLOCK.findall((DOCS / "extending.md").read_text(encoding="utf-8"))
    registered = [block for block in blocks if "\n@register_" in block]
    assert len(registered) == 4
    assert max(block.count("\n") for block in registered) <= LONGEST_EXTENSION
