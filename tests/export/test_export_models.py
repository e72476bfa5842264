"""The models that the trainer takes, whole: one and ten steps of every engine against PyTorch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scheme_mask
from onnx.reference import ReferenceEvaluator
from torch import nn

from edge.plan.choices import OptimizerChoice
from export.artifact import Options, build, observe, write_ort
from export.capture import capture
from export.ort.files import missing
from export.ort.session import Session
from export.source import Source
from export.sparse_layer import SparseLayer
from export.verify import compare, expect, make_batch
from mest.models import ModelSpec, build_model
from mest.sparse import parse_scheme, select_targets

INPUT, CLASSES = (3, 32, 32), 10
MODELS = ("resnet32", "vgg19", "torchvision:mobilenet_v2", "torchvision:resnet18")
OPTIMIZER = OptimizerChoice()


def whole_source(name: str, scheme: str, sparsity: float) -> Source:
    """A model with fresh weights, sparse as `mest train --sparsity` would have it."""
    if name.startswith("torchvision:") and importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    model = build_model(ModelSpec(name, CLASSES, INPUT), seed=0).eval()
    layers = {}
    for path in select_targets(model, parse_scheme(scheme), sparsity=sparsity).targets:
        weight = model.get_parameter(path)
        mask = scheme_mask(scheme, weight.detach(), sparsity)
        with torch.no_grad():
            weight.mul_(mask)
        height = 4 if scheme == "block" else None
        layers[path] = SparseLayer(path, scheme, height, sparsity, mask.numpy())
    return Source(model, layers, INPUT, tuple(str(number) for number in range(CLASSES)), {})


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern", "channel"])
@pytest.mark.parametrize("name", MODELS)
def test_one_step_of_every_engine(name: str, scheme: str, tmp_path: Path) -> None:
    """Logits, loss and every updated parameter agree with PyTorch within the tolerances of export."""
    source = whole_source(name, scheme, 0.5 if scheme == "channel" else 0.9)
    built = build(source, capture(source.model, INPUT), Options())
    files = write_ort(built, OPTIMIZER, 0.0, "em", tmp_path)
    assert files.reason == missing()
    batch = make_batch(INPUT, CLASSES, OPTIMIZER.kind)
    expected = expect(source, built.trained, tuple(source.layers), batch, OPTIMIZER, 0.0)
    for seen in observe(built, files.represented, batch, OPTIMIZER, 0.0, tmp_path):
        assert compare(expected, seen, built.kept, seen.engine != "ort") < 1


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern"])
@pytest.mark.parametrize("name", MODELS[:3])
def test_ten_steps(name: str, scheme: str, tmp_path: Path) -> None:
    """Losses of ten steps on one batch stay within 1 % of PyTorch's, zeros stay zero."""
    source = whole_source(name, scheme, 0.9)
    built = build(source, capture(source.model, INPUT), Options())
    represented = write_ort(built, OPTIMIZER, 0.0, "em", tmp_path).represented
    assert represented is not None
    session, model = Session(tmp_path), source.model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, OPTIMIZER.momentum, weight_decay=OPTIMIZER.weight_decay)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    generator = np.random.default_rng(0)
    images = generator.standard_normal((16, *INPUT)).astype(np.float32)
    labels = generator.integers(0, CLASSES, 16)
    for _ in range(10):
        loss, _ = session.train_step(images, labels, 0.01)
        wanted = nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
        optimizer.zero_grad()
        wanted.backward()
        for path, layer in source.layers.items():
            model.get_parameter(path).grad.mul_(torch.from_numpy(layer.mask))
        optimizer.step()
        assert loss == pytest.approx(wanted.item(), rel=1e-2, abs=1e-3)
    for written in represented.values():
        starts = session.parameter(written.tensors["row_starts"])
        assert not session.parameter(written.values)[int(starts[-1]) :].any()


@pytest.mark.slow
def test_channel_pruned_resnet32_has_the_same_outputs(tmp_path: Path) -> None:
    """At 50 % of the channels outputs differ by at most 1e-5, with less than half of the multiplications."""
    source = whole_source("resnet32", "channel", 0.5)
    captured = capture(source.model, INPUT)
    built = build(source, captured, Options())
    whole = build(source, captured, Options(format="dense"))
    images = torch.randn(2, *INPUT)
    with torch.no_grad():
        wanted = source.model(images).numpy()
    (found,) = ReferenceEvaluator(built.forward).run(None, {"input": images.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    small, large = (sum(one.network.multiply_accumulates().values()) for one in (built, whole))
    assert small < 0.5 * large
