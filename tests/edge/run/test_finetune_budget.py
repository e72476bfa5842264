"""A run that passes its budget although no request was refused: never exit code 0, and what was trained is kept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from finetune_example import environment, mest
from native_artifact import write_artifact, write_images
from native_networks import Builder

from edge.engines.available import engine_available
from edge.handover.state import read_facts
from edge.host.counters import untrusted_reason

MIB = 1 << 20
USABLE, MISSING = engine_available("native")
pytestmark = [
    pytest.mark.skipif(not USABLE, reason=f"needs the native engine: {MISSING}"),
    pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}"),
]

# Mapped pages of a file count as resident, and no limit on private memory refuses them.
PASSING = """
import mmap, sys
from mest.cli import main
import edge.run.finetune, edge.run.recording, edge.run.training

def pass_budget(*given):
    with open(sys.argv[2], "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    sum(mapping[::4096])

where = sys.argv[1]
if where == "record":
    make = edge.run.recording.make_record
    edge.run.recording.make_record = lambda *given: (pass_budget(), make(*given))[1]
elif where == "step":
    step = edge.run.training.FineTuning._mutate_if_due
    edge.run.training.FineTuning._mutate_if_due = lambda self, reached: (
        step(self, reached), self.position.step == 7 and pass_budget())[0]
elif where == "evaluation":
    close = edge.run.training.FineTuning._scores
    edge.run.training.FineTuning._scores = lambda self: (
        self.position.step and pass_budget(), self._session.check(), close(self))[2]
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A small artifact, 48 images, and a file of 64 MiB."""
    folder = tmp_path_factory.mktemp("passing")
    b = Builder((1, 8, 8), 4)
    network = b.head(b.relu(b.norm(b.conv("input", 8))))
    with (folder / "large").open("wb") as file:
        file.truncate(64 * MIB)
    return write_artifact(folder / "artifact", network), write_images(folder / "images.npz", network, 48), folder


def run(example, where: str, *command: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PASSING, where, example[2] / "large", *command]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment(), check=False)


def finetune(example, state, *more: object) -> tuple[object, ...]:
    artifact, data, _ = example
    command = ("finetune", artifact, "--data", data, "--out", state, "--threads", 1, "--batch-size", 4, "--epochs", 2)
    return (*command, "--memory-budget", "60MiB", "--json", *more)


def test_a_budget_passed_while_the_record_is_written(example, tmp_path) -> None:
    """The run is done and its state whole: the result is printed, and the exit code is 3."""
    done = run(example, "record", *finetune(example, tmp_path / "s"))
    assert done.returncode == 3, done.stderr
    assert "was not kept" in done.stderr.splitlines()[-1]
    assert json.loads(done.stdout)["within_budget"] is False
    assert read_facts(tmp_path / "s")["position"]["finished"] is True


@pytest.mark.parametrize(("where", "step"), [("step", 7), ("evaluation", 11)])
def test_a_budget_passed_in_mid_run_keeps_what_was_trained(example, tmp_path, where: str, step: int) -> None:
    """Long before the next state was due; the run continues from there with a larger budget."""
    more = ("--patience", 1) if where == "evaluation" else ()
    done = run(example, where, *finetune(example, tmp_path / "s", *more))
    assert done.returncode == 3, done.stderr
    assert "was passed" in done.stderr.splitlines()[-1]
    assert read_facts(tmp_path / "s")["position"]["step"] == step
    again = mest(*finetune(example, tmp_path / "s", *more, "--resume"))
    assert again.returncode == 0, again.stderr
    straight = mest(*finetune(example, tmp_path / "t", *more))
    found = [json.loads(out)["accuracy_after"] for out in (again.stdout, straight.stdout)]
    assert found[0] == found[1]
    states = [json.loads((tmp_path / name / "state.json").read_text()) for name in ("s", "t")]
    assert states[0]["tensors"]["sha256"] == states[1]["tensors"]["sha256"]


def test_a_run_within_its_budget_ends_with_nought(example, tmp_path) -> None:
    """The same command, where nothing passes it."""
    done = run(example, "nowhere", *finetune(example, tmp_path / "s"))
    assert done.returncode == 0, done.stderr
    assert "exit_code" not in json.loads(done.stdout)
