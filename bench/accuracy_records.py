"""What the runs of an accuracy bench wrote: one JSON line each, and the locks by which processes share the work."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.accuracy_grid import Cell


class Records:
    """The finished runs in a folder's `records.jsonl`, and who is at work on which cell."""

    def __init__(self, folder: Path, work: Path) -> None:
        """Keep records in `folder`; locks (and the caller's runs) in `work`, which nobody needs afterwards."""
        self.file = folder / "records.jsonl"
        self.work = work
        folder.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[str, dict[str, Any]]:
        """All records by cell name; a line that a crash cut short is left out."""
        records = {}
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            records[record["cell"]] = record
        return records

    def append(
        self, cell: Cell, options: dict[str, str], result: dict[str, Any], circumstances: dict[str, Any]
    ) -> None:
        """Add one record with a single write, which no other process's can interrupt."""
        record = {"cell": cell.name, **asdict(cell), "options": options, **result, "circumstances": circumstances}
        line = json.dumps(record, sort_keys=True) + "\n"
        cut_short = self.file.exists() and not self.file.read_bytes().endswith(b"\n")
        with open(self.file, "ab") as file:
            file.write(("\n" * cut_short + line).encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def claim(self, cell: Cell) -> Iterator[bool]:
        """Whether this process may run the cell now; the kernel gives the claim back when the process ends."""
        with open(self.work / f"{cell.name}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
