"""The module beside TensorFlow.js and Python: the time of a step in Node and in Chromium, and the demo's accuracy.

    python -m bench.web_beside                          (installs TensorFlow.js, and runs mest demo: minutes)
    python -m bench.web_beside --tfjs DIR --demo DIR    (where npm put TensorFlow.js; what mest demo left)

A step is forward, backward and update of one batch of random pixels by SGD with momentum, every weight trained; the
module computes the sparse network, TensorFlow.js the same weights with their zeros, as it has no sparse ones. That both
are the same network is checked by the loss of the first step. Needs Node, Chromium and the package ziglang.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.browser import Page, browser
from bench.circumstances import circumstances
from bench.runner import example, mest, said
from bench.web_networks import Images, images_for, layers_last
from edge.libmest.targets import WEB, build_library_for

HERE = Path(__file__).parent
BATCHES = (1, 4)
RATE = 0.001
SEEDS = (0, 1, 2)
AGREEMENT = 1e-3  # of the first step's loss, relative
TFJS = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
Job = dict[str, Any]
Runs = Callable[[str, Job], dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tfjs", type=Path, help="a folder where npm installed @tensorflow/tfjs; default: a new one")
    parser.add_argument("--demo", type=Path, help="a folder of 'mest demo'; default: it is run now")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    args = parser.parse_args()
    missing = [name for name in ("node", "npm", "chromium") if shutil.which(name) is None]
    if missing:
        parser.error(f"needs {', '.join(missing)}: apt install nodejs npm chromium")
    with tempfile.TemporaryDirectory(prefix="mest-bench-") as name, ExitStack() as stack:
        work = Path(name)
        tfjs, demo = args.tfjs or installed(work / "tfjs"), args.demo or demonstrated(work / "demo")
        build_library_for(WEB, work / "module")
        node = in_node(work, work / "module", tfjs)
        page = stack.enter_context(in_chromium(work / "module", tfjs))
        drawn = stack.enter_context(in_chromium(work / "module", tfjs, SOFTWARE_WEBGL))
        runs = {"node": node, "chromium": page, "chromium, WebGL in software": drawn}
        networks = {"digits": demo / "artifact", "resnet32": example(work)[0]}
        accuracies = [accuracy(work / f"seed{seed}", demo, seed, node, page) for seed in SEEDS]
        versions = {"node": said_by("node", "--version"), "chromium": page("version", {})["version"]}
        rows: list[dict[str, Any]] = []
        record = {"circumstances": circumstances(("numpy",)), **versions, "accuracy": accuracies, "steps": rows}
        for network, artifact in networks.items():
            for batch in BATCHES:
                rows.append(row(work / f"{network}-{batch}", network, artifact, batch, runs))
                if args.out:  # after each row, as the last ones take long
                    args.out.write_text(json.dumps(record, indent=1) + "\n")
    show(rows, accuracies)


def installed(folder: Path) -> Path:
    """TensorFlow.js in a folder of its own."""
    folder.mkdir()
    subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", *TFJS], check=True, stdout=2)
    return folder


def demonstrated(folder: Path) -> Path:
    """What `mest demo` leaves."""
    subprocess.run([sys.executable, "-m", "mest", "demo", "--out", folder], check=True, stdout=2)
    return folder


def said_by(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def in_node(work: Path, module: Path, tfjs: Path) -> Runs:
    """Runs a job in a process of its own."""

    def run(name: str, job: Job) -> dict[str, Any]:
        (work / "job.json").write_text(json.dumps(job))
        library = tfjs if name.startswith("tfjs") else module / "mest.js"
        command = ["node", str(HERE / "web_beside.mjs"), name, str(work / "job.json"), str(library.resolve())]
        return said(command)

    return run


@contextmanager
def in_chromium(module: Path, tfjs: Path, flags: tuple[str, ...] = ("--disable-gpu",)) -> Iterator[Runs]:
    """Runs a job in a page of a browser that has loaded both libraries."""
    with browser(800, 600, more=flags) as page:
        page.evaluate((tfjs / "node_modules/@tensorflow/tfjs/dist/tf.es2017.min.js").read_text() + ";0")
        page.evaluate((HERE / "web_beside.js").read_text())
        script = json.dumps((module / "mest.js").read_text())
        blob = f"URL.createObjectURL(new Blob([{script}], {{type: 'text/javascript'}}))"
        page.evaluate(f"import({blob}).then((found) => {{ globalThis.mest = found; }})")
        yield lambda name, job: _evaluated(page, name, job)


def _evaluated(page: Page, name: str, job: Job) -> dict[str, Any]:
    if name == "version":
        return {"version": page.evaluate("navigator.userAgent").partition("Chrome/")[2].partition(" ")[0]}
    library = "tf" if name.startswith("tfjs") else "mest"
    refused = "(error) => ({ refused: error.message })"
    call = f"beside.{name}({library}, {json.dumps(job)}).catch({refused})"
    found: dict[str, Any] = page.evaluate(call)
    return found


def row(work: Path, network: str, artifact: Path, batch: int, runs: dict[str, Runs]) -> dict[str, Any]:
    """The step of a network by both, wherever each can."""
    work.mkdir()
    plan = work / "plan.mest"
    pins = ["--batch-size", batch, "--micro-batch", batch, "--trainable", "all", "--weight-decay", 0, "--threads", 1]
    mest("compile", artifact, *pins, "--out", plan)
    images = images_for(plan, batch)
    ours = {"module": text((work.parent / "module" / "mest.wasm").read_bytes()), "plan": text(plan.read_bytes())}
    ours |= {"pixels": text(images.pixels.tobytes()), "labels": images.labels, "learningRate": RATE}
    theirs = {"network": layers_last(artifact), "labels": images.labels, "learningRate": RATE, **_shown(images)}
    found = {f"mest.js, {place}": runs[place]("mestSteps", ours) for place in ("node", "chromium")}
    where = (("cpu", "node"), ("wasm", "node"), ("cpu", "chromium"), ("webgl", "chromium, WebGL in software"))
    for backend, place in where:
        found[f"TensorFlow.js {backend}, {place}"] = runs[place]("tfjsSteps", {**theirs, "backend": backend})
    losses = [each["firstLoss"] for each in found.values() if "refused" not in each]
    assert np.allclose(losses, losses[0], rtol=AGREEMENT, atol=0), f"{network}: not the same network: {losses}"
    return {"network": network, "batch_size": batch, "weights_gone": images.sparsity, "by": found}


def _shown(images: Images) -> Job:
    """A batch as TensorFlow.js takes it: normalised, channels last."""
    return {
        "images": text(images.normalised.tobytes()),
        "shape": list(images.normalised.shape),
        "classes": images.classes,
    }


def accuracy(work: Path, demo: Path, seed: int, node: Runs, page: Runs) -> dict[str, Any]:
    """The demo's fine-tuning by the module and by Python: one plan, the same samples held out."""
    work.mkdir()
    data, plan, packed = work / "digits.npz", work / "plan.mest", work / "digits.data"
    parts = [dict(np.load(demo / "data" / name)) for name in ("new_sensor.npz", "new_sensor_test.npz")]
    test = np.repeat([False, True], [len(part["labels"]) for part in parts])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("images", "labels")}
    np.savez(data, **joined, class_names=parts[0]["class_names"], test=test)
    pins: list[object] = ["--data", data, "--batch-size", 32, "--micro-batch", 32, "--threads", 1, "--exact"]
    pins += ["--epochs", 10, "--lr", 0.02, "--lr-scheduler", "cosine", "--seed", seed]
    mest("compile", demo / "artifact", *pins, "--out", plan)
    mest("pack", data, "--for", plan, "--out", packed)
    python = mest("finetune", demo / "artifact", "--engine", "native", *pins, "--out", work / "state")
    job = {"module": text((work.parent / "module" / "mest.wasm").read_bytes()), "plan": text(plan.read_bytes())}
    job["data"] = text(packed.read_bytes())
    found = {"node": node("mestRun", job), "chromium": page("mestRun", job)}
    names = ("accuracy_before", "accuracy_after", "samples_train", "samples_held_out", "steps")
    return {"seed": seed, "mest.js": found, "mest finetune": {name: python[name] for name in names}}


