"""One cell of bench.step: onnxruntime-training on dense weights, in a process without torch and onnx. Prints JSON.

python -m bench.step_ort --write DIR     (writes the artifact that the cells run; this needs torch and onnx)
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from edge.memory import read_counters
from edge.ort.bindings import load_bindings

SECONDS = 4.0
IMAGE, CLASSES = (3, 32, 32), 10


def main() -> None:
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
        return
    asked = json.loads(sys.argv[1])
    bindings, folder = load_bindings(), asked["network"]
    options = bindings.SessionOptions()
    options.enable_mem_pattern = False  # with it the peak is higher by half
    options.intra_op_num_threads = asked["threads"]
    options.log_severity_level = 4
    device = bindings.OrtDevice(bindings.OrtDevice.cpu(), bindings.OrtDevice.default_memory(), 0)
    state = bindings.load_checkpoint(f"{folder}/checkpoint")
    module = bindings.Module(f"{folder}/training_model.onnx", state, f"{folder}/eval_model.onnx", device, options)
    optimizer = bindings.Optimizer(f"{folder}/optimizer_model.onnx", state, device, options)
    optimizer.set_learning_rate(0.01)
    batch = asked["batch"]
    images = np.sin(np.arange(batch * np.prod(IMAGE), dtype=np.float32) ** 1.5).reshape(batch, *IMAGE)
    labels = np.arange(batch, dtype=np.int64) % CLASSES

    def step() -> None:
        module.train_step([images, labels], bindings.OrtValueVector())
        optimizer.optimizer_step()
        module.lazy_reset_grad()

    for _ in range(2):
        step()
    steps, begin, times = asked["steps"], time.perf_counter(), []
    while len(times) < (steps or 5) or (not steps and time.perf_counter() - begin < SECONDS):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    spread = {"min": min(times), "median": float(np.median(times)), "max": max(times)}
    print(json.dumps({"step_ms": spread, "peak_bytes": read_counters().peak}))


def write(folder: Path) -> None:
    """The paper's resnet32, dense, with SGD and momentum, as training artifacts in `folder`."""
    from edge.plan.choices import OptimizerChoice
    from export.artifact import Options, build, write_ort
    from export.capture import capture
    from export.source import Source
    from mest.models import ModelSpec, build_model

    model = build_model(ModelSpec("resnet32", CLASSES, IMAGE), seed=0).eval()
    source = Source(model, {}, IMAGE, tuple(str(number) for number in range(CLASSES)), {})
    built = build(source, capture(model, IMAGE), Options(format="dense"))
    written = write_ort(built, OptimizerChoice(kind="sgd", momentum=0.9, weight_decay=1e-4), 0.0, "em", folder)
    if written.reason is not None:
        raise SystemExit(f"onnxruntime-training cannot be measured here: {written.reason}")


if __name__ == "__main__":
    main()
