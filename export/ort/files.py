"""The files that onnxruntime-training loads, by name, and whether it is here to load them."""

from __future__ import annotations

from edge.engines.ort.bindings import available

TRAINING, EVALUATION, OPTIMIZER, CHECKPOINT = (
    "training_model.onnx",
    "eval_model.onnx",
    "optimizer_model.onnx",
    "checkpoint",
)


def missing() -> str | None:
    """Why the artifacts cannot be written or run here, or None if they can."""
    usable, reason = available()
    return None if usable else reason
