"""Rows of the program's tables, as steps carry them before anything has an address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from ctypes import Structure
from dataclasses import dataclass
from typing import Any

from edge.engines.native.node import Node
from edge.engines.native.places import Places
from edge.engines.native.slots import Slot
from edge.engines.native.weights import Tensor
from edge.libmest import program as structs
from edge.libmest import vocabulary


class Row(ABC):
    """What becomes a row of one of the tables in `edge.libmest.program.TABLES`; the struct that it makes says which."""

    __slots__ = ()

    def slots(self) -> Iterable[Slot | None]:
        """Every slot that the row names."""
        return ()

    @property
    def table_bytes(self) -> int:
        """Bytes of what the row itself holds for the library, beside slots and parameters."""
        return 0

    @abstractmethod
    def made(self, places: Places) -> Structure:
        """The row with the numbers of its operands."""

    def refresh(self, made: Any, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027 (most rows never change)
        """Take over the numbers of non-zeros into the row that was made."""


@dataclass(frozen=True, slots=True)
class NormSpec(Row):
    """A node's batch norm and those of its slots that the step touches.

    `statistics`: mean, 1/deviation and scale of this pass; `slopes`: the coefficients of the backward pass; `sums`: the
    threads' sums. `frozen`: the running statistics are used.
    """

    node: Node
    statistics: Slot | None = None
    slopes: Slot | None = None
    sums: Slot | None = None
    frozen: bool = False

    def slots(self) -> Iterator[Slot | None]:
        """Every slot that the step touches."""
        yield self.statistics
        yield self.slopes
        yield self.sums

    def made(self, places: Places) -> structs.Norm:
        """The batch norm's row."""
        norm, array = self.node.norm, places.operands.array
        assert norm
        found = structs.Norm(
            epsilon=norm.epsilon, momentum=norm.momentum, channels=self.node.image[0], frozen=self.frozen
        )
        tensors = {role: places.tensors[name] for role, name in norm.parameters().items()}
        found.gamma, found.beta = array(tensors["scale"].values), array(tensors["shift"].values)
        found.running_mean, found.running_var = array(tensors["mean"].values), array(tensors["variance"].values)
        found.gamma_grad, found.beta_grad = array(tensors["scale"].gradient), array(tensors["shift"].gradient)
        if self.statistics is not None:
            found.mean, found.rstd, found.scale = places.operands.parts(self.statistics, vocabulary.STATISTICS)
        if self.slopes is not None:
            found.slope, found.offset = places.operands.parts(self.slopes, vocabulary.SLOPES)
        found.partials = places.operands.slot(self.sums)
        return found
