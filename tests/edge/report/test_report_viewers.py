"""What other viewers open keeps to their rules: Chrome's trace event format, and what PyTorch's memory_viz reads."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - reads what it has written itself
import pickletools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_example import MIB, PLAN, RECORD

from edge.plan.footprint import Buffer
from edge.report.record import OperatorCost, Profile, Reading, Record
from edge.report.snapshot import ARENA, snapshot, write_snapshot
from edge.report.steps import course
from edge.report.tensors import PLACED_AGAIN, tensors, why
from edge.report.trace import write_trace

# What the reader of MemoryViz.js (PyTorch 2.6) knows.
OPCODES = {
    "APPEND", "APPENDS", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINPUT", "BINUNICODE",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "FRAME", "LONG1", "LONG_BINGET", "MARK", "MEMOIZE", "NEWFALSE",
    "NEWTRUE", "NONE", "PROTO", "SETITEM", "SETITEMS", "SHORT_BINUNICODE", "STOP", "TUPLE", "TUPLE1", "TUPLE2",
}  # fmt: skip
OFFSETS, USES = (0, 8 * MIB, 8 * MIB), ((0, 1, 2), (1,), (2,))
STEPS = ("layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv1 gradient", "update")
TIMED = Profile(
    "Timed around every operator",
    3,
    Reading(6.0),
    (
        OperatorCost("layer1.0.conv1", "conv", "forward", 2.0004),
        OperatorCost("layer1.0.conv2", "conv", "forward", 1.0),
        OperatorCost("layer1.0.conv1", "conv_grad", "backward", 3.3333),
        OperatorCost("update", "update", "update", 0.1),
    ),
)
PLACED = replace(RECORD, plan=replace(PLAN, offsets=OFFSETS, uses=USES, steps=STEPS), profile=TIMED)


def trace_of(record: Record, folder: Path) -> dict[str, Any]:
    write_trace(record, folder / "trace.json")
    found: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    return found


@pytest.mark.parametrize("record", [PLACED, RECORD], ids=["stated and timed", "neither"])
def test_a_trace_keeps_the_rules_of_its_format(record: Record, tmp_path: Path) -> None:
    """Times ascend, slices of a thread nest, every span that begins ends, counters are numbers, tracks have names."""
    events = trace_of(record, tmp_path)["traceEvents"]
    timed = [event for event in events if event["ph"] != "M"]
    assert {event["ph"] for event in timed} == {"X", "b", "e", "C"}
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    named = {(event["pid"], event["tid"]) for event in events if event["name"] in ("process_name", "thread_name")}
    for event in timed:
        assert (event["pid"], event["tid"]) in named
        assert isinstance(event["name"], str)
    for thread in (1, 2):
        ends: list[float] = []
        for event in (event for event in timed if event["ph"] == "X" and event["tid"] == thread):
            while ends and ends[-1] <= event["ts"] + 1e-6:
                ends.pop()
            ends.append(event["ts"] + event["dur"])
            assert ends == sorted(ends, reverse=True)
    begun: dict[tuple[str, str], int] = {}
    for event in (event for event in timed if event["ph"] in "be"):
        key = (event["cat"], event["id2"]["local"])
        begun[key] = begun.get(key, 0) + (1 if event["ph"] == "b" else -1)
        assert begun[key] in (0, 1)
    assert set(begun.values()) == {0}
    for event in (event for event in timed if event["ph"] == "C"):
        assert all(isinstance(value, int) for value in event["args"].values())


def test_a_trace_says_whose_times_it_shows_and_where_tensors_lie(tmp_path: Path) -> None:
    """Measured times are a step's own; without any every step is 1 ms long, and both say so."""
    trace = trace_of(PLACED, tmp_path)
    operators = [event for event in trace["traceEvents"] if event["ph"] == "X" and event["tid"] == 1]
    assert [event["ts"] for event in operators] == [0, 2000.4, 3000.4, 6333.7]
    assert {event["args"]["times"] for event in operators} == {"measured"}
    assert [event["args"]["direction"] for event in operators] == ["forward", "forward", "backward", "update"]
    modules = [(e["args"]["module"], e["cat"]) for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == 2]
    assert modules[:4] == [(f"layer1{inner}", "forward") for inner in ("", ".0", ".0.conv1", ".0.conv2")]
    spans = [event["args"] for event in trace["traceEvents"] if event["ph"] == "b"]
    assert [(span["bytes"], span["offset"]) for span in spans] == [
        (8 * MIB, 0),
        (2 * MIB, 8 * MIB),
        (4 * MIB, 8 * MIB),
    ]
    assert trace["otherData"]["times"] == "measured: timed around every operator"
    assert "offsets" not in trace["otherData"]
    planned = trace_of(RECORD, tmp_path)
    assert planned["otherData"]["offsets"] == PLACED_AGAIN
    assert planned["otherData"]["times"].startswith("planned order")
    assert {e["dur"] for e in planned["traceEvents"] if e["ph"] == "X" and e["tid"] == 1} == {1000}


