"""Runs the real commands, each in a process of its own, and keeps what each said."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A command that ended well: its words as a person would type them, its time and its JSON object."""

    name: str
    words: tuple[str, ...]
    seconds: float
    result: dict[str, Any]
    imported: frozenset[str]  # top-level packages that the process imported


@dataclass(frozen=True)
class Commands:
    """Runs commands one after another. What they write to standard error goes to one file each in `logs`."""

    logs: Path
    stop: Callable[[], bool]

    def mest(self, name: str, *words: object) -> Done:
        """Run `mest NAME WORDS… --json`; its own imports are logged too.

        Raises CommandFailed with the command's last line, Interrupted after a signal.
        """
        given = tuple(str(word) for word in words)
        started = ("-X", "importtime", "-m", "mest", name, *given, "--json")
        return self._run(name, ("mest", name, *given), started)

    def module(self, module: str, *words: object) -> Done:
        """Run `python -m MODULE WORDS…`, which prints one JSON object."""
        given = tuple(str(word) for word in words)
        return self._run(module.rpartition(".")[2], ("python", "-m", module, *given), ("-m", module, *given))

    def _run(self, name: str, words: tuple[str, ...], arguments: Sequence[str]) -> Done:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{len(list(self.logs.iterdir())) + 1}_{name}.log"
        start = time.perf_counter()
        with open(log, "w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            output = self._wait(process)
        seconds = time.perf_counter() - start
        said, imported = split_log(log.read_text(encoding="utf-8", errors="replace"))
        log.write_text(said, encoding="utf-8")
        if self.stop():  # a terminal's Ctrl-C reaches the command as well, which may have ended before we looked
            raise Interrupted
        if process.returncode != 0:
            code = process.returncode if process.returncode > 0 else 128 - process.returncode  # as a shell says it
            raise CommandFailed(_failure(words, said, code, log), code)
        return Done(name, words, seconds, json.loads(output), imported)

    def _wait(self, process: subprocess.Popen[str]) -> str:
        """Everything that the process prints; passes a stop on to it."""
        while True:
            try:
                return process.communicate(timeout=POLL_SECONDS)[0]
            except subprocess.TimeoutExpired:
                if self.stop():
                    process.terminate()
                    return process.communicate()[0]


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


def _failure(words: Sequence[str], said: str, code: int, log: Path) -> str:
    last = next((line for line in reversed(said.splitlines()) if line.strip()), f"ended with code {code}")
    return f"'{' '.join(words)}' failed: {last.removeprefix('mest ')} (all it said: {log})"