def show(rows: list[dict[str, Any]], accuracies: list[dict[str, Any]]) -> None:
    """Both tables; a ratio is how often a step of the module fits into one of TensorFlow.js in the same place."""
    print("| network, batch | by | a step (least to most) | to the module's |\n|---|---|---|---|")
    for one in rows:
        for name, found in one["by"].items():
            start = f"| {one['network']}, {one['batch_size']} | {name} |"
            if "refused" in found:
                print(f"{start} refused: {found['refused'][:80]} | |")
                continue
            module = one["by"]["mest.js, node" if name.endswith("node") else "mest.js, chromium"]
            least, median, most = (found[f"stepMs{which}"] for which in ("Min", "Median", "Max"))
            print(f"{start} {median:.2f} ms ({least:.2f} to {most:.2f}) | {median / module['stepMsMedian']:.1f} |")
    print("\n| seed | before | mest finetune | mest.js, Node | mest.js, Chromium |\n|---|---|---|---|---|")
    for one in accuracies:
        python, module = one["mest finetune"], one["mest.js"]
        after = [python["accuracy_after"], *(module[place]["accuracyAfter"] for place in ("node", "chromium"))]
        told = " | ".join(f"{value:.2%}" for value in (python["accuracy_before"], *after))
        print(f"| {one['seed']} | {told} |")


if __name__ == "__main__":
    main()
