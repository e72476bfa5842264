"""The artifact directory: whole or absent, refused when engines disagree, read by stock tools, damage found by name."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import INPUT, make_source
from torch import nn

import export.artifact
import export.checks.check
from edge.errors import DamagedError
from edge.handover.manifest import read_manifest
from edge.network import Network, read_network
from edge.plan.choices import OptimizerChoice
from export.artifact import export_artifact
from export.checks.agreement import DisagreementError
from export.checks.check import check_artifact
from export.checks.observe import Batch, Observed, observe_reference
from export.directory import whole_directory
from export.options import Options
from export.ort.files import missing
from export.ort.memory import live_memory, training_memory
from export.ort.session import Session
from mest.errors import InputError

ort = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def artifact(models: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of the residual network in blocks with room for EM&S."""
    out = tmp_path_factory.mktemp("artifact") / "art"
    export_artifact(make_source(models["resnet"], "resnet", "block", 0.75), out, Options(room="ems"))
    return out


@pytest.fixture
def copied(artifact: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


def test_manifest_states_sizes_from_the_definition(artifact: Path) -> None:
    """Per layer: blocks × (4 floats + index) and row starts; in all: their sum, and the bytes of every file."""
    manifest = read_manifest(artifact)
    network = read_network(artifact)
    layer = next(layer for layer in manifest.layers if layer["name"] == "layers.1.conv2.weight")
    blocks = len(network.parameters["layers.1.conv2.weight"].values)
    assert layer["bytes"] == blocks * (16 + 1) + 4 * (12 // 4 + 1)
    assert layer["index_bytes"] == blocks + 16
    assert layer["paper_bytes"] == blocks * 4 * 8 + blocks
    assert layer["dense_bytes"] == 4 * 12 * 12 * 9
    weights = manifest.sizes["weights"]
    assert weights["bytes"] == sum(layer["bytes"] for layer in manifest.layers)
    assert manifest.sizes["disk"] == {name: facts["bytes"] for name, facts in manifest.files.items()}
    assert set(manifest.files) == {file.name for file in artifact.iterdir()} - {"manifest.json"}


@ort
def test_memory_says_how_it_was_obtained(artifact: Path) -> None:
    """Measured where Linux counts; the liveness of the graph grows with the batch and holds the parameters."""
    measured, live = read_manifest(artifact).ort["memory"], live_memory(artifact)
    assert measured["obtained"].startswith("measured") or not sys.platform.startswith("linux")
    assert measured["fixed_bytes"] > 0
    assert "liveness" in live["obtained"]
    image = 4 * int(np.prod(INPUT)) // 3 * 8
    assert live["bytes_per_sample"] > 3 * image
    assert live["fixed_bytes"] > 2 * read_manifest(artifact).sizes["weights"]["bytes"]


@ort
def test_a_failed_measurement_is_said(artifact: Path, tmp_path: Path) -> None:
    """Nothing falls back silently: one message, and the reason stays in the manifest's words."""
    graph = tmp_path / "training_model.onnx"
    shutil.copyfile(artifact / graph.name, graph)  # and no checkpoint beside it
    said: list[str] = []
    found = training_memory(tmp_path, INPUT, said.append)
    assert found["obtained"].startswith("liveness")
    assert "not measured: the measuring process failed: " in found["obtained"]
    assert len(said) == 1
    assert "estimated, not measured" in said[0]


@ort
def test_no_zeros_are_stored_in_the_graphs(artifact: Path) -> None:
    """The training graphs hold no tensor of a weight's size: zeros are made while they run, and IR is 10 at most."""
    for name in ("training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"):
        model = onnx.load(artifact / name)
        assert model.ir_version <= 10
        assert max((int(np.prod(tensor.dims)) for tensor in model.graph.initializer), default=0) < 200


@ort
def test_indices_can_be_replaced_and_free_slots_filled(artifact: Path) -> None:
    """Moving a block and growing another one changes the weight that the graph computes with, zeros elsewhere."""
    manifest, network = read_manifest(artifact), read_network(artifact)
    name = "layers.0.conv1.weight"
    names, parameter = manifest.ort["parameters"][name], network.parameters[name]
    used = len(parameter.values)
    assert names["slots"] > used
    session = Session(artifact)
    images, labels = np.ones((2, *INPUT), np.float32), np.zeros(2, np.int64)
    before = session.evaluate(images, labels)[1]
    values, columns = session.parameter(names["values"]), session.parameter(names["columns"])
    starts = session.parameter(names["row_starts"])
    free = sorted(set(range(parameter.columns)) - set(columns[int(starts[-2]) : int(starts[-1])].tolist()))
    columns[used] = free[0]
    values[used] = 0.5
    starts[-1] += 1
    for part, array in (("values", values), ("columns", columns), ("row_starts", starts)):
        session.assign(names[part], array)
    assert not np.allclose(before, session.evaluate(images, labels)[1])
    session.train_step(images, labels, 0.1)
    moved = session.parameter(names["values"])
    assert np.any(moved[used] != 0.5)
    assert not moved[used + 1 :].any()


@ort
@pytest.mark.parametrize(("spec", "trained"), [("last:1", {"fc.weight", "fc.bias"}), (r"fc\.bias", {"fc.bias"})])
def test_trainable_shrinks_graph_and_optimizer(
    models: dict[str, nn.Module], artifact: Path, tmp_path: Path, spec: str, trained: set[str]
) -> None:
    """Only the selected parameters have gradients, and the training graph has fewer nodes than that of all."""
    out = tmp_path / "art"
    source = make_source(models["resnet"], "resnet", "block", 0.75)
    export_artifact(source, out, Options(trainable=spec, optimizer=OptimizerChoice(kind="adamw"), measure=False))
    graph = onnx.load(out / "training_model.onnx").graph
    buffers = {node.input[0] for node in graph.node if node.op_type == "InPlaceAccumulatorV2"}
    assert buffers == {f"{name}_grad.accumulation.buffer" for name in trained}
    assert len(graph.node) < 0.7 * len(onnx.load(artifact / "training_model.onnx").graph.node)
    network = read_network(out)
    assert {name for name, parameter in network.parameters.items() if parameter.trainable} == trained


def test_failed_export_leaves_what_was_there(
    models: dict[str, nn.Module], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that disagrees is named with the layer and the numbers, and the old artifact stays whole."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    honest = export.artifact.observe

    def dishonest(*args: object) -> list[object]:
        seen = honest(*args)  # type: ignore[arg-type]
        wrong = {**seen[0].updated, "fc.bias": seen[0].updated["fc.bias"] + 0.1}
        return [replace(seen[0], updated=wrong), *seen[1:]]

    monkeypatch.setattr(export.artifact, "observe", dishonest)
    with pytest.raises(DisagreementError, match=r"engine reference: fc.bias differs from PyTorch by 0\.1 .*allowed"):
        export_artifact(source, copied, Options(measure=False), overwrite=True)
    assert read_manifest(copied).run["model"] == "resnet"
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_a_kink_on_one_batch_does_not_refuse_an_export(
    models: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is off on the first batch alone is judged on the next; nothing is written on the way."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    honest, calls = export.artifact.observe, []

    def off_once(*args: object) -> list[object]:
        seen = honest(*args)  # type: ignore[arg-type]
        calls.append(args)
        wrong = {**seen[0].updated, "fc.bias": seen[0].updated["fc.bias"] + 0.1}
        return [replace(seen[0], updated=wrong), *seen[1:]] if len(calls) == 1 else seen

    monkeypatch.setattr(export.artifact, "observe", off_once)
    export_artifact(source, tmp_path / "artifact", Options(measure=False))
    assert len(calls) == 2
    assert check_artifact(tmp_path / "artifact")["agreement"]


def test_rounding_of_the_loss_has_pytorch_s_own_as_its_floor(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """Logits far from zero lose digits in every float32, PyTorch's too; a network is not refused for that."""
    model = copy.deepcopy(models["resnet"])
    with torch.no_grad():
        model.fc.bias.add_(60000)
    source = make_source(model, "resnet", "irregular", 0.5)
    manifest = export_artifact(source, tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1
    assert max(check_artifact(tmp_path / "art")["agreement"].values()) < 1


class _InPlace(nn.Module):
    """Normalises the very tensor that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.sub_(0.25).div_(0.5)
        return self.fc(nn.functional.relu(self.conv(x)).mean((2, 3)))


def test_model_that_overwrites_its_input_is_judged_on_a_copy(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """The batch that the engines are given is the one that PyTorch was given."""
    torch.manual_seed(0)
    source = replace(make_source(models["resnet"], "resnet", "irregular", 0.5), model=_InPlace().eval(), layers={})
    manifest = export_artifact(source, tmp_path / "art", Options(measure=False))
    assert max(manifest.reference["agreement"].values()) < 1


def test_directory_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    """Somebody's files are never replaced, a file is not a directory, and an empty directory will do."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with (
        pytest.raises(InputError, match=r"holds thesis\.tex, which no export wrote; give a new or empty directory"),
        whole_directory(tmp_path / "mine"),
    ):
        pass
    (tmp_path / "empty").mkdir()
    for content in ('{"files": {}}', '{"files": {"a": {}}}'):
        with whole_directory(tmp_path / "empty", overwrite=True) as folder:
            (folder / "manifest.json").write_text(content)
    with (
        pytest.raises(InputError, match=r"holds an artifact.* force=True to replace"),
        whole_directory(tmp_path / "empty"),
    ):
        pass
    assert (tmp_path / "empty" / "manifest.json").read_text() == content
    (tmp_path / "empty" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt"), whole_directory(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("format", ["block", "pattern", "channel"])
def test_format_that_cannot_hold_a_layer_is_refused(models: dict[str, nn.Module], tmp_path: Path, format: str) -> None:
    """The message names layer, format and reason."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    with pytest.raises(InputError, match=rf"^format {format}: layers\.0\.conv1\.weight: .*use format auto"):
        export_artifact(source, tmp_path / "art", Options(format=format))
    assert not any(tmp_path.iterdir())


def test_check_agrees_without_torch_or_onnx(artifact: Path) -> None:
    """mest verify passes in a process that cannot import torch, and says which engines answered."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from mest.cli import main\n"
        f"sys.exit(main(['verify', {str(artifact)!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["agreement"]) >= {"reference"}


@pytest.mark.parametrize("name", ["network.bin", "network.json", "reference.npz", "inference.onnx"])
@pytest.mark.parametrize("damage", ["edited", "truncated", "missing"])
def test_damaged_file_is_named(copied: Path, name: str, damage: str) -> None:
    """One changed byte, a cut end or an absence is found, and the message has the file's name."""
    content = bytearray((copied / name).read_bytes())
    if damage == "missing":
        (copied / name).unlink()
    else:
        content[len(content) // 2] ^= 1
        (copied / name).write_bytes(content if damage == "edited" else content[:-1])
    with pytest.raises(DamagedError, match=name.replace(".", r"\.")):
        check_artifact(copied)


@ort
def test_swapped_files_are_named(copied: Path) -> None:
    """The evaluation graph in the training graph's place is found."""
    shutil.copy(copied / "eval_model.onnx", copied / "training_model.onnx")
    with pytest.raises(DamagedError, match=r"training_model\.onnx"):
        check_artifact(copied)


def test_wrong_answer_is_found_even_if_the_hashes_were_renewed(copied: Path) -> None:
    """A weight that somebody changed, manifest included, no longer gives the stored answers."""
    from edge.handover.manifest import write_manifest

    content = bytearray((copied / "network.bin").read_bytes())
    content[:64] = np.frombuffer(bytes(content[:64]), np.float32).__add__(1).tobytes()
    (copied / "network.bin").write_bytes(content)
    write_manifest(read_manifest(copied, verify=False), copied)
    with pytest.raises(DamagedError, match=r"engine reference: .* differs from the stored answer by .*export"):
        check_artifact(copied)


@pytest.mark.parametrize("wrong_always", [True, False])
def test_engine_that_computes_wrongly_on_this_machine_is_named(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, wrong_always: bool
) -> None:
    """A step as long as PyTorch's elsewhere is seen beside the numpy referee; chance on one batch is forgiven."""
    calls = []

    def observe_wrongly(network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float) -> Observed:
        seen = observe_reference(network, batch, optimizer, label_smoothing)
        moved = seen.updated["fc.bias"] - seen.before["fc.bias"]
        calls.append(batch)
        if wrong_always or len(calls) == 1:
            seen.updated["fc.bias"] = seen.before["fc.bias"] + moved[::-1]
        return replace(seen, engine="native")

    monkeypatch.setattr(export.checks.check, "observe_native", observe_wrongly)
    monkeypatch.setattr(export.checks.check, "native_missing", lambda: None)
    if wrong_always:
        with pytest.raises(DamagedError, match=r"engine native: fc\.bias differs from the numpy referee .*report it"):
            check_artifact(artifact)
    else:
        assert check_artifact(artifact)["agreement"]["native"] < 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"index_bytes": 0', '"index_bytes": 1'),
        ('"kind": "sgd"', '"kind": "sgd", "speed": 3'),
        ('"name": "fc.weight"', '"name": "fc.height"'),
        ('"weight_decay": 0.0001', '"weight_decay": "a little"'),
    ],
)
def test_manifest_edited_by_hand_is_named(copied: Path, old: str, new: str) -> None:
    """What the manifest says must be what the files are; it is named where it is not."""
    text = (copied / "manifest.json").read_text()
    assert old in text
    (copied / "manifest.json").write_text(text.replace(old, new, 1))
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        check_artifact(copied)


def test_nesterov_is_left_to_the_native_engine(models: dict[str, nn.Module], tmp_path: Path) -> None:
    """onnxruntime-training cannot express it: its files are absent and the manifest says why."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    optimizer = OptimizerChoice(nesterov=True)
    manifest = export_artifact(source, tmp_path / "art", Options(optimizer=optimizer, measure=False))
    assert not manifest.ort["available"]
    assert missing() is not None or "Nesterov" in manifest.ort["reason"]
    assert "training_model.onnx" not in manifest.files


def test_without_onnxruntime_training_the_rest_is_written(
    models: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has no wheel, the manifest says so, and network and inference model are there and checked."""
    monkeypatch.setattr(export.artifact, "missing", lambda: "no wheel for this machine")
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    manifest = export_artifact(source, tmp_path / "art", Options())
    assert (manifest.ort["available"], manifest.ort["reason"]) == (False, "no wheel for this machine")
    assert set(manifest.files) == {"network.json", "network.bin", "inference.onnx", "reference.npz"}
    result = check_artifact(tmp_path / "art")
    assert "no wheel for this machine" in result["skipped"]["ort"]
    assert "reference" in result["agreement"]
