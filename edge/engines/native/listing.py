"""Writes the list of steps of a training pass or a prediction, with the lifetime of every buffer."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.native.forward import Forward
from edge.engines.native.geometry import sample_groups
from edge.engines.native.gradients import Backward
from edge.engines.native.model import Model
from edge.engines.native.operators.loss import emit_logits, emit_loss
from edge.engines.native.operators.update import emit_update, emit_zeros
from edge.engines.native.saved import keep_narrow
from edge.engines.native.segments import Segment, cut_segments, dropped_nodes
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec, Steps
from edge.engines.native.walk import BackwardWalk, store
from edge.libmest.vocabulary import FLOAT32, SAVED
from edge.plan.footprint import Buffer


@dataclass(frozen=True)
class Listing:
    """The steps for one size of micro-batch: `start` of those repeated per micro-batch, `body` their end."""

    specs: tuple[Spec, ...]
    slots: tuple[Slot, ...]
    buffers: tuple[Buffer, ...]  # of the slots, in their order
    start: int
    body: int
    groups: int
    samples: int

    def uses(self) -> tuple[tuple[int, ...], ...]:
        """The steps that touch each slot, ascending, in the slots' order."""
        touched: dict[Slot, list[int]] = {slot: [] for slot in self.slots}
        for place, spec in enumerate(self.specs):
            for slot in set(spec.slots()):
                touched[slot].append(place)
        return tuple(map(tuple, touched.values()))


def training_listing(model: Model, micro_batch: int) -> Listing:
    """Zero the gradients; forward and backward of a micro-batch; update."""
    groups, samples = sample_groups(micro_batch)
    forward = Forward(model, groups, samples, training=True)
    emit_zeros(forward.steps)
    start = len(forward.steps.specs)
    segments = cut_segments(model.nodes) if model.choices.recompute == "blocks" else [Segment(model.nodes, ())]
    dropped = dropped_nodes(model.nodes) if model.choices.recompute == "activations" else frozenset()
    for node in model.nodes:
        store(forward, node)
    backward = Backward(forward)
    emit_loss(backward)
    turn = len(forward.steps.specs) - 1
    walk = BackwardWalk(backward, dropped)
    for number, segment in reversed(list(enumerate(segments))):
        if number < len(segments) - 2:
            walk.recompute(segment)
        for node in reversed(segment.nodes):
            walk.node(node)
    emit_update(forward.steps)
    steps, storage = forward.steps, SAVED.index(model.choices.saved)
    if storage != FLOAT32:
        steps = keep_narrow(steps.specs, turn, storage)
    return _listing(steps, start, len(steps.specs) - 1, groups, samples)


def prediction_listing(model: Model, micro_batch: int) -> Listing:
    """Forward in evaluation mode; logits."""
    groups, samples = sample_groups(micro_batch)
    forward = Forward(model, groups, samples, training=False)
    for node in model.nodes:
        store(forward, node)
    emit_logits(forward)
    return _listing(forward.steps, 0, len(forward.steps.specs), groups, samples)


def _listing(steps: Steps, start: int, body: int, groups: int, samples: int) -> Listing:
    return Listing(tuple(steps.specs), steps.slots(), steps.buffers(), start, body, groups, samples)
