"""What limits a step of the native engine: its operations and bytes beside what this machine can do.

    python -m bench.limits [--batches 32 4 1] [--schemes irregular block] [--out bench/records/limits]

A small C program (limits.c) measures multiply-adds per second of one core, from registers and with one vector loaded
for each from every cache, and the memory's bytes per second. Beside it, one thread of the engine runs resnet32 at 90 %:
time by kind of step, useful operations (two per kept weight and output position; three passes of them in training) and
the bytes of the stored tensors that a step reads or writes at least. Needs a C compiler.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.circumstances import circumstances
from bench.step_network import residual_network
from edge.engines.native.engine import NativeEngine
from edge.engines.native.listing import training_listing
from edge.engines.native.prepared import build_model
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest.build import FLAGS, FLAGS_MATH, SETS, compiler, machine_of
from edge.plan.choices import Choices

SOURCE = Path(__file__).with_suffix(".c")
STEPS = 15
KINDS = {"conv": "forward", "conv_grad": "backward"}  # every other operator moves data only


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemes", nargs="+", default=["irregular", "block"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 4, 1])
    parser.add_argument("--out", type=Path, help="folder for limits.json")
    args = parser.parse_args()
    found = {"circumstances": circumstances(("numpy",)), "machine": machine()}
    found["steps"] = [profile(scheme, batch) for batch in args.batches for scheme in args.schemes]
    print(show(found))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "limits.json").write_text(json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What limits.c measured, built with the best instruction set that the engine would take here."""
    command = compiler()
    wanted = NativeEngine.available()[1]
    sets = SETS[machine_of(command)]
    lanes, options = next(((lanes, options) for name, lanes, options in sets if name in wanted), sets[-2][1:])
    with tempfile.TemporaryDirectory(prefix="mest-limits-") as folder:
        program = Path(folder) / "limits"
        flags = [*FLAGS, *FLAGS_MATH, *options, f"-DMEST_VL={lanes}"]
        subprocess.run([*command, *flags, str(SOURCE), "-o", str(program)], check=True)
        done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def profile(scheme: str, batch: int) -> dict[str, Any]:
    """Milliseconds, billions of operations and gigabytes of one step on one thread, by kind."""
    network = residual_network(scheme, 0.9)
    choices = Choices(batch_size=batch, micro_batch=batch, threads=1)
    model = build_model(network, choices)
    listing = training_listing(model, batch)
    engine = NativeEngine.of(network, choices)
    images = np.sin(np.arange(batch * np.prod(network.input), dtype=np.float32) ** 1.5).reshape(batch, *network.input)
    labels = np.arange(batch) % network.classes
    for _ in range(2):
        engine.train_step(images, labels, 0.01)
    rounds = [engine.profile_step(images, labels, 0.01).seconds for _ in range(STEPS)]
    engine.close()
    taken = np.median(np.array(rounds), axis=0)
    work = network.multiply_accumulates()
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: {"ms": 0.0, "gflop": 0.0, "gbyte": 0.0})
    for spec, seconds in zip(listing.specs, taken, strict=True):
        kind = kinds[KINDS.get(spec.op, "the rest")]
        kind["ms"] += 1e3 * float(seconds)
        kind["gbyte"] += 1e-9 * moved_bytes(spec)
        if spec.op in KINDS and spec.node:
            passes = 1.0 if spec.op == "conv" else spec.numbers["weight_grad"] + spec.numbers["input_grad"]
            kind["gflop"] += 2e-9 * batch * passes * work[spec.node.name]
    return {"scheme": scheme, "batch": batch, "kinds": dict(kinds)}


def moved_bytes(spec: Spec) -> int:
    """Bytes of the stored tensors that a step reads and writes at least once."""
    return sum(slot.nbytes for slot in tensors(spec))


def tensors(spec: Spec) -> Iterator[Slot]:
    """The tensors that a step goes through, one that is added to twice."""
    for view in (spec.a, spec.b):
        if view:
            yield view.data
    if spec.g and spec.g.data:
        yield spec.g.data
    for grad in (spec.g, spec.sums):  # the data of `sums` are what the step writes
        if grad and grad.stored:
            yield grad.stored
    if spec.out:
        yield from [spec.out] * (2 if spec.numbers.get("accumulate") else 1)


def show(found: dict[str, Any]) -> str:
    """Machine and steps as Markdown."""
    here, can = found["circumstances"], found["machine"]
    lines = [f"{here['machine']}, vectors of {can['lanes']} floats, one core.", ""]
    lines.append(f"- multiply-adds between registers: {can['registers']:.0f} GFLOP/s")
    for level in can["loads"]:
        lines.append(
            f"- with one load each, from {level['kib']} KiB: {level['aligned']:.0f} GFLOP/s aligned, "
            f"{level['shifted']:.0f} shifted by four floats"
        )
    lines.append(f"- memory: {can['read']:.0f} GB/s read, {can['copy']:.0f} GB/s copied (both ways counted)")
    lines += ["", "| scheme | batch | part | ms | GFLOP | GFLOP/s | of the peak | GB | GB/s |", "|---" * 9 + "|"]
    for step in found["steps"]:
        parts = {**step["kinds"], "the whole step": {}}
        for name in ("ms", "gflop", "gbyte"):
            parts["the whole step"][name] = sum(kind[name] for kind in step["kinds"].values())
        for part, kind in parts.items():
            speed = kind["gflop"] / kind["ms"] * 1e3
            rate = f"{kind['gflop']:.2f} | {speed:.0f} | {speed / can['registers']:.0%}" if kind["gflop"] else " | | "
            lines.append(
                f"| {step['scheme']} | {step['batch']} | {part} | {kind['ms']:.2f} | {rate} "
                f"| {kind['gbyte']:.3f} | {kind['gbyte'] / kind['ms'] * 1e3:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
