"""SIGTERM and Ctrl-C are heard within a batch, wherever a command stands: exit 143 or 130, and nothing is half done."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from finetune_example import environment, make_artifact, mest, shifted  # noqa: F401 - fixtures
from PIL import Image

from edge.engines.available import engine_available
from edge.handover.state import is_state, read_facts, read_state
from edge.plan.choices import ENGINES

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")

# Signals itself at one call of a function and writes a line for each further call of it.
SIGNAL_AT = """
import os, signal, sys
from importlib import import_module
signum, module, path, at = int(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])
owner, name = import_module(module), path.split(".")[-1]
for part in path.split(".")[:-1]:
    owner = getattr(owner, part)
calls, real = [], getattr(owner, name)
def counted(*arguments, **options):
    calls.append(1)
    if len(calls) == at:
        os.kill(os.getpid(), signum)
    elif len(calls) > at:
        os.write(2, b"CALLED AGAIN\\n")
    return real(*arguments, **options)
setattr(owner, name, counted)
from mest.cli import main
sys.exit(main(sys.argv[5:]))
"""


def signalled(signum, function, at, *words):
    """Exit code and standard error of a command that is signalled at a call of a function."""
    module, path = function.split(":")
    program = [sys.executable, "-c", SIGNAL_AT, str(int(signum)), module, path, str(at), *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)
    return done.returncode, done.stderr, done.stdout


READ = "edge.data.batches:Batches.read"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_evaluation_and_prediction_end_at_once(make_artifact, shifted, tmp_path, signum):  # noqa: F811
    """At the batch that is read, with no answer on standard output."""
    for number in range(3):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{number}.png")
    images = sorted(tmp_path.glob("*.png"))
    for function, words in (
        (READ, ("eval", make_artifact(), "--data", shifted)),
        ("edge.data.preprocess:Preprocess.pixels", ("predict", make_artifact(), *images)),
        ("edge.engines.choice:search", ("plan", make_artifact(), "--data", shifted)),
        ("edge.engines.board:read_board", ("board",)),
    ):
        code, said, answer = signalled(signum, function, 1, *words, "--json")
        assert code == 128 + signum, (words[0], said)
        assert "CALLED AGAIN" not in said
        assert f"stopped by {signum.name}" in said
        assert answer == ""


def test_profiling_stops_at_a_step(make_artifact, tmp_path):  # noqa: F811
    """With the report of what was timed."""
    function = f"edge.engines.{HERE[0]}.engine:{ {'native': 'NativeEngine', 'ort': 'OrtEngine'}[HERE[0]] }.train_step"
    words = ("profile", make_artifact(), "--out", tmp_path / "p", "--engine", HERE[0], "--steps", 50)
    code, said, _ = signalled(signal.SIGTERM, function, 4, *words)
    assert code == 143, said
    assert said.count("CALLED AGAIN") <= 1
    assert (tmp_path / "p" / "record.json").exists()


def test_the_first_accuracy_is_left_at_once(make_artifact, shifted, tmp_path):  # noqa: F811
    """Nothing was saved yet, so nothing is claimed and nothing is left; a run before any data is the same."""
    words = ("finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "s", "--eval-data", "digits")
    for function, at in ((READ, 2), ("edge.run.finetune:open_source", 1)):
        code, said, _ = signalled(signal.SIGTERM, function, at, *words)
        assert code == 143, said
        assert said.count("CALLED AGAIN") <= 1
        assert "--resume" not in said
        assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("more", [(), ("--patience", 3)])
def test_later_accuracies_are_left_at_once_and_made_up_for(make_artifact, shifted, tmp_path, more):  # noqa: F811
    """After the last step, or after an epoch: the state is saved, and resumed it ends as an unbroken run."""
    words = ("finetune", make_artifact(), "--data", shifted, "--epochs", 2, "--hold-out", 0.3, *more)
    assert mest(*words, "--out", tmp_path / "whole").returncode == 0
    held = read_count(tmp_path / "whole")
    # Four batches of held-out samples, nine of an epoch; then an epoch's accuracy, or nine more and the last one's.
    at = held + 9 + 2 if more else held + 2 * 9 + 2
    code, said, _ = signalled(signal.SIGTERM, READ, at, *words, "--out", tmp_path / "s")
    assert code == 143, said
    assert "continue with --resume" in said
    assert said.count("CALLED AGAIN") <= 1
    assert is_state(tmp_path / "s")
    assert mest(*words, "--out", tmp_path / "s", "--resume").returncode == 0
    whole, broken = read_state(tmp_path / "whole"), read_state(tmp_path / "s")
    assert whole.facts["position"] == broken.facts["position"]
    for name, array in whole.tensors.items():
        np.testing.assert_array_equal(array, broken.tensors[name], err_msg=name)


def read_count(state):
    """Batches of the held-out samples of a state."""
    from edge.data.sample_list import SampleList

    held = SampleList.read(state / read_facts(state)["samples"]).split.held_out
    return -(-len(held) // 32)


def test_the_last_evaluation_of_training_is_left_too(tmp_path):
    """Its epochs are saved; --resume measures again and writes the summary."""
    pytest.importorskip("torch", reason="needs PyTorch to train")
    words = ("train", "--model", "digits", "--data", "digits", "--epochs", 1, "--out", tmp_path / "run")
    code, said, _ = signalled(signal.SIGTERM, "mest.train.trainer:Trainer._finish", 1, *words)
    assert code == 143, said
    assert "stopped after 1 of 1 epochs" in said
    assert not (tmp_path / "run" / "summary.json").exists()
    done = mest(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
