"""What csr, block and pattern share: entries listed row by row, with ascending indices within a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.weight.formats.format import FormatError

PIECE = 2**16  # entries that are looked at together, so that checks need little memory
INDEX_TYPES = (np.uint8, np.uint16, np.uint32)


def starts_from(rows_of_entries: np.ndarray, rows: int) -> np.ndarray:
    """Row starts `(rows + 1,)` uint32 for entries sorted by row."""
    counts = np.bincount(rows_of_entries.astype(np.intp, copy=False), minlength=rows)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)


def entry_rows(row_starts: np.ndarray) -> np.ndarray:
    """The row of each entry, int32."""
    starts = row_starts.astype(np.intp)  # numpy repeats by numbers of this width alone
    return np.repeat(np.arange(len(starts) - 1, dtype=np.int32), starts[1:] - starts[:-1])


def pieces(row_starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of whole rows with about PIECE entries each (one row at least)."""
    first, rows = 0, len(row_starts) - 1
    while first < rows:
        limit = int(row_starts[first]) + PIECE
        last = max(first + 1, int(np.searchsorted(row_starts, limit, side="right")) - 1)
        yield first, min(last, rows)
        first = last


def check_starts(row_starts: np.ndarray, entries: int) -> None:
    """Raise FormatError unless rows begin at 0, never go back and end at the number of entries."""
    if int(row_starts[0]) != 0 or int(row_starts[-1]) != entries or bool((row_starts[1:] < row_starts[:-1]).any()):
        raise FormatError(f"row_starts do not lead from 0 to the {entries} entries without going back")


def check_indices(row_starts: np.ndarray, indices: np.ndarray, limit: int, what: str) -> None:
    """Raise FormatError unless indices are below the limit and ascend strictly within every row."""
    for first, last in pieces(row_starts):
        begin, end = int(row_starts[first]), int(row_starts[last])
        part = indices[begin:end]
        if part.size and int(part.max()) >= limit:
            rows = f"rows {first} to {last - 1}"
            raise FormatError(f"{what} in {rows} reach {int(part.max())}, allowed are 0 to {limit - 1}")
        falls = np.flatnonzero(part[1:] <= part[:-1]) + begin + 1
        # Between rows an index may fall: only an entry that begins a row.
        if (row_starts[np.searchsorted(row_starts, falls)] != falls).any():
            raise FormatError(f"{what} in rows {first} to {last - 1} do not ascend")
