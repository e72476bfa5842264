"""Questions and small edits on an ONNX graph: who makes a value, who reads it, its shape, the module it came from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

MAX_IR_VERSION = 10  # the newest that onnxruntime-training loads
OPSET = 18
FROZEN = "mest.frozen"
IMAGES = 7, 11  # numbers of images that no size of a layer is by chance
FIRST_AXIS = "mest.first_axis"
SMALL = 1 << 10  # elements; the scales and sizes that shape inference may read are no larger


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each value, in graph order; a node that reads it twice is listed once."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            if name:
                readers.setdefault(name, []).append(node)
    return readers


def tensors(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The initializers as arrays, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def set_tensor(graph: onnx.GraphProto, name: str, array: np.ndarray) -> None:
    """Add an initializer, or replace the one of that name."""
    new = numpy_helper.from_array(np.asarray(array, order="C"), name)  # a scalar stays one
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(new)
            return
    graph.initializer.append(new)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values, strings decoded."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def set_attributes(node: onnx.NodeProto, **values: Any) -> None:
    """Set attributes by name; None removes one."""
    kept = [attribute for attribute in node.attribute if attribute.name not in values]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in values.items() if value is not None)


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """The shape of every value that shape inference can tell; None for a dimension that is not fixed (the batch).

    Inference gives up on a Reshape whose -1 stands beside a free batch. Where a dimension is open that need not be, the
    graph is looked at with two numbers of images, and what is the same for both is fixed.
    """
    stripped = _without_weights(model)
    found = _inferred(stripped)
    written = [name for node in model.graph.node for name in node.output if name]
    if all(name in found and None not in found[name][1:] for name in written):
        return found
    few, many = (_inferred(_with_images(stripped, found, images)) for images in IMAGES)
    for name in few.keys() & many.keys():
        if len(few[name]) == len(many[name]):
            found[name] = tuple(a if a == b else None for a, b in zip(few[name], many[name], strict=True))
    return found


def _inferred(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """What shape inference says of a graph as it is."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found: dict[str, tuple[int | None, ...]] = {}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = info.type.tensor_type
        if kind.HasField("shape"):
            found[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    for tensor in inferred.initializer:
        found[tensor.name] = tuple(tensor.dims)
    return found


def _with_images(model: onnx.ModelProto, found: Mapping[str, tuple[int | None, ...]], images: int) -> onnx.ModelProto:
    """A copy of a graph for a number of images, in which that number is followed through all that is computed with it.

    Inference follows numbers through most operators of a shape, but not through the Reshape that makes one a vector.
    """
    counted = onnx.ModelProto()
    counted.CopyFrom(model)
    del counted.graph.value_info[:]
    for info in (*counted.graph.input, *counted.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = images
    set_tensor(counted.graph, FIRST_AXIS, np.array([0]))
    for node in counted.graph.node:
        if node.op_type == "Reshape" and (found.get(node.input[0]), found.get(node.output[0])) == ((), (1,)):
            node.CopyFrom(helper.make_node("Unsqueeze", [node.input[0], FIRST_AXIS], node.output, node.name))
    return counted


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large tensors are inputs of the same shape: inference copies all that it is given."""
    copied = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = copied.graph
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL or tensor.data_type == onnx.TensorProto.INT64:
            graph.initializer.append(tensor)
        elif all(tensor.name != given.name for given in graph.input):
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copied


def rename_input(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Make every reader of a value, nodes and graph outputs alike, read another one.

    A graph output keeps its name: the producer of `new` is made to write under it.
    """
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
    if any(output.name == old for output in graph.output):
        maker = producers(graph)[new]
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == new:
                    node.input[index] = old
        maker.output[list(maker.output).index(new)] = old


def rename_initializers(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give initializers and all that read them other names; of several that become one, the first is kept."""
    kept: dict[str, onnx.TensorProto] = {}
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
        kept.setdefault(tensor.name, tensor)
    kept_tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept.values()]
    del graph.initializer[:]
    graph.initializer.extend(kept_tensors)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


def remove_unused(graph: onnx.GraphProto) -> int:
    """Remove nodes that nothing reads and initializers that no node reads; return how many of both went."""
    needed = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    removed = len(graph.node) - len(kept) + len(graph.initializer) - len(weights)
    if removed:
        kept.reverse()
        del graph.node[:]
        graph.node.extend(kept)
        del graph.initializer[:]
        graph.initializer.extend(weights)
    return removed


def module_of(node: onnx.NodeProto) -> str:
    """The path of the module that a node came from ("layer1.0.conv1"), "" for the model itself or if unknown."""
    scopes = _scopes(node, "pkg.torch.onnx.name_scopes")
    return scopes[-2] if len(scopes) > 1 and not scopes[-2].startswith("_empty") else ""


def is_leaf(node: onnx.NodeProto) -> bool:
    """True if the node came from one of torch.nn's own layers rather than from code in a model's forward."""
    classes = _scopes(node, "pkg.torch.onnx.class_hierarchy")
    return len(classes) > 1 and classes[-2].startswith("torch.nn.modules.") and ".container." not in classes[-2]


def mark_frozen(node: onnx.NodeProto) -> None:
    """Say of a batch norm that it normalises by its running statistics in training too, and leaves them as they are."""
    node.metadata_props.add(key=FROZEN, value="1")


def is_frozen(node: onnx.NodeProto) -> bool:
    """True for a batch norm that `mark_frozen` was told of."""
    return any(entry.key == FROZEN for entry in node.metadata_props)


def _scopes(node: onnx.NodeProto, key: str) -> list[str]:
    for entry in node.metadata_props:
        if entry.key == key:
            return [str(part) for part in ast.literal_eval(entry.value)]
    return []


def stamp(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an IR version that onnxruntime-training loads, whichever `onnx` wrote it, and no tool's version.

    A graph that computes the same is the same file, so that its hash is what the graph is known by.
    """
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    model.producer_name, model.producer_version = "mest", ""
    return model


def forget_origin(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what PyTorch's exporter noted of its making: scopes, stack traces and the paths in them."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    return model
