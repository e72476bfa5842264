"""Layers over the last axis of images and of sequences go to the board on both engines, as PyTorch has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from there_and_back import check_what_comes_back
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

import export
import mest
from edge.engines.reference import Reference
from edge.network import Network, read_network
from export.capture import capture
from export.checks.observe import native_missing
from export.graph import tensors
from export.lower import lower
from export.ort.files import missing
from export.passes.layout import FEATURES, POSITIONS, LayoutError, plain
from export.passes.strided import remove_strided

both_engines = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")


class Block(nn.Module):
    """ConvNeXt's block as timm writes it: the layer scale beside channels that are last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.rand(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(n, width, h, w)`."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(nn.functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class Mixer(nn.Module):
    """Positions as a sequence: a stored position embedding, gated features, the mean of all, and back to an image."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, 2)
        self.embedding = nn.Parameter(torch.randn(1, 12, width))
        self.norm, self.gate, self.value = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.block, self.head = Block(width), nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = self.patches(x)
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2) + self.embedding
        y = self.norm(x)
        x = x + torch.cat([self.value(y), 2 * y], -1)[:, :, 3 : 3 + c] * torch.sigmoid(
            self.gate(y.mean(1, keepdim=True))
        )
        x = self.block(x.transpose(1, 2).reshape(n, c, h, w))
        return self.head(x.flatten(2).mean(-1))


def convnext() -> nn.Module:
    """torchvision's, of two small stages."""
    return ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=5, layer_scale=0.5)


