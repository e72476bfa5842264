"""Group, instance and layer norm: one step each way, which reads the input again and the statistics that it kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network.operators.sample_norm import SampleNorm


@dataclass(frozen=True, slots=True)
class SampleNormRow(Row):
    """The node's normalisation and where its mean and 1/deviation lie."""

    node: Node
    statistics: Slot

    def slots(self) -> Iterator[Slot | None]:
        """The statistics."""
        yield self.statistics

    def made(self, places: Places) -> structs.SampleNorm:
        """The row of the table."""
        norm, array = _norm(self.node), places.operands.array
        tensors = {role: places.tensors[name] for role, name in norm.parameters().items()}
        found = structs.SampleNorm(epsilon=norm.epsilon, groups=norm.sets)
        found.mean, found.rstd = places.operands.parts(self.statistics, 2)
        for role, numbers in (("scale", "gamma"), ("shift", "beta")):
            if role in tensors:
                setattr(found, numbers, array(tensors[role].values))
                setattr(found, f"{numbers}_grad", array(tensors[role].gradient))
                found.per_cell = int(tensors[role].values.size > self.node.image[0])
        return found


class Normalisation(Rule):
    """Two numbers a set and sample are kept for the backward pass."""

    takes_activation = True
    pushes_in_place = True

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The input."""
        return (node.inputs[0].node.base,)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        sets = _norm(node).sets or prod(node.image[1:])
        nbytes = 2 * 4 * sets * forward.groups * forward.samples
        kept = forward.kept[node] = Slot(f"{label} statistics", "saved activations", nbytes)
        forward.steps.emit(
            Spec(
                "sample_norm",
                label,
                node,
                a=forward.value(node.inputs[0]),
                out=out,
                rows={"samplenorm": SampleNormRow(node, kept)},
                numbers={"act": node.store_act},
            )
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step for all that is wanted: the gradients of input, scale and shift."""
        value, forward = node.inputs[0], backward.forward
        input_grad = backward.wanted(value)
        if not input_grad and backward.model.trained.isdisjoint(_norm(node).parameters().values()):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value) if input_grad else (None, 0)
        backward.steps.emit(
            Spec(
                "sample_norm_grad",
                f"{node.name} gradient",
                node,
                a=forward.value(value),
                g=gradient,
                out=out,
                rows={"samplenorm": SampleNormRow(node, forward.kept[node])},
                numbers={"accumulate": accumulate, "input_grad": int(input_grad)},
            )
        )


def _norm(node: Node) -> SampleNorm:
    assert isinstance(node.operator, SampleNorm)
    return node.operator
