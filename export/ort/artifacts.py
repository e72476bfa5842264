"""Writes what onnxruntime-training loads: training, evaluation and optimizer graphs and the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path

import onnx

from edge.engines.ort.bindings import load_bindings
from edge.plan.choices import OptimizerChoice
from edge.spelling import named
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Task
from export.graph import attributes, forget_origin, producers, remove_unused, shapes, stamp
from export.ort.files import CHECKPOINT, EVALUATION, OPTIMIZER, TRAINING
from export.ort.gradient import training_graphs
from export.ort.loss import SCALE, append_loss
from export.ort.optimizer import optimizer_model
from export.ort.recompute import recompute_blocks
from export.ort.represent import ZERO
from export.ort.rewrites import REWRITES
from mest.errors import InputError


def write_artifacts(
    model: onnx.ModelProto,
    trained: Iterable[str],
    frozen: Iterable[str],
    optimizer: OptimizerChoice,
    label_smoothing: float,
    folder: Path,
    recompute: str,
    ends: Container[str],
    task: Task = CLASSIFICATION,
) -> tuple[tuple[str, str], ...]:
    """Write the four files into `folder` from a forward graph that ends in one output, the answers of a task.

    `trained` parameters get gradients and optimizer state, `frozen` ones (statistics, indices, untrained weights) are
    in the checkpoint only. The graphs have two outputs, the loss and the logits. With `recompute` "blocks" the backward
    pass recomputes blocks, and the values between which they lie are returned: some of `ends`, which the network has
    too. Raises InputError naming the operator that has no gradient, an optimizer that onnxruntime-training cannot
    express, or a model without such blocks.
    """
    bindings = load_bindings()
    model = onnx.ModelProto.FromString(model.SerializeToString())
    logits = model.graph.output[0].name
    _refuse_other_pools(model)
    for rewrite in REWRITES:
        rewrite(model)
    append_loss(model, logits, label_smoothing, task)
    remove_unused(model.graph)
    present = {tensor.name for tensor in model.graph.initializer}
    trained = [name for name in trained if name in present]
    if not trained:
        raise InputError(f"{named('trainable')}: no parameter is left to train; name at least one")
    frozen = [name for name in dict.fromkeys((*frozen, ZERO, SCALE)) if name in present]

    update = optimizer_model(optimizer, len(trained))
    try:
        training, evaluation = training_graphs(stamp(model), trained, frozen)
    except Exception as failed:
        raise InputError(_refusal(model, failed)) from failed
    blocks = recompute_blocks(training, shapes(model), ends) if recompute == "blocks" else ()
    if recompute == "blocks" and not blocks:
        raise InputError(
            f"{named('recompute')} blocks: no part of the trained model lies between two single values; use none"
        )
    onnx.save(forget_origin(stamp(training)), folder / TRAINING)
    onnx.save(forget_origin(stamp(evaluation)), folder / EVALUATION)
    tensors = {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}
    bindings.save_checkpoint(
        [tensors[name] for name in trained], [tensors[name] for name in frozen], str(folder / CHECKPOINT), False
    )
    onnx.save(update, folder / OPTIMIZER)
    return blocks


def _refuse_other_pools(model: onnx.ModelProto) -> None:
    """Raise InputError for pooling over three dimensions, on whose gradient the library crashes."""
    for node in model.graph.node:
        if node.op_type in ("MaxPool", "AveragePool") and len(attributes(node)["kernel_shape"]) > 2:
            raise InputError(
                f"operator {node.op_type} at {node.output[0]} has a gradient in onnxruntime-training for windows of "
                "one or two dimensions alone"
            )


def _refusal(model: onnx.ModelProto, failed: BaseException) -> str:
    text = str(failed)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    makers = producers(model.graph)
    kinds = {node.op_type for node in model.graph.node}
    for word in re.findall(r"[\w.]+", text):
        if word in kinds:
            place = next(node.name or node.output[0] for node in makers.values() if node.op_type == word)
            return f"operator {word} at {place} has no gradient in onnxruntime-training; freeze what lies before it"
    # Its own source's place and the number of the error say nothing to a user.
    last = re.sub(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[-1]) if lines else type(failed).__name__
    return f"onnxruntime-training cannot build the gradient graph ({last.rstrip('. ')})"
