"""Windows become images of height 1 in lowering's copy, and pooling of windows one of images in training graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import export
from export.graph import shapes
from export.ort.files import missing
from export.ort.window_pools import pool_windows_as_images
from export.passes.global_pool import restore_global_pool
from export.passes.sample_norm import join_sample_norms
from export.passes.windows import images_of_windows

HEAD = '<ir_version: 10, opset_import: ["": 18]>\n'


def parsed(text: str) -> onnx.ModelProto:
    """The graph of a text."""
    return onnx.parser.parse_model(HEAD + text)


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph."""
    return [node.op_type for node in model.graph.node]


def answers(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    """What a graph computes."""
    (found,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: inputs})
    return np.asarray(found)


LAYERS = {
    "convolution": "c = Conv<kernel_shape=[3], strides=[2], pads=[2,1], dilations=[2]>(x, k) y = Flatten(c)",
    "depthwise": "c = Conv<kernel_shape=[3], group=2>(x, d) y = Flatten(c)",
    "pools": "m = MaxPool<kernel_shape=[3], strides=[2], pads=[1,0]>(x) a = AveragePool<kernel_shape=[2]>(m) "
    "y = Flatten(a)",
    "mean": "g = GlobalAveragePool(x) y = Flatten(g)",
    "stored": "m = Mul(x, s) a = Add(m, l) e = Sub(a, w) y = Flatten(e)",
    "joined": "c = Concat<axis=-2>(x, x) y = Flatten(c)",
    "sliced": "c = Slice(x, one, two, minus) y = Flatten(c)",
    "along": "c = Slice(x, one, two, last) y = Flatten(c)",
    "norm": "n = LayerNormalization<axis=-2>(x, w) y = Flatten(n)",
    "image": "i = Unsqueeze(x, two) r = Relu(i) q = Squeeze(r, two) c = Conv<kernel_shape=[3]>(q, k) y = Flatten(c)",
    "reshaped": "t = Transpose<perm=[0,2,1]>(x) r = Relu(t) y = Flatten(r)",
}
STORED = (
    "float[3,2,3] k = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, float[2,1,3] d = {1,2,3,4,5,6}, float[2,1] s = {2,3}, "
    "float[7] l = {1,2,3,4,5,6,7}, float[2,7] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5}, int64[1] one = {1}, "
    "int64[1] two = {2}, int64[1] minus = {-2}, int64[1] last = {2}"
)


@pytest.mark.parametrize("kind", LAYERS)
def test_windows_become_images(kind: str) -> None:
    """With equal answers; what knows no images reads windows as before."""
    text = f"agraph (float[n,2,7] x) => (float[n,m] y) <{STORED}> {{ {LAYERS[kind]} }}"
    model, inputs = parsed(text), np.random.default_rng(0).standard_normal((3, 2, 7)).astype(np.float32)
    wanted = answers(model, inputs)
    assert images_of_windows(model) > 0
    onnx.checker.check_model(model)
    assert shapes(model)["x"] == (None, 2, 1, 7)
    np.testing.assert_allclose(answers(model, inputs[:, :, None]), wanted, rtol=1e-5)
    ranks = {
        len(size) for name, size in shapes(model).items() if name in {out for n in model.graph.node for out in n.output}
    }
    assert ranks == ({3, 2} if kind == "reshaped" else {4, 2})


def test_vectors_become_images_of_one_pixel() -> None:
    """A Flatten gives them back to whoever reads them."""
    model = parsed("agraph (float[n,3] x) => (float[n,3] y) { r = Relu(x) y = Add(r, x) }")
    inputs = np.float32([[1, -2, 3]])
    wanted = answers(model, inputs)
    assert images_of_windows(model) == 1
    assert kinds(model) == ["Flatten", "Relu", "Add"]
    assert shapes(model)["x"] == (None, 3, 1, 1)
    np.testing.assert_array_equal(answers(model, inputs[:, :, None, None]), wanted)


@pytest.mark.parametrize("size", ["n,2,4,4", "n,2,l"])
def test_images_and_unknown_lengths_stay(size: str) -> None:
    """There is nothing to do, or nothing that could be known."""
    model = parsed(f"agraph (float[{size}] x) => (float[{size}] y) {{ y = Relu(x) }}")
    before = model.SerializeToString()
    assert images_of_windows(model) == 0
    assert model.SerializeToString() == before


def test_layer_norm_over_channels_of_windows_is_joined() -> None:
    """Between two transposes."""
    model = parsed(
        "agraph (float[n,6,4] x) => (float[n,6,4] y) <float[6] w = {1,2,3,4,5,6}> { t = Transpose<perm = [0,2,1]>(x) "
        "l = LayerNormalization<axis = -1>(t, w) y = Transpose<perm = [0,2,1]>(l) }"
    )
    assert join_sample_norms(model) == 1
    assert kinds(model) == ["ChannelNormalization"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("u = Unsqueeze(x, two) g = GlobalAveragePool(u) y = Squeeze(g, two)", ["GlobalAveragePool"]),
        ("y = ReduceMean<keepdims = 1>(x, two)", ["GlobalAveragePool"]),
        ("u = Unsqueeze(x, one) g = GlobalAveragePool(u) y = Squeeze(g, two)", None),
        ("y = ReduceMean<keepdims = 1>(x, one)", None),
    ],
)
def test_the_mean_of_windows(text: str, made: list[str] | None) -> None:
    """Over the length it is one pooling; over anything else it stays."""
    model = parsed(
        f"agraph (float[n,2,7] x) => (float[n,a,b] y) <int64[1] one = {{1}}, int64[1] two = {{2}}> {{ {text} }}"
    )
    inputs, before = np.random.default_rng(0).standard_normal((3, 2, 7)).astype(np.float32), kinds(model)
    wanted = answers(model, inputs)
    assert restore_global_pool(model) == (made is not None)
    assert kinds(model) == (made or before)
    np.testing.assert_allclose(answers(model, inputs), wanted, rtol=1e-5)


def test_pools_of_windows_in_training_graphs() -> None:
    """Each between an Unsqueeze and a Squeeze, with equal values; those of images stay."""
    pools = "m = MaxPool<kernel_shape=[3], strides=[2], pads=[1,0]>(x) y = AveragePool<kernel_shape=[2]>(m)"
    model = parsed(f"agraph (float[n,2,9] x) => (float[n,2,l] y) {{ {pools} }}")
    inputs = np.random.default_rng(0).standard_normal((3, 2, 9)).astype(np.float32)
    wanted = answers(model, inputs)
    assert pool_windows_as_images(model) == 2
    assert kinds(model) == ["Unsqueeze", "MaxPool", "Squeeze", "Unsqueeze", "AveragePool", "Squeeze"]
    np.testing.assert_allclose(answers(model, inputs), wanted, rtol=1e-5)
    image = parsed(
        "agraph (float[n,2,9,9] x) => (float[n,2,3,3] y) { y = MaxPool<kernel_shape=[3,3], strides=[3,3]>(x) }"
    )
    assert pool_windows_as_images(image) == 0


class Raw(nn.Module):
    """Sound as a plain row, of which the model itself makes a window of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 4, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.unsqueeze(1))


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_model_that_makes_a_window_itself_trains_on_both_engines(tmp_path: Path) -> None:
    """Both agree with PyTorch, or there would be no artifact; the input stays the row that it is."""
    manifest = export.export_model(Raw(), tmp_path / "a", example_input=(40,), preprocess={"mean": 0, "std": 1})
    assert manifest.ort["available"]
    assert manifest.native["available"]
    assert manifest.input == (40,)
