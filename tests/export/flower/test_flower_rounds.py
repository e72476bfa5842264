"""A client's round: a child process fine-tunes from the server's weights, and dies with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flower_example import FORMATS, sparse_artifact
from native_artifact import write_images

import edge
from edge.errors import InputError
from edge.handover.state import read_state, write_state
from export.flower.layout import layout_of_artifact, weights_of
from export.flower.merging import stored_units
from export.flower.orders import Order, Place
from export.flower.rounds import ROOT, train
from export.flower.states import write_weights


@pytest.fixture
def place(tmp_path):
    """A function from a format to a client's place with its artifact, layout and the artifact's weights."""

    def make(fmt: str = "csr", **beside: object):
        artifact = sparse_artifact(tmp_path / "artifact", fmt)
        data = write_images(tmp_path / "data.npz", artifact.network, 40)
        layout = layout_of_artifact(artifact)
        where = Place(artifact.path, str(data), tmp_path / "work", threads=1, **beside)
        return where, artifact, layout, weights_of(layout, layout.parameters)

    return make


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_round_trains_under_the_mask_that_was_sent(fmt: str, place) -> None:
    """The mask stays, values move, figures and scores of every kept unit come along."""
    where, artifact, layout, weights = place(fmt)
    done = train(where, artifact, layout, weights, Order(learning_rate=0.05, gradient_weight=1.0), wants_scores=True)
    for name, parameter in layout.sparse.items():
        assert (done.weights.masks[name] == weights.masks[name]).all()
        assert (done.weights.values[name] != weights.values[name]).any()
        assert done.scores[name].shape == (stored_units(parameter),)
        if fmt in ("csr", "masked"):  # with the gradient of the last step
            assert (done.scores[name] >= np.abs(done.weights.values[name])).all()
            assert (done.scores[name] > np.abs(done.weights.values[name])).any()
    assert done.samples == 36  # a tenth is held out
    assert done.facts["planned-peak-bytes"] > 0
    assert {"seconds", "steps", "score-before", "score-after"} <= done.facts.keys()
    assert '"micro_batch"' in done.plan


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_state_of_the_server_is_one_for_every_command(fmt: str, tmp_path: Path, place) -> None:
    """What a run leaves predicts as the artifact does whose weights it has, with index lists of any width."""
    _where, artifact, layout, weights = place(fmt)
    write_weights(tmp_path / "state", artifact, layout, weights)
    saved = read_state(tmp_path / "state")
    lists = {
        name: array for name, array in saved.tensors.items() if array.dtype.kind in "iu" and "optimizer" not in name
    }
    wide = {name: array.astype(np.int64) for name, array in lists.items()}
    write_state(tmp_path / "wide", saved.facts, {**saved.tensors, **wide})
    images = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)
    answers = []
    for path in (artifact.path, tmp_path / "state", tmp_path / "wide"):
        with edge.load(path) as model:
            answers.append(model.predict(images))
    assert wide
    assert all((each == answers[0]).all() for each in answers)


def test_a_client_moves_its_own_mask(place) -> None:
    """With --mutate em, back at as many units as before; the next round begins from the moved mask."""
    where, artifact, layout, weights = place("csr")
    order = Order(epochs=3, batch_size=8, mutate="em", mutate_every=1, learning_rate=0.05)
    done = train(where, artifact, layout, weights, order)
    for name in layout.sparse:
        assert (done.weights.masks[name] != weights.masks[name]).any()
    again = train(where, artifact, layout, done.weights, Order())
    for name in layout.sparse:
        assert (again.weights.masks[name] == done.weights.masks[name]).all()


def test_a_round_within_a_budget_says_its_peak(place) -> None:
    """Planned, measured where the kernel counts, and the budget beside them."""
    where, artifact, layout, weights = place("block", memory_budget="256MiB")
    facts = train(where, artifact, layout, weights, Order()).facts
    assert facts["budget-bytes"] == 256 * 2**20
    assert facts["planned-peak-bytes"] <= facts["budget-bytes"]
    assert facts.get("measured-peak-bytes", 0) <= facts["budget-bytes"]


def test_a_budget_that_nothing_fits_is_one_line(place) -> None:
    """The command's own line, not a traceback of ours."""
    where, artifact, layout, weights = place("csr", memory_budget="1MiB")
    with pytest.raises(InputError, match="budget"):
        train(where, artifact, layout, weights, Order())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_the_child_dies_with_its_parent(tmp_path: Path, place) -> None:
    """Killed without a chance to say anything, the client leaves no training behind."""
    where, _, _, _ = place("csr")
    words = ["finetune", str(where.artifact), f"--out={tmp_path / 'out'}", f"--data={where.data}", "--epochs=100000"]
    code = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'export.flower.child', str(os.getpid()), *{words!r}])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        _until(lambda: (tmp_path / "out" / "state.json").exists())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _until(lambda: _gone(pid))


def test_a_child_whose_parent_is_gone_does_not_begin() -> None:
    """Another process number than that of its parent: it ends before anything is read."""
    command = [sys.executable, "-m", "export.flower.child", "1", "board"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stdout == b""


def _until(found, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.05)


def _gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
