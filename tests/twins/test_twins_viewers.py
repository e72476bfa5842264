"""PyTorch's own functions read the memory snapshot of a record."""

from __future__ import annotations

import pickle  # noqa: TID251 - reads what it has written itself
from pathlib import Path

from report_example import MIB, RECORD
from torch.cuda import _memory_viz

from edge.report.snapshot import write_snapshot


def test_every_view_of_pytorch_s_memory_viz_reads_a_snapshot(tmp_path: Path) -> None:
    """Its accounts add up (it raises where they do not), and names and bytes are those of the record."""
    write_snapshot(RECORD, tmp_path / "memory.pickle")
    found = pickle.loads((tmp_path / "memory.pickle").read_bytes())
    lines = _memory_viz.memory(found, format_flamegraph=str)
    assert f"weights:0:values {3 * MIB}" in lines
    assert f"inactive;<gaps> {12 * MIB}" in lines
    assert "seg_" in _memory_viz.segments(found, format_flamegraph=str)
    assert "total_allocated: 4.0MiB" in _memory_viz.segsum(found)
    events = _memory_viz.trace(found)
    assert events.count("# free completed for") == len(RECORD.plan.buffers)
    for page in (_memory_viz.segment_plot(found), _memory_viz.trace_plot(found)):
        assert "snapshot.pickle" in page
    remaining = _memory_viz.filter_alloc_free_pairs(found)["device_traces"][0]
    assert [event["action"] for event in remaining] == ["alloc"] * len(RECORD.plan.items) + ["snapshot"]
