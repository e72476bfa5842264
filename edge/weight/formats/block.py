"""Block: `height` consecutive rows × 1 column with one index, for `block`."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, FormatError, as_matrix, expect_tensor, index_dtype
from edge.weight.formats.rows import INDEX_TYPES, check_indices, check_starts, entry_rows, starts_from
from edge.weight.parameter import Parameter


class Block(Format):
    """row_starts `(out/height + 1,)` uint32; columns `(blocks,)` of 8, 16 or 32 bits; values `(blocks, height)`."""

    name = "block"
    tensors = frozenset({"row_starts", "columns", "values"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """Only whole blocks of a group can be held."""
        if scheme != "block" or not height:
            return "it is for the scheme block"
        per_group = mask.shape[0] // groups
        if per_group % height:
            return f"{per_group} output channels do not divide into blocks of {height}"
        blocks = _blocks(mask, height)
        return None if (blocks == blocks[:, :1]).all() else "the mask keeps parts of blocks"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Row starts, and for each block its weights and one column."""
        kept = _blocks(mask, height)[:, 0]
        largest = int(np.flatnonzero(kept.any(axis=0)).max(initial=0))
        per_block = 4 * kept_height(height) + index_dtype(largest).itemsize
        return 4 * (kept.shape[0] + 1) + int(kept.sum(dtype=np.int64)) * per_block

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """Kept blocks by row of blocks, columns ascending."""
        kept = _blocks(mask, height)[:, 0]
        rows, columns = np.nonzero(kept)
        tensors = {
            "row_starts": starts_from(rows, kept.shape[0]),
            "columns": columns.astype(index_dtype(int(columns.max(initial=0)))),
            "values": _blocks(weight, height)[rows, :, columns],
        }
        return Encoded(tensors, height=height)

    def positions(self, parameter: Parameter) -> np.ndarray:
        """Positions of the `height` weights of each block, one below the other."""
        height, width = kept_height(parameter.height), parameter.columns
        first = entry_rows(parameter.tensors["row_starts"]) * np.int32(height * width)
        first += parameter.tensors["columns"].astype(np.int32)
        return (first[:, None] + np.arange(height, dtype=np.int32) * np.int32(width)).reshape(-1)

    def check(self, parameter: Parameter) -> None:
        """Rows divide into blocks; starts lead through all of them; columns lie within the row and ascend."""
        height = kept_height(parameter.height)
        if parameter.rows % height:
            raise FormatError(f"{parameter.rows} rows do not divide into blocks of {height}")
        values = expect_tensor(parameter.tensors, "values", (np.float32,), (None, height))
        row_starts = expect_tensor(parameter.tensors, "row_starts", (np.uint32,), (parameter.rows // height + 1,))
        columns = expect_tensor(parameter.tensors, "columns", INDEX_TYPES, values.shape[:1])
        check_starts(row_starts, len(values))
        check_indices(row_starts, columns, parameter.columns, "columns")


def kept_height(height: int | None) -> int:
    """The height of blocks; raises FormatError if there is none."""
    if not height:
        raise FormatError("the format block needs a height")
    return height


def _blocks(array: np.ndarray, height: int | None) -> np.ndarray:
    """A weight or mask as `(out/height, height, columns)`, a view."""
    matrix = as_matrix(array)
    return matrix.reshape(-1, kept_height(height), matrix.shape[1])
