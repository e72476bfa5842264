"""Max and average pooling, over windows or whole images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network import AvgPool, GlobalAvgPool, MaxPool


@dataclass(frozen=True, slots=True)
class PoolRow(Row):
    """A window over its input."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]
    output: tuple[int, ...]  # height, width
    count_include_pad: bool

    def made(self, places: Places) -> structs.Pool:
        """The row of the table."""
        return structs.Pool(
            *self.kernel, *self.stride, *self.dilation, *self.padding, *self.output, int(self.count_include_pad)
        )


class Pooling(Rule, ABC):
    """One step `op` each way, with a plane of the input in scratch."""

    op: str
    pushes_in_place = True

    @abstractmethod
    def window(self, node: Node) -> PoolRow:
        """The node's window."""

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        floats = scratch_floats(node.inputs[0], forward.samples)
        forward.steps.emit(
            Spec(
                self.op,
                label,
                node,
                a=forward.value(node.inputs[0]),
                out=out,
                rows={"pool": self.window(node)},
                scratch=forward.scratch(f"{label} scratch", floats),
                scratch_floats=floats,
            )
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step, if the input's gradient is wanted."""
        value, forward = node.inputs[0], backward.forward
        if not backward.wanted(value):
            return
        out, accumulate = backward.target(value)
        floats = scratch_floats(value, forward.samples)
        backward.steps.emit(
            Spec(
                f"{self.op}_grad",
                f"{node.name} gradient",
                node,
                a=forward.value(value),
                g=backward.grad_in_place(node),
                out=out,
                rows={"pool": self.window(node)},
                scratch=forward.scratch(f"{node.name} gradient scratch", floats),
                scratch_floats=floats,
                numbers={"accumulate": accumulate},
            )
        )


class MaxPooling(Pooling):
    """The backward pass looks for the largest again."""

    op = "max_pool"

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The input."""
        return (node.inputs[0].node.base,)

    def window(self, node: Node) -> PoolRow:
        """The node's window."""
        pool = node.operator
        assert isinstance(pool, MaxPool)
        return PoolRow(pool.kernel, pool.stride, pool.dilation, pool.padding, pool.shape[1:], False)


class AveragePooling(Pooling):
    """The backward pass reads no values."""

    op = "avg_pool"

    def window(self, node: Node) -> PoolRow:
        """The node's window."""
        pool = node.operator
        assert isinstance(pool, AvgPool)
        return PoolRow(pool.kernel, pool.stride, (1, 1), pool.padding, pool.shape[1:], pool.count_include_pad)


class GlobalPooling(AveragePooling):
    """One window over the whole image."""

    def window(self, node: Node) -> PoolRow:
        """The node's window."""
        assert isinstance(node.operator, GlobalAvgPool)
        _, height, width = node.inputs[0].image
        return PoolRow((height, width), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), False)


def scratch_floats(value: Value, samples: int) -> int:
    """Scratch of a pooling step per thread: one plane of its input, and two rows of samples."""
    floats = (prod(value.image[1:]) + 2) * samples
    return floats + -floats % 16
