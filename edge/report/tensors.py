"""The tensors of a step's arena: where each lies and when, who reads it next, and why it lives so long."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from edge.plan.arena import plan_arena
from edge.report.moments import lifetime
from edge.report.numbers import bytes_text
from edge.report.record import Plan
from edge.report.steps import Step

PLACED_AGAIN = "the record states no offsets: tensors are placed here by the planner of this version"
# Where the picture of a step comes from: what an engine decides itself can only be estimated beforehand.
PLAN_SOURCE = {
    "native": "Every tensor has its fixed place in the arena, so this is what the engine holds.",
    "ort": (
        "ONNX Runtime places tensors itself and does not say where, so this is an estimate from the liveness of the "
        "graph; measured peaks are the kernel's all the same."
    ),
}
_WHY = {
    "saved activations": "kept because the backward pass reads it",
    "gradients": "kept until the update, or whatever it is handed on to, has read it",
    "workspace": "a short-lived result",
}


@dataclass(frozen=True)
class Tensor:
    """A buffer in its place: alive from step `first` to step `last`, both included, `offset` bytes into the arena.

    `uses` are the steps that touch it, ascending: the first writes it. Where a record does not state them they are
    the first and the last.
    """

    name: str
    kind: str
    nbytes: int
    offset: int
    first: int
    last: int
    uses: tuple[int, ...]

    def read_next(self, step: int) -> int | None:
        """The first step after `step` that touches it, or None."""
        later = bisect_right(self.uses, step)
        return self.uses[later] if later < len(self.uses) else None


def tensors(plan: Plan) -> tuple[Tensor, ...]:
    """The buffers of a plan that have bytes, in the plan's order; placed by the planner where no offsets are stated."""
    count = len(plan.steps or ("whole step",))
    offsets = plan.offsets or plan_arena(plan.buffers).offsets
    uses = plan.uses or tuple((buffer.first, buffer.last) for buffer in plan.buffers)
    found = []
    for buffer, offset, touched in zip(plan.buffers, offsets, uses, strict=True):
        first, last = lifetime(buffer, count)
        within = tuple(sorted({step for step in touched if first <= step <= last} | {first, last}))
        if buffer.nbytes > 0:
            found.append(Tensor(buffer.name, buffer.kind, buffer.nbytes, offset, first, last, within))
    return tuple(found)


def arena_bytes(plan: Plan, placed: Sequence[Tensor]) -> int:
    """The size of the block that the tensors lie in; what was placed again may need more than was planned."""
    return max([plan.arena_bytes, *(tensor.offset + tensor.nbytes for tensor in placed)])


def why(tensor: Tensor, steps: Sequence[Step]) -> str:
    """In a sentence or two: who writes the tensor, who reads it, and why it is alive that long."""
    first, last = steps[tensor.first], steps[tensor.last]
    if tensor.first == tensor.last:
        return f"Alive in {first.name} alone: {_WHY.get(tensor.kind, 'used there and nowhere else')}."
    length = tensor.last - tensor.first + 1
    reason = _WHY.get(tensor.kind, "held until its last reader")
    if tensor.kind == "saved activations" and last.direction == "forward":
        reason = "held until its last reader"
    between = [steps[use].name for use in tensor.uses[1:-1]]
    shown = ", ".join(between[:3]) + (f" and {len(between) - 3} more" if len(between) > 3 else "")
    readers = f"Read by {shown}, last by {last.name}" if between else f"Read by {last.name}"
    return f"Written in {first.name}. {readers} ({last.direction}). Alive for {length} steps: {reason}."


def summary(tensor: Tensor) -> str:
    """Name, size and place in a line."""
    end = tensor.offset + tensor.nbytes
    return f"{tensor.name}: {bytes_text(tensor.nbytes)} of {tensor.kind}, bytes {tensor.offset:,} to {end:,}"