def test_a_snapshot_is_plain_and_known_to_the_viewer_s_reader(tmp_path: Path) -> None:
    """No opcode that its reader lacks, so no class and no function either; what is read back is what was meant."""
    write_snapshot(PLACED, tmp_path / "memory.pickle")
    content = (tmp_path / "memory.pickle").read_bytes()
    assert {opcode.name for opcode, _, _ in pickletools.genops(content)} <= OPCODES
    assert pickle.loads(content) == snapshot(PLACED)


@pytest.mark.parametrize("record", [PLACED, RECORD], ids=["stated", "placed again"])
def test_a_snapshot_is_what_an_allocator_could_have_done(record: Record) -> None:
    """Segments are filled by their blocks; nothing is allocated where something lives, or freed that does not."""
    found = snapshot(record)
    for segment in found["segments"]:
        assert sum(block["size"] for block in segment["blocks"]) == segment["total_size"]
    trace = found["device_traces"][0]
    assert "unknown" in {event["category"] for event in trace}
    live: dict[int, int] = {}
    requested: set[int] = set()
    for event in trace:
        address, size = event["addr"], event["size"]
        assert all(frame["filename"] and frame["name"] for frame in event["frames"])
        if event["action"] == "alloc":
            assert all(address + size <= other or other + live[other] <= address for other in live)
            assert any(s["address"] <= address <= s["address"] + s["total_size"] - size for s in found["segments"])
            live[address] = size
        elif event["action"] == "free_requested":
            requested.add(address)
        elif event["action"] == "free_completed":
            requested.remove(address)
            assert live.pop(address) == size
    held = {block["address"] for s in found["segments"] for block in s["blocks"] if block["state"] != "inactive"}
    assert set(live) == held
    assert all(address >= ARENA for address in held)


def test_an_empty_plan_makes_files_too(tmp_path: Path) -> None:
    """Nothing planned is one moment without tensors."""
    empty = replace(RECORD, plan=replace(PLAN, items=(), buffers=(), steps=(), arena_bytes=0), profile=None)
    assert snapshot(empty)["segments"] == []
    assert [e["name"] for e in trace_of(empty, tmp_path)["traceEvents"] if e["ph"] == "X"] == ["whole step"] * 2


def test_a_tensor_says_who_reads_it_and_why_it_lives() -> None:
    """By eye: written forward, read in between, last read by the backward pass, which it waits for."""
    first, scratch, _ = tensors(PLACED.plan)
    steps = course(PLACED).steps
    assert why(first, steps) == (
        "Written in layer1.0.conv1. Read by layer1.0.conv2, last by layer1.0.conv1 gradient (backward). "
        "Alive for 3 steps: kept because the backward pass reads it."
    )
    assert why(scratch, steps) == "Alive in layer1.0.conv2 alone: a short-lived result."
    assert [first.read_next(step) for step in range(3)] == [1, 2, None]
    assert [step.direction for step in course(replace(PLACED, profile=None)).steps] == [
        "forward",
        "forward",
        "backward",
        "update",
    ]


def test_tensors_without_offsets_are_placed_where_the_planner_would() -> None:
    """None of those that live at once share bytes, and what has no bytes is left out."""
    plan = replace(PLAN, buffers=(*PLAN.buffers, Buffer("nothing", "workspace", 0, 0, 3)))
    placed = tensors(plan)
    assert [tensor.name for tensor in placed] == [buffer.name for buffer in PLAN.buffers]
    assert [tensor.offset for tensor in placed] == [0, 8 * MIB, 8 * MIB]
