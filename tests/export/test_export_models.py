"""The models that the trainer takes, whole: one and ten steps of every engine against PyTorch.

Tolerances: one step as `export.checks.agreement.compare` states them (about 1e-3 of a parameter's update against
float64), on the first of a few batches without a ReLU input that changes side; ten steps, relative to float64, 1e-4 of
the loss, of all weights and of all running statistics, or twenty times what PyTorch's own float32 differs by.
`bench/agreement.py` holds the comparison and prints the table of docs/artifact.md.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from bench.agreement import CASES, INPUT, MODELS, Case, compare, make_source, markdown, worst_share
from export.artifact import build, export_artifact
from export.capture import capture
from export.checks.observe import native_missing
from export.options import Options
from export.ort.files import missing

TORCHVISION = importlib.util.find_spec("torchvision") is not None


def require(name: str) -> None:
    """Skip what needs torchvision where it is not."""
    if name.startswith("torchvision:") and not TORCHVISION:
        pytest.skip("torchvision is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", MODELS)
def test_one_and_ten_steps_of_every_engine(name: str, case: Case) -> None:
    """Logits, loss, weights and batch-norm statistics are PyTorch's after one step, and near it after ten."""
    require(name)
    if case.recompute != "none" and missing() is not None:
        pytest.skip(str(missing()))
    found = compare(name, case)
    if found is None:
        assert (name, case.scheme) == ("torchvision:mobilenet_v2", "pattern")  # its 3x3 kernels are all depthwise
        return
    here = {"native": native_missing(), "ort": missing()}
    engines = {engine for engine, reason in here.items() if reason is None}
    assert engines <= set(found["one_step"])
    assert engines <= set(found["ten_steps"])
    assert max(step["share"] for step in found["one_step"].values()) < 1
    assert max(worst_share(found["ten_steps"]).values()) < 1


@pytest.mark.slow
@pytest.mark.parametrize("case", [Case("channel", "channel", 0.5), Case("block", "block")], ids=lambda case: case.name)
def test_resnet18_of_torchvision(case: Case) -> None:
    """Max pooling with padding and a 7x7 stem, one and ten steps."""
    require("torchvision:resnet18")
    found = compare("torchvision:resnet18", case, batch=8)
    assert found is not None
    assert max(worst_share(found["ten_steps"]).values()) < 1


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize(("name", "operator"), [("convnext_tiny", "MatMul in module features.1.0.block")])
def test_torchvision_models_of_today(name: str, operator: str, tmp_path: Path) -> None:
    """Gates, layers over positions and random depth: for onnxruntime-training alone, blocks recomputed, verified."""
    require("torchvision:")
    source = make_source(f"torchvision:{name}", "irregular", 0.9)
    assert source is not None
    manifest = export_artifact(source, tmp_path / "art", Options(recompute="blocks", measure=False))
    assert str(manifest.native["reason"]).startswith(f"operator {operator}.")
    assert manifest.reference["agreement"]["ort"] < 1
    assert len(manifest.ort["blocks"]) > 3


@pytest.mark.slow
def test_channel_pruned_resnet32_has_the_same_outputs(tmp_path: Path) -> None:
    """At 50 % of the channels outputs differ by at most 1e-5, with less than half of the multiplications."""
    source = make_source("resnet32", "channel", 0.5)
    assert source is not None
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


def test_table_has_the_worst_engine_and_pytorch_s_own_error() -> None:
    """One line per case, one step by its worst engine, an engine that was not there named as such."""
    step = {"share": 0.25, "weight": 1e-7, "loss": 2e-8}
    ten = {"loss": 1e-5, "weights": 2e-5, "statistics": 3e-6}
    record = {
        "model": "torchvision:mobilenet_v2",
        "case": "block, block",
        "one_step": {"native": step, "ort": {**step, "share": 0.5}},
        "ten_steps": {"torch float32": ten, "ort": {**ten, "loss": 4e-5}},
    }
    *_, line = markdown([record]).splitlines()
    assert line == (
        "| mobilenet_v2 | block, block | 0.50, 1e-07, 2e-08 | 4e-05, 2e-05, 3e-06 | not here | 1e-05, 2e-05, 3e-06 |"
    )
    assert worst_share(record["ten_steps"])["ort"] == pytest.approx(4e-5 / 2e-4)
