"""Models as tutorials have them walk the whole road by its commands, or are refused in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from export.checks.observe import native_missing
from export.ort.files import missing
from mest.cli import main

pytestmark = pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
MODELS = """
import torch
from torch import nn


class LeNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, num_classes)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def normed(num_classes=10):
    layers = [nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.utils.weight_norm(nn.Conv2d(4, 8, 5, 2)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, num_classes))


def zero_head(num_classes=10):
    model = LeNet(num_classes)
    for parameter in model.fc3.parameters():
        nn.init.zeros_(parameter)
    return model


def spectral(num_classes=10):
    layers = [nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 8, 5, 2))]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, num_classes))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models of one's own and grey images of 28 x 28."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tutorial", raising=False)
    (tmp_path / "tutorial.py").write_text(MODELS, encoding="utf-8")
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
    np.savez("grey.npz", images=images, labels=np.arange(60) % 10)
    return tmp_path


def train(model: str, scheme: str = "irregular") -> None:
    words = ["--data", "npz:grey.npz", "--scheme", scheme, "--sparsity", "0.5", "--epochs", "1", "--device", "cpu"]
    assert main(["train", "-q", "--model", f"tutorial:{model}", *words, "--out", "run"]) == 0


@pytest.mark.parametrize("scheme", ["irregular", "block"])
def test_lenet_is_trained_exported_and_fine_tuned(scheme: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """5x5 convolutions, max pooling and three linear layers on grey images: natively, with every zero kept."""
    train("LeNet", scheme)
    assert main(["export", "-q", "run", "--for", "native", "--out", "art"]) == 0
    capsys.readouterr()
    words = ["--data", "grey.npz", "--engine", "native", "--epochs", "1", "--json"]
    assert main(["finetune", "-q", "art", *words, "--out", "state"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["engine"] == "native"
    assert said["zeros_kept"]
    assert said["sparsity"] >= 0.5


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_weight_norm_is_trained_and_exported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A weight that a hook computes stays dense, and the artifact is onnxruntime-training's, as is said."""
    train("normed")
    capsys.readouterr()
    assert main(["export", "run", "--out", "art"]) == 0
    said = capsys.readouterr().out
    assert "for onnxruntime-training alone, no native network: operator" in said
    assert "checked against PyTorch: ort" in said


def test_spectral_norm_is_trained_and_refused_at_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It estimates anew in every training pass, which no graph holds: one line names the module."""
    train("spectral")
    capsys.readouterr()
    assert main(["export", "-q", "run", "--out", "art"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "2.parametrizations.weight" in said
    assert "a board trains what the model computes in evaluation" in said


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_checkpoints_of_wrapped_models_are_exported(prefix: str, place: Path) -> None:
    """What DataParallel and torch.compile put in front of every name is no part of it."""
    import tutorial

    torch.save({prefix + name: value for name, value in tutorial.LeNet().state_dict().items()}, "wrapped.pt")
    words = [
        "--model",
        "tutorial:LeNet",
        "--input-shape",
        "1x28x28",
        "--class-names",
        "10",
        "--mean",
        "0.5",
        "--std",
        "1",
    ]
    assert main(["export", "-q", "wrapped.pt", *words, "--for", "native", "--out", "art"]) == 0


def test_a_head_that_begins_at_zero_is_exported(place: Path) -> None:
    """Vision transformers begin so: all logits are exactly zero, and so is the difference that they may have."""
    import tutorial

    torch.save(tutorial.zero_head().state_dict(), "zero.pt")
    words = ["--input-shape", "1x28x28", "--class-names", "10", "--mean", "0.5", "--std", "1", "--for", "native"]
    assert main(["export", "-q", "zero.pt", "--model", "tutorial:zero_head", *words, "--out", "art"]) == 0
