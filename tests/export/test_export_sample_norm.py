"""Group, instance and layer norm go to the board on both engines, however a model writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.convnext import LayerNorm2d

import export
import mest
from edge.network import read_network
from edge.network.operators.sample_norm import GroupNorm
from export.capture import capture
from export.checks.observe import native_missing
from export.ort.files import missing
from mest.errors import InputError

pytestmark = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")


class Functional(nn.Module):
    """Group norm with a scale alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x normalised."""
        return F.group_norm(x, 2, self.scale, None)


class Movable(nn.Module):
    """Layer norm over channels, written with movedim."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x normalised."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


NORMS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "group": (lambda: nn.GroupNorm(4, 8), "group_norm", 4),
    "one group": (lambda: nn.GroupNorm(1, 8, eps=1e-3), "group_norm", 1),
    "group without numbers": (lambda: nn.GroupNorm(2, 8, affine=False), "group_norm", 2),
    "group with a scale": (Functional, "group_norm", 2),
    "instance": (lambda: nn.InstanceNorm2d(8), "group_norm", 8),
    "instance with numbers": (lambda: nn.InstanceNorm2d(8, affine=True), "group_norm", 8),
    "sample": (lambda: nn.LayerNorm((8, 6, 6)), "group_norm", 1),
    "sample without numbers": (lambda: nn.LayerNorm((8, 6, 6), elementwise_affine=False), "group_norm", 1),
    "channels": (lambda: LayerNorm2d(8), "layer_norm", 0),
    "channels moved": (Movable, "layer_norm", 0),
}


class Normed(nn.Module):
    """A norm behind a layer, and one behind a sum."""

    def __init__(self, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 8, 3, padding=1), norm()
        self.body, self.second = nn.Conv2d(8, 8, 3, padding=1), norm()
        self.hidden, self.last = nn.Linear(8, 12), nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)
        for module in self.modules():
            if hasattr(module, "bias") and "Norm" in type(module).__name__ and module.bias is not None:
                nn.init.normal_(module.weight, 1, 0.2)
                nn.init.normal_(module.bias, 0, 0.2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = F.relu(self.first(self.stem(images)))
        x = F.relu(self.second(x + self.body(x)))
        return self.head(F.relu(self.last(self.hidden(x.mean((2, 3))))))


@pytest.mark.parametrize("scheme", ["irregular", "channel"])
@pytest.mark.parametrize("spelled", NORMS)
def test_both_engines_train_it(spelled: str, scheme: str, tmp_path: Path) -> None:
    """The artifact was verified on each of them; the native network has one operator for each norm."""
    torch.manual_seed(0)
    norm, op, groups = NORMS[spelled]
    model = Normed(norm)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    export.export_model(
        model,
        tmp_path / "artifact",
        example_input=torch.rand(4, 1, 6, 6),
        preprocess={"mean": [0.5], "std": [0.5]},
        sparsifier=sparsifier,
    )
    manifest = json.loads((tmp_path / "artifact" / "manifest.json").read_text())
    assert manifest["native"]["available"]
    assert manifest["ort"]["available"]
    found = read_network(tmp_path / "artifact")
    ops = [one.op for one in found.operators]
    grouped = [one for one in found.operators if isinstance(one, GroupNorm)]
    assert ops.count(op) == 2 + (op == "layer_norm")
    assert all(one.groups == (one.shape[0] if groups == 8 else groups) for one in grouped)


def test_running_statistics_of_single_samples_are_refused() -> None:
    """Training and evaluation differ, and the module is named."""
    model = Normed(lambda: nn.InstanceNorm2d(8, track_running_stats=True))
    with pytest.raises(InputError, match="first computes something else while training"):
        capture(model, (1, 6, 6))
