"""Padded and resized images and windows go to the board on both engines, however a model writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F

import export
import mest
from edge.network import read_network
from edge.network.operators.resampling import COORDINATES, ROUNDINGS, Pad, Resample
from export.checks.observe import native_missing
from export.graph import remove_unused, shapes, tensors
from export.lower import lower
from export.operators.resampling import resample_of
from export.ort.files import missing
from export.ort.resampling import multiply_instead_of_resample
from export.passes.gathered_resize import restore_gathered_resize
from export.passes.resize import store_resize_sizes
from mest.errors import InputError

both_engines = pytest.mark.skipif(
    native_missing() is not None or missing() is not None, reason="needs the native engine and onnxruntime-training"
)

IMAGES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "nearest by a fraction": (lambda x: F.interpolate(x, scale_factor=(1.7, 0.6)), "resize_nearest"),
    "bilinear to a size": (lambda x: F.interpolate(x, size=(7, 3), mode="bilinear"), "resize_linear"),
    "corners aligned": (nn.UpsamplingBilinear2d(scale_factor=1.5), "resize_linear"),
    "nearest-exact": (lambda x: F.interpolate(x, size=(9, 4), mode="nearest-exact"), "resize_nearest"),
    "reflected": (nn.ReflectionPad2d((1, 2, 3, 0)), "pad"),
    "replicated": (nn.ReplicationPad2d((1, 2, 3, 0)), "pad"),
    "zeros that no convolution takes in": (lambda x: F.pad(x, (1, 0, 0, 2)) * 2, "pad"),
    "cut": (lambda x: F.pad(x, (-1, 0, 0, -2)), "pad"),
}
WINDOWS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "twice, nearest": (nn.Upsample(scale_factor=2), "resize_nearest"),
    "linear to a length": (lambda x: F.interpolate(x, size=9, mode="linear"), "resize_linear"),
    "linear, corners aligned": (
        lambda x: F.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
        "resize_linear",
    ),
    "reflected": (nn.ReflectionPad1d((2, 1)), "pad"),
    "zeros": (nn.ConstantPad1d((2, 1), 0.0), "pad"),
}


class Resampled(nn.Module):
    """Each change of what comes from a batch norm, in a branch of its own behind which a convolution reads it."""

    def __init__(self, changes: Iterable[Callable[[torch.Tensor], torch.Tensor]], dimensions: int) -> None:
        super().__init__()
        convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv1d, nn.BatchNorm1d)
        self.changes = [*changes]
        self.stem, self.norm = convolution(2, 8, 3, padding=1), norm(8)
        self.branches = nn.ModuleList(convolution(8, 4, 2) for _ in self.changes)
        self.head = nn.Linear(4 * len(self.changes), 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = F.relu(self.norm(self.stem(inputs)))
        values = [branch(change(x)) for change, branch in zip(self.changes, self.branches, strict=True)]
        return self.head(torch.cat([F.relu(value).flatten(2).mean(2) for value in values], 1))


@both_engines
@pytest.mark.parametrize(("dimensions", "scheme"), [(2, "channel"), (1, "irregular")])
def test_both_engines_train_it(dimensions: int, scheme: str, tmp_path: Path) -> None:
    """The artifact was verified on each of them, and channels that nobody reads are gone through it."""
    torch.manual_seed(0)
    spelled = IMAGES if dimensions == 2 else WINDOWS
    model = Resampled((change for change, _ in spelled.values()), dimensions)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    preprocess = {"mode": "array", "mean": [0.5] * 2, "std": [0.5] * 2}
    inputs = torch.rand(4, 2, *(6, 5)[:dimensions])
    manifest = export.export_model(
        model, tmp_path / "a", example_input=inputs, preprocess=preprocess, sparsifier=sparsifier
    )
    assert manifest.native["available"], manifest.native["reason"]
    assert manifest.ort["available"], manifest.ort["reason"]
    found = [one for one in read_network(tmp_path / "a").operators if isinstance(one, Resample)]
    assert [one.op for one in found] == [op for _, op in spelled.values()]
    assert {one.shape[0] for one in found} == {4 if scheme == "channel" else 8}


REFUSED = {
    'y = Resize <mode = "cubic"> (x, "", s)': r"Resize in module the model \(y\): mode cubic",
    'y = Resize <mode = "linear", antialias = 1> (x, "", s)': "antialias",
    'y = Resize <coordinate_transformation_mode = "half_pixel_symmetric"> (x, "", s)': "half_pixel_symmetric: only",
    "y = Pad(x, p, one)": "a padding of 1: only that with 0",
    "y = Pad(x, c)": "not channels",
    'y = Pad <mode = "reflect"> (x, p)': r"more to reflect than there is in \[2, 3\]",
}


@pytest.mark.parametrize("text", REFUSED)
def test_other_uses_are_refused_by_operator_and_module(text: str) -> None:
    """In one line that says what is supported."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]>'
        "agraph (float[n,3,2,3] x) => (float[n,k] z) <float[4] s = {1, 1, 2, 2}, float one = {1}, "
        "int64[8] p = {0, 0, 2, 0, 0, 0, 0, 0}, int64[8] c = {0, 1, 0, 0, 0, 0, 0, 0}> "
        f"{{ {text} z = Flatten(y) }}"
    )
    with pytest.raises(InputError, match=REFUSED[text]) as refused:
        lower(model, ())
    assert "\n" not in str(refused.value)


SIZES = [(size, new) for size in (1, 2, 3, 5, 8) for new in (1, 2, 3, 7, 8, 16)]
SCALES = [(size, scale) for size in (1, 2, 3, 4, 5, 8) for scale in (0.75, 1.5, 2.0, 2.25) if size * scale >= 1]


