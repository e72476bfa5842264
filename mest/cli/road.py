"""The facts of the demo's page, gathered from what its commands printed and left behind."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mest.demo import script

if TYPE_CHECKING:
    from edge.report.record import Record
    from edge.report.road import Contender, Epoch, Layer, Road, Sample
    from mest.demo.checks import Check
    from mest.demo.walk import Walk

PICTURE_SIDE = 64  # pixels


def build_road(walked: Walk, found: tuple[Check, ...]) -> Road:
    """What the page shows."""
    from edge.report.facts import Fact
    from edge.report.road import Road, Stage

    scenario = walked.settings.scenario
    return Road(
        title="From sparse training to the board",
        lead=won(walked),
        about=(
            f"{scenario.about}, {100 * scenario.sparsity:.0f} % {scenario.scheme} sparsity, "
            f"seed {walked.settings.seed}: trained sparse, exported, and fine-tuned on {scenario.new}."
        ),
        promises=tuple(
            Fact(check.name, "Yes" if check.passed else "No", f"{check.said}.", check.passed) for check in found
        ),
        heading=scenario.heading,
        shift=scenario.change,
        held_out=scenario.old,
        samples=_samples(walked),
        training=_epochs(walked.path(script.RUN) / "metrics.jsonl"),
        test_accuracy=walked.result("train")["accuracy"],
        layers=_layers(walked.path(script.ARTIFACT) / "manifest.json"),
        contenders=_contenders(walked),
        refusal=walked.refusal,
        stages=tuple(Stage(step.line, walked.seconds.get(step.name)) for step in walked.commands),
        page_command=script.page(walked.settings),
        record=_record(walked),
        notes=notes(walked),
        by_hand=walked.by_hand,
    )


def won(walked: Walk) -> str:
    """What was won, in one sentence."""
    from edge.report.numbers import bytes_text, percent_text

    tuned, pytorch = walked.result("finetune"), walked.result("pytorch")
    before, after = tuned["accuracy_before"], walked.result("eval")["accuracy"]
    faster = pytorch["step_ms_median"] / tuned["step_ms_median"]
    peak, theirs = tuned["measured_peak_bytes"], pytorch["measured_peak_bytes"]
    rest = pytorch["baseline_bytes"]
    resting = f"; of PyTorch's {bytes_text(theirs)}, its build for CUDA holds {bytes_text(rest)} at rest"
    size = f"{bytes_text(peak)}{resting if pytorch['torch_cuda'] and rest else ''}"
    memory = f"{theirs / peak:.0f} times less memory ({size})" if peak else "memory that was not measured"
    return (
        f"Fine-tuned with {memory} and {faster:.1f} times faster than PyTorch on the same processor; "
        f"accuracy on {walked.settings.scenario.new} went from {percent_text(before)} to {percent_text(after)}."
    )


def notes(walked: Walk) -> tuple[str, ...]:
    """What a reader must know of this run beside the checks: which engine worked, and why."""
    manifest = _manifest(walked)
    engine = walked.result("finetune")["engine"]
    tuned = f"The {engine} engine fine-tuned: {walked.result('finetune').get('engine_reason', 'as asked')}."
    if not manifest["ort"]["available"]:
        tuned = f"onnxruntime-training is not used here ({manifest['ort']['reason']}); the {engine} engine fine-tuned."
    if walked.settings.scenario.by_hand and not walked.by_hand:
        return tuned, "A page to draw digits in takes a compiler for it: pip install ziglang, and run the demo again."
    return (tuned,)


def _manifest(walked: Walk) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((walked.path(script.ARTIFACT) / "manifest.json").read_text(encoding="utf-8"))
    return found


def _record(walked: Walk) -> Record:
    """The record of fine-tuning with the times by operator of the profile, and what it says of the same plan.

    Its peak is the one that the command printed as its last act: writing the record takes memory too.
    """
    from edge.report.record import Reading, read_record

    record = read_record(walked.path(script.STATE) / "record.json")
    profiled = read_record(walked.path(script.PROFILE) / "record.json")
    record = replace(record, profile=profiled.profile)
    if profiled.plan.buffers == record.plan.buffers:  # the same plan, of which a profile says more
        more = {name: getattr(profiled.plan, name) for name in ("uses", "alternatives")}
        record = replace(record, plan=replace(record.plan, **more))
    peak = walked.result("finetune")["measured_peak_bytes"]
    if peak is None:
        return record
    return replace(record, measured=replace(record.measured, peak_bytes=Reading(peak)))


def _samples(walked: Walk) -> tuple[Sample, ...]:
    from edge.report.road import Sample

    settings = walked.settings
    was, becomes = settings.scenario.was, settings.scenario.becomes
    samples = settings.scenario.drawn(walked.path(script.DATA), settings.seed, settings.samples)
    before, after = (walked.result(name)["predictions"] for name in ("read_before", "read_after"))
    return tuple(
        Sample(
            one.label,
            picture(one.old, f"{one.label} {was}"),
            picture(one.new, f"{one.label} {becomes}"),
            str(first["class"]),
            str(second["class"]),
        )
        for one, first, second in zip(samples, before, after, strict=True)
    )


def picture(values: np.ndarray, meaning: str) -> str:
    """Pixels uint8 `(h, w)` enlarged without smoothing; signals of windows `(channels, length)` as curves."""
    from edge.report import html
    from edge.report.charts import signals

    if values.dtype != np.uint8:
        return signals(values.tolist(), meaning).inline()
    from PIL import Image

    height, width = values.shape
    scale = max(1, PICTURE_SIDE // max(height, width))
    file = io.BytesIO()
    Image.fromarray(values).resize((width * scale, height * scale), Image.Resampling.NEAREST).save(file, "PNG")
    return html.image(file.getvalue(), meaning)


def _epochs(metrics: Path) -> tuple[Epoch, ...]:
    from edge.report.road import Epoch

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    names = ("epoch", "train_accuracy", "validation_accuracy", "weight_sparsity", "churn")
    return tuple(Epoch(*(line[name] for name in names)) for line in lines)


def _layers(manifest: Path) -> tuple[Layer, ...]:
    from edge.report.road import Layer

    layers = [one for one in json.loads(manifest.read_text(encoding="utf-8"))["layers"] if one["scheme"]]
    return tuple(Layer(one["name"], one["format"], one["sparsity"], one["bytes"], one["dense_bytes"]) for one in layers)


def _contenders(walked: Walk) -> tuple[Contender, ...]:
    """The same fine-tuning by every tool that ran it, ours first."""
    from edge.report.road import Contender

    tuned, pytorch = walked.result("finetune"), walked.result("pytorch")
    build = "its build for CUDA" if pytorch["torch_cuda"] else "its build for processors"
    found = [
        (f"mest finetune ({tuned['engine']} engine)", "", tuned, walked.result("eval")["accuracy"]),
        (f"PyTorch {pytorch['torch']}, masked dense", build, pytorch, pytorch["accuracy_after"]),
    ]
    if walked.ort is not None:
        found.append(("onnxruntime-training (ort engine)", "", walked.ort, walked.ort["accuracy_after"]))
    return tuple(
        Contender(
            name, said["baseline_bytes"], said["measured_peak_bytes"], said["step_ms_median"], accuracy, build=build
        )
        for name, build, said, accuracy in found
    )
