"""What capture gives: PyTorch's outputs at any batch size, the parameters' names, refusals with module and advice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from conftest import INPUT, make_source
from onnx.reference import ReferenceEvaluator
from torch import nn

from edge.network import Conv, Relu6
from export.capture import Captured, capture, check_exporter
from export.lower import lower
from export.source import Source
from mest.errors import InputError


@pytest.mark.parametrize("family", ["resnet", "mobilenet", "vgg"])
@pytest.mark.parametrize("batch", [1, 5])
def test_graph_computes_what_the_model_does_for_any_batch(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], family: str, batch: int
) -> None:
    """Logits equal PyTorch's in evaluation mode, for a batch that was not traced."""
    captured = captures(family, make_source(models[family], family, "irregular", 0.0))
    images = torch.randn(batch, *INPUT)
    with torch.no_grad():
        wanted = models[family](images).numpy()
    (found,) = ReferenceEvaluator(captured.model).run(None, {"input": images.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_batch_norm_is_not_folded_and_names_are_the_model_s(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """Every parameter is an initializer under its name, values are named by module, and no repair is left over."""
    captured = captures("resnet", make_source(models["resnet"], "resnet", "irregular", 0.0))
    assert captured.parameters == tuple(name for name, _ in models["resnet"].named_parameters())
    kinds = [node.op_type for node in captured.model.graph.node]
    assert kinds.count("BatchNormalization") == 6
    assert set(kinds) == {"Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
    assert {"conv1", "layers.1.shortcut.0", "layers.0.relu", "logits"} <= {
        n.output[0] for n in captured.model.graph.node
    }
    assert captured.model.ir_version <= 10


def test_capture_leaves_the_model_as_it_was() -> None:
    """Training mode and weights are what they were before."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    capture(model, (1, 4, 4))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class _Arctangent(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atan(x)


class _Decomposition(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.qr(x)[1].flatten(1)


def test_operator_that_cannot_be_exported_is_named_with_its_module() -> None:
    """The message has the operator, the module's path, and what can be done."""
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 2, 1))
    model.add_module("decompose", _Decomposition())
    with pytest.raises(InputError, match=r"linalg_qr.*in module decompose .*_Decomposition.*replace that operation"):
        capture(model, (1, 4, 4))


def test_batch_norm_without_momentum_is_refused_by_name() -> None:
    """A cumulative average has no counterpart on the board."""
    with pytest.raises(InputError, match=r"^1: batch norm .* momentum=None .*give it a momentum"):
        capture(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, momentum=None)), (1, 4, 4))


def test_operator_that_the_native_engine_lacks_is_named_with_its_module() -> None:
    """An arctangent can be exported, but the native network has none."""
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 2, 1))
    model.add_module("bend", _Arctangent())
    model.add_module("flat", nn.Flatten())
    captured = capture(model, (1, 2, 2))
    with pytest.raises(InputError, match=r"operator Atan in module bend .*no such operator"):
        lower(captured.model, captured.parameters)


def test_lowered_network_has_the_model_s_constants(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """Strides, groups, momentum and epsilon are the decimals that the model was written with."""
    source = make_source(models["mobilenet"], "mobilenet", "irregular", 0.0)
    captured = captures("mobilenet", source)
    network = lower(captured.model, captured.parameters)
    depthwise = network.operator("depthwise.0")
    assert isinstance(depthwise, Conv)
    assert (depthwise.groups, depthwise.padding, depthwise.stride) == (16, (1, 1, 1, 1), (1, 1))
    norm = next(operator for operator in network.operators if operator.op == "batch_norm")
    assert (norm.epsilon, norm.momentum) == (1e-5, 0.1)
    assert sum(isinstance(operator, Relu6) for operator in network.operators) == 3
    assert not network.parameters["stem.1.running_mean"].trainable
    onnx.checker.check_model(captured.model, full_check=True)


def test_a_torch_whose_exporter_fails_is_named() -> None:
    """torch 2.6 is refused up front, with what to install; later ones are not."""
    with pytest.raises(InputError, match=r"torch 2\.6\.0\+cpu cannot export .* install a newer torch"):
        check_exporter("2.6.0+cpu")
    check_exporter("2.13.0+cpu")
    check_exporter("2.15.0")
