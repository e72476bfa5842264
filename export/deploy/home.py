"""What a board's run left, brought home: files that arrive whole, in a folder that looks like one made here."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.install.archive import Member
from edge.install.store import Store, free_bytes
from export.deploy.package import Package
from mest.errors import DamagedError, InputError

ANSWER, STATE = "answer.json", "state"
# What is reckoned with and drawn of a run's answer.
_PEAKS = ("planned_peak_bytes", "measured_peak_bytes", "budget_bytes")
_NUMBERS = (
    *_PEAKS,
    "step_ms_median",
    *(f"{name}_{when}" for name in ("accuracy", "metric") for when in ("before", "after")),
)
_NAME = re.compile(r"(?:state/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def listed(files: dict[str, Any], into: Path) -> list[Member]:
    """The files that a board offers; raises DamagedError for a name that leads out, InputError for too many bytes."""
    members = []
    for name, facts in files.items():
        digest, nbytes = facts["sha256"], facts["bytes"]
        if not _NAME.fullmatch(name) or not re.fullmatch(r"[0-9a-f]{64}", digest) or not isinstance(nbytes, int):
            raise DamagedError(f"the board offers a file {name!r:.80}, which no run leaves; nothing was fetched")
        members.append(Member(name, digest, nbytes))
    total = sum(member.nbytes for member in members)
    if total > free_bytes(into):
        raise InputError(f"{into}: {total} bytes from the board do not fit; make room")
    return members


def fetch(members: list[Member], into: Path, read: Callable[[Member, int], Iterator[bytes]]) -> None:
    """Bring the files to `into`; `read(member, offset)` gives a file's bytes from there on. What was cut goes on."""
    store = Store(into / ".coming")
    for member in members:
        if not store.holds(member):
            offset = store.arrived(member)
            pieces = _small(read(member, offset))
            try:
                store.receive(member, offset, lambda most, pieces=pieces: next(pieces, b""))  # type: ignore[misc]
            except EdgeError as error:
                raise InputError(f"{member.name}: {error}") from None
    fresh = into / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    for member in members:
        path = fresh / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.path(member.sha256), path)
    for path in sorted(fresh.iterdir()):
        _take_place(path, into / path.name)
    shutil.rmtree(fresh)
    shutil.rmtree(store.folder)


def _small(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that a store asks for at most."""
    for piece in pieces:
        for start in range(0, len(piece), 1 << 16):
            yield piece[start : start + (1 << 16)]


def _take_place(fresh: Path, target: Path) -> None:
    if fresh.is_dir() and target.is_dir():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old)
    else:
        fresh.replace(target)


def put_artifact(package: Package, into: Path) -> None:
    """The artifact beside the state that was trained from it, so that every command finds it."""
    fresh = into / ".artifact.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for member in package.bundle.inside("artifact"):
        with open(fresh / member.name.partition("/")[2], "wb") as file:
            for piece in package.places[member.name].read(member.nbytes):
                file.write(piece)
    _take_place(fresh, into / "artifact")


def read_answer(into: Path) -> dict[str, Any]:
    """What the run answered with, empty if it gave no answer."""
    try:
        found: dict[str, Any] = json.loads((into / ANSWER).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: plain_number(value) if name in _NUMBERS else value for name, value in found.items()}


def plain_number(value: object) -> float | int | None:
    """A number that a board told; None for whatever else stands there."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def draw_report(into: Path) -> Path | None:
    """The page of the run's record, drawn here; None if it left no record."""
    from edge.report.files import write_report
    from edge.report.record import read_record

    record = into / STATE / "record.json"
    if not record.is_file():
        return None
    return Path(write_report(read_record(record), into / "report")["report.html"])


def folder_of(board: str) -> str:
    """The name of a board as that of the folder for what it brings home."""
    return "".join(char if char.isalnum() or char in ".-_@" else "_" for char in board).lstrip(".") or "board"
