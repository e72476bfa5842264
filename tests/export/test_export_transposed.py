"""Transposed convolutions go to the board on both engines: over images and windows, dense, in csr and in blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F

import export
import mest
from edge.network import read_network
from edge.network.operators.convolution import ConvTranspose
from export.checks.observe import native_missing
from export.graph import set_tensor
from export.lower import lower
from export.ort.conv_transpose import convolve_instead_of_transposing
from export.ort.files import missing
from mest.errors import InputError

# Stride, padding, output padding, dilation, groups, kernel.
LAYERS = ((3, 1, 1, 2, 1, 3), (1, 2, 0, 1, 2, 2), (2, 1, 0, 1, 8, 3))
MORE = ((2, 0, 0, 1, 1, 2), (2, 1, 1, 1, 1, 3), (4, 2, 3, 1, 4, 1), (1, 0, 0, 3, 1, 2), (2, 4, 1, 1, 1, 3))
WIDTH = 8


class Transposed(nn.Module):
    """Each layer in a branch of its own, behind which a convolution reads its batch norm."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv1d, nn.BatchNorm1d)
        transposed = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose1d
        self.stem, self.norm = convolution(2, WIDTH, 3, padding=1), norm(WIDTH)
        self.ups = nn.ModuleList(
            transposed(WIDTH, WIDTH, kernel, stride, padding, extra, groups, dilation=dilation, bias=groups != 2)
            for stride, padding, extra, dilation, groups, kernel in LAYERS
        )
        self.norms = nn.ModuleList(norm(WIDTH) for _ in LAYERS)
        self.branches = nn.ModuleList(convolution(WIDTH, 4, 2, padding=1) for _ in LAYERS)
        self.head = nn.Linear(4 * len(LAYERS), 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = F.relu(self.norm(self.stem(inputs)))
        parts = zip(self.ups, self.norms, self.branches, strict=True)
        values = [F.relu(branch(F.relu(norm(up(x))))) for up, norm, branch in parts]
        return self.head(torch.cat([value.flatten(2).mean(2) for value in values], 1))


@pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
@pytest.mark.parametrize(("dimensions", "scheme"), [(1, "block"), (2, "channel")])
def test_both_engines_train_it(dimensions: int, scheme: str, tmp_path: Path) -> None:
    """The artifact was verified on each of them; with scheme channel the layers lose what nobody reads."""
    torch.manual_seed(0)
    model = Transposed(dimensions)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    preprocess = {"mode": "array", "mean": [0.5] * 2, "std": [0.5] * 2}
    inputs = torch.rand(4, 2, *(6, 5)[:dimensions])
    manifest = export.export_model(
        model, tmp_path / "a", example_input=inputs, preprocess=preprocess, sparsifier=sparsifier
    )
    assert manifest.native["available"], manifest.native["reason"]
    assert manifest.ort["available"], manifest.ort["reason"]
    network = read_network(tmp_path / "a")
    layers = [one for one in network.operators if isinstance(one, ConvTranspose)]
    formats = [network.parameters[one.weight].format for one in layers]
    assert len(layers) == len(LAYERS)
    if scheme == "channel":
        assert formats == ["dense"] * len(LAYERS)
        assert [one.shape[0] for one in layers] == [4, 8, 4]  # groups but for depthwise ones stay whole
        assert sparsifier.dense["ups.0.weight"].startswith("a transposed convolution, which scheme channel is not for")
    else:
        assert formats == ["block", "block", "dense"]


@pytest.mark.parametrize("layer", [*LAYERS, *MORE])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_its_training_graph_has_a_convolution_of_equal_values(dimensions: int, layer: tuple[int, ...]) -> None:
    """With a bias and without, whatever the geometry."""
    stride, padding, extra, dilation, groups, kernel = layer
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, WIDTH, 6, 5)[: dimensions + 2]).astype(np.float32)
    weight = rng.standard_normal((WIDTH, 2, *(kernel,) * dimensions)).astype(np.float32)
    bias = rng.standard_normal(2 * groups).astype(np.float32)
    run = F.conv_transpose2d if dimensions == 2 else F.conv_transpose1d
    numbers = stride, padding, extra, groups, dilation
    expected = run(torch.from_numpy(images), torch.from_numpy(weight), torch.from_numpy(bias), *numbers).numpy()
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"],
        ["y"],
        strides=[stride] * dimensions,
        pads=[padding] * dimensions * 2,
        output_padding=[extra] * dimensions,
        dilations=[dilation] * dimensions,
        group=groups,
    )
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *images.shape[1:]])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", *expected.shape[1:]])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    set_tensor(model.graph, "w", weight)
    set_tensor(model.graph, "b", bias)
    assert convolve_instead_of_transposing(model) == 1
    assert convolve_instead_of_transposing(model) == 0
    assert "ConvTranspose" not in {one.op_type for one in model.graph.node}
    (found,) = ReferenceEvaluator(model).run(None, {"x": images})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_sizes_that_are_asked_for_are_refused() -> None:
    """In one line with operator and module."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> agraph (float[n,1,2,2] x) => (float[n,16] z) '
        "<float[1,1,2,2] w = {1, 2, 3, 4}> "
        "{ y = ConvTranspose <strides = [2, 2], output_shape = [4, 4]> (x, w) z = Flatten(y) }"
    )
    with pytest.raises(InputError, match=r"ConvTranspose in module the model \(y\): only stated padding"):
        lower(model, ("w",))
