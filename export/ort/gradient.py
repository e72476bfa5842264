"""From a forward graph that ends in a loss to the training and evaluation graphs that onnxruntime-training loads.

onnxruntime's own builder (`onnxblock`) works through a module-global and imports torch; this uses the same bindings
beneath it. A training graph takes the images, the labels, every parameter, one accumulation buffer per trained
parameter and the flag that empties the buffers; it gives the outputs of the forward graph and one flag per buffer.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from edge.engines.ort.bindings import load_bindings
from export.graph import set_attributes, stamp

RESET = "lazy_reset_grad"


def training_graphs(
    model: onnx.ModelProto, trained: Sequence[str], frozen: Sequence[str]
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The training graph and the evaluation graph of a forward graph whose first output is the scalar loss.

    Requires that `trained` and `frozen` are initializers. Ensures that both graphs take them as inputs, in one order,
    and that nothing was folded into them. Raises RuntimeError where an operator has no gradient.
    """
    bindings = load_bindings()
    options = bindings.SessionOptions()
    options.log_severity_level = 4
    forward = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    _parameters_to_inputs(forward, [*trained, *frozen])
    evaluation = onnx.ModelProto.FromString(forward.SerializeToString())
    for node in evaluation.graph.node:
        if node.op_type == "BatchNormalization":
            set_attributes(node, training_mode=0)
    loss = forward.graph.output[0].name
    outputs = [output.name for output in forward.graph.output]
    optimized = bindings.get_optimized_model(forward.SerializeToString(), set(trained), options)
    builder = bindings.GradientGraphBuilder(optimized, {loss}, set(trained), loss, options)
    builder.build()
    training = onnx.load_from_string(builder.get_model())
    _accumulate(training, outputs, trained)
    return stamp(training), stamp(evaluation)


def _parameters_to_inputs(model: onnx.ModelProto, parameters: Sequence[str]) -> None:
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for name in parameters:
        tensor = stored.pop(name)
        graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    constants = list(stored.values())
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _accumulate(training: onnx.ModelProto, outputs: Sequence[str], trained: Sequence[str]) -> None:
    """Add each gradient to a buffer, which the flag empties first, and order the outputs: the model's, then flags."""
    graph = training.graph
    made = {output.name: output for output in graph.output}
    ordered = [made[name] for name in outputs]
    for name in trained:
        gradient = made[f"{name}_grad"]
        buffer = onnx.ValueInfoProto()
        buffer.CopyFrom(gradient)
        buffer.name = f"{gradient.name}.accumulation.buffer"
        done = f"{gradient.name}.accumulation.out"
        graph.node.append(
            helper.make_node(
                "InPlaceAccumulatorV2", [buffer.name, gradient.name, RESET], [done], done, domain="com.microsoft"
            )
        )
        graph.input.append(buffer)
        ordered.append(helper.make_tensor_value_info(done, TensorProto.BOOL, [1]))
    graph.input.append(helper.make_tensor_value_info(RESET, TensorProto.BOOL, [1]))
    del graph.output[:]
    graph.output.extend(ordered)
