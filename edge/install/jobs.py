"""Runs on a board that outlive every connection: begun once, found again by their number, continued after a reset."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Any

from edge.errors import InputError
from edge.files.digest import file_sha256
from edge.files.durable import write_durably
from edge.install.archive import Member
from edge.install.boot import let_lie_on_boot
from edge.install.bundle import START
from edge.install.health import clean_environment
from edge.install.versions import Board, link_or_copy

_JOB, _ENDED, _LOCK, _ANSWER, _SAID, _STATE = "job.json", "ended.json", "running", "answer.json", "said.log", "state"
_PROVEN = "proven"  # in a version: a run of it ended well
_STOPPED = (130, 143)
_LOOK_SECONDS, _ALIVE_SECONDS = 0.2, 5.0


class Job:
    """One run: its folder has what it is, what it said and answered, its state, and how it ended."""

    def __init__(self, board: Board, number: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{16}", number):
            raise InputError(f"{number!r:.40}: is not the number of a run")
        self.board = board
        self.number = number
        self.folder = board.root / "jobs" / number

    def describe(self, version: str, words: list[str], begin: str | None = None) -> None:
        """Write down what is to run: a command of mest on a version's artifact, without its state.

        With `begin`, the number of data that hold a state, it begins with that instead of the artifact.
        """
        if begin is not None:
            refuse_strange_number(begin)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.running():
            asked = {"version": version, "words": words, "begin": begin}
            write_durably(self.folder / _JOB, json.dumps(asked).encode())

    @property
    def begin(self) -> str | None:
        """The number of the data that it begins with, None for the artifact."""
        try:
            found = json.loads((self.folder / _JOB).read_bytes()).get("begin")
        except FileNotFoundError:
            return None
        return None if found is None else str(found)

    def ended(self) -> dict[str, Any] | None:
        """How it ended: `code`, and `back` if the version before became active again; None if it did not yet.

        `seconds` is how long its last part took, after which nothing had to continue it.
        """
        try:
            found: dict[str, Any] = json.loads((self.folder / _ENDED).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def running(self) -> bool:
        """True while a process is at it."""
        descriptor = self._lock(LOCK_SH)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def _lock(self, kind: int) -> int | None:
        """The descriptor of its lock; None if another process holds it."""
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            flock(descriptor, kind | LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def start(self) -> str:
        """Begin or continue it unless it runs or has ended well: `started`, `continued`, `running` or `ended`."""
        if self.running():
            return "running"
        ended = self.ended()
        if ended is not None and ended["code"] == 0:
            return "ended"
        continued = self.state_file.is_file()
        command = self.command("supervise")
        with open(self.folder / _SAID, "ab") as said:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
                cwd=self.board.root,
            )
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            if self.running():  # another call was faster
                return "running"
            raise InputError(f"{self.folder}: the run could not be started; {_SAID} there says why")
        return "continued" if continued else "started"

    def command(self, name: str) -> list[str]:
        """The words that run a command of `edge.install.remote` on it."""
        return [sys.executable, "-I", str(Path(sys.argv[0]).resolve()), str(self.board.root), name, self.number]

    @property
    def state_file(self) -> Path:
        """What is there once it has a state to continue from."""
        return self.folder / _STATE / "state.json"

    def cut(self) -> bool:
        """True if it was begun and nothing runs: it died, or was stopped, as when its board shuts down."""
        ended = self.ended()
        begun = (self.folder / _JOB).is_file() and (ended is None or ended["code"] in _STOPPED)
        return begun and not self.running()

    def say(self, text: str) -> None:
        """Add a line to what it said."""
        with open(self.folder / _SAID, "a") as said:
            said.write(f"{text}\n")

    def supervise(self) -> None:
        """Run it to its end in this process, which nobody waits for, and write down how it ended."""
        for _ in range(50):
            if self._lock(LOCK_EX) is not None:  # until this process ends
                break
            time.sleep(0.05)  # somebody may only be looking
        else:
            return
        with suppress(FileNotFoundError):
            (self.folder / _ENDED).unlink()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.write(1, b"ready\n")
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        job = json.loads((self.folder / _JOB).read_bytes())
        words = ["--out", str(self.folder / _STATE), "--json", *(["--resume"] if self.state_file.is_file() else [])]
        command = [*self._words(job), *words]
        began = time.monotonic()
        with open(self.folder / _ANSWER, "wb") as answer, open(self.folder / _SAID, "ab") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=answer, stderr=said, env=clean_environment(), cwd=self.folder
            )
            signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
            code = process.wait()
        code = 128 - code if code < 0 else code
        back = self._judge(job["version"], code) if job.get("begin") is None else None
        at, seconds = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), round(time.monotonic() - began, 1)
        ended = {"code": code, "back": back, "at": at, "seconds": seconds}
        write_durably(self.folder / _ENDED, json.dumps(ended).encode())
        if code not in _STOPPED:  # a board that shuts down stops its runs first: those are to go on
            let_lie_on_boot(self.folder)

    def _words(self, job: Mapping[str, Any]) -> list[str]:
        version, begin = self.board.version(job["version"]), job.get("begin")
        if begin is None:
            return [str(version / START), *job["words"]]
        command, *options = job["words"]
        python = version / "environment" / "bin" / "python"
        return [str(python), "-I", "-m", "mest", command, str(data_folder(self.board, begin)), *options]

    def _judge(self, version: str, code: int) -> str | None:
        """After a failed run of a version that never ran well, make the one before active again; its name."""
        proven = self.board.version(version) / _PROVEN
        if code == 0:
            write_durably(proven, b"")
        elif code not in _STOPPED and not proven.exists():
            with suppress(InputError), self.board.changing():
                if self.board.active() == version:
                    return self.board.back()
        return None

    def follow(self, offset: int) -> Iterator[dict[str, Any]]:
        """What it said from a byte of its log on, as it comes; at its end `ended`, or `died` where nothing runs.

        `alive` is given every few seconds, so that whoever listens knows that it does.
        """
        heard = time.monotonic()
        while True:
            running = self.running()
            text, offset = self._said(offset, whole=running)
            if text:
                heard = time.monotonic()
                yield {"text": text, "offset": offset}
            elif not running:
                ended = self.ended()
                yield {"died": True} if ended is None else {"ended": ended}
                return
            elif time.monotonic() - heard > _ALIVE_SECONDS:
                heard = time.monotonic()
                yield {"alive": True}
            else:
                time.sleep(_LOOK_SECONDS)

    def _said(self, offset: int, whole: bool) -> tuple[str, int]:
        try:
            with open(self.folder / _SAID, "rb") as said:
                said.seek(offset)
                text = said.read(1 << 16)
        except FileNotFoundError:
            return "", offset
        if whole:
            text = text[: text.rfind(b"\n") + 1]
        return text.decode("utf-8", "replace"), offset + len(text)

    def outcome(self) -> dict[str, Any]:
        """How it ended, and its files by name: answer, log, and those of its state."""
        names = [name for name in (_ANSWER, _SAID) if (self.folder / name).is_file()]
        state = self.folder / _STATE
        if state.is_dir():
            names += [f"{_STATE}/{path.name}" for path in sorted(state.iterdir()) if path.suffix in (".json", ".bin")]
        files = {name: {"sha256": file_sha256(self.folder / name), "bytes": self._bytes(name)} for name in names}
        return {"ended": self.ended(), "files": files}

    def _bytes(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def file(self, name: str) -> Path:
        """One of the files of its outcome."""
        if name not in self.outcome()["files"]:
            raise InputError(f"{name!r:.80}: is not a file of this run")
        return self.folder / name


def unfinished(board: Board) -> set[str]:
    """The versions that runs still need."""
    folder = board.root / "jobs"
    found = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        ended = Job(board, path.name).ended()
        if (ended is None or ended["code"]) and (path / _JOB).is_file():
            found.add(str(json.loads((path / _JOB).read_bytes())["version"]))
    return found


def refuse_strange_number(number: str) -> None:
    """Raise InputError for what cannot be the number of data."""
    if not re.fullmatch(r"[0-9a-f]{16}", number):
        raise InputError(f"{number!r:.40}: is not the number of data")


def data_folder(board: Board, number: str) -> Path:
    """Where the data of a number lie, or will; raises InputError for another number than those of data."""
    refuse_strange_number(number)
    return board.root / "data" / number


def lay_data(board: Board, number: str, files: Mapping[str, Member]) -> Path:
    """The folder of data whose files have arrived, by their names in it; made whole or not at all."""
    folder = data_folder(board, number)
    if folder.is_dir():
        return folder
    fresh = folder.with_name(f"{number}.{os.getpid()}")
    for name, member in files.items():
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise InputError(f"{name!r:.80}: cannot be the name of a file of data")
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(board.store.path(member.sha256), path)
    os.sync()
    with suppress(FileExistsError):
        fresh.rename(folder)
    return folder
