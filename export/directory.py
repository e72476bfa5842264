"""A directory that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mest.errors import InputError

MARK = "manifest.json"


def check_writable(out: Path) -> None:
    """Raise InputError unless `out` is free, empty, or an artifact and nothing else, which may be replaced."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; give a directory")
    if not out.is_dir():
        return
    foreign = sorted({path.name for path in out.iterdir()} - _written(out))
    if foreign:
        raise InputError(f"--out {out}: holds {foreign[0]}, which no export wrote; give a new or empty directory")


def _written(artifact: Path) -> set[str]:
    """Names in a directory that an export put there, by its manifest."""
    try:
        return {MARK, *json.loads((artifact / MARK).read_text())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextmanager
def whole_directory(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; takes its place, durably, when the block ends without an error.

    An artifact that was there is replaced; nothing is left behind if the block raises. Raises InputError if `out` holds
    anything but an artifact.
    """
    check_writable(out)
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
