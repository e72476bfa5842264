"""Every representation of a sparse network in onnxruntime-training: bytes of checkpoint and optimizer, step, peak.

Each cell is a fresh process that imports neither torch nor onnx; rounds are interleaved so that other load hits all
alike. Ratios are to the dense artifact of the same run:

    python -m bench.representations [--model resnet32] [--sparsity 0.9] [--batches 8,32] [--steps 5] [--rounds 3]
        [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import torch

from bench.circumstances import circumstances, spread
from edge.plan.choices import OptimizerChoice
from export.artifact import build, write_ort
from export.capture import Captured, capture
from export.options import Options
from export.ort.represent import Represented
from export.ort.session import Session
from export.source import Source
from export.sparse_layer import SparseLayer
from mest.models import ModelSpec, build_model
from mest.sparse import parse_scheme, select_targets
from mest.sparse.counts import kept_units

CLASSES, IMAGE = 10, (3, 32, 32)
# name: scheme, format, weight sparsity (None: the one asked for), what the backward pass recomputes
CASES: dict[str, tuple[str, str, float | None, str]] = {
    "dense": ("irregular", "dense", None, "none"),
    "masked": ("irregular", "masked", None, "none"),
    "csr": ("irregular", "csr", None, "none"),
    "block": ("block", "block", None, "none"),
    "block, recomputed": ("block", "block", None, "blocks"),
    "pattern": ("pattern", "pattern", None, "none"),
    "channel 50 %": ("channel", "channel", 0.5, "none"),
    "channel 75 %": ("channel", "channel", 0.75, "none"),
}


def sparse_source(model: torch.nn.Module, scheme: str, sparsity: float) -> Source:
    """The model with the largest units of every sparse layer kept."""
    form = parse_scheme(scheme)
    layers = {}
    for name in select_targets(model, form, sparsity=sparsity).targets:
        weight = model.get_parameter(name).detach()
        opened = form.open(weight.abs())
        count = kept_units(form, tuple(weight.shape), sparsity)
        units = form.keep(form.unit_scores(weight.abs() * opened), form.alive(opened), count)
        mask = (form.expand(units, tuple(weight.shape)) & opened).numpy()
        layers[name] = SparseLayer(name, form.name, 4 if form.name == "block" else None, sparsity, mask)
    return Source(model, layers, IMAGE, tuple(str(number) for number in range(CLASSES)), {})


def masked_capture(captured: Captured, source: Source) -> Captured:
    """A copy of a captured graph with the source's masks applied."""
    model = onnx.ModelProto.FromString(captured.model.SerializeToString())
    for tensor in model.graph.initializer:
        if tensor.name in source.layers:
            weight = onnx.numpy_helper.to_array(tensor) * source.layers[tensor.name].mask
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight.astype(np.float32), tensor.name))
    return replace(captured, model=model)


def write_case(captured: Captured, source: Source, format: str, recompute: str, folder: Path) -> dict[str, Any]:
    """Write one representation; its parameters, multiply-accumulates of one sample, and bytes."""
    optimizer = OptimizerChoice(kind="adamw")
    built = build(source, masked_capture(captured, source), Options(format=format))
    written = write_ort(built, optimizer, 0.0, "em", folder, recompute)
    if written.reason is not None:
        raise SystemExit(f"onnxruntime-training cannot be measured here: {written.reason}")
    network = built.network
    trained = sum(parameter.values.nbytes for name, parameter in network.parameters.items() if name in built.trained)
    return {
        "parameters": trained // 4,
        "multiply_accumulates": sum(network.multiply_accumulates().values()),
        "checkpoint_bytes": (folder / "checkpoint").stat().st_size,
        "checkpoint_parts": checkpoint_parts(folder, written.represented or {}),
        "optimizer_bytes": optimizer.state_per_weight * trained,
    }