def resize_graph(size: int, new: float, values: str, by: str) -> onnx.ModelProto:
    """A Resize of rows of a height, to a size or by a scale."""
    scales = f"float[4] s = {{1, 1, {new}, 1}}" if by == "scales" else f"int64[4] s = {{2, 3, {new}, 2}}"
    new = int(size * new) if by == "scales" else new
    asked = "s" if by == "scales" else '"", s'
    return onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]>'
        f"agraph (float[2,3,{size},2] x) => (float[2,3,{new},2] y) <{scales}> "
        f'{{ y = Resize <{values}> (x, "", {asked}) }}'
    )


@pytest.mark.parametrize("by", ["scales", "sizes"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", *ROUNDINGS])
def test_values_are_those_that_onnx_defines(mode: str, coordinates: str, by: str) -> None:
    """Every way to place and round, larger and smaller, in ONNX's reference implementation."""
    kind = 'mode = "linear"' if mode == "linear" else f'mode = "nearest", nearest_mode = "{mode}"'
    values = f'{kind}, coordinate_transformation_mode = "{coordinates}"'
    for size, new in SCALES if by == "scales" else SIZES:
        if by == "scales" and coordinates in ("pytorch_half_pixel", "align_corners") and size * new % 1:
            continue  # there ONNX's reference goes by a size that is no whole number, PyTorch by the whole one
        model = resize_graph(size, new, values, by)
        images = np.random.default_rng(size).standard_normal((2, 3, size, 2)).astype(np.float32)
        (expected,) = ReferenceEvaluator(model).run(None, {"x": images})
        known = shapes(model)
        found = resample_of(model.graph.node[0], known["x"], known["y"], tensors(model.graph))
        ours = found.taps(0, size).matrix() @ images @ found.taps(1, 2).matrix().T
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5, err_msg=f"{size} to {new}")
        assert multiply_instead_of_resample(model) == 1
        np.testing.assert_allclose(
            ReferenceEvaluator(model).run(None, {"x": images})[0], expected, rtol=1e-5, atol=1e-5
        )


def test_sizes_are_stored_behind_the_channels() -> None:
    """Sizes that PyTorch's exporter computes of the input's; a Resize by scales stays as it is."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]>'
        "agraph (float[n,3,4,5] x) => (float[n,3,7,9] y) <int64[2] t = {7, 9}> "
        "{ front = Shape <start = 0, end = 2> (x) s = Concat <axis = 0> (front, t) "
        'y = Resize <mode = "linear"> (x, "", "", s) }'
    )
    images = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    before = ReferenceEvaluator(model).run(None, {"x": images})[0]
    assert store_resize_sizes(model) == 1
    assert tensors(model.graph)["y.sizes"].tolist() == [7, 9]
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"x": images})[0], before)
    assert store_resize_sizes(model) == 0
    assert store_resize_sizes(resize_graph(3, 2.0, 'mode = "nearest"', "scales")) == 0


GATHERED = (
    "t = Transpose <perm = [2, 0, 1]> (x) a = GatherND(t, low) b = GatherND(t, high) "
    "l = Transpose <perm = [1, 2, 0]> (a) h = Transpose <perm = [1, 2, 0]> (b) "
)
FROM_TWO = "d = Sub(h, l) m = Mul(d, share) y = Add(l, m)"


@pytest.mark.parametrize(
    ("low", "high", "share", "last", "kinds"),
    [
        ([0, 1, 0, 1], [1, 1, 1, 1], [0, 0.25, 0.75, 0.25], FROM_TWO, ["Transpose", "GatherND", "GatherND"]),
        ([0, 0, 0, 1], [1, 1, 1, 1], [0, 0.25, 0.75, 0.25], FROM_TWO, ["Resize"]),
        ([0, 0, 0, 1], [1, 1, 1, 1], [0, 1 / 3, 2 / 3, 0], FROM_TWO, ["Resize"]),
        ([0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], "y = Identity(l)", ["Resize", "Identity"]),
        ([0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], "y = Identity(l)", ["Transpose", "GatherND", "Transpose"]),
    ],
    ids=["another order", "half pixels", "corners aligned", "nearest", "repeated"],
)
def test_gathered_positions_become_a_resize(low, high, share, last: str, kinds: list[str]) -> None:
    """Of two positions four are made; what is in another order stays as it is."""
    stored = {"int64[4,1] low": low, "int64[4,1] high": high, "float[4] share": share}
    listed = ", ".join(f"{name} = {{{', '.join(map(str, numbers))}}}" for name, numbers in stored.items())
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> agraph (float[n,3,2] x) => (float[n,3,4] y) '
        f"<{listed}> {{ {GATHERED} {last} }}"
    )
    windows = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    before = ReferenceEvaluator(model).run(None, {"x": windows})[0]
    assert restore_gathered_resize(model) == kinds.count("Resize")
    remove_unused(model.graph)
    assert [node.op_type for node in model.graph.node][: len(kinds)] == kinds
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, {"x": windows})[0], before, atol=1e-6)


def test_zeros_stay_a_pad_for_onnxruntime() -> None:
    """It has a gradient for those."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]>'
        "agraph (float[2,3,4,5] x) => (float[2,3,5,7] y) <int64[8] p = {0, 0, 1, 2, 0, 0, 0, 0}> { y = Pad(x, p) }"
    )
    known = shapes(model)
    assert multiply_instead_of_resample(model) == 0
    assert resample_of(model.graph.node[0], known["x"], known["y"], tensors(model.graph)) == Pad(
        "", (), (), (1, 2, 0, 0), "zeros"
    )
