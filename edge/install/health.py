"""Whether an installed version works on this board: asked before it becomes the active one."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from edge.errors import BudgetError, DamagedError, EdgeError, InputError
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


@dataclass(frozen=True)
class Compared:
    """A version's accuracy beside that of the one that is, or was, active: None where there is none to compare with.

    `back` is what became active again, because the version was active and worse; `unknown` why the other has no
    accuracy on these samples.
    """

    accuracy: float
    other: str | None
    other_accuracy: float | None
    worse: bool
    back: str | None
    unknown: str | None


def compare(board: Board, name: str, words: list[str], drop: float) -> Compared:
    """Evaluate a version on held-out samples, with the one that is active, or was before it; go back if it is worse.

    `words` are options of `mest eval`. Worse is more than `drop` (a share of the samples) below the other. Raises
    InputError or DamagedError where the version itself cannot be evaluated.
    """
    accuracy = _accuracy(board, name, words)
    active = board.active()
    other = active if active != name else board.before()
    if other is None or other == name:
        return Compared(accuracy, None, None, False, None, None)
    try:
        before = _accuracy(board, other, words)
    except EdgeError as error:
        return Compared(accuracy, other, None, False, None, str(error))
    worse = before - accuracy > drop + 1e-9  # accuracies are shares of whole samples
    back = board.back() if worse and active == name else None
    return Compared(accuracy, other, before, worse, back, None)


def _accuracy(board: Board, name: str, options: list[str]) -> float:
    words = ["eval", *options, "--json"]
    done = run(board, name, words)
    if done.returncode:
        kind = next((kind for kind in (DamagedError, BudgetError) if kind.exit_code == done.returncode), InputError)
        raise kind(f"{name}: cannot be evaluated: {last_line(done.stderr)}")
    found = json.loads(done.stdout)
    if "accuracy" not in found:
        raise InputError(
            f"{name}: is evaluated by its {found.get('metric_name')}, and health data compare accuracy; leave them out"
        )
    return float(found["accuracy"])


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
