"""Labelled images by index, whatever they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.data.image_files import TEST_PARTS, composed, same_names
from edge.data.preprocess import Preprocess
from edge.errors import InputError
from edge.spelling import named
from edge.tasks.task import Task

MOST_LABELS = 1 << 16
UNREADABLE = ("refuse", "skip")


class Source(Protocol):
    """Labelled images by index. `labels` are the artifact's class numbers, int32 `(n,)`; all 0 for another task."""

    labels: np.ndarray
    task: Task
    test_indices: np.ndarray | None  # those that the file keeps for testing, int32; None where it does not say
    decoder_bytes: int  # the most that reading one image holds beside the result
    one_size: tuple[int, int] | None  # the (height, width) of all images; None where they differ
    skipped: int  # images that cannot be read and are left out
    notes: tuple[str, ...]  # what a person should know of what was found

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of one image after conversion, resize and crop."""

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """What the task wants of samples, their labels say, into `out` `(k, ...)`."""

    def keys(self) -> np.ndarray:
        """A number that tells each image from others and from what it was before, uint64 `(n,)`; cheap, not exact."""

    def close(self) -> None:
        """Close files."""


def or_skip() -> str:
    """What to do with an image that cannot be read, beside mending it."""
    return f", or leave such files out with {named('unreadable')} skip"


def class_map(found: Sequence[str], wanted: Sequence[str], where: Path) -> np.ndarray:
    """The artifact's number of each found class, int32; raises InputError for a class that it does not know."""
    numbers = same_names(wanted)
    unknown = sorted(name for name in set(found) if composed(name) not in numbers)
    if unknown and set(found) <= {"train", *TEST_PARTS}:
        raise InputError(f"{where}: holds {' and '.join(sorted(found))}, not classes; give {where / sorted(found)[-1]}")
    if unknown:
        raise InputError(
            f"{where}: class {unknown[0]!r} is not one of the artifact's {len(wanted)} classes "
            f"({', '.join(wanted[:10])}{', …' if len(wanted) > 10 else ''}); rename it, or export a model that has it"
        )
    twice = sorted(name for name in found if [composed(other) for other in found].count(composed(name)) > 1)
    if twice:
        raise InputError(f"{where}: class {twice[0]!r} is there twice, in two Unicode forms; join the two")
    return np.array([numbers[composed(name)] for name in found], dtype=np.int32)


def text(name: str | bytes | int) -> str:
    """A class name as text, whatever type the file holds names in."""
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
