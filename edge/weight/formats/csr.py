"""CSR: the kept weights of each row with their columns, for `irregular`."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, FormatError, as_matrix, expect_tensor, index_dtype
from edge.weight.formats.rows import INDEX_TYPES, check_indices, check_starts, entry_rows, pieces, starts_from
from edge.weight.parameter import Parameter


class Csr(Format):
    """row_starts `(out + 1,)` uint32; columns `(nnz,)` of 8, 16 or 32 bits; values `(nnz,)` float32.

    Coding `absolute` stores columns; `delta` stores the first column of a row, then differences minus 1.
    """

    name = "csr"
    tensors = frozenset({"row_starts", "columns", "values"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """It holds any mask of a sparse layer."""
        return None if scheme else "a layer without a scheme has no mask"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Row starts, and for each kept weight its value and a column in the smaller coding."""
        _, dtype = _smaller_coding(_columns(mask), _deltas(mask))
        return 4 * (mask.shape[0] + 1) + int(mask.sum(dtype=np.int64)) * (4 + dtype.itemsize)

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """Kept weights by row, columns ascending, in the coding that takes fewer bytes (absolute if equal)."""
        columns, deltas = _columns(mask), _deltas(mask)
        coding, dtype = _smaller_coding(columns, deltas)
        tensors = {
            "row_starts": starts_from(np.nonzero(as_matrix(mask))[0], mask.shape[0]),
            "columns": (columns if coding == "absolute" else deltas).astype(dtype),
            "values": weight[mask],
        }
        return Encoded(tensors, coding=coding)

    def positions(self, parameter: Parameter) -> np.ndarray:
        """Row · K + column of each stored weight."""
        row_starts = parameter.tensors["row_starts"]
        return entry_rows(row_starts) * np.int32(parameter.columns) + absolute_columns(parameter)

    def check(self, parameter: Parameter) -> None:
        """Starts lead through all entries; columns lie within the row and ascend."""
        values = expect_tensor(parameter.tensors, "values", (np.float32,), (None,))
        row_starts = expect_tensor(parameter.tensors, "row_starts", (np.uint32,), (parameter.rows + 1,))
        columns = expect_tensor(parameter.tensors, "columns", INDEX_TYPES, values.shape)
        check_starts(row_starts, values.size)
        if parameter.coding in (None, "absolute"):
            check_indices(row_starts, columns, parameter.columns, "columns")
        elif parameter.coding == "delta":
            for first, last in pieces(row_starts):
                found = _undo_deltas(row_starts, columns, first, last)
                if found.size and int(found.max()) >= parameter.columns:
                    limit = parameter.columns - 1
                    raise FormatError(
                        f"columns in rows {first} to {last - 1} reach {found.max()}, allowed are 0 to {limit}"
                    )
        else:
            raise FormatError(f"unknown coding {parameter.coding!r}; known: absolute, delta")


def absolute_columns(parameter: Parameter) -> np.ndarray:
    """The column of each stored weight, int32, whatever the coding."""
    row_starts, columns = parameter.tensors["row_starts"], parameter.tensors["columns"]
    if parameter.coding != "delta":
        return columns.astype(np.int32)
    decoded = np.empty(columns.size, np.int32)
    for first, last in pieces(row_starts):
        decoded[row_starts[first] : row_starts[last]] = _undo_deltas(row_starts, columns, first, last)
    return decoded


def _columns(mask: np.ndarray) -> np.ndarray:
    return np.nonzero(as_matrix(mask))[1]


def _deltas(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(as_matrix(mask))
    deltas = np.diff(columns, prepend=-1) - 1
    first = np.diff(rows, prepend=-1) > 0
    deltas[first] = columns[first]
    return deltas


def _undo_deltas(row_starts: np.ndarray, deltas: np.ndarray, first: int, last: int) -> np.ndarray:
    """Columns, int64, of the rows from `first` to before `last`."""
    starts = row_starts[first : last + 1].astype(np.int64)
    steps = deltas[starts[0] : starts[-1]].astype(np.int64) + 1
    reached = np.concatenate([[0], np.cumsum(steps)])
    starts -= starts[0]
    counts = (starts[1:] - starts[:-1]).astype(np.intp, copy=False)  # numpy repeats by numbers of this width alone
    return reached[1:] - np.repeat(reached[starts[:-1]], counts) - 1


def _smaller_coding(columns: np.ndarray, deltas: np.ndarray) -> tuple[str, np.dtype]:
    absolute, delta = (index_dtype(int(indices.max(initial=0))) for indices in (columns, deltas))
    return ("delta", delta) if delta.itemsize < absolute.itemsize else ("absolute", absolute)
