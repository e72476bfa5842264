"""Completion answers from the parser itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mest import cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_code(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Which calls mest."""
    pytest.importorskip("argcomplete")
    assert cli.main(["completion", shell]) == 0
    assert "mest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ("mest comp", {"compile", "completion"}),
        ("mest finetune --lr-scheduler ", {"cosine", "linear", "constant", "step"}),
        ("mest train --hold", {"--hold-out"}),
    ],
)
def test_what_may_stand_at_the_cursor(tmp_path: Path, typed: str, answers: set[str]) -> None:
    """Commands, options and choices."""
    pytest.importorskip("argcomplete")
    out = tmp_path / "answers"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(out), "_ARGCOMPLETE_IFS": "\n"}
    subprocess.run([sys.executable, "-m", "mest"], env={**os.environ, **asked}, check=True)
    assert {word.strip() for word in out.read_text().split("\n")} == answers


def test_a_plain_start_loads_nothing_for_it() -> None:
    """argcomplete is imported only where a shell asks."""
    code = "import sys; from mest import cli; cli.main([]); sys.exit('argcomplete' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
