"""Channel: a physically smaller layer that reads some input channels only, for `channel`."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, FormatError, expect_tensor, index_dtype
from edge.weight.formats.rows import check_indices
from edge.weight.parameter import Parameter


class Channel(Format):
    """channels `(kept,)` uint16 (uint32 beyond 65,536); values `(out, kept, kh, kw)`, for linear `(out, kept)`."""

    name = "channel"
    tensors = frozenset({"channels", "values"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """Only whole input channels of a layer without groups can be held."""
        if scheme != "channel" or groups != 1:
            return "it is for the scheme channel in layers without groups"
        kept = mask[:1].any(axis=tuple(range(2, mask.ndim)), keepdims=True)
        return None if (mask == kept).all() else "the mask keeps parts of channels"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Four bytes per weight of a kept channel and one index per channel."""
        kept = int(_kept(mask).sum())
        return 4 * (mask.size // mask.shape[1]) * kept + kept * _dtype(mask.shape[1]).itemsize

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """The weight without the channels that it does not read."""
        channels = np.flatnonzero(_kept(mask))
        return Encoded({"channels": channels.astype(_dtype(mask.shape[1])), "values": weight[:, channels]})

    def positions(self, parameter: Parameter) -> np.ndarray:
        """Positions of the smaller weight's entries in the larger one."""
        cells = parameter.columns // parameter.shape[1]
        within = parameter.tensors["channels"].astype(np.int32)[:, None] * np.int32(cells)
        row = (within + np.arange(cells, dtype=np.int32)).reshape(-1)
        rows = np.arange(parameter.rows, dtype=np.int32) * np.int32(parameter.columns)
        return (rows[:, None] + row).reshape(-1)

    def check(self, parameter: Parameter) -> None:
        """Channels lie within range and ascend; values have the shape that follows."""
        if len(parameter.shape) < 2:
            raise FormatError("the format channel needs a weight")
        channels = expect_tensor(parameter.tensors, "channels", (np.uint16, np.uint32), (None,))
        expect_tensor(parameter.tensors, "values", (np.float32,), (parameter.rows, channels.size, *parameter.shape[2:]))
        check_indices(np.array([0, channels.size]), channels, parameter.shape[1], "channels")


def _kept(mask: np.ndarray) -> np.ndarray:
    return np.any(mask, axis=(0, *range(2, mask.ndim)), keepdims=True).reshape(-1)


def _dtype(channels: int) -> np.dtype:
    return max(index_dtype(channels - 1), np.dtype(np.uint16), key=lambda dtype: dtype.itemsize)
