"""A record as a memory snapshot that PyTorch's viewer opens (pytorch.org/memory_viz, `torch.cuda._memory_viz`).

The viewer follows an allocator, so the arena is a segment in which tensors are allocated and freed as the plan places
them, and what lies outside the arena for the whole run is a second segment. Its reader unpickles plain types alone, up
to protocol 4; it looks up the block of every address in a segment, colours by category only if some event is of the
category "unknown", and wants a file and a name in every frame.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - only written here, never read
from collections.abc import Iterator, Sequence
from pathlib import Path
from sys import intern  # a text that is the same object is written once, so equal records make equal files
from typing import Any

from edge.files.durable import replaced, write_all
from edge.report.moments import KINDS
from edge.report.record import Record
from edge.report.steps import Step, course
from edge.report.tensors import Tensor, arena_bytes, tensors, why

PROTOCOL = 4  # the last one that the viewer's reader knows
ARENA, OUTSIDE = 1 << 32, 1 << 40  # addresses where the two segments begin
UNKNOWN = "unknown"
Plain = dict[str, Any]


def snapshot(record: Record) -> Plain:
    """What a caching allocator would have recorded over one training step.

    The process itself (kind "runtime") is no allocation of the network and stays out. At the end of the step the arena
    is free; every event bears the time of its step in microseconds.
    """
    steps, placed = course(record).steps, tensors(record.plan)
    kinds = [kind for kind in KINDS if kind != "runtime"]
    held = [item for kind in kinds for item in record.plan.items if item.kind == kind and item.nbytes > 0]
    addresses, top = [], OUTSIDE
    for item in held:
        addresses.append(top)
        top += item.nbytes
    trace, blocks = [], []
    for item, address in zip(held, addresses, strict=True):
        frames = [_frame(item.name, item.kind), _frame("outside the arena, for the whole run", "mest")]
        trace.append(_event("alloc", address, item.nbytes, 0, item.kind, frames))
        blocks.append(_block(address, item.nbytes, "active_allocated", frames))
    trace += _course_of(placed, steps)
    trace.append(_event("snapshot", 0, 0, _end(steps), UNKNOWN, [_frame("the end of the step", "mest")]))
    size = arena_bytes(record.plan, placed)
    segments = []
    if size:
        segments.append(_segment(ARENA, size, [_block(ARENA, size, "inactive", [])]))
    if blocks:
        segments.append(_segment(OUTSIDE, top - OUTSIDE, blocks))
    return {
        "segments": segments,
        "device_traces": [trace],
        "allocator_settings": {name: intern(getattr(record, name)) for name in ("network", "engine", "created")},
    }


def write_snapshot(record: Record, path: Path) -> None:
    """Write the snapshot as one pickle of plain types."""
    with replaced(path) as file:
        write_all(file, pickle.dumps(snapshot(record), protocol=PROTOCOL))


def _course_of(placed: Sequence[Tensor], steps: Sequence[Step]) -> Iterator[Plain]:
    """What begins and ends, step by step; what ended before a step is freed first, so that its place can be taken."""
    starts = [*(round(step.start_ms * 1000) for step in steps), _end(steps)]
    moments = [(tensor.first, 1, number) for number, tensor in enumerate(placed)]
    moments += [(tensor.last + 1, 0, number) for number, tensor in enumerate(placed)]
    frames = [_frames(tensor, steps) for tensor in placed]
    for place, begins, number in sorted(moments):
        tensor = placed[number]
        for action in ("alloc",) if begins else ("free_requested", "free_completed"):
            at = ARENA + tensor.offset
            yield _event(action, at, tensor.nbytes, starts[place], tensor.kind, frames[number])


def _end(steps: Sequence[Step]) -> int:
    """When the last step ends, in microseconds."""
    return round((steps[-1].start_ms + steps[-1].milliseconds) * 1000)


def _frames(tensor: Tensor, steps: Sequence[Step]) -> list[Plain]:
    """Innermost first, as a stack is printed: the tensor, why it lives, the step that writes it, its modules."""
    step = steps[tensor.first]
    path = [".".join(step.modules[: depth + 1]) for depth in range(len(step.modules))]
    inner = [_frame(tensor.name, tensor.kind), _frame(why(tensor, steps), "why")]
    return [*inner, _frame(step.name, step.direction), *(_frame(module, "module") for module in reversed(path))]


def _frame(name: str, where: str) -> Plain:
    return {"filename": intern(where), "line": 0, "name": intern(name)}


def _event(action: str, address: int, nbytes: int, microseconds: int, category: str, frames: list[Plain]) -> Plain:
    return {
        "action": action,
        "addr": address,
        "size": nbytes,
        "stream": 0,
        "time_us": microseconds,
        "category": intern(category),
        "frames": frames,
    }


def _block(address: int, nbytes: int, state: str, frames: list[Plain]) -> Plain:
    used = nbytes if state == "active_allocated" else 0
    return {"address": address, "size": nbytes, "requested_size": used, "state": state, "frames": frames}


def _segment(address: int, nbytes: int, blocks: list[Plain]) -> Plain:
    active = sum(block["requested_size"] for block in blocks)
    return {
        "device": 0,
        "address": address,
        "total_size": nbytes,
        "stream": 0,
        "segment_type": "large",
        "allocated_size": active,
        "active_size": active,
        "requested_size": active,
        "is_expandable": False,
        "frames": [],
        "blocks": blocks,
    }
