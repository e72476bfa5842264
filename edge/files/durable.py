"""Files that are whole or not there, whenever the power goes: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[FileIO]:
    """A file beside `path` to write into, with `write_all`; it takes the place of `path` when the block ends well.

    What was renamed is on the disk when this returns. Where the block raises, `path` is as it was and nothing is left.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with open(partial, "wb", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def replaced_text(path: Path) -> Iterator[TextIOWrapper]:
    """The same for text in UTF-8 that is written in parts, so that it is never held whole."""
    with replaced(path) as file:
        text = TextIOWrapper(BufferedWriter(file), encoding="utf-8")
        yield text
        text.flush()
        text.detach().detach()  # neither wrapper may close the file when it goes


def write_all(file: FileIO, content: bytes | memoryview) -> None:
    """Write all of it: the system may take less at a time."""
    rest = memoryview(content)
    while len(rest):
        rest = rest[os.write(file.fileno(), rest) :]


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file by `content`."""
    with replaced(path) as file:
        write_all(file, content)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
