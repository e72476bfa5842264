"""Transformers as torchvision, timm and people write them go to the board on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from there_and_back import check_what_comes_back
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

import export
import mest
from edge.network import Network, read_network
from export.capture import capture
from export.checks.observe import native_missing
from export.lower import lower
from export.ort.files import missing

both_engines = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
WIDTH, HEADS = 12, 3
SIZE = (3, 9, 6)


class OneLinear(nn.Module):
    """timm's: one linear layer for all three, PyTorch's fused function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))


class WrittenOut(OneLinear):
    """The products and the softmax by hand, the scale on the queries."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        weights = ((q * (c // HEADS) ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t, c))


class Interleaved(OneLinear):
    """Queries, keys and values of a head side by side, the scale behind the product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, HEADS, 3, c // HEADS).permute(3, 0, 2, 1, 4)
        weights = torch.softmax(q @ k.mT / 2.5, -1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Separate(nn.Module):
    """A linear layer each, of fewer features for queries and keys than for values; one is scaled before heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, 2 * HEADS, bias=False), nn.Linear(WIDTH, 2 * HEADS)
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        parts = [self.query(x) * 0.7, self.key(x), self.value(x)]
        q, k, v = (part.view(n, t, HEADS, -1).transpose(1, 2) for part in parts)
        return self.out(((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Module(nn.Module):
    """nn.MultiheadAttention with the weights that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0]


class Biased(OneLinear):
    """Learned numbers beside the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(HEADS, 7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        return self.out(((q @ k.mT + self.bias).softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Relative(OneLinear):
    """A table with a number for each distance between tokens, which all heads share."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(7))
        places = torch.arange(7)
        self.register_buffer("places", (places[:, None] - places).abs())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT * 0.5 + self.table[self.places]).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t, c))


class Causal(OneLinear):
    """Nobody looks ahead."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, c))


class Masked(OneLinear):
    """PyTorch's fused function with a mask of truths, behind which it guards against rows that are hidden whole."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", (torch.arange(7)[:, None] - torch.arange(7)).abs() < 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v, self.seen).transpose(1, 2).reshape(n, t, c))


class Fused(Biased):
    """Learned numbers as that function's mask, and a reshape behind it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(F.scaled_dot_product_attention(q, k, v, self.bias[None]).transpose(1, 2).reshape(n, t, c))


class Capped(OneLinear):
    """Scores that a function bounds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        return self.out(((5 * (q @ k.mT).tanh()).softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Layer(nn.Module):
    """Attention and a hidden layer, each behind a norm, around a shortcut and scaled."""

    def __init__(self, kind: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(WIDTH), kind(), nn.LayerNorm(WIDTH)
        self.hidden = nn.Sequential(nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH))
        self.scale = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.scale * self.attention(self.norm1(x))
        return x + self.hidden(self.norm2(x))


class Vit(nn.Module):
    """Patches, a class token and registers or none, positions, a layer; the class token's or the mean's features."""

    def __init__(self, kind: Callable[[], nn.Module], token: bool = True, registers: int = 0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 3, 3)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH)) if token else None
        self.registers = nn.Parameter(torch.randn(1, registers, WIDTH)) if registers else None
        self.positions = nn.Parameter(torch.randn(1, 6 + token, WIDTH))
        self.layer, self.norm, self.head = Layer(kind), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.positions
        if self.registers is not None:
            x = torch.cat([self.registers.expand(x.shape[0], -1, -1), x], 1)
        x = self.norm(self.layer(x))
        if self.registers is not None:
            return self.head(x[:, self.registers.shape[1] :].mean(1))
        return self.head(x.mean(dim=1) if self.token is None else x[:, 0])


