"""The files of a report: the record itself, the picture of its memory, and the page."""

from __future__ import annotations

from pathlib import Path

from edge.report.charts import memory_over_step
from edge.report.moments import timeline
from edge.report.page import render
from edge.report.record import Record, write_record


def write_report(record: Record, directory: Path) -> dict[str, Path]:
    """Write record.json, memory.svg and report.html into a directory; return their paths by those names."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = {name: directory / name for name in ("record.json", "memory.svg", "report.html")}
    write_record(record, paths["record.json"])
    picture = memory_over_step(timeline(record.plan), f"Memory over one training step: {record.network}")
    paths["memory.svg"].write_text(picture.standalone(), encoding="utf-8")
    paths["report.html"].write_text(render(record), encoding="utf-8")
    return paths
