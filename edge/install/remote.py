"""The program that a workstation runs on a board over ssh: PROGRAM PLACE COMMAND, what it needs on standard input.

Each command answers with JSON on standard output; a refusal is one line on standard error and the exit code of `mest`.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.errors import EdgeError, InputError
from edge.install.archive import Member
from edge.install.boot import continue_on_boot, let_lie_on_boot
from edge.install.health import compare, last_line, refuse_unhealthy, run
from edge.install.jobs import Job, lay_data, unfinished
from edge.install.restarted import let_all_lie, resume
from edge.install.rounds import forget
from edge.install.versions import Board

_SILENCE_SECONDS = 40.0  # after which whoever was sending is taken for gone


def main() -> int:
    """Run one command and return its exit code."""
    root, name, *words = sys.argv[1:]
    try:
        answer = COMMANDS[name](Board(Path(root)), *words)
    except EdgeError as refused:
        return _said(str(refused), refused.exit_code)
    except OSError as failed:
        return _said(f"{failed.strerror}: {failed.filename or root}", 2)
    if answer is not None:
        print(json.dumps(answer), flush=True)
    return 0


def _said(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


def _receive(board: Board) -> dict[str, Any]:
    """Take contents: a line with name, SHA-256, size and first byte of each, and then its bytes."""
    taken = 0
    while line := _line():
        name, digest, nbytes, offset = json.loads(line)
        member = Member(str(name), _digest(digest), int(nbytes))
        board.store.receive(member, int(offset), _piece)
        taken += member.nbytes - int(offset)
    return {"received": taken}


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise InputError(f"{text!r:.70}: is not a SHA-256")
    return text


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = _piece(1)
        if not byte:
            return b""
        line += byte
    return line


def _piece(most: int) -> bytes:
    """Some of what comes on standard input; nothing at its end, or where nothing came for long."""
    ready, _, _ = select.select([0], [], [], _SILENCE_SECONDS)
    return os.read(0, most) if ready else b""


def _asked() -> Any:
    return json.loads(sys.stdin.buffer.read())


def _install(board: Board) -> dict[str, Any]:
    """Install the bundle whose manifest comes, and look whether it works here."""
    asked = _asked()
    with board.changing():
        name = board.install(asked["manifest"].encode(), "the bundle", signature=asked["signature"].encode())
    return {"version": name, "verified": refuse_unhealthy(board, name)}


def _plan(board: Board, version: str) -> dict[str, Any]:
    """The answer of `mest plan` on an installed version; exit 3 with its words where nothing fits."""
    done = run(board, version, ["plan", *_asked()])
    try:
        answer = json.loads(done.stdout) if done.stdout else {}
    except ValueError:
        answer = {}
    return {"code": done.returncode, "said": last_line(done.stderr) if done.returncode else "", "answer": answer}


def _compare(board: Board, version: str) -> dict[str, Any]:
    """The accuracy of an installed version beside that of the active one; see `edge.install.health.compare`."""
    asked = _asked()
    with board.changing():
        return asdict(compare(board, version, asked["words"], float(asked["drop"])))


def _activate(board: Board, version: str) -> dict[str, Any]:
    with board.changing():
        before = board.activate(version)
        board.tidy(unfinished(board))
    return {"before": before}


def _back(board: Board) -> dict[str, Any]:
    with board.changing():
        active = board.back()
    let_all_lie(board)
    return {"active": active}


def _lay(board: Board) -> dict[str, Any]:
    asked = _asked()
    files = {name: Member(name, _digest(digest), nbytes) for name, (digest, nbytes) in asked["files"].items()}
    missing = [name for name, member in files.items() if not board.store.holds(member)]
    if missing and not (board.root / "data" / asked["number"]).is_dir():
        raise InputError(f"{missing[0]}: has not arrived; send it again")
    return {"folder": str(lay_data(board, asked["number"], files))}


def _start(board: Board) -> dict[str, Any]:
    asked = _asked()
    job = Job(board, asked["number"])
    job.describe(asked["version"], asked["words"], asked.get("begin"))
    on_boot = asked["on_boot"]  # None leaves it as it is
    if on_boot is False:
        let_lie_on_boot(job.folder)
    way = continue_on_boot(job.folder, job.command("resume")) if on_boot else None  # first: the board may go down now
    began = job.start()
    if began == "ended":
        let_lie_on_boot(job.folder)
        way = None
    return {"job": began, "on_boot": way}


def _supervise(board: Board, number: str) -> None:
    Job(board, number).supervise()


def _resume(board: Board, number: str) -> None:
    resume(Job(board, number))


def _follow(board: Board, number: str, offset: str) -> None:
    for said in Job(board, number).follow(int(offset)):
        print(json.dumps(said), flush=True)


def _forget(board: Board) -> dict[str, Any]:
    return {"forgotten": forget(board, _asked()["but"])}


def _outcome(board: Board, number: str) -> dict[str, Any]:
    return Job(board, number).outcome()


def _fetch(board: Board, number: str, name: str, offset: str) -> None:
    with open(Job(board, number).file(name), "rb", buffering=0) as file:
        file.seek(int(offset))
        while piece := file.read(1 << 16):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


COMMANDS: Mapping[str, Callable[..., dict[str, Any] | None]] = {
    "receive": _receive,
    "install": _install,
    "plan": _plan,
    "compare": _compare,
    "activate": _activate,
    "back": _back,
    "lay": _lay,
    "start": _start,
    "supervise": _supervise,
    "resume": _resume,
    "follow": _follow,
    "outcome": _outcome,
    "forget": _forget,
    "fetch": _fetch,
}