class Encoder(nn.Module):
    """nn.TransformerEncoder over the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 3, 3)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 20, batch_first=True, norm_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def torchvision_vit() -> nn.Module:
    """vit_b_16's structure, small; its head starts at zero, which would hide everything before it."""
    model = VisionTransformer(9, 3, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=5)
    nn.init.normal_(model.heads.head.weight, std=0.2)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "one linear": (lambda: Vit(OneLinear), SIZE),
    "written out": (lambda: Vit(WrittenOut, token=False), SIZE),
    "interleaved": (lambda: Vit(Interleaved), SIZE),
    "separate": (lambda: Vit(Separate, registers=2), SIZE),
    "biased": (lambda: Vit(Biased), SIZE),
    "relative": (lambda: Vit(Relative), SIZE),
    "causal": (lambda: Vit(Causal, token=False), SIZE),
    "masked": (lambda: Vit(Masked), SIZE),
    "fused": (lambda: Vit(Fused), SIZE),
    "module": (lambda: Vit(Module, token=False), SIZE),
    "encoder": (Encoder, SIZE),
    "torchvision": (torchvision_vit, (3, 9, 9)),
}


NO_TOKEN = ("written out", "causal", "module", "encoder")


def sparse(name: str, scheme: str, folder: Path) -> tuple[nn.Module, object, Network]:
    """A model at half of its weights, its sparsifier and its native network; export has verified both engines."""
    torch.manual_seed(len(name))
    make, size = MODELS[name]
    model = make()
    sparsifier = mest.sparsify(
        model, torch.optim.SGD(model.parameters(), 0.1), scheme=scheme, sparsity=0.5, method="static"
    )
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    manifest = export.export_model(model, folder, example_input=size, preprocess=preprocess, sparsifier=sparsifier)
    assert manifest.native["available"], manifest.native
    assert manifest.ort["available"], manifest.ort
    return model, sparsifier, read_network(folder)


@both_engines
@pytest.mark.parametrize("name", MODELS)
def test_transformers_are_trained_by_both_engines(name: str, tmp_path: Path) -> None:
    """Each attention is one operator; the numpy referee, the native engine and onnxruntime agree with PyTorch."""
    model, _, network = sparse(name, "irregular", tmp_path / "artifact")
    ops = [operator.op for operator in network.operators]
    assert ops.count("attention") == (2 if name in ("encoder", "torchvision") else 1)
    assert ops.count("prepend") == {"separate": 2, **dict.fromkeys(NO_TOKEN, 0)}.get(name, 1)
    assert ops.count("select") == (name == "interleaved")
    for key, value in model.named_parameters():
        assert network.parameters[key].shape == tuple(value.shape)


@both_engines
@pytest.mark.parametrize("scheme", ["block", "channel"])
def test_schemes_over_tokens(scheme: str, tmp_path: Path) -> None:
    """Layers over tokens keep the zeros of their scheme."""
    _, _, network = sparse("one linear", scheme, tmp_path / "artifact")
    assert {parameter.scheme for parameter in network.sparse_parameters().values()} == {scheme}
    assert len(network.sparse_parameters()) == 4


@both_engines
@pytest.mark.parametrize("engine", ["native", "ort"])
def test_what_a_board_has_trained_comes_back(engine: str, tmp_path: Path) -> None:
    """Tokens, positions and weights in PyTorch's shapes: the model answers as the board does."""
    model, sparsifier, _ = sparse("separate", "irregular", tmp_path / "artifact")
    images = np.random.default_rng(0).normal(size=(6, *SIZE)).astype(np.float32)
    check_what_comes_back(tmp_path / "artifact", engine, model, sparsifier, images)


class First(OneLinear):
    """The class token alone asks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q[:, :, :1], k, v).transpose(1, 2).reshape(n, 1, c)
        return x + self.out(y)


@pytest.mark.parametrize("kind", [Capped, First])
def test_what_is_no_attention_of_one_step_is_made_of_products(kind: type[nn.Module]) -> None:
    """Scores that a function bends, and a token that alone asks."""
    captured = capture(Vit(kind), SIZE)
    found = {operator.op for operator in lower(captured.model, captured.trainable).operators}
    assert {"matmul", "softmax"} <= found
    assert "attention" not in found
