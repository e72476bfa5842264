"""Keeps in fewer bits what the backward pass reads: a rewriting of the step list that knows no operator.

The forward pass is left as it is: it stores and reads floats, so that values, loss and statistics are those of float32.
Behind the last of its steps that reads a tensor stands one that narrows it, and from there on only the narrow copy is
held; so with tensors that are stored again in the backward pass, behind the last of the steps that do so together.
Of a tensor with a batch norm of its own the mean is taken off first, so that what is rounded is no larger than what the
norm tells apart. Backward steps read the copy in place of the floats; a step that cannot (`READS_SAVED` of
`edge.libmest.vocabulary`) finds them made again by a step before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.engines.native.node import Node
from edge.engines.native.slots import Slot, ViewSpec
from edge.engines.native.steps import Spec, Steps
from edge.libmest.vocabulary import READS_SAVED, saved_bytes


@dataclass(slots=True)
class _Tensor:
    """A stored tensor: who writes it, the last step of its run (the steps that store together), the last that reads it
    there, the statistics of its own batch norm, and whether a step behind the run reads it."""

    slot: Slot
    writer: Spec
    end: int
    last: int
    statistics: Slot | None = None
    kept: bool = False

    @property
    def node(self) -> Node:
        """Whose tensor it is."""
        assert self.writer.node is not None
        return self.writer.node

    def narrowed(self, storage: int) -> Slot:
        """A buffer for what is kept of it."""
        nbytes = saved_bytes(storage, self.slot.nbytes // 4)
        return Slot(self.slot.label, "saved activations", nbytes, storage, origin=self.statistics)

    def step(self, op: str, source: Slot, out: Slot) -> Spec:
        """The step that copies it from one form into the other: `narrow` or `widen`."""
        a, b = (ViewSpec(slot, self.node, self.node.image) for slot in (source, out))
        return Spec(op, f"{self.writer.name} {op}ed", self.node, a=a, b=b if op == "narrow" else None, out=out)


def keep_narrow(specs: Sequence[Spec], turn: int, storage: int) -> Steps:
    """The steps with what is kept in one of the forms of `SAVED`. `turn` is the last step of the forward pass."""
    kept = {slot: tensor for slot, tensor in _tensors(specs, turn).items() if tensor.kept}
    passing = {slot: Slot(slot.label, "workspace", slot.nbytes) for slot in kept}
    narrow = {slot: tensor.narrowed(storage) for slot, tensor in kept.items()}
    ending: dict[int, list[Slot]] = {}
    for slot, tensor in kept.items():
        ending.setdefault(tensor.last, []).append(slot)
    steps = Steps()
    for number, spec in enumerate(specs):
        in_floats = {slot: passing[slot] for slot in spec.tensors() if slot in kept and number <= kept[slot].end}
        for slot in dict.fromkeys(spec.tensors()):
            if slot in kept and slot not in in_floats and spec.op not in READS_SAVED:
                in_floats[slot] = Slot(slot.label, "workspace", slot.nbytes)
                steps.emit(kept[slot].step("widen", narrow[slot], in_floats[slot]))
        steps.emit(spec.with_tensors({**narrow, **in_floats}))
        for slot in ending.get(number, ()):
            steps.emit(kept[slot].step("narrow", passing[slot], narrow[slot]))
    return steps


def _tensors(specs: Sequence[Spec], turn: int) -> Mapping[Slot, _Tensor]:
    """Every stored tensor that steps touch in no other way than as one."""
    found: dict[Slot, _Tensor] = {}
    latest: dict[Node, _Tensor] = {}
    statistics: dict[Node, Slot] = {}
    ends = _ends_of_runs(specs, turn)
    for number, spec in enumerate(specs):
        for slot in set(spec.slots()) - set(spec.tensors()):
            found.pop(slot, None)
        if _stores(spec) and spec.out is not None and spec.out not in found and spec.node is not None:
            tensor = _Tensor(spec.out, spec, ends[number], number, statistics.get(spec.node))
            found[spec.out] = latest[spec.node] = tensor
        for slot in spec.tensors():
            if slot not in found:
                continue
            if number <= found[slot].end:
                found[slot].last = number
            else:
                found[slot].kept = True
        if spec.norm is not None and spec.norm.statistics is not None and spec.norm.node in latest:
            tensor = latest[spec.norm.node]
            if number <= tensor.end:
                statistics[tensor.node] = tensor.statistics = spec.norm.statistics
                tensor.last = number
    return found


def _stores(spec: Spec) -> bool:
    return spec.out is not None and spec.out.kind == "saved activations"


def _ends_of_runs(specs: Sequence[Spec], turn: int) -> Sequence[int]:
    """Of each step the last of its run: the forward pass, or consecutive steps that store tensors again."""
    ends = list(range(len(specs)))
    for number in range(len(specs) - 2, -1, -1):
        if number < turn or (number > turn and _stores(specs[number]) and _stores(specs[number + 1])):
            ends[number] = ends[number + 1]
    return ends