def timm_like() -> nn.Module:
    """A stem, two blocks and a head of the channels' means."""
    body = [nn.Conv2d(3, 8, 2, 2), Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    return nn.Sequential(*body)


MODELS = {"convnext": (convnext, (3, 33, 19)), "timm": (timm_like, (3, 9, 13)), "mixer": (Mixer, (3, 7, 9))}


def sparse(name: str, scheme: str, folder: Path) -> tuple[nn.Module, object, Network]:
    """A model at half of its weights, its sparsifier and its native network; export has verified both engines."""
    torch.manual_seed(len(name))
    make, size = MODELS[name]
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    manifest = export.export_model(model, folder, example_input=size, preprocess=preprocess, sparsifier=sparsifier)
    assert manifest.native["available"], manifest.native
    assert manifest.ort["available"], manifest.ort
    return model, sparsifier, read_network(folder)


@both_engines
@pytest.mark.parametrize("scheme", ["irregular", "block", "channel"])
@pytest.mark.parametrize("name", MODELS)
def test_layers_over_the_last_axis_are_trained_by_both_engines(name: str, scheme: str, tmp_path: Path) -> None:
    """Each is a `linear` over channels; weights keep their shape and, but for channels, their scheme's form."""
    model, _, network = sparse(name, scheme, tmp_path / "artifact")
    ops = [operator.op for operator in network.operators]
    assert "foreign" not in ops
    assert "layer_norm" in ops
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    for operator in network.operators:
        if operator.op == "linear":
            weight = network.parameters[operator.layer_weight]
            assert weight.shape == shapes[weight.name]
    forms = {parameter.format for parameter in network.sparse_parameters().values()}
    assert forms <= {"irregular": {"csr", "masked"}, "block": {"block"}, "channel": {"csr", "channel"}}[scheme]


@both_engines
@pytest.mark.parametrize("engine", ["native", "ort"])
def test_what_a_board_has_trained_comes_back(engine: str, tmp_path: Path) -> None:
    """Weights, the embedding and the layer scale, in PyTorch's shapes: the model answers as the board does."""
    model, sparsifier, _ = sparse("mixer", "irregular", tmp_path / "artifact")
    images = np.random.default_rng(0).normal(size=(6, 3, 7, 9)).astype(np.float32)
    check_what_comes_back(tmp_path / "artifact", engine, model, sparsifier, images)


class Windows(nn.Module):
    """Windows of an image as sequences of their own, as Swin has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.LayerNorm(8), nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images)
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        return self.head(self.norm(x).reshape(n, -1, c).mean(1))


def test_windows_are_one_selection_of_positions() -> None:
    """Cut out of the image once, for the norm that reads them; the mean reads them as they lie."""
    model = Windows().eval()
    captured = capture(model, (1, 8, 8))
    network = lower(captured.model, captured.trainable)
    assert [one.op for one in network.operators].count("select_positions") == 1
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(images.numpy()), model(images).numpy(), atol=1e-5)


def test_a_layout_follows_what_moves_numbers() -> None:
    """Heads of features, one of three parts, and positions joined and taken apart: by NumPy on numbered cells."""
    value = np.arange(24 * 2 * 3).reshape(24, 2, 3)  # the native value, a cell numbered by channel, row, column
    cells = np.broadcast_to(value, (5, 24, 2, 3)).copy()
    layout, array = plain("x", (24, 2, 3)), cells
    array, layout = array.transpose(0, 2, 3, 1), layout.transposed([0, 2, 3, 1])
    array, layout = array.reshape(5, 6, 3, 2, 4), layout.regrouped([None, 6, 3, 2, 4])
    array, layout = array.transpose(2, 0, 3, 1, 4), layout.transposed([2, 0, 3, 1, 4])
    array, layout = array[1], layout.taken(0, 1, 1).without(0)
    array, layout = array.reshape(10, 6, 4), layout.regrouped([None, 6, 4])
    array, layout = array.reshape(5, 2, 6, 4)[:, :, 1:5:2], layout.regrouped([None, 2, 6, 4]).taken(2, 1, 2, 2)
    expected = value.reshape(24, 6)[np.ix_(layout.places(FEATURES), layout.places(POSITIONS))]
    np.testing.assert_array_equal(array[0].transpose(0, 2, 1).reshape(8, 2), expected)


@pytest.mark.parametrize("sizes", [[None, 5, 2], [6, None, 8], [None, None]])
def test_a_layout_that_does_not_divide_is_refused(sizes: list[int | None]) -> None:
    """Rather than guessed."""
    with pytest.raises(LayoutError):
        plain("x", (8, 3, 2)).regrouped(sizes)


def strided(places: list[int]) -> onnx.ModelProto:
    """What `as_strided` becomes, with the places of one image's numbers."""
    nodes = [
        helper.make_node("Shape", ["x"], ["n"], end=1),
        helper.make_node("Squeeze", ["n"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["images"]),
        helper.make_node("Mul", ["images", "three"], ["starts"]),
        helper.make_node("Unsqueeze", ["starts", "axes"], ["upright"]),
        helper.make_node("Add", ["upright", "places"], ["all"]),
        helper.make_node("Reshape", ["x", "flat"], ["numbers"]),
        helper.make_node("Gather", ["numbers", "all"], ["taken"]),
        helper.make_node("Relu", ["taken"], ["y"]),
    ]
    stored = {"zero": 0, "one": 1, "three": 3, "axes": [1], "places": [places], "flat": [-1]}
    made = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in stored.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["images", 3]) for name in "xy")
    graph = helper.make_graph(nodes, "strided", [x], [y], made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_numbers_that_are_read_in_their_own_order_are_the_value_itself() -> None:
    """And in another order they are not."""
    model = strided([0, 1, 2])
    assert remove_strided(model) == 1
    assert [list(node.input) for node in model.graph.node if node.op_type == "Relu"] == [["x"]]
    model = strided([0, 2, 1])
    before = model.SerializeToString()
    assert remove_strided(model) == 0
    assert model.SerializeToString() == before


def test_the_pass_leaves_a_graph_with_channels_first_alone() -> None:
    """The parameters of an image network reach the native network under their names."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    captured = capture(model, (1, 8, 8))
    network = lower(captured.model, captured.trainable)
    assert [operator.op for operator in network.operators] == ["conv", "relu", "global_avg_pool", "flatten", "linear"]
    assert network.parameters.keys() == tensors(captured.model.graph).keys()
