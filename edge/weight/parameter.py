"""A stored tensor of the native network: its dense shape, its format, and the arrays that the format consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

SCHEMES = ("irregular", "block", "pattern", "channel")


@dataclass(frozen=True, eq=False, slots=True)
class Parameter:
    """A parameter as docs/network-format.md describes it. `shape` is the dense shape, whatever the format stores.

    A weight is seen as a matrix of `rows` output channels and `columns` = in/groups · kh · kw.
    """

    name: str
    shape: tuple[int, ...]
    tensors: Mapping[str, np.ndarray] = field(repr=False)
    format: str = "dense"
    trainable: bool = True
    scheme: str | None = None
    height: int | None = None  # rows of a block
    target_sparsity: float | None = None  # weight sparsity: zeros ÷ all weights
    coding: str | None = None  # of csr columns: "absolute" or "delta"

    @property
    def size(self) -> int:
        """Number of weights of the dense shape."""
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """Output channels (or entries of a vector)."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """Weights per output channel."""
        return prod(self.shape[1:])

    @property
    def values(self) -> np.ndarray:
        """The stored weights, in the shape that the format gives them."""
        return self.tensors["values"]

    @property
    def nonzeros(self) -> int:
        """Number of weights that are kept: all of them where no format leaves any out."""
        if self.format == "masked":
            return int(np.unpackbits(self.tensors["mask"], count=self.size, bitorder="little").sum(dtype=np.int64))
        return int(self.values.size)

    @property
    def sparse(self) -> bool:
        """True if a scheme says which weights exist."""
        return self.scheme is not None

    @property
    def sparsity(self) -> float:
        """Weight sparsity: zeros over all weights."""
        return 1.0 - self.nonzeros / self.size

    @property
    def index_bytes(self) -> int:
        """Bytes of everything that is not a weight."""
        return sum(tensor.nbytes for name, tensor in self.tensors.items() if name != "values")

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())
