"""Gathered channels become zeros in weights, or a 1×1 convolution: no Gather of ours is left, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from conftest import INPUT, make_source
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from export.artifact import build
from export.capture import Captured
from export.options import Options
from export.passes.gathered_channels import fill_gathered_channels
from export.source import Source


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operators in order."""
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("family", ["resnet", "mobilenet", "vgg"])
def test_no_gather_is_left_and_the_answers_stay(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], family: str
) -> None:
    """Residual sums are what needs them; the filters that nobody reads stay away."""
    source = make_source(models[family], family, "channel", 0.5)
    model = build(source, captures(family, source), Options()).forward
    gathers = kinds(model).count("Gather")
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    assert fill_gathered_channels(model) == gathers
    assert gathers > 0
    assert "Gather" not in kinds(model)
    onnx.checker.check_model(model, full_check=True)
    whole = sum(value.numel() * 4 for name, value in source.model.state_dict().items() if "num_batches" not in name)
    assert size <= sum(len(tensor.raw_data) for tensor in model.graph.initializer) < whole
    images = torch.randn(2, *INPUT)
    (found,) = ReferenceEvaluator(model).run(None, {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, source.model(images).numpy(), atol=1e-5)


@pytest.mark.parametrize(("shape", "made"), [((3, 4, 2, 2), "Conv"), ((3, 4), "Gemm")])
def test_channels_for_another_reader_are_picked_by_ones(shape: tuple[int, ...], made: str) -> None:
    """By eye: channels 3 and 1 of four, as a sum or an activation reads them."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "y.channels"], ["y"], axis=1), helper.make_node("Relu", ["y"], ["z"])],
        "picked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape[1:]])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2, *shape[2:]])],
        [numpy_helper.from_array(np.array([3, 1]), "y.channels")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert fill_gathered_channels(model) == 1
    assert kinds(model) == [made, "Relu"]
    (ones,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    np.testing.assert_array_equal(ones.reshape(2, 4), [[0, 0, 0, 1], [0, 1, 0, 0]])
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (found,) = ReferenceEvaluator(model).run(None, {"x": images})
    np.testing.assert_array_equal(found, np.maximum(images[:, [3, 1]], 0))


def test_without_gathered_channels_nothing_happens(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """The graph stays byte for byte."""
    model = captures("resnet", make_source(models["resnet"], "resnet", "irregular", 0.5)).model
    before = model.SerializeToString()
    assert fill_gathered_channels(model) == 0
    assert model.SerializeToString() == before
