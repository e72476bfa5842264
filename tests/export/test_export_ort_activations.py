"""What stands for an activation in onnxruntime-training's graph has PyTorch's values and gradients, large ones too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch.nn import functional

from export.graph import stamp
from export.ort.activations import SPELLINGS, spell_out_activations
from export.ort.files import missing
from export.ort.gradient import training_graphs

SLOPE = 0.3
LARGE = [-1e30, -1e8, -1e4, -100, -88, 88, 100, 1e4, 1e8, 1e30]
NO_NUMBERS = np.array([-np.inf, np.inf, np.nan], np.float32)


@dataclass(frozen=True)
class Activation:
    """PyTorch's version, the ONNX operator's attributes, and where its gradient has another value at a single point."""

    torch: Callable[[torch.Tensor], torch.Tensor]
    attributes: dict[str, float] = field(default_factory=dict)
    bends: tuple[float, ...] = ()


SIXTH, ALPHA = float(np.float32(1 / 6)), float(np.float32(0.7))  # as an attribute holds them
ACTIVATIONS = {
    "HardSwish": Activation(functional.hardswish, bends=(3.0,)),
    "HardSigmoid": Activation(
        lambda x: functional.hardtanh(x * SIXTH + 0.5, 0, 1), {"alpha": SIXTH, "beta": 0.5}, bends=(3.0,)
    ),
    "Elu": Activation(lambda x: functional.elu(x, ALPHA), {"alpha": ALPHA}),
    "Selu": Activation(functional.selu),
    "Celu": Activation(lambda x: functional.celu(x, ALPHA), {"alpha": ALPHA}),
    "Softplus": Activation(functional.softplus),
    "Mish": Activation(functional.mish),
    "PRelu": Activation(lambda x: functional.prelu(x, torch.tensor([SLOPE], dtype=x.dtype))),
}


def graph_of(kind: str, count: int) -> onnx.ModelProto:
    """`y` of a stored `x`, spelled out, and the sum of `y` times an input `weights`, which is the loss."""
    inputs = ["x", "slope"] if kind == "PRelu" else ["x"]
    nodes = [
        helper.make_node(kind, inputs, ["y"], "act", **ACTIVATIONS[kind].attributes),
        helper.make_node("Mul", ["y", "weights"], ["weighted"], "weighted"),
        helper.make_node("ReduceSum", ["weighted"], ["loss"], "loss", keepdims=0),
    ]
    stored = [helper.make_tensor("x", TensorProto.FLOAT, [count], [0.0] * count)]
    stored += [helper.make_tensor("slope", TensorProto.FLOAT, [1], [SLOPE])] * (kind == "PRelu")
    weights = helper.make_tensor_value_info("weights", TensorProto.FLOAT, [count])
    outputs = [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])]
    outputs += [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count])]
    graph = helper.make_graph(nodes, "one", [weights], outputs, stored)
    model = stamp(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert spell_out_activations(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert all(node.op_type not in SPELLINGS for node in model.graph.node)
    return model


def points(kind: str) -> np.ndarray:
    """A dense range, numbers near 0 and exactly 0, and large ones, float32."""
    near = np.geomspace(1e-7, 0.1, 50)
    found = np.concatenate([np.linspace(-25, 25, 4001), -near, [-0.0, 0.0], near, LARGE]).astype(np.float32)
    return found[~np.isin(found, ACTIVATIONS[kind].bends)]


def test_every_spelling_is_tested() -> None:
    """One that is added is held against PyTorch."""
    assert set(ACTIVATIONS) == set(SPELLINGS)


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("kind", SPELLINGS)
def test_values_and_gradients_are_those_of_pytorch(kind: str) -> None:
    """At 0 as well, where a filter without weights lies; small values keep their digits."""
    import onnxruntime

    x = points(kind)
    weights = np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    training, _ = training_graphs(graph_of(kind, len(x)), ["x"], [])
    training.graph.output.append(helper.make_tensor_value_info("x_grad", TensorProto.FLOAT, [len(x)]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(training.SerializeToString(), options, ["CPUExecutionProvider"])
    feeds = {"x": x, "weights": weights, "x_grad.accumulation.buffer": np.zeros_like(x)}
    value, gradient = session.run(["y", "x_grad"], {**feeds, "lazy_reset_grad": np.array([True])})
    theirs = torch.tensor(x.astype(np.float64), requires_grad=True)
    wanted = ACTIVATIONS[kind].torch(theirs)
    (wanted * torch.from_numpy(weights)).sum().backward()
    assert theirs.grad is not None
    np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=5e-7, atol=1e-7)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_what_is_no_number_stays_none(kind: str) -> None:
    """A run that diverges is seen."""
    model = ReferenceEvaluator(graph_of(kind, 3))
    with np.errstate(invalid="ignore"):
        (found,) = model.run(["y"], {"x": NO_NUMBERS, "weights": np.ones(3, np.float32)})
    np.testing.assert_allclose(found, ACTIVATIONS[kind].torch(torch.from_numpy(NO_NUMBERS)).numpy(), rtol=1e-6)


def test_other_domains_and_operators_stay() -> None:
    """A custom operator of the same name is not ONNX's."""
    nodes = [helper.make_node("Mish", ["x"], ["y"], domain="mine"), helper.make_node("Relu", ["y"], ["z"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "z")]
    model = helper.make_model(helper.make_graph(nodes, "one", ends[:1], ends[1:]))
    before = model.SerializeToString()
    assert spell_out_activations(model) == 0
    assert model.SerializeToString() == before
