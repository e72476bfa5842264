"""Channel sparsity makes a smaller network with the same outputs, gathering only where a sum forbids removal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import INPUT, make_source
from onnx.reference import ReferenceEvaluator
from torch import nn

from edge.engines.native.planned import NativePlanned
from edge.engines.ort.planned import OrtPlanned
from edge.handover.artifact import open_artifact
from edge.plan.choices import Choices
from export.artifact import build, export_artifact
from export.capture import Captured
from export.checks.check import check_artifact
from export.compress.channels import compact
from export.graph import tensors
from export.kept import Kept, cut
from export.options import Options
from export.source import Source


@pytest.mark.parametrize("family", ["resnet", "mobilenet", "vgg"])
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_outputs_stay_and_parameters_go(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], family: str, sparsity: float
) -> None:
    """Logits differ from the masked model's by at most 1e-5, with fewer weights and the statistics of kept channels."""
    source = make_source(models[family], family, "channel", sparsity)
    model = captures(family, source).model
    before = {name: array.size for name, array in tensors(model.graph).items()}
    kept = compact(model, source.layers)
    images = torch.randn(4, *INPUT)
    with torch.no_grad():
        wanted = source.model(images).numpy()
    (found,) = ReferenceEvaluator(model).run(None, {"input": images.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    after = {name: array for name, array in tensors(model.graph).items() if name in before}
    assert sum(array.size for array in after.values()) < sum(before.values())
    state = source.model.state_dict()
    for name, array in after.items():
        if name in state:
            np.testing.assert_array_equal(array, cut(state[name].numpy(), kept.get(name)))


def test_inner_filters_of_a_block_are_removed_and_the_residual_stream_is_gathered(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """conv2 reads 4 of 8 channels, so conv1 has 4 filters left; conv1 reads 4 of the 8 that the sum needs: a gather."""
    source = make_source(models["resnet"], "resnet", "channel", 0.5)
    built = build(source, captures("resnet", source), Options())
    conv1, conv2 = built.network.parameters["layers.0.conv1.weight"], built.network.parameters["layers.0.conv2.weight"]
    assert (conv1.format, conv1.shape, conv1.values.shape) == ("channel", (4, 8, 3, 3), (4, 4, 3, 3))
    assert (conv2.format, conv2.shape) == ("dense", (8, 4, 3, 3))
    assert built.network.parameters["layers.0.bn1.running_var"].shape == (4,)


def test_depthwise_layers_shrink_with_their_channels(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """What the projection does not read is removed through ReLU6, batch norm and the depthwise convolution."""
    source = make_source(models["mobilenet"], "mobilenet", "channel", 0.5)
    built = build(source, captures("mobilenet", source), Options())
    operator = built.network.operator("depthwise.0")
    assert operator.groups == 8  # type: ignore[attr-defined]
    assert built.network.parameters["expand.0.weight"].shape[0] == 8


def test_features_behind_a_flatten_lead_back_to_their_channels(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """A linear layer that reads one feature of each of the first two channels keeps those two filters."""
    source = make_source(models["vgg"], "vgg", "channel", 0.0)
    layer = source.layers["hidden.weight"]
    layer.mask[:] = False
    layer.mask[:, [0, 5]] = True  # channels of 4 features
    with torch.no_grad():
        source.model.hidden.weight.mul_(torch.from_numpy(layer.mask))
    model = captures("vgg", source).model
    kept = compact(model, {"hidden.weight": layer})
    np.testing.assert_array_equal(kept["features.7.weight"].outputs, [0, 1])
    images = torch.randn(2, *INPUT)
    with torch.no_grad():
        wanted = source.model(images).numpy()
    (found,) = ReferenceEvaluator(model).run(None, {"input": images.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_without_channel_layers_nothing_happens(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured]
) -> None:
    """The graph stays byte for byte."""
    model = captures("resnet", make_source(models["resnet"], "resnet", "irregular", 0.5)).model
    before = model.SerializeToString()
    assert compact(model, {}) == {}
    assert model.SerializeToString() == before


def test_cut_takes_rows_and_columns() -> None:
    """By eye: outputs 0 and 2, input 1."""
    kept = Kept(np.array([0, 2]), np.array([1]))
    np.testing.assert_array_equal(cut(np.arange(6).reshape(3, 2), kept), [[1], [5]])
    assert cut(np.arange(3), None).size == 3


def test_onnxruntime_training_refuses_to_mutate_channels_when_planning(
    models: dict[str, nn.Module], tmp_path: Path
) -> None:
    """Its graph gathers the channels that were exported; the native engine moves them."""
    source = make_source(models["resnet"], "resnet", "channel", 0.5)
    export_artifact(source, tmp_path / "art", Options(measure=False))
    artifact = open_artifact(tmp_path / "art")
    asked = Choices(densest_sparsity=artifact.mutation_targets())
    assert any(artifact.network.parameters[name].format == "channel" for name in asked.densest_sparsity)
    refusal = OrtPlanned(artifact, 0, 0).refuses(asked)
    assert refusal is not None
    assert "is stored channel, which its graph cannot mutate; use engine native" in refusal
    assert NativePlanned(artifact, 0, 0).refuses(asked) is None


def test_sparsity_is_that_of_the_manifest_whatever_was_removed(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """Channels that are physically gone count as zeros, on the board and in the checks, as they do in the table."""
    source = make_source(models["vgg"], "vgg", "channel", 0.5)
    manifest = export_artifact(source, tmp_path / "art", Options(measure=False))
    layers = [layer for layer in manifest.layers if layer["scheme"]]
    assert any(layer["format"] == "dense" for layer in layers)
    sizes = [int(np.prod(layer["shape"])) for layer in layers]
    wanted = 1 - sum(layer["nonzeros"] for layer in layers) / sum(sizes)
    artifact = open_artifact(tmp_path / "art")
    assert artifact.sparsity(artifact.network.sparsity()) == pytest.approx(wanted)
    assert check_artifact(tmp_path / "art")["sparsity"] == pytest.approx(wanted)
    assert wanted > 0.4
