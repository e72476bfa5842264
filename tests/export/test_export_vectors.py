"""A batch norm over a vector behind a linear layer is trained by both engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import export
from edge.network import read_network
from export.checks.observe import native_missing
from export.ort.files import missing


@pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
def test_batch_norm_of_features(tmp_path: Path) -> None:
    """The artifact was verified on each of them."""
    torch.manual_seed(0)
    body = (nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.BatchNorm1d(3))
    export.export_model(
        nn.Sequential(*body),
        tmp_path / "artifact",
        example_input=torch.rand(4, 1, 6, 6),
        preprocess={"mean": [0.5], "std": [0.5]},
    )
    manifest = json.loads((tmp_path / "artifact" / "manifest.json").read_text())
    assert manifest["native"]["available"]
    assert manifest["ort"]["available"]
    ops = [one.op for one in read_network(tmp_path / "artifact").operators]
    assert ops == ["flatten", "linear", "batch_norm", "relu", "linear", "batch_norm"]
