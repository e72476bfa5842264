"""An artifact is known by what it computes, is cut down to what one engine needs, and is never replaced unasked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import INPUT, foreign_source, make_source
from torch import nn

import edge.errors
import export.artifact
import export.manifest
from edge.errors import DamagedError
from edge.files.digest import file_sha256
from edge.handover.artifact import open_artifact
from edge.handover.manifest import ENGINE_FILES, MANIFEST, read_manifest
from edge.handover.state import read_facts
from export.artifact import export_artifact
from export.checks.check import check_artifact
from export.checks.observe import native_missing
from export.contents import cut_artifact
from export.options import Options
from export.ort.files import missing
from mest.cli import main
from mest.errors import InputError

ort = pytest.mark.skipif(missing() is not None, reason=str(missing()))
native = pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
NATIVE = {"network.json", "network.bin", "reference.npz"}


@pytest.fixture(scope="module")
def artifact(models: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The residual network in blocks, whole."""
    out = tmp_path_factory.mktemp("contents") / "art"
    export_artifact(make_source(models["resnet"], "resnet", "block", 0.75), out, Options(measure=False))
    return out


def save(artifact: Path, state: Path, engine: str) -> np.ndarray:
    """A state of an engine after a step; returns what it answers."""
    images = np.random.default_rng(0).standard_normal((4, *INPUT)).astype(np.float32)
    with edge.load(artifact, engine=engine) as model:
        model.train_step(images, np.arange(4), 0.05)
        model.save(state)
        return model.predict(images)


def answers(state: Path) -> np.ndarray:
    """What a state answers to the same images."""
    images = np.random.default_rng(0).standard_normal((4, *INPUT)).astype(np.float32)
    with edge.load(state) as model:
        return model.predict(images)


