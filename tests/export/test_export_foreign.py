"""Models that onnxruntime can train and the native engine cannot: described, and verified against PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import CLASSES, foreign_model, foreign_source
from conftest import FOREIGN_INPUT as INPUT
from foreign_models import TinyEncoder

import export.artifact
from edge.engines.choice import supports
from edge.errors import DamagedError
from edge.handover.artifact import open_artifact
from edge.handover.manifest import read_manifest, write_manifest
from edge.network import Conv, Foreign, Linear, check_network, read_network, select_trainable
from edge.plan.choices import OptimizerChoice
from export.artifact import export_artifact
from export.capture import Captured, capture
from export.checks.check import check_artifact
from export.lower import describe, lower
from export.options import Options
from export.ort.files import missing
from export.source import Source
from mest.errors import InputError

ort = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def captured() -> dict[str, Captured]:
    """Both models as graphs."""
    return {family: capture(foreign_model(family), INPUT) for family in ("vit", "gated")}


def test_transformer_is_described_with_every_parameter_and_size(captured: dict[str, Captured]) -> None:
    """Linear layers over tokens keep their weight, norms theirs, sizes are per image, what we know stays known."""
    graph = captured["vit"]
    network, reason = describe(graph.model, graph.parameters, graph.statistics)
    check_network(network)
    assert set(network.parameters) - network.constants() == set(graph.parameters)
    assert reason.startswith("operator Sin in module layers.0.attention ")
    up = network.operator("layers.0.up_2")
    assert isinstance(up, Foreign)
    assert (up.kind, up.module, up.weight, up.shape) == ("MatMul", "layers.0.up", "layers.0.up.weight", (17, 64))
    norm = network.operator("norm")
    assert isinstance(norm, Foreign)
    assert norm.reads == ("norm.weight", "norm.bias")
    joined = network.operator("concat_3")
    assert isinstance(joined, Foreign)
    assert joined.reads == ("token",)
    assert isinstance(network.operators[0], Conv)
    assert isinstance(network.operators[-1], Linear)
    assert [operator.weight for operator in network.layers()][-2:] == ["layers.1.down.weight", "head.weight"]


def test_trainable_reaches_foreign_layers(captured: dict[str, Captured]) -> None:
    """`last:2` takes a foreign layer with the bias behind it; `bias` the shifts and scales of foreign norms."""
    graph = captured["vit"]
    network, _ = describe(graph.model, graph.parameters)
    last = select_trainable(network, "last:2")
    assert last == {"layers.1.down.weight", "layers.1.down.bias", "head.weight", "head.bias"}
    assert {"norm.weight", "layers.0.up.bias"} <= select_trainable(network, "bias")
    assert not {"positions", "layers.0.up.weight"} & select_trainable(network, "bias")


def test_running_statistics_of_a_known_norm_stay_fixed(captured: dict[str, Captured]) -> None:
    """Batch norms between foreign operators are the network's own, and only scale and shift train."""
    graph = captured["gated"]
    network, reason = describe(graph.model, graph.parameters, graph.statistics)
    assert reason.startswith("operator Erf in module block1 ")
    assert not network.parameters["block1.bn1.running_mean"].trainable
    assert network.parameters["block1.bn1.weight"].trainable
    with pytest.raises(InputError, match="operator Erf in module block1"):
        lower(graph.model, graph.parameters)


@ort
@pytest.mark.parametrize(
    ("family", "scheme", "format"),
    [
        ("vit", "irregular", "auto"),
        ("vit", "block", "auto"),
        ("vit", "channel", "auto"),
        ("gated", "pattern", "auto"),
        ("gated", "channel", "auto"),
        ("gated", "irregular", "masked"),
    ],
)
def test_artifact_for_onnxruntime_alone(family: str, scheme: str, format: str, tmp_path: Path) -> None:
    """Export compares its one engine with PyTorch, says what is missing, and the files are checked again elsewhere."""
    source = foreign_source(family, scheme)
    options = Options(format=format, optimizer=OptimizerChoice(kind="adamw"), measure=False, label_smoothing=0.1)
    manifest = export_artifact(source, tmp_path / "art", options)
    assert set(manifest.reference["agreement"]) == {"ort"}
    assert not manifest.native["available"]
    assert read_network(tmp_path / "art").foreign()
    result = check_artifact(tmp_path / "art")
    assert result["agreement"]["ort"] < 1
    assert "operator " in result["skipped"]["native"]
    usable, why = supports("native", open_artifact(tmp_path / "art"))
    assert not usable
    assert "in module" in why
    assert "use engine ort" in why
    sparse = {layer["name"]: layer for layer in manifest.layers if layer["scheme"]}
    assert set(sparse) == set(source.layers)
    if scheme == "channel" and family == "vit":
        assert sparse["layers.0.up.weight"]["format"] == "csr"  # its inputs cannot be gathered


@ort
def test_chance_while_training_is_left_out_on_both_sides(tmp_path: Path) -> None:
    """Dropout inside attention and random depth are not in the graph, so PyTorch is compared without them."""
    torch.manual_seed(0)
    names = tuple(str(number) for number in range(CLASSES))
    source = Source(TinyEncoder(CLASSES).eval(), {}, INPUT, names, foreign_source("vit", "irregular").preprocess)
    manifest = export_artifact(source, tmp_path / "art", Options(measure=False))
    assert manifest.reference["agreement"]["ort"] < 1
    assert source.model.layer.self_attn.dropout == 0.3  # the model itself is left as it was


@ort
def test_what_the_manifest_says_of_the_native_engine_is_checked(tmp_path: Path) -> None:
    """A manifest that promises a native network where there is none is named."""
    export_artifact(foreign_source("vit", "block"), tmp_path, Options(measure=False))
    manifest = read_manifest(tmp_path)
    manifest.native["available"] = True
    write_manifest(manifest, tmp_path)
    with pytest.raises(DamagedError, match=r"manifest\.json: what it says of the native engine"):
        check_artifact(tmp_path)


def test_what_no_engine_can_train_is_refused_with_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operator and module, why onnxruntime-training is no way out, what to do; nothing is left behind."""
    monkeypatch.setattr(export.artifact, "missing", lambda: "no wheel for this machine")
    with pytest.raises(
        InputError, match=r"operator Sin in module layers\.0\.attention .*no wheel for .*; replace that"
    ):
        export_artifact(foreign_source("vit", "irregular"), tmp_path / "art", Options())
    assert not any(tmp_path.iterdir())


def test_zero_dimensional_constants_stay_scalars(captured: dict[str, Captured]) -> None:
    """An index that drops its axis keeps dropping it after constants are folded."""
    graph = captured["vit"].model.graph
    index = next(node for node in graph.node if node.op_type == "Gather").input[1]
    assert next(list(tensor.dims) for tensor in graph.initializer if tensor.name == index) == []
