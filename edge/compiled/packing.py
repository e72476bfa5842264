"""A data file for a process without Python: samples and labels as it reads them, one after the other.

A record is a label, a mark and the numbers `[channel][row][column]` of a sample, so that another program adds one by
appending a record; docs/without-python.md describes it.
"""

from __future__ import annotations

from ctypes import sizeof
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.compiled.plan import Compiled
from edge.data.batches import other_size
from edge.data.source import Source
from edge.errors import InputError
from edge.files.durable import replaced, write_all
from edge.libmest import plan_file


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    samples: int
    test: int  # those marked as held out
    nbytes: int


def pack(source: Source, compiled: Compiled, out: Path) -> Packed:
    """Write the samples of a source for a compiled plan, prepared as its artifact says but for normalisation.

    Raises InputError for a sample of another size than the network takes.
    """
    head = compiled.head
    shape, labels = (head.channels, head.height, head.width), source.labels
    marked = np.zeros(len(labels), bool)
    if source.test_indices is not None:
        marked[source.test_indices] = True
    first = _numbers(source, compiled, 0, shape)
    record = _record(first.dtype, int(np.prod(shape)))
    start = plan_file.Data(
        magic=plan_file.DATA_MAGIC,
        version=plan_file.VERSION,
        record_bytes=record.itemsize,
        channels=shape[0],
        height=shape[1],
        width=shape[2],
        numbers=plan_file.NUMBERS.index(first.dtype.name),
        images=head.images,
        classes=head.classes,
    )
    with replaced(out) as file:
        write_all(file, bytes(start))
        one = np.zeros((), record)
        for number, label in enumerate(labels.tolist()):
            one["label"], one["test"] = label, marked[number]
            one["numbers"] = _numbers(source, compiled, number, shape).reshape(-1)
            write_all(file, one.tobytes())
    return Packed(len(labels), int(marked.sum()), sizeof(start) + len(labels) * record.itemsize)


def _record(numbers: np.dtype, count: int) -> np.dtype:
    """A record of so many numbers, padded to 8 bytes."""
    padding = -numbers.itemsize * count % 8
    return np.dtype([("label", "<i4"), ("test", "<i4"), ("numbers", numbers, (count,)), ("padding", "u1", (padding,))])


def _numbers(source: Source, compiled: Compiled, number: int, shape: tuple[int, int, int]) -> np.ndarray:
    """The numbers of one sample, `(channels, height, width)`, little-endian."""
    found = source.pixels(number, compiled.preprocess).transpose(2, 0, 1)
    if found.shape != shape:
        raise InputError(f"sample {number}: {other_size(found.transpose(1, 2, 0).shape, (*shape[1:], shape[0]))}")
    if found.dtype.name not in plan_file.NUMBERS:
        raise InputError(f"sample {number}: of {found.dtype}; allowed are {', '.join(plan_file.NUMBERS)}")
    return found.astype(found.dtype.newbyteorder("<"), copy=False)
