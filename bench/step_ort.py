"""One step cell: onnxruntime-training on an artifact, in a process without torch and onnx. Prints JSON.

python -m bench.step_ort --write DIR     (writes the dense artifact of bench.step; this needs torch and onnx)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.step_cell import samples, timed
from edge.engines.ort.bindings import load_bindings
from edge.host.counters import read_counters
from edge.tasks.registry import CLASSIFICATION, TASKS

IMAGE, CLASSES = (3, 32, 32), 10


def main() -> None:
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
    else:
        print(json.dumps(measure(json.loads(sys.argv[1]))))


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of a step and the peak of the process.

    `spinning` lets waiting threads spin, as onnxruntime does by default: faster, but processor time means nothing then.
    """
    bindings, folder = load_bindings(), asked["network"]
    options = bindings.SessionOptions()
    options.enable_mem_pattern = False  # with it the peak is higher by half
    options.intra_op_num_threads = asked["threads"]
    options.log_severity_level = 4
    if not asked.get("spinning", True):
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    device = bindings.OrtDevice(bindings.OrtDevice.cpu(), bindings.OrtDevice.default_memory(), 0)
    state = bindings.load_checkpoint(f"{folder}/checkpoint")
    module = bindings.Module(f"{folder}/training_model.onnx", state, f"{folder}/eval_model.onnx", device, options)
    optimizer = bindings.Optimizer(f"{folder}/optimizer_model.onnx", state, device, options)
    optimizer.set_learning_rate(0.01)
    shape, classes = tuple(asked.get("image", IMAGE)), asked.get("classes", CLASSES)
    images, labels = samples(asked["batch"], shape, classes)
    task = TASKS[asked.get("task", CLASSIFICATION.name)]
    if not task.of_classes:
        labels = task.noise(asked["batch"], task.output(classes, shape))
    fed = [images, labels] if labels.size else [images]

    def step() -> None:
        module.train_step(fed, bindings.OrtValueVector())
        optimizer.optimizer_step()
        module.lazy_reset_grad()

    return {**timed(step, asked["steps"], 5, 4.0), "peak_bytes": read_counters().peak}


def write(folder: Path) -> None:
    """The paper's resnet32, dense, with SGD and momentum, as training artifacts in `folder`."""
    from edge.plan.choices import OptimizerChoice
    from export.artifact import build, write_ort
    from export.capture import capture
    from export.options import Options
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
