"""Runs of a board that has restarted: which go on by themselves, and which are let lie."""

from __future__ import annotations

import json

from edge.files.digest import file_sha256
from edge.files.durable import write_durably
from edge.install.boot import let_lie_on_boot
from edge.install.jobs import Job
from edge.install.versions import Board

_BOOTED, _BOOTS = "booted.json", 3


def resume(job: Job) -> None:
    """Continue a run in this process, to its end, if it was cut.

    One that may be what brings the board down, because it was begun `_BOOTS` times without a new state, is let lie.
    """
    if job.cut():
        state = file_sha256(job.state_file) if job.state_file.is_file() else ""
        before, count = _boots(job)
        count = count + 1 if state == before else 1
        if count <= _BOOTS:
            write_durably(job.folder / _BOOTED, json.dumps([state, count]).encode())
            job.supervise()
            return
        job.say(f"not continued: the board has restarted {_BOOTS} times before it wrote a new state")
    if not job.running():
        let_lie_on_boot(job.folder)


def _boots(job: Job) -> tuple[str, int]:
    """The SHA-256 of the state that the last start of the board found, and how many in a row have found it."""
    try:
        state, count = json.loads((job.folder / _BOOTED).read_bytes())
    except (OSError, ValueError):
        return "", 0
    return str(state), int(count)


def let_all_lie(board: Board) -> None:
    """Let no run be continued when the board starts."""
    folder = board.root / "jobs"
    for path in folder.iterdir() if folder.is_dir() else ():
        let_lie_on_boot(path)
