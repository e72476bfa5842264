"""Training in WebAssembly: the linear memory that a page holds, and the time of a step, beside mest-run on one plan.

    python -m bench.web                          (resnet32, 90 % of its weights gone in blocks, EM&S: a minute)
    python -m bench.web --artifact ART           (an artifact of your own, with fixed masks)

Every row is a plan for one thread in both: under Node the module with room for the samples of its run, and mest-run
with the vectors of this processor. Needs Node and the package ziglang.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.runner import MIB, built, example, mest, said
from edge.libmest.targets import WEB, build_library_for

BATCHES = (1, 4)
SAMPLES = 40
STEP = Path(__file__).with_name("web_step.mjs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="default: resnet32 with random weights and masks")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    args = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        parser.error("needs Node: apt install nodejs")
    with tempfile.TemporaryDirectory(prefix="mest-bench-") as name:
        work = Path(name)
        module, program = work / "module", built(work / "mest-run")
        build_library_for(WEB, module)
        artifact, mutate = (args.artifact, "none") if args.artifact else (example(work)[0], "ems")
        rows = [row(work / f"row{batch}", node, module, program, artifact, mutate, batch) for batch in BATCHES]
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    record = {"circumstances": circumstances(("numpy",)), "node": version, "mutate": mutate, "rows": rows}
    print("| batch | linear memory | of it in use | mest-run planned | step in WebAssembly | in mest-run |")
    print("|---|---|---|---|---|---|")
    for one in rows:
        web, native = one["web"], one["mest-run"]
        held = " | ".join(f"{web[name] / MIB:.2f} MiB" for name in ("memoryBytes", "usedBytes", "plannedPeakBytes"))
        print(f"| {one['batch_size']} | {held} | {web['stepMsMedian']:.1f} ms | {native['step_ms_median']:.1f} ms |")
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


def row(work: Path, node: str, module: Path, program: Path, artifact: Path, mutate: str, batch: int) -> dict[str, Any]:
    """Both on one plan, one after the other."""
    work.mkdir()
    plan, data = work / "plan.mest", work / "samples.data"
    pins = ["--batch-size", batch, "--trainable", "all", "--recompute", "blocks", "--epochs", 1, "--lr", 0.001]
    pins += ["--mutate", mutate, *(["--mutate-every-steps", 10] if mutate != "none" else [])]
    mest("compile", artifact, *pins, "--out", plan)
    images = samples(work, plan)
    mest("pack", images, "--for", plan, "--out", data)
    web = said([node, str(STEP), str(module), str(plan), str(SAMPLES)])
    native = said([str(program), "train", str(plan), "--data", str(data), "--state", str(work / "run.state"), "--json"])
    assert web["opened"] == web["memoryBytes"], "the memory grew while it trained"
    return {"batch_size": batch, "web": web, "mest-run": {"step_ms_median": native["step_ms_median"]}}


def samples(work: Path, plan: Path) -> Path:
    """Random images for a plan."""
    import numpy as np

    from edge.compiled.plan import read_plan

    head = read_plan(plan).head
    shape = (SAMPLES, head.height, head.width, *((head.channels,) if head.channels > 1 else ()))
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(work / "images.npz", images=images, labels=np.arange(SAMPLES) % head.classes)
    return work / "images.npz"


if __name__ == "__main__":
    main()
