"""`mest finetune --lr-scheduler step`: the words of `mest train`, in both engines, and with more epochs."""

from __future__ import annotations

import json

import pytest
from finetune_example import make_artifact, mest, shifted  # noqa: F401 - fixtures

from edge.engines.available import engine_available
from edge.report.record import read_record

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not usable, reason=f"needs engine {name}: {reason}"))
    for name in ("native", "ort")
    for usable, reason in [engine_available(name)]
]


def rates(state) -> list[float]:
    """The learning rate of every step that a record holds."""
    training = read_record(state / "record.json").training
    assert training is not None
    return [step.learning_rate for step in training.steps]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_rate_falls_at_the_epochs_that_were_given(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Ten steps an epoch; a finished run that goes on keeps its milestones, and other ones are refused."""
    state = tmp_path / "state"
    words = ["finetune", make_artifact(), "--data", shifted, "--out", state, "--engine", engine, "--threads", 1]
    words += ["--hold-out", 0.25, "--json"]
    steps = ["--lr", 0.04, "--lr-scheduler", "step", "--lr-milestones", "1-3", "--lr-gamma", 0.5]
    done = mest(*words, *steps, "--epochs", 4)
    assert done.returncode == 0, done.stderr
    assert rates(state) == 10 * [0.04] + 20 * [0.02] + 10 * [0.01]
    assert json.loads(done.stdout)["accuracy_after"] > json.loads(done.stdout)["accuracy_before"]
    done = mest(*words, "--resume", "--epochs", 5)
    assert done.returncode == 0, done.stderr
    assert rates(state)[-10:] == 10 * [0.01]
    refused = mest(*words, "--resume", "--lr-milestones", "2-3")
    assert refused.returncode == 2
    assert "--lr-milestones 2-3: the state" in refused.stderr
    assert "begun with 1-3" in refused.stderr


def test_what_cannot_act_or_is_no_list_of_epochs_is_refused(make_artifact, shifted, tmp_path):  # noqa: F811
    """One line and exit code 2 for each."""
    words = ["finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "state"]
    for more, said in (
        (["--lr-milestones", "2"], "--lr-milestones: applies to the step schedule; give --lr-scheduler step"),
        (["--lr-scheduler", "step", "--lr-milestones", "3-2"], "--lr-milestones 3-2: give epochs that rise from 1"),
        (["--lr-scheduler", "step", "--lr-milestones", "0"], "--lr-milestones 0: give epochs that rise from 1"),
        (["--lr-scheduler", "step", "--lr-milestones", "x"], "--lr-milestones x: give epochs that rise from 1"),
        (["--lr-scheduler", "step", "--lr-gamma", "0"], "--lr-gamma 0: must be above 0"),
        (["--lr-scheduler", "step", "--lr-gamma", "2"], "--lr-gamma 2"),
    ):
        done = mest(*words, *more)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert said in done.stderr
