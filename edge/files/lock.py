"""A lock on a directory that one process writes: held by the system, released by it at death, and it says by whom."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import InputError

LOCK_FILE = "lock"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})  # network file systems without them


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Make the folder if it is missing, and be the only process that writes into it while the block runs.

    Yields False where the file system grants no locks. Folders that were made and stayed empty are removed again.
    Raises InputError naming the process that holds it, or the reason why nothing can be written there.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(folder / LOCK_FILE)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({os.strerror(error.errno or 0)}); give another place") from None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            (folder / LOCK_FILE).unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile looks again
            os.close(descriptor)
        with suppress(OSError):
            for path in made:
                path.rmdir()


def _locked(path: Path) -> int | None:
    """The descriptor of the locked file, which says who holds it; None where the file system grants no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = os.pread(descriptor, 1000, 0)
            os.close(descriptor)
            raise InputError(f"{path.parent}: {_holder(said)}; wait until it ends, or stop it") from None
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            if error.errno in _NO_LOCKS:
                return None
            raise
        if _still_there(path, descriptor):
            break
        os.close(descriptor)  # its holder removed it as we opened it
    os.ftruncate(descriptor, 0)
    who = {"pid": os.getpid(), "host": os.uname().nodename, "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
    return descriptor


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _holder(said: bytes) -> str:
    try:
        who = json.loads(said)
        return f"process {who['pid']} on {who['host']} has been writing it since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process is writing it"
