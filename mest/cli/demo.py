"""The command `mest demo`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.errors import InputError

if TYPE_CHECKING:
    from edge.report.record import Record
    from edge.report.road import Contender, Epoch, Layer, Road, Sample
    from mest.demo.checks import Check
    from mest.demo.walk import Walk

FAILED = 1


class Command(Base):
    """Walk the whole road on embedded data, and end in a report that a person can look at.

    Trains a small network sparse on handwritten digits, exports it, fine-tunes it on the digits as a new sensor would
    give them, within half of the memory that PyTorch takes for the same, and compares. Needs the packages of the
    workstation (pip install 'mest[train,export]'); takes a few minutes on two cores.
    """

    name = "demo"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write (default demo)"
        )
        parser.add_argument("--engine", choices=("auto", "native", "ort"), default="auto", help="engine of the board")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.report.road import render
        from mest.demo.checks import checks, failure
        from mest.demo.commands import Commands, Interrupted
        from mest.demo.walk import Settings, walk

        out = args.out
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out {out}: exists and is not empty; give a new directory")
        out.mkdir(parents=True, exist_ok=True)
        settings = Settings(out, seed=args.seed, engine=args.engine)
        try:
            walked = walk(settings, Commands(out / "logs", context.stop), context.say)
        except Interrupted:
            raise Stopped(f"stopped; start again with another --out, {out} holds what was done so far") from None
        found = checks(walked)
        report = out / "report.html"
        report.write_text(render(build_road(walked, found)), encoding="utf-8")
        failed = failure(found)
        if failed is not None:
            context.say(f"mest demo: failed: {failed}; see {report}")
        result = summary(walked, found, report)
        (out / "summary.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        return {**result, "exit_code": FAILED} if failed is not None else result

    def show(self, result: dict[str, Any]) -> str:
        lines = [
            f"{'kept  ' if check['passed'] else 'BROKEN'} {check['name']}: {check['said']}"
            for check in result["checks"]
        ]
        return "\n".join([*lines, *result["notes"], f"Report: {result['report']}"])


def summary(walked: Walk, found: tuple[Check, ...], report: Path) -> dict[str, Any]:
    """What `mest demo --json` prints."""
    tuned, reference = walked.finetune.result, walked.reference.result
    same = ("engine", "batch_size", "steps", "planned_peak_bytes", "measured_peak_bytes", "baseline_bytes")
    return {
        "report": str(report),
        "passed": all(check.passed for check in found),
        "checks": [{"name": check.name, "passed": check.passed, "said": check.said} for check in found],
        "notes": list(notes(walked)),
        "seed": walked.settings.seed,
        **{name: tuned.get(name) for name in same},
        "budget_bytes": walked.budget_bytes,
        "step_ms_median": tuned.get("step_ms_median"),
        "accuracy_trained": walked.train.result["accuracy"],
        "accuracy_before": tuned["accuracy_before"],
        "accuracy_after": walked.after.result["accuracy"],
        "sparsity": tuned["sparsity"],
        "zeros_kept": tuned["zeros_kept"],
        "pytorch": reference,
        "seconds": {f"{place} {done.name}": round(done.seconds, 1) for place, done in enumerate(walked.commands, 1)},
    }


def notes(walked: Walk) -> tuple[str, ...]:
    """What a reader must know of this run beside the checks: which engine worked, and why."""
    manifest = json.loads((walked.settings.artifact / "manifest.json").read_text(encoding="utf-8"))
    engine = walked.finetune.result["engine"]
    if not manifest["ort"]["available"]:
        return (
            f"onnxruntime-training is not used here ({manifest['ort']['reason']}); the {engine} engine fine-tuned.",
        )
    return (f"The {engine} engine fine-tuned: {walked.finetune.result.get('engine_reason', 'as asked')}.",)


def build_road(walked: Walk, found: tuple[Check, ...]) -> Road:
    """The facts of the page, gathered from what the commands said and left behind."""
    from edge.report.facts import Fact
    from edge.report.road import Road, Stage

    settings = walked.settings
    return Road(
        title="From sparse training to the board",
        lead=(
            f"Handwritten digits, {100 * settings.sparsity:.0f} % {settings.scheme} sparsity, seed {settings.seed}: "
            "trained sparse, exported, and fine-tuned on what a new sensor sees."
        ),
        promises=tuple(
            Fact(check.name, "Yes" if check.passed else "No", f"{check.said}.", check.passed) for check in found
        ),
        shift=settings.sensor.describe(),
        samples=_samples(walked),
        training=_epochs(settings.run / "metrics.jsonl"),
        test_accuracy=walked.train.result["accuracy"],
        layers=_layers(settings.artifact / "manifest.json"),
        contenders=_contenders(walked),
        stages=tuple(Stage(" ".join(done.words), done.seconds) for done in walked.commands),
        record=_record(walked),
        notes=notes(walked),
    )


def _record(walked: Walk) -> Record:
    """The record of fine-tuning with the times by operator of the profile.

    Its peak is the one that the command printed as its last act: writing the record takes memory too.
    """
    from edge.report.record import Reading, read_record

    record = read_record(walked.settings.state / "record.json")
    record = replace(record, profile=read_record(walked.settings.profile / "record.json").profile)
    peak = walked.finetune.result["measured_peak_bytes"]
    if peak is None:
        return record
    return replace(record, measured=replace(record.measured, peak_bytes=Reading(peak)))


def _samples(walked: Walk) -> tuple[Sample, ...]:
    from edge.report.road import Sample
    from mest.demo.material import picture

    before, after = (done.result["predictions"] for done in (walked.read_before, walked.read_after))
    return tuple(
        Sample(one.label, picture(one.old), picture(one.new), str(first["class"]), str(second["class"]))
        for one, first, second in zip(walked.material.samples, before, after, strict=True)
    )


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
    from edge.report.road import Contender

    tuned, reference = walked.finetune.result, walked.reference.result
    return tuple(
        Contender(name, said["baseline_bytes"], said["measured_peak_bytes"], said["step_ms_median"], accuracy)
        for name, said, accuracy in (
            (f"mest finetune ({tuned['engine']} engine)", tuned, walked.after.result["accuracy"]),
            (f"PyTorch {reference['torch']}, masked dense", reference, reference["accuracy_after"]),
        )
    )
