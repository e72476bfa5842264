"""Runs that end early, come back to their best epoch, or drop samples: decided without Python as with it."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled_example import Compiled, compiled, different, mest_run, run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.compiled.plan import read_plan
from edge.compiled.state import bring_home
from edge.handover.state import read_facts, read_state
from edge.libmest import library, plan_file
from edge.plan.choices import OptimizerChoice
from edge.plan.search import Request
from edge.run.finetune import finetune
from edge.run.job import Job

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
WHOLE = Request(batch_size=8, micro_batch=8)
PIECES = Request(batch_size=8, micro_batch=3, threads=2, optimizer=OptimizerChoice("adamw"))
EARLY = {"epochs": 12, "patience": 2, "learning_rate": 0.5, "warmup": 0.0, "schedule": "constant"}


def made(folder: Path, request: Request, **settings) -> Compiled:
    """A plan for images that can be learned: those of a class are brighter in some rows."""
    network = resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact = write_artifact(folder / "artifact", network)
    with np.load(write_images(folder / "images.npz", network, 60)) as random:
        images, labels = random["images"] // 2, random["labels"]
    for number, label in enumerate(labels):
        images[number, label : label + 3] += np.uint8(60)
    np.savez(folder / "images.npz", images=images, labels=labels)
    return compiled(folder, artifact, folder / "images.npz", request, **settings)


def same(example: Compiled, program: Path, folder: Path) -> tuple[dict, dict]:
    """Both runs of an example, which must agree in weights and in all that was decided; the position of Python's."""
    ours = example.run(program, "train", "--state", folder / "run.state")
    python = example.finetune(folder / "python").to_json()
    assert different(example.plan, folder / "run.state", folder / "python") == []
    decided = ("steps", "epochs", "accuracy_before", "accuracy_after", "stopped_early", "kept_epoch", "samples_train")
    assert {key: ours[key] for key in decided} == {key: python[key] for key in decided}
    assert not (folder / "run.state.best").exists()
    return ours, dict(read_facts(folder / "python")["position"])


@pytest.mark.parametrize("request_", [WHOLE, PIECES], ids=["whole batches", "pieces"])
@pytest.mark.parametrize("mutate", ["none", "ems"])
def test_patience(mest_run: Path, tmp_path: Path, request_: Request, mutate: str) -> None:  # noqa: F811
    """The same epoch of stopping, and the weights, optimizer and lists of the same best epoch."""
    rate = 0.05 if request_ is PIECES else 0.5
    settings = EARLY | {"learning_rate": rate, "mutate": mutate, "mutate_every": 4}
    ours, position = same(made(tmp_path, request_, **settings), mest_run, tmp_path)
    head = plan_file.State.from_buffer_copy((tmp_path / "run.state").read_bytes())
    for name in ("best_epoch", "kept_epoch", "best_accuracy"):
        assert (getattr(head, name) or None) == position[name], name
    assert head.waited == position["epochs_without_gain"]
    if mutate == "none":
        assert ours["stopped_early"] == "no better held-out accuracy for 2 epochs"
        assert ours["epochs"] < 12
        assert head.updates < head.step


