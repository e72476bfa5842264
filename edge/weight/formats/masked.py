"""Masked: every weight and one bit for each. It saves nothing, and is the smallest for layers that are nearly dense."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, FormatError, expect_tensor
from edge.weight.parameter import Parameter

PIECE = 2**19  # weights that are checked together; a multiple of 8


class Masked(Format):
    """values `(shape)` float32; mask `(⌈n/8⌉,)` uint8, bit i of the little-endian mask is weight i."""

    name = "masked"
    tensors = frozenset({"values", "mask"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """It holds any mask of a sparse layer."""
        return None if scheme else "a layer without a scheme has no mask"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Four bytes and one bit per weight."""
        return 4 * mask.size + -(-mask.size // 8)

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """The weight itself (a plain zero outside the mask, never −0) and its packed mask."""
        values = np.where(mask, weight, np.float32(0.0))
        return Encoded({"values": values, "mask": np.packbits(mask, bitorder="little")})

    def positions(self, parameter: Parameter) -> np.ndarray:
        """Positions of the set bits; values are stored densely."""
        bits = np.unpackbits(parameter.tensors["mask"], count=parameter.size, bitorder="little")
        return np.flatnonzero(bits).astype(np.int32)

    def decode(self, parameter: Parameter) -> np.ndarray:
        """A copy of the weight, which is zero outside its mask already."""
        return parameter.values.copy()

    def check(self, parameter: Parameter) -> None:
        """Shapes fit, spare bits are zero, and so is every weight outside the mask."""
        values = expect_tensor(parameter.tensors, "values", (np.float32,), parameter.shape).reshape(-1)
        mask = expect_tensor(parameter.tensors, "mask", (np.uint8,), (-(-parameter.size // 8),))
        if parameter.size % 8 and int(mask[-1]) >> parameter.size % 8:
            raise FormatError("the mask has bits set beyond the last weight")
        for start in range(0, parameter.size, PIECE):
            part = values[start : start + PIECE]
            bits = np.unpackbits(mask[start // 8 : (start + PIECE) // 8], count=part.size, bitorder="little")
            if part[bits == 0].any():
                raise FormatError("a weight outside the mask is not zero")
