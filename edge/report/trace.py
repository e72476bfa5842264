"""A record in Chrome's trace event format, which Perfetto, chrome://tracing and speedscope open.

Operators are complete events ("X") on one track and their modules on another, nested; tensors are asynchronous spans
("b" and "e") with their bytes and their place in the arena; the kinds of memory are a counter ("C"). Times are in
microseconds from the start of a training step, and say themselves whether they were measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from edge.files.durable import replaced_text
from edge.report.moments import timeline
from edge.report.record import Record
from edge.report.steps import Course, Step, course
from edge.report.tensors import PLACED_AGAIN, PLAN_SOURCE, Tensor, tensors, why

STEP, ARENA = 1, 2  # processes of the trace
OPERATORS, MODULES = 1, 2  # threads of the first
Event = dict[str, Any]


def events(record: Record) -> Iterator[Event]:
    """The events of a record in ascending order of time, the names of the tracks first."""
    run = course(record)
    placed = tensors(record.plan)
    yield from _names(record, run)
    timed = [*_operators(run), *_modules(run.steps), *_tensors(placed, run.steps), *_counters(record, run)]
    yield from sorted(timed, key=lambda event: (event["ts"], event["ph"] != "e", -event.get("dur", 0)))


def write_trace(record: Record, path: Path) -> None:
    """Write the trace as one JSON file, an event a line; an event at a time is turned into text."""
    with replaced_text(path) as file:
        file.write('{"displayTimeUnit": "ms", "otherData": ')
        json.dump(_facts(record), file)
        file.write(', "traceEvents": [')
        for place, event in enumerate(events(record)):
            file.write(",\n" if place else "\n")
            json.dump(event, file, allow_nan=False)
        file.write("\n]}\n")


def _facts(record: Record) -> dict[str, str]:
    """What the trace says of itself; values are text, as viewers show them."""
    placed = {} if record.plan.offsets else {"offsets": PLACED_AGAIN}
    known = {"tensors": PLAN_SOURCE[record.engine]} if record.engine in PLAN_SOURCE else {}
    return {
        "network": record.network,
        "command": record.command,
        "created": record.created,
        "engine": record.engine,
        "times": course(record).source,
        "arena_bytes": str(record.plan.arena_bytes),
        **placed,
        **known,
    }


def _names(record: Record, run: Course) -> Iterator[Event]:
    """How the tracks are called, and in which order they stand."""
    timed = "measured" if run.timed else "planned order, 1 ms each"
    threads = {OPERATORS: f"operators ({timed})", MODULES: "modules"}
    for pid, name in ((STEP, f"a training step of {record.network}"), (ARENA, "tensors of the arena (planned)")):
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
    for tid, name in threads.items():
        yield {"ph": "M", "name": "thread_name", "pid": STEP, "tid": tid, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": STEP, "tid": tid, "args": {"sort_index": tid}}


def _operators(run: Course) -> Iterator[Event]:
    for step in run.steps:
        times = "measured" if run.timed else "planned order"
        arguments = {"module": ".".join(step.modules), "direction": step.direction, "times": times}
        yield _slice(step.name, step.direction, OPERATORS, step.start_ms, _end(step), arguments)


def _modules(steps: Sequence[Step], depth: int = 0) -> Iterator[Event]:
    """A slice for each run of steps in one module, with those of its parts inside it."""
    for (name, direction), run in groupby(steps, lambda step: (step.modules[depth : depth + 1], step.direction)):
        inside = list(run)
        if not name:
            continue
        path = ".".join(inside[0].modules[: depth + 1])
        yield _slice(name[0], direction, MODULES, inside[0].start_ms, _end(inside[-1]), {"module": path})
        yield from _modules(inside, depth + 1)


def _slice(name: str, category: str, thread: int, start_ms: float, end_ms: float, arguments: Event) -> Event:
    start, end = _micro(start_ms), _micro(end_ms)
    times = {"ts": start, "dur": round(end - start, 3)}
    return {"ph": "X", "name": name, "cat": category, "pid": STEP, "tid": thread, **times, "args": arguments}


def _tensors(placed: Sequence[Tensor], steps: Sequence[Step]) -> Iterator[Event]:
    for number, tensor in enumerate(placed):
        same = {"cat": tensor.kind, "name": tensor.name, "id2": {"local": f"0x{number + 1:x}"}, "pid": ARENA, "tid": 0}
        arguments = {
            "bytes": tensor.nbytes,
            "offset": tensor.offset,
            "kind": tensor.kind,
            "used by": ", ".join(steps[use].name for use in tensor.uses),
            "why": why(tensor, steps),
        }
        yield {"ph": "b", **same, "ts": _micro(steps[tensor.first].start_ms), "args": arguments}
        yield {"ph": "e", **same, "ts": _micro(_end(steps[tensor.last])), "args": {}}


def _counters(record: Record, run: Course) -> Iterator[Event]:
    line = timeline(record.plan)
    for place, step in enumerate(run.steps):
        held = {kind: series[place] for kind, series in line.by_kind.items()}
        yield _counter(_micro(step.start_ms), held)
    yield _counter(_micro(_end(run.steps[-1])), {kind: series[-1] for kind, series in line.by_kind.items()})


def _counter(ts: float, held: dict[str, int]) -> Event:
    return {"ph": "C", "name": "memory in bytes", "pid": STEP, "tid": 0, "ts": ts, "args": held}


def _end(step: Step) -> float:
    return step.start_ms + step.milliseconds


def _micro(milliseconds: float) -> float:
    """Microseconds, to the nanosecond: what begins where something ends must begin there in the file as well."""
    return round(milliseconds * 1000, 3)
