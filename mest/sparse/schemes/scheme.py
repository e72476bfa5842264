"""The shape of the zeros. A scheme is a small frozen value; everything that depends on it goes through its methods."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from mest.errors import InputError
from mest.sparse.decimals import weights_of
from mest.sparse.registry import Registry
from mest.sparse.select import best

Shape = tuple[int, ...]


class Scheme(ABC):
    """What a unit of removal is: a weight, a block, a kernel, a channel.

    A weight tensor has shape `(out, in/groups, kh, kw)` or `(out, in)`. Its units form a grid; scores, priorities and
    the set of living units are tensors of the grid's shape, masks are bool tensors of the weight's shape.
    One's own scheme defines `name`, `grid`, `unit_scores` and `expand`; the rest has defaults.
    """

    name: ClassVar[str]
    #: the lowest weight sparsity that the scheme can express
    densest: ClassVar[Fraction] = Fraction(0)
    #: whether the weight of a transposed convolution, `(in, out/groups, kh, kw)`, can have zeros of this shape
    takes_transposed: ClassVar[bool] = True

    @classmethod
    def parse(cls, argument: str | None) -> Scheme:
        """The scheme for what follows the colon in its spelling. Raises InputError where nothing may follow."""
        if argument is not None:
            raise InputError(f"scheme {cls.name!r} takes no argument, got {argument!r}; write {cls.name!r}")
        return cls()

    def __str__(self) -> str:
        """The spelling that `parse_scheme` reads."""
        return self.name

    def problem(self, shape: Shape, groups: int = 1) -> str | None:
        """Why the scheme cannot take such a layer and what to do, without the layer's name; None if it can."""
        return None

    @abstractmethod
    def grid(self, shape: Shape) -> Shape:
        """Shape of the grid of units."""

    @abstractmethod
    def unit_scores(self, score: Tensor) -> Tensor:
        """Scores of the units, in the grid's shape, from non-negative scores of the weights."""

    @abstractmethod
    def expand(self, units: Tensor, shape: Shape) -> Tensor:
        """Bool mask in the weight's shape that is True for every weight of the given units."""

    def units(self, shape: Shape) -> int:
        """Number of units in the layer."""
        return weights_of(self.grid(shape))

    def unit_weights(self, shape: Shape) -> int:
        """Weights that one kept unit holds."""
        return weights_of(shape) // self.units(shape)

    def open(self, score: Tensor) -> Tensor:
        """The densest mask that the scheme allows, chosen by the scores of the weights."""
        return torch.ones_like(score, dtype=torch.bool)

    def alive(self, mask: Tensor) -> Tensor:
        """Bool grid of the units that have weights in `mask`."""
        return self.unit_scores(mask.to(torch.float32)) > 0

    def cells(self, units: Tensor, shape: Shape, generator: torch.Generator, gradient: Tensor | None) -> Tensor:
        """Bool mask of the weights that newly grown units get."""
        return self.expand(units, shape)

    def keep(self, scores: Tensor, alive: Tensor, count: int) -> Tensor:
        """Bool grid of exactly `count` of the living units: those that score highest."""
        return best(scores, alive, count)

    def grow(self, priority: Tensor, alive: Tensor, total: int) -> Tensor:
        """Bool grid of the dead units that bring the living ones to `total`: those of highest priority."""
        return best(priority, ~alive, total - int(alive.count_nonzero()))

    def index_bytes(self, shape: Shape, kept: int) -> int:
        """Bytes of indices in the compressed form with `kept` units. One's own scheme: a bit per unit."""
        return -(-self.units(shape) // 8)


SCHEMES: Registry[Scheme] = Registry("scheme", Scheme, lambda scheme, argument: scheme.parse(argument))  # type: ignore[type-abstract]

#: the published spellings of SPARSITY_TYPE
_PUBLISHED = {"pattern+filter_balance": "pattern"}
_PUBLISHED_BLOCK = re.compile(r"free_block_prune_column_(\d+)")


def register_scheme(scheme: type[Scheme]) -> type[Scheme]:
    """The class itself, now known to `parse_scheme` by its name: usable as a decorator."""
    return SCHEMES.register_class(scheme)


def parse_scheme(text: str | Scheme) -> Scheme:
    """The scheme that `text` spells; a scheme is returned as it is.

    Spellings are `irregular`, `block`, `block:8`, `pattern`, `channel`, the published names, registered ones, and
    `module:Class` with what follows another colon. Raises InputError with those that would have worked.
    """
    if isinstance(text, Scheme):
        return text
    name = _PUBLISHED.get(text, text)
    if block := _PUBLISHED_BLOCK.fullmatch(name):
        name = f"block:{block[1]}"
    return SCHEMES.make(name)


def column_bytes(columns: int) -> int:
    """Bytes of one index below `columns`: 1, 2 or 4."""
    return 1 if columns <= 1 << 8 else 2 if columns <= 1 << 16 else 4


def is_depthwise(shape: Shape, groups: int) -> bool:
    """True for a convolution in which every filter reads one channel."""
    return groups > 1 and shape[1] == 1
