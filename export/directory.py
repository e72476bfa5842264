"""A directory that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.spelling import named
from mest.errors import InputError

MARK = "manifest.json"


def check_writable(out: Path, overwrite: bool = False) -> None:
    """Raise InputError unless `out` is free or empty, or with `overwrite` an artifact and nothing else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{named('out')} {out}: is a file; give a directory")
    if not out.is_dir():
        return
    present = {path.name for path in out.iterdir()}
    foreign = sorted(present - _written(out))
    if foreign:
        raise InputError(
            f"{named('out')} {out}: holds {foreign[0]}, which no export wrote; give a new or empty directory"
        )
    if present and not overwrite:
        raise InputError(
            f"{named('out')} {out}: holds an artifact, and the states that were trained from it need "
            f"it; give another place, "
            f"or {named('force', True)} to replace it"
        )


def _written(artifact: Path) -> set[str]:
    """Names in a directory that an export put there, by its manifest."""
    try:
        return {MARK, *json.loads((artifact / MARK).read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextmanager
def whole_directory(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder beside `out` to write into; takes its place, durably, when the block ends without an error.

    With `overwrite` an artifact that was there goes; nothing is left behind if the block raises. Raises InputError as
    `check_writable` does.
    """
    check_writable(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _sync(file)
        _sync(part)
        if out.exists():
            out.rename(old)
        part.rename(out)
        _sync(out.parent)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
