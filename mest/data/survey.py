"""A look at every image file before the first is used: which can be read, which sizes and colours there are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mest.data.photo import Header, header_of, open_photo, reduce_jpeg, why_unreadable
from mest.errors import InputError

UNREADABLE = ("refuse", "skip")


@dataclass(frozen=True)
class Survey:
    """What files hold: `readable` bool `(n,)`; `grey` if none has colours; sizes as (height, width), seen upright."""

    readable: npt.NDArray[np.bool_]
    grey: bool
    sizes: frozenset[tuple[int, int]]
    notes: tuple[str, ...]


def survey(files: Sequence[Path], unreadable: str = "refuse", threads: int = 1) -> Survey:
    """Return what the headers of the files say; with `unreadable` "skip" every file is decoded too.

    Raises InputError that names the first file that cannot be read, unless such files are skipped.
    """
    if unreadable not in UNREADABLE:
        raise InputError(f"--unreadable {unreadable}: allowed are {' and '.join(UNREADABLE)}")
    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = list(pool.map(lambda file: _look(file, unreadable == "skip"), files, chunksize=64))
    failed = [(file, reason) for file, reason in zip(files, found, strict=True) if isinstance(reason, str)]
    if failed and unreadable == "refuse":
        raise unreadable_image(*failed[0], more=len(failed) - 1)
    headers = [header for header in found if isinstance(header, Header)]
    notes: tuple[str, ...] = ()
    if failed:
        file, reason = failed[0]
        notes = (f"{len(failed)} images cannot be read and are left out, the first is {file} ({reason})",)
    return Survey(
        readable=np.array([isinstance(each, Header) for each in found], dtype=bool),
        grey=all(header.grey for header in headers),
        sizes=frozenset(header.upright for header in headers),
        notes=notes,
    )


def _look(file: Path, decode: bool) -> Header | str:
    """The file's header, or why it cannot be read."""
    try:
        with open_photo(file) as image:
            header = header_of(image)
            if decode:
                reduce_jpeg(image, (1, 1))  # all of the file is read, but few pixels are made
                image.load()
            return header
    except MemoryError:
        raise
    except Exception as failed:  # Pillow's readers raise what they like for a damaged file
        return why_unreadable(failed)


def unreadable_image(file: Path, reason: str, more: int = 0) -> InputError:
    """What to say of an image file that cannot be read, and of `more` beside it."""
    others = f", and {more} more" if more else ""
    return InputError(
        f"{file}: not a readable image ({reason}){others}; remove or replace it, "
        "or leave such files out with --unreadable skip"
    )
