"""Networks that join, split and cut channels go to the board on both engines, and become smaller where filters go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import export
import mest
from edge.network import Network, Select, read_network
from export.capture import capture
from export.checks.observe import native_missing
from export.lower import lower
from export.ort.files import missing

both_engines = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")


class DenseBlock(nn.Module):
    """Layers that read all before them behind a batch norm (Huang et al., section 3)."""

    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels + growth * number) for number in range(layers))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels + growth * number, growth, 3, padding=1, bias=False) for number in range(layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All channels, the new ones last."""
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(torch.relu(norm(x)))], 1)
        return x


class Joined(nn.Module):
    """A dense block, an expansion in two branches as in SqueezeNet, and joined vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.block = DenseBlock(8, 4, 3)
        self.one, self.three = nn.Conv2d(20, 8, 1), nn.Conv2d(20, 8, 3, padding=1)
        self.hidden = nn.Linear(16, 8)
        self.head = nn.Linear(24, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 10)`."""
        x = self.block(self.stem(images))
        x = torch.cat((torch.relu(self.one(x)), torch.relu(self.three(x))), dim=-3)
        v = x.mean((2, 3))
        return self.head(torch.cat([v, torch.relu(self.hidden(v))], -1))


class Cut(nn.Module):
    """Channels split into halves and by sizes, sliced and stepped over, and joined in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 10)`."""
        x = self.stem(images)
        kept, changed = x.chunk(2, dim=1)
        a, b, c = torch.split(x, [2, 3, 3], 1)
        x = torch.cat([kept, self.branch(changed)], 1) + torch.cat([c, a, b], 1)
        x = torch.cat([x, x[:, 2:6], x[:, ::2]], 1)
        return self.head(torch.relu(self.last(x)).mean((2, 3)))


class Shuffled(nn.Module):
    """Channels shuffled by a module, by views and by a view of three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.shuffle = nn.ChannelShuffle(3)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=2)
        self.head = nn.Linear(12, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 10)`."""
        x = self.shuffle(self.stem(images))
        n, c, h, w = x.shape
        x = self.grouped(x).view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        x = torch.relu(x).reshape(n, 2, 3, 2, h, w).permute(0, 3, 1, 2, 4, 5).reshape(n, c, h, w)
        return self.head(x.mean((2, 3)))


def exported(model: nn.Module, scheme: str, folder: Path) -> tuple[dict, Network]:
    """The manifest and the native network of a model at half of its weights; export has verified both engines."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    preprocess = {"mean": [0.5], "std": [0.5]}
    example = torch.rand(4, 1, 8, 8)
    export.export_model(model, folder, example_input=example, preprocess=preprocess, sparsifier=sparsifier)
    return json.loads((folder / "manifest.json").read_text()), read_network(folder)


@both_engines
@pytest.mark.parametrize("scheme", ["irregular", "block", "channel"])
@pytest.mark.parametrize("kind", [Joined, Cut])
def test_joined_and_cut_channels_are_trained_by_both_engines(kind: type[nn.Module], scheme: str, tmp_path) -> None:
    """In the native network they are `concat` and `select`."""
    torch.manual_seed(0)
    manifest, network = exported(kind(), scheme, tmp_path / "artifact")
    assert manifest["native"]["available"], manifest["native"]
    assert manifest["ort"]["available"], manifest["ort"]
    found = [operator.op for operator in network.operators]
    assert found.count("concat") == (5 if kind is Joined else 3)
    if kind is Cut and scheme != "channel":
        assert found.count("select") == 7


@both_engines
def test_joined_filters_that_nobody_reads_are_gone(tmp_path: Path) -> None:
    """A channel-sparse layer behind a concat reads some channels of each part: the parts' layers lose the others."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.stem = nn.Conv2d(1, 8, 3, padding=1)
    model.block = DenseBlock(8, 8, 1)
    model.last = nn.Conv2d(16, 8, 3, padding=1)
    model.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.head = nn.Linear(8, 10)
    mask = torch.zeros(8, 16, 3, 3, dtype=torch.bool)
    mask[:, [1, 2, 9, 13, 15]] = True
    with torch.no_grad():
        model.last.weight.mul_(mask)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = mest.sparsify(model, optimizer, scheme="channel", masks={"last.weight": mask}, method="static")
    folder, preprocess = tmp_path / "artifact", {"mean": [0.5], "std": [0.5]}
    export.export_model(
        model, folder, example_input=torch.rand(4, 1, 8, 8), preprocess=preprocess, sparsifier=sparsifier
    )
    operators = read_network(folder).operators
    joined = next(operator for operator in operators if operator.op == "concat")
    new = next(operator for operator in operators if "convs" in operator.name)
    assert new.shape[0] == 3  # the block's own layer reads all of the stem, the last one three channels of the new
    assert joined.shape[0] == 5


@both_engines
def test_shuffled_channels_are_trained_by_both_engines(tmp_path: Path) -> None:
    """In the native network each is one `select`; the orders are those of the modules."""
    torch.manual_seed(0)
    manifest, network = exported(Shuffled(), "irregular", tmp_path / "artifact")
    assert manifest["native"]["available"], manifest["native"]
    assert manifest["ort"]["available"], manifest["ort"]
    orders = [network.parameters[one.channels].values.tolist() for one in network.operators if isinstance(one, Select)]
    assert orders == [
        [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
        [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11],
        [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11],
    ]


def test_rows_in_another_order_are_no_channel_shuffle() -> None:
    """Nodes of the same kinds that move rows among the channels are no selection, but axes that change places."""

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = self.stem(images)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).permute(0, 3, 1, 2, 4).reshape(n, c, h, w)
            return self.head(x.mean((2, 3)))

    captured = capture(Turned(), (1, 8, 8))
    network = lower(captured.model, captured.trainable)
    assert not [operator for operator in network.operators if isinstance(operator, Select)]
    assert "transpose" in {operator.op for operator in network.operators}
