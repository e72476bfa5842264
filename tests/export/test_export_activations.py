"""Activations in the ways that models write them become operators of the network, and both engines train them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import export
import mest
from edge.engines.reference import Reference
from edge.network import read_network
from edge.network.operators.activation_functions import Celu, Clip, Elu, HardSigmoid, LeakyRelu, Softplus
from export.capture import capture
from export.checks.observe import native_missing
from export.lower import describe, lower
from export.operators.functions import ACTIVATIONS
from export.ort.files import missing
from mest.errors import InputError

INPUT = (3, 5, 4)
Function = Callable[[torch.Tensor], torch.Tensor]
ROOT, BEND = 2**0.5, (2 / torch.pi) ** 0.5
SPELLINGS: dict[str, list[Function]] = {
    "relu": [F.relu, lambda x: torch.where(x > 0, x, 0.0)],
    "relu6": [F.relu6, lambda x: torch.minimum(F.relu(x), torch.tensor(6.0))],
    "hard_swish": [
        nn.Hardswish(),
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: x * (F.relu6(3 + x) / 6),
        lambda x: x * F.hardsigmoid(x),
    ],
    "hard_sigmoid": [nn.Hardsigmoid(), lambda x: F.relu6(x + 3) / 6, lambda x: (0.2 * x + 0.5).clamp(0, 1)],
    "sigmoid": [nn.Sigmoid(), torch.sigmoid, lambda x: 1 / (1 + torch.exp(-x))],
    "silu": [nn.SiLU(), F.silu, lambda x: x * torch.sigmoid(x), lambda x: (1.0 * x).sigmoid().mul(x)],
    "tanh": [nn.Tanh(), torch.tanh],
    "gelu": [
        nn.GELU(),
        F.gelu,
        lambda x: 0.5 * x * (1 + torch.erf(x / ROOT)),
        lambda x: x * 0.5 * (torch.erf(x * 0.5**0.5) + 1.0),
    ],
    "gelu_tanh": [
        nn.GELU("tanh"),
        lambda x: 0.5 * x * (1 + torch.tanh(BEND * (x + 0.044715 * torch.pow(x, 3)))),
        lambda x: x * 0.5 * (1 + torch.tanh(x * BEND * (1 + 0.044715 * x * x))),
    ],
    "leaky_relu": [nn.LeakyReLU(0.1), lambda x: torch.where(x > 0, x, 0.3 * x), lambda x: F.relu(x) - 0.2 * F.relu(-x)],
    "elu": [nn.ELU(0.7), F.elu, nn.SELU(), nn.CELU()],
    "celu": [nn.CELU(0.5), lambda x: 2.5 * F.elu(x / 2.5)],
    "softplus": [
        nn.Softplus(),
        nn.Softplus(2.0),
        nn.Softplus(0.3),
        lambda x: torch.log(1 + torch.exp(x)),
        nn.Softplus(1.5, 5.0),
    ],
    "clip": [nn.Hardtanh(), nn.Hardtanh(-2, 0.5), lambda x: x.clamp(-1, 2), lambda x: x.clamp(max=1)],
    "mish": [nn.Mish(), F.mish, lambda x: x * torch.tanh(F.softplus(x))],
}


class Chain(nn.Module):
    """Each function behind a convolution of its own, some with large results, and a classifier."""

    def __init__(self, functions: list[Function], width: int = 4) -> None:
        super().__init__()
        self.functions = nn.ModuleList(one for one in functions if isinstance(one, nn.Module))
        self.calls = functions
        first = nn.Conv2d(INPUT[0], width, 3, padding=1)
        self.convolutions = nn.ModuleList([first, *(nn.Conv2d(width, width, 1) for _ in functions[1:])])
        with torch.no_grad():
            for convolution in self.convolutions:
                convolution.weight.mul_(2)
        self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 3)`."""
        for convolution, function in zip(self.convolutions, self.calls, strict=True):
            x = function(convolution(x))
        return self.head(x.mean((2, 3)))


def test_every_activation_is_spelled_out() -> None:
    """One that is added is tested."""
    operators = {kind.op for kind in ACTIVATIONS}
    assert operators == set(SPELLINGS)


@pytest.mark.parametrize("op", SPELLINGS)
def test_each_spelling_is_one_operator(op: str) -> None:
    """Nothing else stays of the nodes, and the network's logits are PyTorch's."""
    torch.manual_seed(0)
    model = Chain(SPELLINGS[op]).eval()
    captured = capture(model, INPUT)
    network = lower(captured.model, captured.trainable)
    assert [one.op for one in network.operators] == ["conv", op] * len(SPELLINGS[op]) + [
        "global_avg_pool",
        "flatten",
        "linear",
    ]
    images = 3 * torch.randn(7, *INPUT)
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(images.numpy()), model(images).numpy(), atol=2e-5)


