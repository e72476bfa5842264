"""A walk as the commands would have told it, small enough to change one number at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.report.record import Limit, Measured, Plan, Reading, Record, write_record
from mest.demo.commands import Done
from mest.demo.material import make_material
from mest.demo.walk import MIB, Settings, Walk

RECORD = Record(
    command="finetune",
    created="2026-03-04T05:06:00+00:00",
    network="digits",
    engine="native",
    engine_reason="the fastest engine that fits",
    board={},
    choices={},
    plan=Plan(30 * MIB, 45 * MIB, 15 * MIB, 20 * MIB),
    measured=Measured(Reading(30 * MIB), Reading(40 * MIB), Reading(0), Limit("none", "nothing")),
    budget_bytes=150 * MIB,
)

TUNED = {
    "engine": "native",
    "engine_reason": "the fastest engine that fits",
    "batch_size": 32,
    "steps": 10,
    "planned_peak_bytes": 45 * MIB,
    "measured_peak_bytes": 40 * MIB,
    "measured_reason": None,
    "baseline_bytes": 30 * MIB,
    "step_ms_median": 1.5,
    "accuracy_before": 0.5,
    "accuracy_after": 0.9,
    "sparsity": 0.9,
    "zeros_kept": True,
}


def make_walk(out: Path, **changes: Any) -> Walk:
    """A walk whose files lie in `out`; `changes` go into the answer of finetune."""
    settings = Settings(out)
    material = make_material(out / "data", settings.sensor, settings.seed)
    for folder in (settings.run, settings.artifact, settings.state, settings.profile):
        folder.mkdir(parents=True, exist_ok=True)
    epoch = {"epoch": 0, "train_accuracy": 0.5, "validation_accuracy": None, "weight_sparsity": 0.9, "churn": 0.2}
    (settings.run / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    layer = {"name": "conv", "scheme": "block", "format": "block", "sparsity": 0.9, "bytes": 100, "dense_bytes": 900}
    manifest = {"layers": [layer], "ort": {"available": False, "reason": "no wheel for this Python"}}
    (settings.artifact / "manifest.json").write_text(json.dumps(manifest))
    for folder in (settings.state, settings.profile):
        write_record(RECORD, folder / "record.json")
    labels = [{"class": sample.label} for sample in material.samples]
    done = Done("x", ("mest", "x", "--option"), 1.0, {}, frozenset({"numpy", "edge"}))
    reference = {
        "measured_peak_bytes": 300 * MIB,
        "baseline_bytes": 200 * MIB,
        "step_ms_median": 5.0,
        "accuracy_after": 0.9,
        "torch": "2",
    }
    return Walk(
        settings=settings,
        material=material,
        budget_bytes=150 * MIB,
        train=replace(done, result={"accuracy": 0.97}),
        export=done,
        reference=replace(done, result=reference),
        finetune=replace(done, result={**TUNED, **changes}),
        after=replace(done, result={"accuracy": 0.9}),
        profile=done,
        read_before=replace(done, result={"predictions": [{"class": "wrong"}, *labels[1:]]}),
        read_after=replace(done, result={"predictions": labels}),
    )
