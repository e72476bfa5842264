"""The channels of several values as one tensor."""

from __future__ import annotations

from collections.abc import Iterator

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec


class Concatenation(Rule):
    """One step for each part, in both directions: it is written, or its gradient read, between the others' channels."""

    adds_sums = True
    cheap = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """Each input's value to its place."""
        whole = GradSpec(None, node, node.image)
        for number, (value, numbers) in enumerate(_parts(node)):
            a = forward.value(value)
            forward.steps.emit(
                Spec("concat", f"{label} {number}", node, a, g=whole, out=out, norm=norm, numbers=numbers)
            )

    def backward(self, backward: Backward, node: Node) -> None:
        """To each input the gradient of its channels; one that is joined twice gets both."""
        parts = [(value, numbers) for value, numbers in _parts(node) if backward.wanted(value)]
        for number, (value, numbers) in enumerate(parts):
            out, accumulate = backward.target(value)
            again = any(other.node is value.node for other, _ in parts[number + 1 :])
            complete = value.whole and not again
            sums, summed = backward.sums_on_the_way(value.node, out) if complete else (None, None)
            backward.steps.emit(
                Spec(
                    "concat_grad",
                    f"{node.name} gradient to {value.node.name}",
                    node,
                    g=backward.grad(node),
                    sums=sums,
                    out=out,
                    sums_norm=summed,
                    numbers={**numbers, "accumulate": accumulate},
                )
            )


def _parts(node: Node) -> Iterator[tuple[Value, dict[str, float]]]:
    """The inputs, each with the place of its channels in the whole."""
    first = 0
    for value in node.inputs:
        yield value, {"first_channel": first, "part_channels": value.image[0]}
        first += value.image[0]
