"""What every compressed format offers, and the few things that they all state in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edge.errors import InputError
from edge.weight.parameter import Parameter


class FormatError(InputError):
    """A weight cannot be held in a format, or the arrays of a format contradict each other."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """The arrays of a weight in some format, and the two fields that some formats need."""

    tensors: dict[str, np.ndarray]
    height: int | None = None
    coding: str | None = None


class Format(ABC):
    """A way to store a weight with a mask. Masks are bool and of the weight's dense shape; True is kept.

    `height` is the number of rows of a block, for the scheme `block`; `groups` those of the convolution.
    """

    name: ClassVar[str]
    tensors: ClassVar[frozenset[str]]

    @abstractmethod
    def refusal(self, mask: np.ndarray, scheme: str | None, height: int | None, groups: int) -> str | None:
        """Why this format cannot hold the mask and mutate it within its scheme; None if it can."""

    @abstractmethod
    def encoded_bytes(self, mask: np.ndarray, height: int | None) -> int:
        """Bytes that `encode` will need, counted from the definition."""

    @abstractmethod
    def encode(self, weight: np.ndarray, mask: np.ndarray, height: int | None) -> Encoded:
        """The kept weights, bit for bit, with what tells where they belong."""

    @abstractmethod
    def positions(self, parameter: Parameter) -> np.ndarray:
        """Flat dense index, int32, of each kept weight: for compressed formats in the order of the stored values."""

    @abstractmethod
    def check(self, parameter: Parameter) -> None:
        """Raise FormatError unless all arrays are of the right type and shape and every index within range."""

    def decode(self, parameter: Parameter) -> np.ndarray:
        """The dense weight, zero where nothing is stored."""
        weight = np.zeros(parameter.size, parameter.values.dtype)
        weight[self.positions(parameter)] = parameter.values.ravel()
        return weight.reshape(parameter.shape)


def index_dtype(largest: int) -> np.dtype:
    """The smallest unsigned type of 8, 16 or 32 bits that holds an index."""
    return np.dtype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32)


def as_matrix(array: np.ndarray) -> np.ndarray:
    """A weight or mask as `(rows, columns)`, a view."""
    return array.reshape(array.shape[0], -1)


def expect_tensor(
    tensors: Mapping[str, np.ndarray], name: str, dtypes: tuple[type, ...], shape: tuple[int | None, ...]
) -> np.ndarray:
    """The named array; raises FormatError unless type and shape are as given (None: any size)."""
    if name not in tensors:
        raise FormatError(f"tensor {name!r} is missing")
    tensor = tensors[name]
    if tensor.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        raise FormatError(f"tensor {name!r} is {tensor.dtype}, expected {' or '.join(d.__name__ for d in dtypes)}")
    matches = tensor.ndim == len(shape) and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
    if not matches:
        stated = [size if size is not None else "any" for size in shape]
        raise FormatError(f"tensor {name!r} has shape {list(tensor.shape)}, expected {stated}")
    return tensor
