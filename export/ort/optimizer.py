"""The optimizer graph of onnxruntime-training, with PyTorch's arithmetic.

Its library has AdamW, and SGD without momentum. SGD with momentum μ and weight decay λ is had from the same AdamW node:

    AdamW (adam_mode 1, no bias correction):  m ← α m + (1−α) g;  v ← β v + (1−β) g²;  w ← w − η m / (√v + ε)
    with α = μ, β = 1, ε = 1 − μ:             v stays 0, and m / (1−μ) = b with b ← μ b + g;  w ← w − η b

which is torch.optim.SGD with dampening 0. Weight decay joins the gradient before (g + λ w), by ordinary operators.
The node keeps a second moment that stays zero: one float per trained weight more than momentum alone needs.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from edge.plan.choices import OptimizerChoice
from edge.spelling import named
from export.graph import MAX_IR_VERSION, OPSET
from mest.errors import InputError

SEQUENCES = ("params", "gradients", "first_order_moments", "second_order_moments")


def optimizer_model(choice: OptimizerChoice, parameters: int) -> onnx.ModelProto:
    """The optimizer as a graph that onnxruntime-training loads, for that many trained parameters.

    Raises InputError for Nesterov momentum, which no node of onnxruntime-training can express.
    """
    if choice.nesterov:
        raise InputError(
            f"onnxruntime-training has no Nesterov momentum; use {named('engine')} native or plain momentum"
        )
    sequences: tuple[str, ...] = SEQUENCES
    plain = choice.kind == "sgd" and choice.momentum == 0
    nodes: list[onnx.NodeProto] = []
    gradients = "gradients"
    if choice.kind == "sgd" and choice.weight_decay:
        gradients = _decayed(nodes, choice.weight_decay, parameters)
    if plain:
        inputs = ["learning_rate", "params", gradients]
        nodes.append(helper.make_node("SGDOptimizerV2", inputs, ["updated"], "optimizer", domain="com.microsoft"))
        sequences = SEQUENCES[:3]
    else:
        inputs = ["learning_rate", "step", "params", gradients, "first_order_moments", "second_order_moments"]
        constants = (
            {
                "alpha": choice.momentum,
                "beta": 1.0,
                "epsilon": 1 - choice.momentum,
                "weight_decay": 0.0,
                "correct_bias": 0,
                "adam_mode": 1,
            }
            if choice.kind == "sgd"
            else {
                "alpha": choice.beta1,
                "beta": choice.beta2,
                "epsilon": choice.epsilon,
                "weight_decay": choice.weight_decay,
                "correct_bias": 1,
                "adam_mode": 0,
            }
        )
        nodes.append(
            helper.make_node("AdamWOptimizer", inputs, ["updated"], "optimizer", domain="com.microsoft", **constants)
        )
    graph = helper.make_graph(
        nodes,
        "optimizer",
        [
            helper.make_tensor_value_info("learning_rate", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("step", TensorProto.INT64, [1]),
            *(helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None) for name in sequences),
        ],
        [helper.make_tensor_value_info("updated", TensorProto.BOOL, [1])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=MAX_IR_VERSION, producer_name="mest")


def _decayed(nodes: list[onnx.NodeProto], weight_decay: float, parameters: int) -> str:
    """Append gradient + weight_decay · parameter for each parameter; return the name of the new sequence."""
    nodes.append(helper.make_node("Constant", [], ["weight_decay"], value_float=weight_decay))
    for i in range(parameters):
        nodes.append(helper.make_node("Constant", [], [f"index_{i}"], value_int=i))
        for sequence in ("params", "gradients"):
            nodes.append(helper.make_node("SequenceAt", [sequence, f"index_{i}"], [f"{sequence}_{i}"]))
        nodes.append(helper.make_node("Mul", [f"params_{i}", "weight_decay"], [f"decay_{i}"]))
        nodes.append(helper.make_node("Add", [f"gradients_{i}", f"decay_{i}"], [f"decayed_{i}"]))
    nodes.append(helper.make_node("SequenceConstruct", [f"decayed_{i}" for i in range(parameters)], ["decayed"]))
    return "decayed"
