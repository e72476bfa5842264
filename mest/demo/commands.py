"""Runs the steps of a script, each in a process of its own, and reads what each left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mest.demo.script import SAID, Step
from mest.errors import DamagedError, InputError

POLL_SECONDS = 0.1


class CommandFailed(Exception):
    """A command of the road refused or broke; carries its exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(Exception):
    """The user asked to stop while a command ran."""


@dataclass(frozen=True)
class Done:
    """A step that ended as it should: its JSON object, what it said, the top-level packages that it imported."""

    step: Step
    result: dict[str, Any]
    said: str
    imported: frozenset[str]
    seconds: float | None = None  # None where another process ran it


@dataclass(frozen=True)
class Commands:
    """Runs steps one after another with `folder` as their current folder."""

    folder: Path
    stop: Callable[[], bool]

    def run(self, step: Step) -> Done:
        """Run a step and read what it left.

        Raises CommandFailed with the command's last line if it ends with another code, Interrupted after a signal.
        """
        (self.folder / SAID).mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with open(self.folder / step.output, "wb") as output, open(self.folder / step.log, "wb") as log:
            process = subprocess.Popen(
                _started(step), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=log
            )
            self._wait(process)
        seconds = time.perf_counter() - start
        if self.stop():  # a terminal's Ctrl-C reaches the command as well, which may have ended before we looked
            raise Interrupted
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode  # as a shell says it
        if code != step.exit_code:
            said, _ = split_log(_text(self.folder / step.log))
            raise CommandFailed(_failure(step, said, code, self.folder), code or 1)
        return read(self.folder, step, seconds)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end; passes a stop on to the process."""
        while True:
            try:
                process.wait(timeout=POLL_SECONDS)
                return
            except subprocess.TimeoutExpired:
                if self.stop():
                    process.terminate()
                    process.wait()
                    return


def read(folder: Path, step: Step, seconds: float | None = None) -> Done:
    """What a step left in the folder of the demo.

    Raises InputError if the step did not run, DamagedError if what it printed is no JSON object.
    """
    output = folder / step.output
    if not output.is_file():
        raise InputError(f"{output} is missing; run '{step.typed}' first")
    said, imported = split_log(_text(folder / step.log))
    text = _text(output)
    try:
        result = {} if step.exit_code and not text else json.loads(text)  # few refusals have figures for a program
    except ValueError:
        raise DamagedError(f"{output} holds no JSON object; run '{step.typed}' again") from None
    return Done(step, result, said, imported, seconds)


def split_log(text: str) -> tuple[str, frozenset[str]]:
    """Return the messages of a log, and the top-level packages that `-X importtime` listed between them."""
    said, imported = [], set()
    for line in text.splitlines():
        match = re.fullmatch(r"import time:.*\|\s*([\w.]+)", line)
        if match:
            imported.add(match.group(1).partition(".")[0])
        elif not line.startswith("import time:"):
            said.append(line)
    return "".join(f"{line}\n" for line in said), frozenset(imported)


def _started(step: Step) -> list[str]:
    """The words of a step for this interpreter, whatever `python` and `mest` mean to the shell."""
    first, *rest = step.words
    return [sys.executable, *(("-m", "mest") if first == "mest" else ()), *rest]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _failure(step: Step, said: str, code: int, folder: Path) -> str:
    last = next((line for line in reversed(said.splitlines()) if line.strip()), f"ended with code {code}")
    return f"'{step.typed}' failed: {last.removeprefix('mest ')} (all it said: {folder / step.log})"
