"""Every classifier of torchvision, or those named: captured and lowered to the native network, or why not.

Each model has fresh weights and a process of its own, with a time limit; its line is added to the record as soon as it
is known, so that an interrupted run goes on where it stopped. "native" says that every operator is known, "ort" that
only onnxruntime-training may train it, "refused" that export ends in a message; "failed" is a fault of ours.

    python -m bench.zoo --json bench/records/zoo.json       (torchvision's, those that the record lacks)
    python -m bench.zoo --models torchvision:swin_v2_t timm.models:levit_128s --side 224
    python -m bench.zoo --json bench/records/zoo.json --table
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances

CLASSES = 10
#: the side of the images where 64 is none that the model takes
SIDES = {"inception_v3": 299, "vit_": 224, "vit_h_14": 518, "maxvit_t": 224, "alexnet": 224}
#: left out by name, and why
LEFT_OUT = {
    "regnet_y_128gf": "645 million parameters: capture holds them several times, 24 GiB are too few",
    "vit_h_14": "631 million parameters: capture holds them several times, 24 GiB are too few",
}
ORDER = ("native", "ort", "refused", "failed", "left out")


def main() -> None:
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        print(json.dumps(attempt(json.loads(sys.argv[1]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="torchvision:NAME or module:factory (default: torchvision's zoo)")
    parser.add_argument("--side", type=int, help="height and width of the images (default: 64, or what a model needs)")
    parser.add_argument("--limit", type=int, default=600, help="seconds that a model may take")
    parser.add_argument("--again", action="store_true", help="models that the record has already too")
    parser.add_argument("--json", type=Path, help="the record")
    parser.add_argument("--table", action="store_true", help="print the table of --json and stop")
    options = parser.parse_args()
    records = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    have = set() if options.again else {record["model"] for record in records}
    where = circumstances(("torch", "torchvision", "onnx", "onnxscript", "timm"))
    for name in () if options.table else options.models or zoo():
        if name in have:
            continue
        record = {**look(name, options.side or side_of(name), options.limit), "circumstances": where}
        records = [old for old in records if old["model"] != name] + [record]
        print(f"{name}: {record['outcome']} {record.get('reason', '')}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(markdown(records))


def zoo() -> list[str]:
    """The names of all of torchvision's classifiers, those of few parameters first."""
    from torchvision import models

    def size(name: str) -> int:
        return int(models.get_model_weights(name).DEFAULT.meta["num_params"])

    return [f"torchvision:{name}" for name in sorted(models.list_models(module=models), key=size)]


def side_of(name: str) -> int:
    """The height and width of the images that a model is tried with."""
    short = name.rpartition(":")[2]
    found = [side for start, side in SIDES.items() if short.startswith(start)]
    return found[-1] if found else 64


def look(name: str, side: int, limit: int) -> dict[str, Any]:
    """What becomes of a model, in a process of its own."""
    asked = {"model": name, "image": [3, side, side]}
    if (reason := LEFT_OUT.get(name.rpartition(":")[2])) is not None:
        return {**asked, "outcome": "left out", "reason": reason}
    started = time.monotonic()
    command = [sys.executable, "-m", "bench.zoo", json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit, env=dict(os.environ))
    except subprocess.TimeoutExpired:
        return {**asked, "outcome": "left out", "reason": f"not done after {limit} s"}
    taken = {"seconds": round(time.monotonic() - started, 1)}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"ended by signal {-done.returncode}"]
        return {**asked, **taken, "outcome": "failed", "reason": last[0]}
    return {**asked, **taken, **json.loads(done.stdout.splitlines()[-1])}


def attempt(asked: dict[str, Any]) -> dict[str, Any]:
    """Build one model as an export does, without writing it."""
    import torch

    from bench.agreement import make_source
    from export.artifact import build
    from export.capture import capture
    from export.options import Options
    from mest.errors import InputError

    torch.set_num_threads(1)
    try:
        source = make_source(asked["model"], "irregular", 0.8, tuple(asked["image"]), CLASSES)
        assert source is not None, "irregular fits every layer"
        built = build(source, capture(source.model, source.input), Options())
    except InputError as refused:
        return {"outcome": "refused", "reason": str(refused)}
    size = sum(parameter.numel() for parameter in source.model.parameters())
    found = {"parameters": size, "operators": len(built.network.operators)}
    if built.native_reason is not None:
        return {"outcome": "ort", "reason": built.native_reason, **found}
    return {"outcome": "native", **found}


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """How many there are of each outcome, and a line for every model that is not native."""
    counts = Counter(record["outcome"] for record in records)
    lines = [", ".join(f"{counts[outcome]} {outcome}" for outcome in ORDER if counts[outcome]), ""]
    lines += ["| model (input) | | why |", "|---|---|---|"]
    for record in sorted(records, key=lambda one: (ORDER.index(one["outcome"]), one["model"])):
        if record["outcome"] != "native":
            shape = "×".join(map(str, record["image"]))
            lines.append(f"| {record['model']} ({shape}) | {record['outcome']} | {record['reason']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
