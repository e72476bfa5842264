"""The board: this machine, and which engines run on it from which baseline of memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.engines.available import engine_available
from edge.errors import DamagedError, InputError
from edge.host.counters import untrusted_reason
from edge.host.facts import read_host
from edge.plan.choices import ENGINES
from edge.spelling import named

SCHEMA = "mest-board/1"
_BASELINE_PROGRAM = """
import sys
import mest.cli.finetune, edge.run.finetune
from edge.engines.available import load_library
load_library(sys.argv[1])
from edge.host.counters import read_counters
print(read_counters().resident)
"""


def read_board() -> dict[str, Any]:
    """Everything that `mest board --json` prints and a report shows; figures that the system hides are null."""
    engines = {
        name: {"available": usable, "reason": reason} for name in ENGINES for usable, reason in [engine_available(name)]
    }
    return {"schema": SCHEMA, **read_host(), "engines": engines}


def with_baselines(board: Mapping[str, Any]) -> dict[str, Any]:
    """The board with each engine's resident bytes before a network is loaded, each measured in a process of its own."""
    reason = untrusted_reason()
    engines: dict[str, Any] = {}
    for name, facts in board["engines"].items():
        nbytes, failed = _baseline(name) if facts["available"] and reason is None else (None, reason)
        engines[name] = {**facts, "baseline_bytes": nbytes}
        if nbytes is None and facts["available"]:
            engines[name]["baseline_reason"] = failed
    return {**board, "engines": engines}


def read_board_file(path: Path) -> dict[str, Any]:
    """A board that was saved with `mest board --json`; raises InputError or DamagedError."""
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{named('board')} {path}: no such file; save one on the board with 'mest board --json > FILE'"
        ) from None
    except ValueError:
        raise DamagedError(f"{named('board')} {path}: is not JSON; save one with 'mest board --json > FILE'") from None
    if not isinstance(board, dict) or board.get("schema") != SCHEMA or not isinstance(board.get("engines"), dict):
        raise DamagedError(
            f"{named('board')} {path}: is not a board of schema {SCHEMA}; save one with 'mest board --json > FILE'"
        )
    return board


def board_baselines(board: Mapping[str, Any]) -> dict[str, int | None]:
    """Resident bytes by engine before a network is loaded, None where the engine cannot run on that board."""
    found: dict[str, int | None] = {}
    for name, facts in board["engines"].items():
        nbytes = facts.get("baseline_bytes") if isinstance(facts, dict) else None
        found[name] = nbytes if isinstance(nbytes, int) and facts.get("available") else None
    return found


def _baseline(engine: str) -> tuple[int | None, str | None]:
    import subprocess  # only for `mest board`: 2 MB that no other command needs

    from edge.host.child import child

    command, environment = child(_BASELINE_PROGRAM, engine)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout.strip().isdigit():
        return int(done.stdout), None
    return (
        None,
        f"the measuring process failed: {(done.stderr.strip().splitlines() or [f'exit {done.returncode}'])[-1]}",
    )
