"""Writes what onnxruntime-training loads: training, evaluation and optimizer graphs and the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import onnx

from edge.ort.bindings import load_bindings
from edge.plan.choices import OptimizerChoice
from export.graph import producers, remove_unused, shapes, stamp
from export.ort.average_pool import convolve_instead_of_pool
from export.ort.files import CHECKPOINT, EVALUATION, OPTIMIZER, TRAINING
from export.ort.gradient import training_graphs
from export.ort.loss import SCALE, append_loss
from export.ort.optimizer import optimizer_model
from export.ort.recompute import recompute_blocks
from export.ort.relu6 import split_relu6
from export.ort.represent import ZERO
from mest.errors import InputError


def write_artifacts(
    model: onnx.ModelProto,
    trained: Iterable[str],
    frozen: Iterable[str],
    optimizer: OptimizerChoice,
    label_smoothing: float,
    folder: Path,
    recompute: str = "none",
) -> tuple[tuple[str, str], ...]:
    """Write the four files into `folder` from a forward graph that ends in one output of logits.

    `trained` parameters get gradients and optimizer state, `frozen` ones (statistics, indices, untrained weights) are
    in the checkpoint only. The graphs have two outputs, the loss and the logits. With `recompute` "blocks" the backward
    pass recomputes blocks, and the values between which they lie are returned. Raises InputError naming the operator
    that has no gradient, an optimizer that onnxruntime-training cannot express, or a model without such blocks.
    """
    bindings = load_bindings()
    model = onnx.ModelProto.FromString(model.SerializeToString())
    logits = model.graph.output[0].name
    # Values that the native network knows too; what a layer gathers for itself is merged into the layer there.
    ends = {node.output[0] for node in model.graph.node if node.op_type != "Gather"}
    split_relu6(model)
    convolve_instead_of_pool(model)
    append_loss(model, logits, label_smoothing)
    remove_unused(model.graph)
    present = {tensor.name for tensor in model.graph.initializer}
    trained = [name for name in trained if name in present]
    if not trained:
        raise InputError("--trainable: no parameter is left to train; name at least one")
    frozen = [name for name in dict.fromkeys((*frozen, ZERO, SCALE)) if name in present]

    update = optimizer_model(optimizer, len(trained))
    try:
        training, evaluation = training_graphs(stamp(model), trained, frozen)
    except Exception as failed:
        raise InputError(_refusal(model, failed)) from failed
    blocks = recompute_blocks(training, shapes(model), ends) if recompute == "blocks" else ()
    if recompute == "blocks" and not blocks:
        raise InputError("--recompute blocks: no part of the trained model lies between two single values; use none")
    onnx.save(training, folder / TRAINING)
    onnx.save(evaluation, folder / EVALUATION)
    tensors = {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}
    bindings.save_checkpoint(
        [tensors[name] for name in trained], [tensors[name] for name in frozen], str(folder / CHECKPOINT), False
    )
    onnx.save(update, folder / OPTIMIZER)
    return blocks


def _refusal(model: onnx.ModelProto, failed: BaseException) -> str:
    text = str(failed)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    makers = producers(model.graph)
    kinds = {node.op_type for node in model.graph.node}
    for word in re.findall(r"[\w.]+", text):
        if word in kinds:
            place = next(node.name or node.output[0] for node in makers.values() if node.op_type == word)
            return f"operator {word} at {place} has no gradient in onnxruntime-training; freeze what lies before it"
    return f"onnxruntime-training cannot build the gradient graph ({lines[-1] if lines else type(failed).__name__})"
