"""A state becomes a run: weights and masks where they were, removed filters from the original, foreign runs refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.engines.native.engine import NativeEngine
from edge.handover.artifact import open_artifact
from edge.handover.state import read_state, write_state
from edge.plan.choices import Choices
from edge.weight.formats import decode
from export.artifact import build, export_artifact
from export.capture import capture
from export.checks.observe import native_missing
from export.options import Options
from export.restore import restore_run, state_parameters
from export.source import source_of_run
from mest.cli import main
from mest.errors import DamagedError, InputError
from mest.train.checkpoint import load_checkpoint, save_checkpoint
from mest.train.run import load_run

native = pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))


@pytest.fixture(scope="module", params=["block", "channel"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch of the digits model at half its weights."""
    out = tmp_path_factory.mktemp("run") / "run"
    arguments = ["--model", "digits", "--data", "digits", "--sparsity", "0.5", "--epochs", "1", "--out", str(out)]
    assert main(["train", *arguments, "--scheme", request.param, "--json"]) == 0
    return out


@pytest.fixture(scope="module")
def state(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state of the native engine after a few steps and one mutation, on noise."""
    folder = tmp_path_factory.mktemp("state")
    export_artifact(source_of_run(run), folder / "art", Options(measure=False))
    artifact = open_artifact(folder / "art")
    engine = NativeEngine.of(artifact.network, Choices(batch_size=8, micro_batch=8))
    generator = np.random.default_rng(0)
    images, labels = generator.standard_normal((8, *artifact.shape)).astype(np.float32), np.arange(8)
    engine.train_step(images, labels, 0.05)
    sparse = artifact.network.sparse_parameters()
    targets = {name: float(parameter.target_sparsity or 0) for name, parameter in sparse.items()}
    engine.mutate({name: target + 0.2 * (1 - target) for name, target in targets.items()}, targets, seed=1)
    engine.train_step(images, labels, 0.05)
    facts = {"engine": "native", "artifact": artifact.identity("native")}
    write_state(folder / "state", facts, {name: np.array(array) for name, array in engine.snapshot().items()})
    np.savez(folder / "seen.npz", images=images, logits=np.array(engine.predict(images)))
    engine.close()
    return folder / "state"


@native
def test_restored_run_computes_what_the_board_did(run: Path, state: Path, tmp_path: Path) -> None:
    """Logits equal the engine's, zeros lie outside the new masks, and inference.onnx agrees."""
    done = restore_run(state, tmp_path / "back")
    assert done["original"] == str(run)
    back, before = load_run(tmp_path / "back"), load_run(run)
    with np.load(state.parent / "seen.npz") as seen:
        images, logits = seen["images"], seen["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(back.model(torch.from_numpy(images)).numpy(), logits, atol=1e-4)
    moved = False
    for name, mask in back.masks.items():
        assert not back.model.get_parameter(name)[~mask].any()
        assert int(mask.sum()) == int(before.masks[name].sum())
        moved = moved or not torch.equal(mask, before.masks[name])
    assert moved
    onnxruntime = pytest.importorskip("onnxruntime", reason="no ONNX Runtime is installed")
    session = onnxruntime.InferenceSession(str(tmp_path / "back" / "inference.onnx"))
    np.testing.assert_allclose(session.run(None, {"input": images})[0], logits, atol=1e-4)


@native
def test_training_and_evaluation_take_the_restored_run(state: Path, tmp_path: Path, run: Path) -> None:
    """mest eval reads it, and mest train --resume continues from its checkpoint without complaint."""
    assert main(["export", str(state), "--out", str(tmp_path / "back")]) == 0
    assert main(["eval", str(tmp_path / "back"), "--data", "digits", "--json"]) == 0
    scheme = load_run(run).config["sparse"]["scheme"]
    arguments = ["--model", "digits", "--data", "digits", "--sparsity", "0.5", "--epochs", "1", "--scheme", scheme]
    assert main(["train", *arguments, "--out", str(tmp_path / "back"), "--resume"]) == 0


@native
def test_a_new_run_begins_with_what_the_board_made(state: Path, tmp_path: Path) -> None:
    """A run that came back is over; mest train --from trains on from its weights and masks."""
    restore_run(state, tmp_path / "back")
    arguments = ["--from", str(tmp_path / "back"), "--epochs", "0", "--out", str(tmp_path / "new")]
    assert main(["train", *arguments]) == 0
    back, new = load_run(tmp_path / "back"), load_run(tmp_path / "new")
    assert all(torch.equal(mask, new.masks[name]) for name, mask in back.masks.items())
    after = new.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in back.model.state_dict().items())
    assert main(["train", *arguments[:2], "--epochs", "1", "--out", str(tmp_path / "trained")]) == 0
    assert not torch.equal(load_run(tmp_path / "trained").model.fc.weight, back.model.fc.weight)


@native
def test_missing_or_foreign_original_is_refused(run: Path, state: Path, tmp_path: Path) -> None:
    """Without the run that was exported its configuration and removed filters cannot be had."""
    with pytest.raises(InputError, match="is not there; give it as original"):
        restore_run(state, tmp_path / "back", tmp_path / "nowhere")
    assert not any(tmp_path.iterdir())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    content = (run / "run.json").read_text().replace('"checksum": "', '"checksum": "0')
    (foreign / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"is not the run .* was exported from; give that as original"):
        restore_run(state, tmp_path / "back", foreign)


@native
def test_artifact_of_the_restored_run_has_the_board_s_weights(state: Path, tmp_path: Path) -> None:
    """Out and back again: what a second export would store is what the state holds."""
    restore_run(state, tmp_path / "back")
    source = source_of_run(tmp_path / "back")
    again = build(source, capture(source.model, source.input), Options()).network.parameters
    held = state_parameters(open_artifact(state), read_state(state))
    same = [name for name in again if again[name].shape == held[name].shape and "channels" not in name]
    assert "fc.weight" in same
    for name in same:
        np.testing.assert_allclose(decode(again[name]), decode(held[name]), atol=1e-7)


@native
def test_training_on_leaves_no_inference_model_of_other_weights(state: Path, tmp_path: Path, run: Path) -> None:
    """A restored run that nothing trains keeps its inference.onnx; one that trains on loses it, and not its origin."""
    restore_run(state, tmp_path / "back")
    origin = json.loads((tmp_path / "back" / "run.json").read_text())["restored_from"]
    assert origin == {"engine": "native", "generation": 1}
    assert main(["train", "--resume", "--out", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back" / "inference.onnx").is_file()
    checkpoint = load_checkpoint(tmp_path / "back" / "checkpoints" / "last.pt")
    save_checkpoint(tmp_path / "back" / "checkpoints" / "last.pt", {**checkpoint, "epoch": 0, "history": []})
    assert main(["train", "--resume", "--out", str(tmp_path / "back")]) == 0
    assert not (tmp_path / "back" / "inference.onnx").exists()
    assert json.loads((tmp_path / "back" / "run.json").read_text())["restored_from"] == origin


@native
@pytest.mark.parametrize("part", ["values", "row_starts", "columns", "channels"])
def test_a_state_that_lacks_a_parameter_is_refused(state: Path, tmp_path: Path, part: str) -> None:
    """Or a part of one: exit 4, by name, and no run is written from the weights of before."""
    saved = read_state(state)
    lacking = [name for name in saved.tensors if name.endswith(f"/{part}")]
    if not lacking:
        pytest.skip(f"needs a format that stores {part}")
    whole = {name: array for name, array in saved.tensors.items() if name != lacking[-1]}
    write_state(tmp_path / "state", saved.facts, whole)
    with pytest.raises(DamagedError, match=f"holds no {lacking[-1]}"):
        restore_run(tmp_path / "state", tmp_path / "back")
    assert main(["export", str(tmp_path / "state"), "--out", str(tmp_path / "back")]) == 4
    assert not (tmp_path / "back").exists()