@ort
@native
def test_the_same_run_exported_twice_is_the_same_artifact(
    models: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other measurements, other versions: another manifest, the same identity, and states of the one open with it."""
    source = make_source(models["resnet"], "resnet", "block", 0.75)
    monkeypatch.setattr(export.artifact, "training_memory", lambda *_: {"fixed_bytes": 3, "bytes_per_sample": 4})
    first = export_artifact(source, tmp_path / "art", Options())
    wanted = {engine: save(tmp_path / "art", tmp_path / engine, engine) for engine in ENGINE_FILES}
    monkeypatch.setattr(export.artifact, "training_memory", lambda *_: {"fixed_bytes": 1, "bytes_per_sample": 2})
    monkeypatch.setattr(export.manifest, "tool_versions", lambda: {"mest": "some other version"})
    second = export_artifact(source, tmp_path / "art", Options(), overwrite=True)
    assert first.ort["memory"] != second.ort["memory"]
    for engine, logits in wanted.items():
        assert first.identity(engine) == second.identity(engine)
        np.testing.assert_array_equal(answers(tmp_path / engine), logits)


@pytest.mark.parametrize("change", ["weight", "names", "preprocess"])
def test_what_computes_something_else_is_another_artifact(
    models: dict[str, nn.Module], artifact: Path, tmp_path: Path, change: str
) -> None:
    """One weight, the order of the classes, or how images are prepared."""
    source = make_source(models["resnet"], "resnet", "block", 0.75)
    if change == "weight":
        with torch.no_grad():
            source.model.fc.bias[0] += 0.5
    elif change == "names":
        source = export.artifact.replace(source, class_names=source.class_names[::-1])
    else:
        source.preprocess["mean"] = [0.25] * 3
    again = export_artifact(source, tmp_path / "art", Options(measure=False))
    before = read_manifest(artifact)
    for engine in ENGINE_FILES:
        assert before.identity(engine) is None or before.identity(engine) != again.identity(engine)


@native
def test_a_state_does_not_open_with_another_artifact_in_the_old_place(
    models: dict[str, nn.Module], artifact: Path, tmp_path: Path
) -> None:
    """The refusal says what to do, and the right one beside the state is taken although another is in its place."""
    there, state = tmp_path / "there" / "art", tmp_path / "here" / "state"
    there.parent.mkdir()
    shutil.copytree(artifact, there)
    wanted = save(there, state, "native")
    shutil.rmtree(there)
    export_artifact(make_source(models["resnet"], "resnet", "block", 0.5), there, Options(measure=False))
    with pytest.raises(DamagedError, match=r"is not the artifact that .* put that one back there or beside the state"):
        open_artifact(state)
    (there / MANIFEST).write_text("{")
    with pytest.raises(DamagedError, match=r"manifest\.json: not the JSON"):
        open_artifact(state)
    shutil.copytree(artifact, state.parent / "art")
    np.testing.assert_array_equal(answers(state), wanted)


@native
def test_states_of_old_open_with_the_manifest_that_they_recorded(artifact: Path, tmp_path: Path) -> None:
    """They hold the hash of the whole manifest instead of what the artifact computes."""
    from edge.handover.state import read_state, write_state

    shutil.copytree(artifact, tmp_path / "art")
    wanted = save(tmp_path / "art", tmp_path / "state", "native")
    saved = read_state(tmp_path / "state")
    old = {"path": str(tmp_path / "art"), "manifest_sha256": file_sha256(tmp_path / "art" / MANIFEST)}
    write_state(tmp_path / "state", {**saved.facts, "artifact": old}, saved.tensors)
    np.testing.assert_array_equal(answers(tmp_path / "state"), wanted)
    (tmp_path / "art" / MANIFEST).write_text((artifact / MANIFEST).read_text() + "\n")
    with pytest.raises(DamagedError, match="is not the artifact"):
        open_artifact(tmp_path / "state")


@native
def test_an_artifact_cut_for_a_board_verifies_and_opens_the_states_of_the_whole(artifact: Path, tmp_path: Path) -> None:
    """Network and reference batch alone; verify names what is gone; states go both ways."""
    shutil.copytree(artifact, tmp_path / "whole" / "art")
    wanted = save(tmp_path / "whole" / "art", tmp_path / "state", "native")
    manifest = cut_artifact(artifact, tmp_path / "art", "native")
    assert (
        {file.name for file in (tmp_path / "art").iterdir()} == NATIVE | {MANIFEST} == set(manifest.files) | {MANIFEST}
    )
    assert set(manifest.left_out) == set(read_manifest(artifact).files) - NATIVE
    assert manifest.sizes["disk"].keys() == NATIVE
    result = check_artifact(tmp_path / "art")
    assert result["left_out"] == list(manifest.left_out)
    assert {"reference", "native"} <= set(result["agreement"])
    assert result["identity"]["native"] == check_artifact(artifact)["identity"]["native"]
    shutil.rmtree(tmp_path / "whole")
    np.testing.assert_array_equal(answers(tmp_path / "state"), wanted)
    small = save(tmp_path / "art", tmp_path / "small", "native")
    shutil.rmtree(tmp_path / "art")
    shutil.copytree(artifact, tmp_path / "art")
    np.testing.assert_array_equal(answers(tmp_path / "small"), small)


@ort
def test_an_artifact_without_an_engine_s_files_says_so(artifact: Path, tmp_path: Path) -> None:
    """Asked for the engine, given a state of it, or asked to cut out what is not there."""
    shutil.copytree(artifact, tmp_path / "art")
    save(tmp_path / "art", tmp_path / "state", "ort")
    shutil.rmtree(tmp_path / "art")
    cut_artifact(artifact, tmp_path / "art", "native")
    with pytest.raises(edge.errors.InputError, match="no ORT files: they were left out by mest export --for native"):
        edge.load(tmp_path / "art", engine="ort")
    with pytest.raises(DamagedError, match=r"lacks the files of engine ort.*left out: checkpoint.*whole artifact"):
        open_artifact(tmp_path / "state")
    with pytest.raises(
        InputError, match="contents ort: there are no files for onnxruntime-training: they were left out"
    ):
        cut_artifact(tmp_path / "art", tmp_path / "ort", "ort")


@ort
def test_an_artifact_cut_for_onnxruntime_training_trains_with_it(artifact: Path, tmp_path: Path) -> None:
    """All but inference.onnx, and the same answers."""
    manifest = cut_artifact(artifact, tmp_path / "art", "ort")
    assert manifest.left_out == ("inference.onnx",)
    assert "ort" in check_artifact(tmp_path / "art")["agreement"]
    np.testing.assert_array_equal(
        save(tmp_path / "art", tmp_path / "one", "ort"), save(artifact, tmp_path / "two", "ort")
    )
    assert read_facts(tmp_path / "one")["artifact"]["sha256"] == read_facts(tmp_path / "two")["artifact"]["sha256"]


@ort
def test_export_for_one_engine_is_the_whole_cut_down(
    models: dict[str, nn.Module], artifact: Path, tmp_path: Path
) -> None:
    """The same bytes, all engines compared before the others' files went."""
    source = make_source(models["resnet"], "resnet", "block", 0.75)
    manifest = export_artifact(source, tmp_path / "direct", Options(measure=False, contents="native"))
    cut_artifact(artifact, tmp_path / "cut", "native")
    assert {file.name for file in (tmp_path / "direct").iterdir()} == NATIVE | {MANIFEST}
    for name in (*NATIVE, MANIFEST):
        assert (tmp_path / "direct" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert "ort" in manifest.reference["agreement"]


def test_what_cannot_be_had_is_refused_and_nothing_is_written(artifact: Path, tmp_path: Path) -> None:
    """A network that only onnxruntime runs is not for the native engine; an artifact is not cut onto itself."""
    if missing() is None:
        with pytest.raises(InputError, match="contents native: the native engine cannot run it: operator"):
            export_artifact(foreign_source("vit", "block"), tmp_path / "art", Options(measure=False, contents="native"))
    with pytest.raises(InputError, match="is the artifact that is cut"):
        cut_artifact(artifact, artifact, "native", overwrite=True)
    with pytest.raises(InputError, match="contents native or contents ort"):
        cut_artifact(artifact, tmp_path / "art", "all")
    with pytest.raises(InputError, match="contents tpu: allowed are all, native, ort"):
        export_artifact(foreign_source("vit", "block"), tmp_path / "art", Options(contents="tpu"))
    with pytest.raises(InputError, match=r"external_data is of inference\.onnx, which contents native leaves out"):
        export_artifact(
            foreign_source("vit", "block"), tmp_path / "art", Options(contents="native", external_data=True)
        )
    assert not any(tmp_path.iterdir())


def test_the_command_cuts_and_replaces_only_when_asked(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a whole artifact without --force; options that mean nothing for an artifact are refused."""
    out = str(tmp_path / "art")
    assert main(["export", str(artifact), "--for", "native", "--out", out, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["files"]) == NATIVE
    before = (tmp_path / "art" / MANIFEST).read_bytes()
    assert main(["export", str(artifact), "--for", "native", "--out", out]) == 2
    assert "--force to replace it" in capsys.readouterr().err
    assert (tmp_path / "art" / MANIFEST).read_bytes() == before
    assert main(["export", str(artifact), "--for", "native", "--out", out, "--force"]) == 0
    assert "left out: " in capsys.readouterr().out
    assert main(["export", str(artifact), "--for", "native", "--out", out, "--format", "csr"]) == 2
    assert "--format: has no meaning for" in capsys.readouterr().err
    assert main(["verify", out]) == 0
    assert "left out when it was exported or cut: " in capsys.readouterr().out


def test_cutting_needs_nothing_that_a_board_lacks(artifact: Path, tmp_path: Path) -> None:
    """Neither torch nor onnx."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from mest.cli import main\n"
        f"sys.exit(main(['export', {str(artifact)!r}, '--for', 'native', '--out', {str(tmp_path / 'art')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
