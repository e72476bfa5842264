"""Random runs, interrupted at random points in a random manner, against the same run left alone: bit for bit."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from finetune_example import digits, make_artifact  # noqa: F401 - a fixture
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.engines.available import engine_available
from edge.errors import InputError
from edge.handover.state import is_state, read_state
from edge.plan.choices import ENGINES, OptimizerChoice
from edge.plan.search import Request
from edge.run.finetune import finetune
from edge.run.job import Job
from edge.run.settings import Settings

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


class Killed(BaseException):
    """The process died here."""


@contextmanager
def dying(after: int) -> Iterator[None]:
    """Whatever reaches the disk fails from one call on: a write, a flush or a rename in the midst of saving."""
    real = {(os, "write"): os.write, (os, "fsync"): os.fsync, (Path, "replace"): Path.replace}
    calls = [0]

    def counted(function):
        def call(*arguments):
            calls[0] += 1
            if calls[0] > after:
                raise Killed
            return function(*arguments)

        return call

    for (owner, name), function in real.items():
        setattr(owner, name, counted(function))
    try:
        yield
    finally:
        for (owner, name), function in real.items():
            setattr(owner, name, function)


@st.composite
def runs(draw):
    """Settings of a run of a dozen steps, and how it is planned."""
    epochs = draw(st.integers(1, 3))
    run = Settings(
        epochs=epochs,
        learning_rate=draw(st.sampled_from([0.0, 0.01, 0.05])),
        seed=draw(st.integers(0, 3)),
        augment=draw(st.sampled_from(["none", "crop-flip"])),
        hold_out=draw(st.sampled_from([0.1, 0.3])),
        mutate=draw(st.sampled_from(["none", "em", "ems"])),
        mutate_every=draw(st.integers(1, 4)),
        gradient_weight=draw(st.sampled_from([0.0, 0.5])),
        patience=draw(st.integers(0, 2)),
        drop_after=draw(st.integers(0, epochs)),
        save_every=draw(st.integers(1, 5)),
    )
    request = Request(
        batch_size=draw(st.sampled_from([16, 24])),
        micro_batch=draw(st.sampled_from([None, 8])),
        batch_norm=draw(st.sampled_from([None, "frozen"])),
        trainable=draw(st.sampled_from(["all", "last:2"])),
        optimizer=draw(
            st.sampled_from([OptimizerChoice(), OptimizerChoice(momentum=0.0), OptimizerChoice(kind="adamw")])
        ),
    )
    return run, request


# A stop that is heard after so many polls, or a death at so many calls to the disk.
interrupts = st.lists(st.tuples(st.sampled_from(["stop", "death"]), st.integers(1, 40)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """75 digits: an epoch ends in a smaller batch."""
    images, labels = digits(75, shift=1)
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, images=images, labels=labels)
    return path


def heard_after(polls: int):
    """A stop that is asked for at one of its polls and from then on."""
    left = [polls]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


EXPLODING = (
    Settings(epochs=1, learning_rate=0.05, save_every=1),
    Request(batch_size=16, batch_norm="frozen", optimizer=OptimizerChoice()),
)


@example(run=EXPLODING, interrupted=[("stop", 1)])
@settings(max_examples=max(8, settings.default.max_examples // 4))  # type: ignore[union-attr]
@given(run=runs(), interrupted=interrupts)
def test_random_interrupts_change_nothing(make_artifact, data, run, interrupted):  # noqa: F811
    """Stops and deaths, in steps, accuracies and saves; every state in between is whole, and the end is the same."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            whole = ended(make_artifact(), data, Path(folder) / "whole", run)
        except InputError as exploded:  # frozen batch norm bears no large steps; it is refused either way
            with pytest.raises(InputError, match=str(exploded).partition(" (")[0]):
                interrupted_end(make_artifact(), data, Path(folder) / "broken", run, interrupted)
            return
        end = interrupted_end(make_artifact(), data, Path(folder) / "broken", run, interrupted)
        assert end.facts["position"] == whole.facts["position"]
        assert sorted(end.tensors) == sorted(whole.tensors)
        for name, array in whole.tensors.items():
            np.testing.assert_array_equal(array, end.tensors[name], err_msg=name)


def job(artifact, data, state, run, resume):
    """The run with the native engine where it is there."""
    how, request = run
    return Job(artifact, str(data), state, how, lambda _: request, HERE[0], resume=resume)


def interrupted_end(artifact, data, state, run, interrupted):
    for manner, when in interrupted:
        try:
            if manner == "stop":
                finetune(job(artifact, data, state, run, is_state(state)), heard_after(when))
            else:
                with dying(when):
                    finetune(job(artifact, data, state, run, is_state(state)))
        except Killed:
            pass
        if is_state(state):
            saved = read_state(state)
            assert saved.facts["position"]["step"] >= 0
        elif state.exists():
            shutil.rmtree(state)
    return ended(artifact, data, state, run)


def ended(artifact, data, state, run):
    """The state after the run came to its end; continued if there is something to continue."""
    result = finetune(job(artifact, data, state, run, is_state(state)))
    assert not result.stopped
    assert not [path.name for path in state.iterdir() if path.name.endswith((".part", "lock"))]
    return read_state(state)
