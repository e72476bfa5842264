"""Wide layers in onnxruntime-training: bytes for columns, the same weight in the graph, after mutation too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES, scheme_mask
from torch import nn

from edge.engines.ort.footprint import estimate
from edge.engines.ort.open import open_engine
from edge.engines.reference import Reference
from edge.handover.artifact import open_artifact
from edge.plan.choices import Choices, OptimizerChoice
from edge.run.rate import densest_sparsity, mutation_bounds
from edge.weight.formats import decode
from export.artifact import export_artifact
from export.options import Options
from export.ort.files import missing
from export.ort.session import Session
from export.rebuild import from_ort
from export.source import Source
from export.sparse_layer import SparseLayer

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PREPROCESS = {"mode": "L", "resize": None, "crop": None, "interpolation": "bilinear", "mean": [0.5], "std": [1.0]}
SGD = OptimizerChoice(momentum=0.9, weight_decay=1e-3)


@pytest.mark.parametrize(("scheme", "format"), [("irregular", "csr"), ("block", "block"), ("block", "csr")])
def test_wide_layers_take_bytes_and_mutate(scheme: str, format: str, tmp_path: Path) -> None:
    """Columns are uint8 and starts uint16, the checkpoint decodes to the exported weight, and what the engine predicts
    after steps and a mutation is what the reference makes of the decoded weights."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 16, 3), nn.Flatten()
    )
    model.append(nn.Linear(16 * 16, CLASSES)).eval()
    weight = model.get_parameter("3.weight")
    mask = scheme_mask(scheme, weight.detach(), 0.9)
    with torch.no_grad():
        weight.mul_(mask)
    layer = SparseLayer("3.weight", scheme, 4 if scheme == "block" else None, 0.9, mask.numpy())
    names = tuple(str(number) for number in range(CLASSES))
    source = Source(model, {"3.weight": layer}, (1, 6, 6), names, PREPROCESS, SGD)
    manifest = export_artifact(source, tmp_path / "art", Options(format=format, room="ems", measure=False))
    parts, artifact = manifest.ort["parameters"], open_artifact(tmp_path / "art")
    session = Session(tmp_path / "art")
    assert session.parameter(parts["3.weight"]["columns"]).dtype == np.uint8
    assert session.parameter(parts["3.weight"]["row_starts"]).dtype == np.uint16
    rows = 16 // (4 if format == "block" else 1)
    assert len(session.parameter(parts["3.weight"]["row_starts"])) == 3 * rows + 1
    stored = from_ort(artifact.network, parts, session.parameters())["3.weight"]
    np.testing.assert_array_equal(decode(stored), weight.detach().numpy())
    if scheme != ("block" if format == "block" else "irregular"):
        return  # zeros of one shape in the form of another cannot mutate

    targets = artifact.mutation_targets()
    choices = Choices(batch_size=8, micro_batch=8, optimizer=SGD, densest_sparsity=densest_sparsity("ems", targets))
    engine = open_engine(artifact, choices, estimate(artifact.network, choices))
    images = np.random.default_rng(1).standard_normal((8, 1, 6, 6)).astype(np.float32)
    before = np.array(engine.snapshot()[parts["3.weight"]["columns"]])
    for progress in (0.0, 0.4):
        engine.train_step(images, np.arange(8) % CLASSES, 0.05)
        bounds = mutation_bounds("ems", targets, progress)
        assert engine.mutate(bounds.prune_to, bounds.grow_to, seed=4).grown > 0
    engine.train_step(images, np.arange(8) % CLASSES, 0.05)
    after = {name: np.array(array) for name, array in engine.snapshot().items()}
    assert not np.array_equal(before, after[parts["3.weight"]["columns"]])
    assert engine.zeros_kept()
    trained = artifact.network.with_parameters(from_ort(artifact.network, parts, after))
    assert trained.sparsity() == pytest.approx(engine.sparsity())
    wanted = Reference(trained, Choices(optimizer=SGD)).predict(images)
    np.testing.assert_allclose(engine.predict(images), wanted, atol=1e-4 * np.abs(wanted).max())
    engine.close()
