"""Dense: every weight, in PyTorch's order."""

from __future__ import annotations

import numpy as np

from edge.weight.formats.format import Encoded, Format, expect_tensor
from edge.weight.parameter import Parameter


class Dense(Format):
    """values `(shape)`: float32, or int32 for the channel list of a select."""

    name = "dense"
    tensors = frozenset({"values"})

    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """A mask with zeros would be lost."""
        return None if mask.all() else "a dense weight does not remember which weights are zero"

    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Four bytes per weight."""
        return 4 * mask.size

    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """The weight itself."""
        return Encoded({"values": weight})

    def positions(self, parameter: Parameter) -> np.ndarray:
        """0 to n − 1."""
        return np.arange(parameter.size, dtype=np.int32)

    def decode(self, parameter: Parameter) -> np.ndarray:
        """A copy of the weight."""
        return parameter.values.copy()

    def check(self, parameter: Parameter) -> None:
        """Values of the dense shape."""
        expect_tensor(parameter.tensors, "values", (np.float32, np.int32), parameter.shape)
