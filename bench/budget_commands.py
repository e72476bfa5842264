"""The real commands, each in a process of its own, with what they said and whether they refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

BUDGET_NOT_MET = 3  # exit code of `mest plan` and `mest finetune`
MIB = 1 << 20
STEP_MIB = 0.5  # how much more is tried where a run needs more than the smallest plan
TRIES = 8

_SUGGESTED = re.compile(r"give --memory-budget (\d+(?:\.\d+)?)MiB or more")


@dataclass(frozen=True)
class Said:
    """How a command ended: its JSON object where it ended well, else its last line."""

    words: tuple[str, ...]
    code: int
    result: dict[str, Any]
    last: str
    seconds: float

    @property
    def suggested_mib(self) -> float | None:
        """The smallest budget that a refusal named, None where it named none."""
        found = _SUGGESTED.search(self.last)
        return float(found.group(1)) if found else None


class Commands:
    """Runs commands one after another; `said` keeps all of them."""

    def __init__(self, threads: int) -> None:
        self.said: list[Said] = []
        self.threads = threads
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}

    def mest(self, *words: object) -> Said:
        """Run `mest WORDS… --json`."""
        given = tuple(str(word) for word in words)
        return self._run(("mest", *given), ["-m", "mest", *given, "--json"])

    def must(self, *words: object) -> dict[str, Any]:
        """What `mest WORDS…` said; exits with its last line where it failed."""
        said = self.mest(*words)
        if said.code:
            sys.exit(f"{' '.join(said.words)}: exit {said.code}: {said.last}")
        return said.result

    def module(self, name: str, *words: object) -> Said:
        """Run `python -m NAME WORDS…`, which prints a JSON object."""
        given = tuple(str(word) for word in words)
        return self._run(("python", "-m", name, *given), ["-m", name, *given])

    def _run(self, words: tuple[str, ...], arguments: Sequence[str]) -> Said:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=self._environment
        )
        last = (done.stderr.strip().splitlines() or [""])[-1]
        result = json.loads(done.stdout) if done.returncode == 0 else {}
        said = Said(words, done.returncode, result, last, time.perf_counter() - start)
        self.said.append(said)
        print(f"{said.seconds:6.1f} s  exit {said.code}  {' '.join(words)[:150]}", file=sys.stderr, flush=True)
        return said


@dataclass(frozen=True)
class Smallest:
    """The smallest budget of some pins: what the plan named, and the first that a run kept, with every try."""

    planned_mib: float | None
    confirmed_mib: float | None
    tries: tuple[dict[str, Any], ...]
    said: Said | None  # the run that kept it


def smallest_budget(refusal: Said, run: Callable[[float], Said]) -> Smallest:
    """From a refused plan: the budget that it named, run; where that fails too, a little more, a few times."""
    named = refusal.suggested_mib
    if refusal.code != BUDGET_NOT_MET or named is None:
        return Smallest(None, None, ({"command": "plan", "exit": refusal.code, "said": refusal.last},), None)
    tries: list[dict[str, Any]] = []
    asked = named
    while len(tries) < TRIES:
        said = run(asked)
        tries.append({"budget_mib": asked, "exit": said.code, "said": said.last if said.code else ""})
        if said.code == 0:
            return Smallest(named, asked, tuple(tries), said)
        if said.code != BUDGET_NOT_MET:
            break
        asked = max(said.suggested_mib or 0.0, asked + STEP_MIB)
    return Smallest(named, None, tuple(tries), None)
