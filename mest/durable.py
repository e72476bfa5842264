"""Files that are whole or not there: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_durably(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Replace `path` by what `write` puts into a new file; on any error the old file stays and the new one is removed.

    Raises OSError as the system gave it, with the file's name, such as for a full disk.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException as failed:
        beside.unlink(missing_ok=True)
        system = _system_error(failed)
        if system is not None:
            raise OSError(system.errno, os.strerror(system.errno or 0), str(path)) from failed
        raise


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as indented JSON."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_durably(path, lambda file: file.write(text.encode()))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _system_error(failed: BaseException | None) -> OSError | None:
    """The system's own error behind a chain: torch's archive writer wraps it in others when it closes the archive."""
    while failed is not None:
        if isinstance(failed, OSError) and failed.errno is not None:
            return failed
        failed = failed.__context__
    return None
