"""Products of two values and softmax: a step for each value and each gradient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.engines.native.draft import Draft
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import stored
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network import Operator
from edge.network.operators.products import MatMul


@dataclass(frozen=True, slots=True)
class ProductRow(Row):
    """Sizes of a product, and which of its matrices are stored turned; `gradient_first`: of the step's two."""

    sizes: tuple[int, int, int, int]  # matrices, rows, numbers that are added up, columns
    first_turned: bool
    second_turned: bool
    gradient_first: bool = False

    def made(self, places: Places) -> structs.Product:
        """The row of the table."""
        return structs.Product(*self.sizes, self.first_turned, self.second_turned, self.gradient_first)


class Multiplying(Rule):
    """Reads both matrices as they are stored."""

    pushes_in_place = True
    heavy = True

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """A node that reads stored floats."""
        plain = tuple(stored(draft, value, f"{operator.name}.{number}") for number, value in enumerate(inputs))
        return super().take_up(draft, operator, plain)

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """Both matrices."""
        return tuple(value.node.base for value in node.inputs)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        (first, second), op = node.inputs, _product(node)
        rows = {"product": ProductRow(op.sizes(first.image, second.image), op.first_turned, op.second_turned)}
        forward.steps.emit(
            Spec("matmul", label, node, a=forward.value(first), b=forward.value(second), out=out, rows=rows)
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step for each matrix whose gradient is wanted: the result's gradient times the other."""
        (first, second), op = node.inputs, _product(node)
        if not backward.wanted(first) and not backward.wanted(second):
            return
        gradient = backward.grad_in_place(node)
        channels, m, k, n = op.sizes(first.image, second.image)
        left, right = op.first_turned, op.second_turned
        of_first = ((channels, k, n, m), right, True) if left else ((channels, m, n, k), False, not right)
        of_second = ((channels, n, m, k), True, left) if right else ((channels, k, m, n), not left, False)
        for value, other, row in (
            (first, second, ProductRow(*of_first, gradient_first=not left)),
            (second, first, ProductRow(*of_second, gradient_first=right)),
        ):
            if not backward.wanted(value):
                continue
            out, accumulate = backward.target(value)
            backward.steps.emit(
                Spec(
                    "matmul_grad",
                    f"{node.name} gradient to {value.node.name}",
                    node,
                    a=backward.forward.value(other),
                    g=gradient,
                    out=out,
                    rows={"product": row},
                    numbers={"accumulate": accumulate},
                )
            )


class Softening(Rule):
    """The backward step computes the numbers again, row by row."""

    pushes_in_place = True
    cheap = True

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """A node that reads stored floats."""
        return super().take_up(draft, operator, (stored(draft, inputs[0], operator.name),))

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The input."""
        return (node.inputs[0].node.base,)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        floats = 2 * forward.samples
        scratch = forward.scratch(f"{label} scratch", floats)
        a = forward.value(node.inputs[0])
        forward.steps.emit(Spec("softmax", label, node, a=a, out=out, scratch=scratch, scratch_floats=floats))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step, with a row of numbers in scratch."""
        value, forward = node.inputs[0], backward.forward
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value)
        floats = (node.image[2] + 2) * forward.samples
        backward.steps.emit(
            Spec(
                "softmax_grad",
                f"{node.name} gradient",
                node,
                a=forward.value(value),
                g=gradient,
                out=out,
                scratch=forward.scratch(f"{node.name} gradient scratch", floats),
                scratch_floats=floats,
                numbers={"accumulate": accumulate},
            )
        )


def _product(node: Node) -> MatMul:
    assert isinstance(node.operator, MatMul)
    return node.operator
