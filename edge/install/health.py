"""Whether an installed version works on this board: asked before it becomes the active one."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from edge.errors import DamagedError
from edge.install.bundle import START
from edge.install.versions import Board


def refuse_unhealthy(board: Board, name: str) -> dict[str, Any]:
    """What `mest verify` says of a version's artifact, by its own environment; raises DamagedError if it fails."""
    words = ["verify", "--json"]
    done = run(board, name, words)
    if done.returncode:
        raise DamagedError(
            f"{name}: fails its check on this board and was not activated: {last_line(done.stderr)}; what was active "
            "stays active"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(board: Board, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command of `mest` on a version's artifact, in its own environment and to its end."""
    start = board.version(name) / START
    return subprocess.run(
        [str(start), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        env=clean_environment(),
        cwd=board.root,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """The environment of this process without what would lead Python elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def last_line(said: str) -> str:
    """The line in which a command says why it ended."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
