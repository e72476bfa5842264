"""The files of a report: the record itself, the picture of its memory, the page, and what other viewers open."""

from __future__ import annotations

from pathlib import Path

from edge.report.charts import memory_over_step
from edge.report.comparison import PAGE, render_comparison
from edge.report.moments import timeline
from edge.report.page import render
from edge.report.record import Record, write_record
from edge.report.snapshot import write_snapshot
from edge.report.trace import write_trace

FILES = ("record.json", "memory.svg", "report.html", "trace.json", "memory.pickle")


def write_comparison(first: Record, second: Record, directory: Path) -> Path:
    """Write the page of two records into a directory; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / PAGE
    path.write_text(render_comparison(first, second), encoding="utf-8")
    return path


def write_report(record: Record, directory: Path) -> dict[str, Path]:
    """Write a report into a directory; return the paths of its files by their names.

    record.json, memory.svg and report.html; trace.json for Perfetto, and memory.pickle for PyTorch's memory_viz.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / name for name in FILES}
    write_record(record, paths["record.json"])
    picture = memory_over_step(timeline(record.plan), f"Memory over one training step: {record.network}")
    paths["memory.svg"].write_text(picture.standalone(), encoding="utf-8")
    paths["report.html"].write_text(render(record), encoding="utf-8")
    write_trace(record, paths["trace.json"])
    write_snapshot(record, paths["memory.pickle"])
    return paths
