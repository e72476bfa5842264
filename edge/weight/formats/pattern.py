"""Pattern: 3×3 kernels that keep four cells in one of eight patterns, for `pattern`."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, FormatError, expect_tensor, index_dtype
from edge.weight.formats.rows import INDEX_TYPES, check_indices, check_starts, entry_rows, starts_from
from edge.weight.parameter import Parameter

# Kept cells of each pattern, row-major in the 3×3 kernel; the table of docs/network-format.md.
PATTERNS = np.array(
    [
        [4, 5, 7, 8],
        [3, 4, 6, 7],
        [1, 2, 4, 5],
        [0, 1, 3, 4],
        [5, 6, 7, 8],
        [3, 4, 5, 7],
        [1, 4, 5, 7],
        [1, 3, 4, 7],
    ],
    np.uint8,
)
PATTERNS.flags.writeable = False
_BITS = 1 << np.arange(9)


class Pattern(Format):
    """row_starts `(out + 1,)` uint32; kernels `(n,)` input channels; patterns `(n,)` uint8; values `(n, 4)` float32."""

    name = "pattern"
    tensors = frozenset({"row_starts", "kernels", "patterns", "values"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """Only 3×3 kernels that are empty or one of the patterns can be held."""
        if scheme != "pattern" or mask.shape[2:] != (3, 3):
            return "it is for 3×3 convolutions of the scheme pattern"
        return None if (_pattern_ids(_kernels(mask)) >= 0).all() else "the mask keeps cells outside the eight patterns"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Row starts, and for each kernel four weights, a pattern and an input channel."""
        kept = mask.any(axis=(2, 3))
        largest = int(np.flatnonzero(kept.any(axis=0)).max(initial=0))
        return 4 * (mask.shape[0] + 1) + int(kept.sum(dtype=np.int64)) * (16 + 1 + index_dtype(largest).itemsize)

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """Kept kernels by output channel, input channels ascending."""
        kept = mask.any(axis=(2, 3))
        rows, kernels = np.nonzero(kept)
        patterns = _pattern_ids(_kernels(mask)[kept.reshape(-1)]).astype(np.uint8)
        cells = PATTERNS[patterns].astype(np.intp)
        tensors = {
            "row_starts": starts_from(rows, mask.shape[0]),
            "kernels": kernels.astype(index_dtype(int(kernels.max(initial=0)))),
            "patterns": patterns,
            "values": np.take_along_axis(_kernels(weight)[kept.reshape(-1)], cells, axis=1),
        }
        return Encoded(tensors)

    def positions(self, parameter: Parameter) -> np.ndarray:
        """Positions of the four weights of each kernel."""
        kernels = entry_rows(parameter.tensors["row_starts"]) * np.int32(parameter.shape[1])
        kernels += parameter.tensors["kernels"].astype(np.int32)
        return (kernels[:, None] * np.int32(9) + PATTERNS[parameter.tensors["patterns"]]).reshape(-1).astype(np.int32)

    def check(self, parameter: Parameter) -> None:
        """Kernels are 3×3; starts lead through all of them; channels lie within range and ascend; patterns exist."""
        if len(parameter.shape) != 4 or parameter.shape[2:] != (3, 3):
            raise FormatError(f"the format pattern is for 3×3 convolutions, not {list(parameter.shape)}")
        values = expect_tensor(parameter.tensors, "values", (np.float32,), (None, 4))
        row_starts = expect_tensor(parameter.tensors, "row_starts", (np.uint32,), (parameter.rows + 1,))
        kernels = expect_tensor(parameter.tensors, "kernels", INDEX_TYPES, values.shape[:1])
        patterns = expect_tensor(parameter.tensors, "patterns", (np.uint8,), values.shape[:1])
        check_starts(row_starts, len(values))
        check_indices(row_starts, kernels, parameter.shape[1], "kernels")
        if int(patterns.max(initial=0)) >= len(PATTERNS):
            raise FormatError(f"pattern {int(patterns.max())} does not exist; they are 0 to {len(PATTERNS) - 1}")


def _kernels(array: np.ndarray) -> np.ndarray:
    """A weight or mask as `(out · in, 9)`, a view."""
    return array.reshape(-1, 9)


def _pattern_ids(kernels: np.ndarray) -> np.ndarray:
    """Pattern of each mask `(n, 9)`: 0 to 7, 8 for an empty kernel, −1 for any other."""
    ids = np.full(2**9, -1, np.int8)
    ids[0] = len(PATTERNS)
    ids[_BITS[PATTERNS].sum(axis=1)] = np.arange(len(PATTERNS))
    return ids[kernels @ _BITS]
