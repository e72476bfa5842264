"""One model of bench.networks: exported for both engines, one step and ten held against PyTorch. Prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from bench.agreement import OPTIMIZER, Case, Referee, make_source, one_step, ten_steps
from edge.network import write_network
from export.artifact import build, write_ort
from export.capture import capture
from export.checks.agreement import DisagreementError
from export.options import Options

SCHEME = "irregular"


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    folder = Path(asked["folder"])
    shape = tuple(asked["image"])
    source = make_source(asked["model"], SCHEME, asked["sparsity"], shape, asked["classes"], asked["task"])
    if source is None:
        raise SystemExit(f"{SCHEME} fits no layer of {asked['model']}")
    built = build(source, capture(source.model, source.input), Options())
    files = write_ort(built, OPTIMIZER, 0.0, "em", folder)
    missing = {"ort": files.reason, "native": built.native_reason}
    if built.native_reason is None:
        write_network(built.network, folder)
    case = Case(SCHEME, "auto", asked["sparsity"])
    try:
        first = {"one_step": one_step(source, built, case, files, folder)}
    except DisagreementError as apart:
        first = {"disagreement": str(apart)}
    exact, rounded = Referee().taken(asked["model"], case, source, built, asked["batch"])
    found = {
        "layers": len(source.layers),
        "missing": {engine: reason for engine, reason in missing.items() if reason is not None},
        **first,
        "ten_steps": ten_steps(built, files, folder, asked["batch"], exact, rounded),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