def checkpoint_parts(folder: Path, represented: Mapping[str, Represented]) -> dict[str, int]:
    """Bytes of a checkpoint: sparse values, their indices, all other parameters, and what the container adds."""
    session = Session(folder)
    sizes = {name: session.parameter(name).nbytes for name in session.names}
    values = sum(sizes[layer.values] for layer in represented.values())
    indices = sum(sizes[name] for layer in represented.values() for name in layer.tensors.values())
    whole = sum(sizes.values())
    container = (folder / "checkpoint").stat().st_size - whole
    return {"values": values, "indices": indices, "dense": whole - values - indices, "container": container}


def measure(folder: Path, batch: int, steps: int, threads: int) -> dict[str, Any]:
    """Step times and peak of one process. Its threads do not spin: processor time would mean nothing."""
    asked = {"network": str(folder), "batch": batch, "steps": steps, "threads": threads, "spinning": False}
    command = [sys.executable, "-m", "bench.step_ort", json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One record per representation and batch size."""
    model = build_model(ModelSpec(options.model, CLASSES, IMAGE), seed=0).eval()
    captured = capture(model, IMAGE)
    batches = [int(batch) for batch in options.batches.split(",")]
    with tempfile.TemporaryDirectory() as place:
        written: dict[str, dict[str, Any]] = {}
        for name, (scheme, format, sparsity, recompute) in CASES.items():
            folder = Path(place) / name.replace(" ", "_")
            folder.mkdir()
            source = sparse_source(model, scheme, sparsity or options.sparsity)
            written[name] = {"folder": folder, **write_case(captured, source, format, recompute, folder)}
        samples: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for _ in range(options.rounds):
            for batch in batches:
                for name, case in written.items():
                    found = measure(case["folder"], batch, options.steps, options.threads)
                    samples.setdefault((name, batch), []).append(found)
    records = []
    for (name, batch), found in samples.items():
        times = {kind: spread([one[kind]["median"] for one in found]) for kind in ("step_ms", "cpu_ms")}
        facts = {key: value for key, value in written[name].items() if key != "folder"}
        peak = median(one["peak_bytes"] for one in found)
        records.append({"name": name, "batch": batch, **facts, **times, "peak_bytes": peak})
    return records


def show(records: list[dict[str, Any]]) -> str:
    """The table, ratios to dense in brackets."""
    lines = []
    for batch in sorted({record["batch"] for record in records}):
        rows = [record for record in records if record["batch"] == batch]
        dense = next(row for row in rows if row["name"] == "dense")
        lines.append(
            f"batch {batch}: median step (of dense), its CPU time over all threads, peak resident, checkpoint, "
            "AdamW state, parameters, MACs"
        )
        for row in rows:
            step, cpu, peak = row["step_ms"]["median"], row["cpu_ms"]["median"], row["peak_bytes"]
            lines.append(
                f"  {row['name']:<17} {step:8.1f} ms ({step / dense['step_ms']['median']:.2f})"
                f"  {cpu:8.1f} ms ({cpu / dense['cpu_ms']['median']:.2f})"
                f"  {peak / 1e6:6.1f} MB ({peak / dense['peak_bytes']:.2f})"
                f"  {row['checkpoint_bytes'] / 1e6:6.2f} MB ({row['checkpoint_bytes'] / dense['checkpoint_bytes']:.3f})"
                f"  {row['optimizer_bytes'] / 1e6:6.2f} MB ({row['optimizer_bytes'] / dense['optimizer_bytes']:.3f})"
                f"  {row['parameters']:>9,}  {row['multiply_accumulates'] / 1e6:6.1f} M"
            )
    lines.append("checkpoint by part, bytes: sparse values, indices, dense parameters, container")
    for row in (row for row in records if row["batch"] == records[0]["batch"]):
        lines.append(f"  {row['name']:<17} " + "  ".join(f"{part:>9,}" for part in row["checkpoint_parts"].values()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--batches", default="8,32")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    where = circumstances(("numpy", "torch", "onnx", "onnxruntime-training-cpu"))
    records = run(options)
    print(json.dumps(where))
    print(show(records))
    if options.json:
        options.json.write_text(json.dumps({"circumstances": where, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
