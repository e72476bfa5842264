"""A folder as the commands of the demo would leave it, small enough to change one number at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.report.record import Limit, Measured, Plan, Reading, Record, write_record
from mest.demo import script
from mest.demo.scenario import DIGITS, Scenario
from mest.demo.script import Settings
from mest.demo.walk import MIB, Walk, read_walk

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
    budget_bytes=45 * MIB,
)

TUNED = {
    "engine": "native",
    "engine_reason": "the fastest engine that fits",
    "batch_size": 32,
    "steps": 10,
    "budget_bytes": 45 * MIB,
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


REFERENCE = {
    "measured_peak_bytes": 300 * MIB,
    "baseline_bytes": 200 * MIB,
    "step_ms_median": 5.0,
    "accuracy_after": 0.9,
    "torch": "2",
    "torch_cuda": "13.0",
}
LEAST = "mest plan: memory budget 1.0 MiB cannot be met: needs 41.0 MiB; give --memory-budget 41.2MiB or more\n"
REFUSED = "mest finetune: memory budget 40.1 MiB cannot be met; give --memory-budget 41.2MiB or more\n"
TRACE = "import time:       120 |        340 |   numpy.linalg\nimport time:        10 |         10 | edge\n"


def make_folder(out: Path, ort: bool = False, scenario: Scenario = DIGITS, **changes: Any) -> Path:
    """A folder that holds what the commands of the road would have left; `changes` go into finetune's answer."""
    scenario.material.make_material(out / script.DATA, 0)
    labels = [{"class": sample.label} for sample in scenario.drawn(out / script.DATA, 0, Settings().samples)]
    for folder in (script.RUN, script.ARTIFACT, script.STATE, script.PROFILE, script.SAID):
        (out / folder).mkdir(parents=True, exist_ok=True)
    epoch = {"epoch": 0, "train_accuracy": 0.5, "validation_accuracy": None, "weight_sparsity": 0.9, "churn": 0.2}
    (out / script.RUN / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    layer = {"name": "conv", "scheme": "block", "format": "block", "sparsity": 0.9, "bytes": 100, "dense_bytes": 900}
    manifest = {"layers": [layer], "ort": {"available": ort, "reason": None if ort else "no wheel for this Python"}}
    (out / script.ARTIFACT / "manifest.json").write_text(json.dumps(manifest))
    for folder in (script.STATE, script.PROFILE):
        write_record(RECORD, out / folder / "record.json")
    said: dict[str, dict[str, Any]] = {
        "train": {"accuracy": 0.97},
        "export": {},
        "material": {"files": []},
        "read_before": {"predictions": [{"class": "wrong"}, *labels[1:]]},
        "finetune": {**TUNED, **changes},
        "eval": {"accuracy": 0.9},
        "read_after": {"predictions": labels},
        "profile": {},
        "pytorch": REFERENCE,
        "ort": {**TUNED, "engine": "ort", "measured_peak_bytes": 70 * MIB, "accuracy_after": 0.88},
    }
    for name, result in said.items():
        (out / script.SAID / f"{name}.json").write_text(json.dumps(result))
        (out / script.SAID / f"{name}.log").write_text(TRACE if name == "finetune" else "")
    for name, words in (("least", LEAST), ("refused", REFUSED)):
        refused = {"refused": words, "smallest_budget_bytes": round(41.2 * MIB)}
        (out / script.SAID / f"{name}.json").write_text(json.dumps(refused))
        (out / script.SAID / f"{name}.log").write_text(words)
    return out


def make_walk(out: Path, **changes: Any) -> Walk:
    """The walk that such a folder tells of."""
    return read_walk(make_folder(out, **changes), Settings())
