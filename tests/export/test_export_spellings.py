"""Other ways to write what every engine knows are taken by the native engine; what none can take is one line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional

from edge.engines.reference import Reference
from edge.network import Conv, Network
from export.artifact import build
from export.capture import Captured, capture
from export.lower import lower
from export.options import Options
from export.source import Source
from export.sparse_layer import SparseLayer
from mest.errors import InputError

INPUT = (3, 8, 8)
Head = Callable[["Net", torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """A convolution with batch norm, something in the middle, and a classifier."""

    def __init__(self, middle: Head, features: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.even = nn.Conv2d(8, 8, (2, 4), padding="same")
        self.other = nn.Conv2d(8, 8, 3, stride=2)
        self.point = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(features, 5)
        self.middle = middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.middle(self, self.norm(self.stem(x)))
        return self.fc(x.mean((2, 3)) if x.ndim == 4 else x)


def branches(model: Net, x: torch.Tensor) -> torch.Tensor:
    """A sum that begins with 0."""
    y = 0
    for layer in (model.even, model.point):
        y = y + layer(x)
    return functional.relu(y)


MIDDLES: dict[str, Head] = {
    "sum from zero": branches,
    "mean of rows, then columns": lambda model, x: x.mean(3).mean(2),
    "mean of columns, then rows": lambda model, x: x.mean(2).mean(-1),
    "means that keep their axes": lambda model, x: x.mean(3, keepdim=True).mean(2, keepdim=True).flatten(1),
    "mean of one row of pixels": lambda model, x: x.flatten(2).mean(-1),
    "largest": lambda model, x: x.amax((2, 3)),
    "largest of rows, then columns": lambda model, x: x.max(3)[0].max(2)[0],
    "largest of columns that keep their axes": lambda model, x: x.amax(2, True).amax(-1, True).flatten(1),
    "largest of one row of pixels": lambda model, x: x.flatten(2).max(2).values,
    "adaptive largest": lambda model, x: functional.adaptive_max_pool2d(x, 1).flatten(1),
    "sum": lambda model, x: x.sum((2, 3)),
    "sum of sums": lambda model, x: x.sum(2).sum(2),
    "sum that keeps its axes": lambda model, x: x.sum((-1, -2), keepdim=True)[:, :, 0, 0],
    "sum of one row of pixels": lambda model, x: x.flatten(2).sum(2),
    "squeezes": lambda model, x: functional.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2),
    "squeezes from behind": lambda model, x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
    "indices": lambda model, x: functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
    "clamp from below": lambda model, x: x.clamp(min=0),
    "clamp on both sides": lambda model, x: x.clamp(0, 6),
    "even kernel with same padding": lambda model, x: model.even(x),
    "zeros before a convolution": lambda model, x: model.other(functional.pad(x, (0, 1, 2, 0))),
    "zeros before an average": lambda model, x: functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1)), 2),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_native_network_computes_what_the_model_does(name: str) -> None:
    """The graph is lowered whole, and its logits are PyTorch's."""
    torch.manual_seed(0)
    model = Net(MIDDLES[name]).eval()
    network = lowered(capture(model, INPUT))
    images = torch.randn(3, *INPUT)
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(images.numpy()), model(images).numpy(), atol=1e-5)


def lowered(captured: Captured) -> Network:
    """The native network of a captured graph."""
    return lower(captured.model, captured.trainable)


def test_zeros_that_win_a_maximum_stay_where_they_are() -> None:
    """Padding of a max pool is no zero, so they are not merged; nor is a crop."""
    for middle in (
        lambda model, x: functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 2),
        lambda model, x: model.other(functional.pad(x, (-1, 1, 0, 1))),
    ):
        captured = capture(Net(middle), INPUT)
        assert [node.op_type for node in captured.model.graph.node].count("Pad") == 1


def test_zeros_are_added_to_padding_that_is_there() -> None:
    """A convolution's own padding and the zeros around its image add up, on each side."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.fc = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(functional.pad(x, (0, 3, 1, 2))).mean((2, 3)))

    (conv,) = [op for op in lowered(capture(Padded(), INPUT)).operators if isinstance(op, Conv)]
    assert conv.padding == (2, 1, 3, 4)


def test_buffer_named_like_a_call_is_kept_apart() -> None:
    """`mean` the buffer and x.mean() are two values."""

    class Normalising(Net):
        def __init__(self) -> None:
            super().__init__(lambda model, x: x)
            self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x - self.mean
            return super().forward(x - x.mean((2, 3), keepdim=True))

    torch.manual_seed(0)
    model = Normalising().eval()
    images = torch.randn(2, *INPUT)
    (found,) = ReferenceEvaluator(capture(model, INPUT).model).run(None, {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, model(images).numpy(), atol=1e-5)


def test_weight_used_three_times_is_left_whole_by_compaction() -> None:
    """A channel-sparse layer that several calls share keeps its shape and its zeros."""

    def thrice(model: Net, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = functional.relu(model.point(x))
        return x

    model = Net(thrice).eval()
    mask = np.zeros((8, 8, 1, 1), bool)
    mask[:, :4] = True
    layer = SparseLayer("point.weight", "channel", None, 0.5, mask)
    preprocess = {"mode": "RGB", "resize": None, "crop": None, "interpolation": "bilinear"}
    source = Source(model, {"point.weight": layer}, INPUT, tuple("abcde"), preprocess)
    built = build(source, capture(model, INPUT), Options())
    parameter = built.network.parameters["point.weight"]
    assert (parameter.format, parameter.shape, parameter.nonzeros) == ("csr", (8, 8, 1, 1), 32)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            Net(lambda model, x: x.view(len(x), -1), 512),
            r"the number of images is fixed in module the model, as len",
        ),
        (
            Net(lambda model, x: functional.avg_pool2d(x, 3, (2, 3), 1, ceil_mode=True)),
            "operator AveragePool in module the model: with ceil_mode, a stride of 3",
        ),
        (
            Net(lambda model, x: functional.avg_pool2d(x, 2, divisor_override=3)),
            "average pool in module the model: divisor_override=3 cannot be exported",
        ),
    ],
)
def test_graph_that_computes_something_else_is_refused_by_name(model: nn.Module, words: str) -> None:
    """What the exporter would change or fix without a word."""
    with pytest.raises(InputError, match=words):
        capture(model, INPUT)