def test_a_finished_run_goes_on_from_its_best(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """As in Python: the weights that it came back to, and the best epoch stays the one to beat."""
    example = made(tmp_path, PIECES, **EARLY | {"learning_rate": 0.05})
    ours, _ = same(example, mest_run, tmp_path)
    assert ours["kept_epoch"] is not None
    more = ours["epochs"] + 4
    ours = example.run(mest_run, "train", "--state", tmp_path / "run.state", "--resume", "--epochs", more)
    settings = replace(example.settings, epochs=more)
    job = Job(example.artifact, str(example.source), tmp_path / "python", settings, lambda _: PIECES, "native")
    python = finetune(replace(job, resume=True)).to_json()
    decided = ("steps", "epochs", "accuracy_after", "stopped_early", "kept_epoch")
    assert {key: ours[key] for key in decided} == {key: python[key] for key in decided}
    assert different(example.plan, tmp_path / "run.state", tmp_path / "python") == []
    bring_home(read_plan(example.plan), tmp_path / "run.state", tmp_path / "home")
    mine, wanted = read_state(tmp_path / "home").tensors, read_state(tmp_path / "python").tensors
    assert {name: array.tobytes() for name, array in mine.items()} == {
        name: array.tobytes() for name, array in wanted.items()
    }


@pytest.mark.parametrize("more", [{}, {"augment": "flip", "mutate": "em", "mutate_every": 3}], ids=["plain", "all"])
@pytest.mark.parametrize("request_", [WHOLE, PIECES], ids=["whole batches", "pieces"])
def test_samples_are_dropped(mest_run: Path, tmp_path: Path, request_: Request, more: dict) -> None:  # noqa: F811
    """Those that were learned and never forgotten, in whole batches: fewer steps, the same ones."""
    rate = 0.01 if request_ is PIECES else 0.1
    example = made(tmp_path, request_, epochs=6, drop_after=3, learning_rate=rate, **more)
    ours, position = same(example, mest_run, tmp_path)
    batches = -(-ours["samples_train"] // 8)
    assert ours["steps"] == position["step"] < 6 * batches
    assert (6 * batches - ours["steps"]) % 3 == 0


def test_both_and_a_signal_at_every_moment(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Stopped again and again, between epochs too, it ends with the very state of a run that nobody stopped."""
    settings = EARLY | {"drop_after": 2, "learning_rate": 0.1, "save_every": 1, "patience": 3}
    example = made(tmp_path, WHOLE, **settings)
    example.run(mest_run, "train", "--state", tmp_path / "whole.state")
    state = tmp_path / "stopped.state"
    words = [str(mest_run), "train", example.plan, "--data", example.data, "--state", state, "--quiet"]
    stops = 0
    for attempt in range(400):
        process = subprocess.Popen([*words, *(["--resume"] if state.exists() else [])], stderr=subprocess.PIPE)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (state.stat().st_mtime_ns if state.exists() else 0) == before:
            os.sched_yield()
        process.send_signal(signal.SIGTERM if attempt % 2 else signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, 143, -9), said
        stops += process.returncode != 0
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert stops > 5
    assert state.read_bytes() == (tmp_path / "whole.state").read_bytes()
    assert not state.with_name("stopped.state.best").exists()


def test_what_is_damaged_or_missing(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Marks that are none, a best epoch of another run or gone: one line; no held-out samples are refused."""
    example = made(tmp_path, WHOLE, **EARLY | {"drop_after": 1})
    state = tmp_path / "run.state"
    example.run(mest_run, "train", "--state", state)
    content = bytearray(state.read_bytes())
    head = plan_file.State.from_buffer_copy(bytes(content))
    assert len(content) % 64 == len(bytes(head)) % 64
    from edge.compiled.plan import sealed

    def written(name: str, marks: int = 0, **fields: int) -> Path:
        changed = plan_file.State.from_buffer_copy(bytes(content))
        for field, value in fields.items():
            setattr(changed, field, value)
        body = bytearray(content)
        body[len(bytes(head))] |= marks
        (tmp_path / name).write_bytes(sealed(changed, body))
        return tmp_path / name

    words = ("train", example.plan, "--data", example.data, "--resume", "--state")
    assert run(mest_run, *words, written("same")).returncode == 0
    for number, fields in enumerate(
        ({"marks": 64}, {"best_epoch": 99}, {"patience": 5}, {"drop_after": 0}, {"samples": 1 << 40}, {"waited": 0})
    ):
        refused = run(mest_run, *words, written(f"bad{number}", **fields))
        assert (refused.returncode, refused.stderr.count("\n")) == (4, 1), (fields, refused.stderr)
    lost = run(mest_run, *words, written("lost", kept_epoch=0))
    assert head.kept_epoch
    assert (lost.returncode, "lost.best: No such file" in lost.stderr) == (2, True), lost.stderr
    written("other.best", best_epoch=head.epoch, kept_epoch=0)
    other = run(mest_run, *words, written("other", kept_epoch=0))
    assert (other.returncode, "is not of epoch" in other.stderr) == (4, True), other.stderr
