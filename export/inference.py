"""`inference.onnx` for any stock ONNX Runtime: the plain graph with dense weights in one external file.

Dense, because stock runtimes have no sparse convolution, and a weight scattered from constants would be folded back
into a dense one when the session loads.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from export.graph import stamp

MODEL, WEIGHTS = "inference.onnx", "inference.bin"


def write_inference(model: onnx.ModelProto, folder: Path) -> None:
    """Write inference.onnx and inference.bin into `folder`: images `input` (batch, c, h, w) to `logits`."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for node in copy.graph.node:
        del node.metadata_props[:]
    del copy.graph.value_info[:]
    onnx.checker.check_model(copy, full_check=True)
    onnx.save(
        stamp(copy),
        folder / MODEL,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=0,
    )
    (folder / WEIGHTS).chmod(0o644)  # onnx makes it readable by its owner alone