def test_numbers_are_the_decimals_that_the_model_has() -> None:
    """0.1 rather than the float32 nearest to it."""
    functions = [nn.LeakyReLU(0.1), nn.ELU(0.7), nn.Hardtanh(-0.3, 0.6), nn.Hardsigmoid(), lambda x: x.clamp(min=-0.7)]
    functions += [nn.CELU(0.3), nn.Softplus(1.5, 5.1), nn.Softplus(1.5)]
    captured = capture(Chain(functions), INPUT)
    leaky, elu, clip, hard, low, celu, bent, smooth = lower(captured.model, captured.trainable).operators[1:16:2]
    assert isinstance(leaky, LeakyRelu)
    assert leaky.alpha == 0.1
    assert isinstance(elu, Elu)
    assert (elu.alpha, elu.beta) == (0.7, 1)
    assert isinstance(clip, Clip)
    assert (clip.low, clip.high) == (-0.3, 0.6)
    assert isinstance(hard, HardSigmoid)
    assert (hard.alpha, hard.beta) == (pytest.approx(1 / 6, rel=1e-7), 0.5)
    assert isinstance(low, Clip)
    assert (low.low, low.high) == (-0.7, 1e30)
    assert isinstance(celu, Celu)
    assert celu.alpha == 0.3
    assert isinstance(bent, Softplus)
    assert isinstance(smooth, Softplus)
    assert (bent.beta, bent.threshold, smooth.threshold) == (1.5, 5.1, 1e30)


class LearnedSwish(nn.Module):
    """A factor inside that begins at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x · sigmoid(beta · x)."""
        return x * torch.sigmoid(self.beta * x)


NEAR_MISSES: dict[str, Function] = {
    "a sigmoid of 1.702 x": lambda x: x * torch.sigmoid(1.702 * x),
    "a sigmoid of another value": lambda x: x * torch.sigmoid(x.flip(2)),
    "a learned factor": LearnedSwish(),
    "a softplus of another height": lambda x: 2 * F.softplus(x),
    "the absolute value, whose gradient at 0 is 0": torch.abs,
    "a jump": nn.Hardshrink(),
    "another exponential": lambda x: 2 * F.celu(x, 0.5),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_computes_something_else_is_not_taken_for_an_activation(name: str) -> None:
    """Something of it stays that the network has no activation for: arithmetic, or what it lacks."""
    captured = capture(Chain([NEAR_MISSES[name]]), INPUT)
    try:
        network = lower(captured.model, captured.trainable)
    except InputError:
        network, _ = describe(captured.model, captured.trainable)
    middle = {one.op for one in network.operators} - {"conv", "global_avg_pool", "flatten", "linear"}
    assert middle - {kind.op for kind in ACTIVATIONS}


def test_bound_far_out_stays() -> None:
    """A clamp that only a diverging run reaches is an operator of its own."""
    captured = capture(Chain([lambda x: F.silu(x).clamp(max=1e6)]), INPUT)
    network = lower(captured.model, captured.trainable)
    assert [one.op for one in network.operators[1:3]] == ["silu", "clip"]


def test_a_part_that_others_read_is_there_as_well() -> None:
    """The sigmoid of a SiLU that is added to it is computed, and the SiLU reads what the sigmoid reads."""

    def both(x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(x)
        return x * gate + gate

    torch.manual_seed(0)
    model = Chain([both]).eval()
    captured = capture(model, INPUT)
    network = lower(captured.model, captured.trainable)
    assert [one.op for one in network.operators[:4]] == ["conv", "sigmoid", "silu", "add"]
    images = torch.randn(2, *INPUT)
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(images.numpy()), model(images).numpy(), atol=1e-5)


@pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
@pytest.mark.parametrize("scheme", ["irregular", "channel"])
def test_both_engines_train_them(scheme: str, tmp_path: Path) -> None:
    """The artifact was verified on each of them; channels that nobody reads are gone through every activation."""
    torch.manual_seed(0)
    functions = [spelled for op in sorted(SPELLINGS) for spelled in (SPELLINGS[op][0], SPELLINGS[op][-1])]
    model = Chain(functions, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    export.export_model(
        model,
        tmp_path / "artifact",
        example_input=torch.rand(4, *INPUT),
        preprocess={"mean": [0.5] * INPUT[0], "std": [0.5] * INPUT[0]},
        sparsifier=sparsifier,
    )
    manifest = json.loads((tmp_path / "artifact" / "manifest.json").read_text())
    assert manifest["native"]["available"]
    assert manifest["ort"]["available"]
    network = read_network(tmp_path / "artifact")
    found = [one.op for one in network.operators if one.op in SPELLINGS]
    assert found == [op for op in sorted(SPELLINGS) for _ in range(2)]
    if scheme == "channel":
        filters = [network.parameters[f"convolutions.{number}.weight"].shape[0] for number in range(len(functions) - 1)]
        assert filters == [4] * (len(functions) - 1)
