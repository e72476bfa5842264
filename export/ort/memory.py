"""Memory of onnxruntime-training on these artifacts, measured in a process that imports nothing but its bindings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from edge.host.child import child
from export.ort.files import TRAINING
from export.ort.loss import LABELS

BATCHES = (2, 8)
SECONDS = 300

# Runs alone: the peak of a process that also holds torch or onnx would say nothing.
_PROBE = """
import json
import numpy as np
from edge.engines.ort.bindings import load_bindings
bindings = load_bindings()

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

folder, fed, batch = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
baseline = resident("VmRSS")
options = bindings.SessionOptions()
options.enable_mem_pattern = False
options.intra_op_num_threads = 1
options.log_severity_level = 4
device = bindings.OrtDevice(bindings.OrtDevice.cpu(), bindings.OrtDevice.default_memory(), 0)
state = bindings.load_checkpoint(folder + "/checkpoint")
module = bindings.Module(folder + "/training_model.onnx", state, folder + "/eval_model.onnx", device, options)
optimizer = bindings.Optimizer(folder + "/optimizer_model.onnx", state, device, options)
loaded = resident("VmRSS")
arrays = [np.zeros((batch, *shape), kind) for shape, kind in fed]
for _ in range(2):
    module.train_step(arrays, bindings.OrtValueVector())
    optimizer.optimizer_step()
    module.lazy_reset_grad()
print(json.dumps({"baseline": baseline, "loaded": loaded, "peak": resident("VmHWM")}))
"""


class MeasurementError(Exception):
    """Memory could not be measured; one line says why."""


def training_memory(folder: Path, input: tuple[int, ...], say: Callable[[str], None]) -> dict[str, Any]:
    """The bytes of training on the artifacts in `folder`: measured, or estimated where that fails, and said so."""
    try:
        return measured_memory(folder, input)
    except MeasurementError as failed:
        estimated = live_memory(folder)
        say(f"memory of onnxruntime-training is estimated, not measured: {failed}")
        return {**estimated, "obtained": f"{estimated['obtained']}; not measured: {failed}"}


def measured_memory(folder: Path, input: tuple[int, ...]) -> dict[str, Any]:
    """Bytes of a training process above the loaded library, as a fixed part and a part per sample.

    `fixed_bytes` + batch · `bytes_per_sample` is a straight line through the peaks at two batch sizes. Raises
    MeasurementError.
    """
    if not sys.platform.startswith("linux"):
        raise MeasurementError("the kernel's count is read on Linux alone")
    fed = json.dumps([(input, "float32"), *_labels(folder)])
    peaks = []
    for batch in BATCHES:
        command, environment = child(_PROBE, str(folder), fed, str(batch))
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise MeasurementError(f"the measuring process took more than {SECONDS} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            raise MeasurementError(f"the measuring process failed: {last}")
        found = json.loads(done.stdout.splitlines()[-1])
        peaks.append(found["peak"] - found["baseline"])
    per_sample = max(0, (peaks[1] - peaks[0]) // (BATCHES[1] - BATCHES[0]))
    return {
        "obtained": "measured while exporting, one thread, peak resident above the loaded library, two steps",
        "batches": list(BATCHES),
        "peak_bytes": peaks,
        "fixed_bytes": max(0, peaks[0] - BATCHES[0] * per_sample),
        "bytes_per_sample": per_sample,
    }


def _labels(folder: Path) -> list[tuple[tuple[int, ...], str]]:
    """Shape and type of a sample's labels as the training graph takes them; none where it compares with its input."""
    kinds = [value for value in onnx.load(folder / TRAINING).graph.input if value.name == LABELS]
    found = []
    for kind in (value.type.tensor_type for value in kinds):
        shape = tuple(dim.dim_value for dim in kind.shape.dim[1:])
        found.append((shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name))
    return found


def live_memory(folder: Path) -> dict[str, Any]:
    """An estimate from the training graph alone: what must be alive at once if every buffer is freed at its last use.

    Sums the sizes of values between the node that makes them and the last that reads them, in graph order, for batches
    of 1 and 2; parameters, gradients and optimizer state are in the fixed part.
    """
    model = onnx.load(folder / TRAINING)
    one, two = _peak_bytes(model, 1), _peak_bytes(model, 2)
    parameters = sum(_bytes(value, 1) for value in model.graph.input)
    return {
        "obtained": "liveness of the training graph, without the allocator's rounding",
        "fixed_bytes": parameters + max(0, 2 * one - two),
        "bytes_per_sample": two - one,
    }


def _peak_bytes(model: onnx.ModelProto, batch: int) -> int:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {value.name: _bytes(value, batch) for value in (*inferred.value_info, *inferred.output)}
    last = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    live = peak = 0
    for index, node in enumerate(model.graph.node):
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        gone = {name for name in (*node.input, *node.output) if last.get(name, index) == index}
        live -= sum(sizes.get(name, 0) for name in gone)
    return peak


def _bytes(value: onnx.ValueInfoProto, batch: int) -> int:
    kind = value.type.tensor_type
    count = 1
    for dim in kind.shape.dim:
        count *= dim.dim_value if dim.HasField("dim_value") else batch
    return count * (1 if kind.elem_type in (2, 3, 9) else 8 if kind.elem_type in (7, 11) else 4)
