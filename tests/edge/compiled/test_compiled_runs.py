"""The program without Python against the same run in Python: the same weights, bit for bit, however it is planned."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled_example import Compiled, compiled, different, mest_run, run, tensors_of  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_guards import mixed
from native_networks import Builder, resnet

from edge.compiled.compiling import CompileJob, compile_plan
from edge.compiled.plan import read_plan, sealed
from edge.compiled.state import bring_home
from edge.errors import InputError
from edge.handover.manifest import read_manifest, write_manifest
from edge.handover.state import read_facts
from edge.host.counters import untrusted_reason
from edge.libmest import library, plan_file
from edge.plan.choices import OptimizerChoice
from edge.plan.search import Request
from edge.run.evaluate import evaluate
from edge.run.finetune import finetune
from edge.run.job import Job

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
SMALL = {"blocks": 1, "width": 8, "size": 8, "classes": 5}
REQUESTS = {
    "whole batches": Request(batch_size=8, micro_batch=8),
    "pieces, two threads": Request(batch_size=8, micro_batch=3, recompute="blocks", threads=2, label_smoothing=0.1),
    "adamw, the last layers": Request(
        batch_size=7, micro_batch=7, optimizer=OptimizerChoice("adamw"), trainable="last:2"
    ),
    "fewer bits kept": Request(batch_size=8, micro_batch=8, recompute="activations", saved="int8"),
    "no momentum, frozen norms": Request(batch_size=5, optimizer=OptimizerChoice(momentum=0.0), batch_norm="frozen"),
}


def made(folder: Path, request: Request, network=None, samples: int = 43, **settings) -> Compiled:
    """A plan for a network and random images."""
    network = network or resnet("block", 0.75, **SMALL)
    artifact = write_artifact(folder / "artifact", network)
    return compiled(folder, artifact, write_images(folder / "images.npz", network, samples), request, **settings)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_weights_are_those_of_python(mest_run: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    """Values, gradients and optimizer state, after an epoch that ends in a smaller batch, and the accuracies."""
    example = made(tmp_path, REQUESTS[name])
    ours = example.run(mest_run, "train", "--state", tmp_path / "run.state")
    python = example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []
    same = (
        "steps",
        "epochs",
        "samples_train",
        "samples_held_out",
        "accuracy_before",
        "accuracy_after",
        "sparsity",
        "saved",
    )
    assert {key: ours[key] for key in same} == {key: getattr(python, key) for key in same}
    assert ours["plan"] == python.plan | {key: ours["plan"][key] for key in ("time_cost", "notes")}


MUTATING = {
    "block": ("ems", Request(batch_size=8, micro_batch=3, threads=2), 0.0),
    "csr": ("em", Request(batch_size=8, micro_batch=8, optimizer=OptimizerChoice("adamw")), 0.5),
    "pattern": ("ems", Request(batch_size=8, micro_batch=8, trainable="last:3"), 0.0),
    "channel": ("em", Request(batch_size=8, micro_batch=8), 0.0),
}


@pytest.mark.parametrize("scheme", MUTATING)
def test_mutations_are_those_of_python(mest_run: Path, tmp_path: Path, scheme: str) -> None:  # noqa: F811
    """Which weights exist, their values and the optimizer, of a run that was stopped between two mutations."""
    kind, request, gradient_weight = MUTATING[scheme]
    asked = {"mutate": kind, "mutate_every": 3, "gradient_weight": gradient_weight}
    example = made(
        tmp_path, request, resnet(scheme, 0.75, **SMALL), epochs=6, save_every=1, learning_rate=0.02, **asked
    )
    state = tmp_path / "run.state"
    command = [str(mest_run), "train", example.plan, "--data", example.data, "--state", state, "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def mutations() -> int:
        return plan_file.State.from_buffer_copy(state.read_bytes()).mutations if state.exists() else 0

    while process.poll() is None and not mutations():
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert plan_file.State.from_buffer_copy(state.read_bytes()).off_target == (kind == "ems")
    bring_home(read_plan(example.plan), state, tmp_path / "midst")
    at_target(example, tmp_path / "midst", kind)
    ours = example.run(mest_run, "train", "--state", state, "--resume")
    python = example.finetune(tmp_path / "state")
    assert different(example.plan, state, tmp_path / "state") == []
    assert (ours["mutations"], ours["accuracy_after"]) == (python.mutations, python.accuracy_after)
    assert ours["mutations"] > 5
    assert any(
        name.rpartition("/")[2] in ("columns", "kernels", "channels") for name in tensors_of(example.plan, state)
    )
    bring_home(read_plan(example.plan), state, tmp_path / "home")
    accuracy = evaluate(tmp_path / "home", str(example.source), "native").accuracy
    assert accuracy == example.run(mest_run, "eval", "--state", state)["accuracy"]


def at_target(example: Compiled, midst: Path, kind: str) -> None:
    """A run from a state of the midst of EM&S is refused without mutation, and ends at the target with it."""
    settings = replace(example.settings, epochs=1, mutate="none")
    job = Job(midst, str(example.source), midst.parent / "from-midst", settings, lambda _: example.request, "native")
    wanted = example.finetune(midst.parent / "at-target").sparsity
    if kind == "ems":
        assert read_facts(midst)["off_target"] is True
        for begin in (
            lambda: finetune(job),
            lambda: compile_plan(CompileJob(midst, midst.parent / "x.mest", settings, lambda _: example.request)),
        ):
            with pytest.raises(InputError, match=r"brought home in the midst of EM&S, .* give mutate em or ems here"):
                begin()
        assert not job.state.exists() or not list(job.state.glob("*.json"))
    mutating = replace(settings, mutate=kind, mutate_every=2) if kind == "ems" else settings
    assert finetune(replace(job, settings=mutating)).sparsity == wanted


def test_every_operator_and_format_is_compiled(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Nothing of the file knows what it is that steps do."""
    example = made(
        tmp_path, Request(batch_size=6, micro_batch=4, threads=2), mixed(), learning_rate=0.01, schedule="linear"
    )
    example.run(mest_run, "train", "--state", tmp_path / "run.state")
    example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []


STEPS = {
    "given": {"epochs": 4, "milestones": (1, 3), "gamma": 0.3},
    "the published ones, scaled": {"epochs": 5},
    "both at the same epoch": {"epochs": 1, "gamma": 0.5},
}


@pytest.mark.parametrize("steps", STEPS)
def test_steps_of_the_rate_are_those_of_python(mest_run: Path, tmp_path: Path, steps: str) -> None:  # noqa: F811
    """Where they come and how far it falls; without milestones, of a run that is given more epochs too."""
    example = made(tmp_path, REQUESTS["whole batches"], schedule="step", **STEPS[steps])
    example.run(mest_run, "train", "--state", tmp_path / "run.state")
    example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []
    if "milestones" in STEPS[steps]:
        return
    example.run(mest_run, "train", "--state", tmp_path / "longer.state", "--epochs", 3)
    replace(example, settings=replace(example.settings, epochs=3)).finetune(tmp_path / "longer")
    assert different(example.plan, tmp_path / "longer.state", tmp_path / "longer") == []


def test_milestones_that_no_run_has_are_refused(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """More than the program has room for when compiling; ones that do not rise in the file."""
    example = made(tmp_path, REQUESTS["whole batches"], schedule="step", milestones=(2, 3))
    with pytest.raises(InputError, match="milestones: 2000 epochs; a compiled plan has up to 1024"):
        made(tmp_path / "many", REQUESTS["whole batches"], schedule="step", milestones=tuple(range(1, 2001)))
    content = bytearray(example.plan.read_bytes())
    head = plan_file.Plan.from_buffer_copy(content)
    content[head.milestones_at : head.milestones_at + 8] = (3).to_bytes(8, "little")
    example.plan.write_bytes(sealed(head, bytes(content)))
    done = run(mest_run, "train", example.plan, "--data", example.data, "--state", tmp_path / "run.state")
    assert (done.returncode, done.stderr.partition("; ")[0].rpartition(": ")[2].strip()) == (
        4,
        "has milestones that do not rise",
    )


@pytest.mark.parametrize("augment", ["flip", "crop", "crop-flip"])
def test_augmentation_is_that_of_python(mest_run: Path, tmp_path: Path, augment: str) -> None:  # noqa: F811
    """Mirrored and shifted by the same draws, black at the edges; the plan says so to whoever continues."""
    example = made(tmp_path, REQUESTS["pieces, two threads"], augment=augment)
    example.run(mest_run, "train", "--state", tmp_path / "run.state")
    example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_windows_of_numbers(mest_run: Path, tmp_path: Path, kind: str) -> None:  # noqa: F811
    """What is no image is normalised as it is, each channel by its own mean and deviation."""
    b = Builder((3, 1, 24), 4)
    network = b.head(b.relu(b.norm(b.conv("input", 8, (1, 5), padding=(0, 2, 0, 2)))))
    artifact, source = tmp_path / "artifact", tmp_path / "windows.npz"
    numbers = {"mode": "array", "resize": None, "crop": None, "mean": [3.5, -1.0, 0.1], "std": [2.5, 7.0, 0.3]}
    write_artifact(artifact, network)
    write_manifest(replace(read_manifest(artifact), input=(3, 24), preprocess=numbers), artifact)
    inputs = np.random.default_rng(1).integers(0, 100, (30, 3, 24)).astype(kind) / np.array(4).astype(kind)
    np.savez(source, inputs=inputs.astype(kind), labels=np.arange(30) % 4)
    example = compiled(tmp_path, artifact, source, REQUESTS["whole batches"])
    example.run(mest_run, "train", "--state", tmp_path / "run.state")
    example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []


def test_the_json_has_every_key_of_python(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Whoever reads the one reads the other; and the same of an evaluation."""
    example = made(tmp_path, REQUESTS["whole batches"], epochs=1)
    ours = example.run(mest_run, "train", "--state", tmp_path / "run.state")
    assert example.finetune(tmp_path / "state").to_json().keys() == ours.keys()
    accuracy = example.run(mest_run, "eval", "--state", tmp_path / "run.state")
    assert {"accuracy", "samples", "images", "skipped", "measured_peak_bytes"} < accuracy.keys()
    assert accuracy["samples"] == 43


def test_the_record_is_drawn_as_that_of_python(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """The same plan and curve; what was not measured says why; a run that was continued says where its curve begins."""
    from edge.report.files import write_report
    from edge.report.record import read_record

    example = made(tmp_path, REQUESTS["whole batches"], epochs=3, mutate="em", mutate_every=4)
    paths = [tmp_path / name for name in ("a", "b")]
    words = ("--state", tmp_path / "run.state", "--record")
    example.run(mest_run, "train", *words, paths[0])
    example.finetune(tmp_path / "state")
    ours, python = read_record(paths[0]), read_record(tmp_path / "state" / "record.json")
    assert (ours.network, ours.choices, ours.plan.buffers) == (python.network, python.choices, python.plan.buffers)
    assert ours.plan.peak_bytes < python.plan.peak_bytes
    training, wanted = ours.training, python.training
    assert [p.step for p in training.steps] == [p.step for p in wanted.steps]
    np.testing.assert_allclose([p.loss for p in training.steps], [p.loss for p in wanted.steps], rtol=1e-6)
    np.testing.assert_allclose([p.loss for p in training.epochs], [p.loss for p in wanted.epochs], rtol=1e-6)
    assert (training.accuracy_before, training.accuracy_after) == (wanted.accuracy_before, wanted.accuracy_after)
    assert training.mutations == wanted.mutations != ()
    assert ours.measured.baseline_bytes.value is None
    page = write_report(ours, tmp_path / "page")["report.html"].read_text()
    assert "not measured: it is a part of the program" in page
    example.run(mest_run, "train", *words, paths[1], "--resume", "--epochs", 5)
    continued = read_record(paths[1])
    assert "continued at step 15" in continued.engine_reason
    assert (continued.training.step_count, continued.training.steps[0].step) == (25, 16)
    example.run(mest_run, "train", "--state", tmp_path / "long.state", "--record", paths[0], "--epochs", 60)
    thinned = read_record(paths[0]).training
    assert 128 <= len(thinned.steps) < 256
    assert len({after.step - before.step for before, after in zip(thinned.steps, thinned.steps[1:], strict=False)}) == 1


def test_predictions_are_those_of_the_engine(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Classes of the artifact's own weights, likeliest first; as many as were asked for."""
    from edge.run.model import load

    example = made(tmp_path, REQUESTS["whole batches"], samples=11)
    found = example.run(mest_run, "predict", "--top", 3)["predictions"]
    with load(example.artifact, engine="native", request=REQUESTS["whole batches"]) as model:
        with np.load(example.source) as source:
            pixels = source["images"].transpose(0, 3, 1, 2).astype(np.float32)
        logits = model.predict((pixels / 255 - 0.5) / 0.25)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = exp / exp.sum(axis=1, keepdims=True)
    for number, one in enumerate(found):
        order = np.argsort(-wanted[number], kind="stable")[:3]
        assert [entry["class"] for entry in one["classes"]] == [f"class {k}" for k in order]
        np.testing.assert_allclose([entry["score"] for entry in one["classes"]], wanted[number][order], rtol=1e-4)
        assert one["image"] == f"{example.data}[{number}]"


@pytest.mark.parametrize("counted", [True, False])
def test_data_that_mark_what_to_test(mest_run: Path, tmp_path: Path, counted: bool) -> None:  # noqa: F811
    """What is marked is held out; a plan for unknown data has a program for whatever an epoch ends in."""
    network = resnet("csr", 0.75, **SMALL)
    artifact, source = write_artifact(tmp_path / "artifact", network), tmp_path / "marked.npz"
    with np.load(write_images(tmp_path / "images.npz", network, 30)) as images:
        np.savez(source, **images, test=np.arange(30) % 4 == 1)
    example = compiled(tmp_path, artifact, source, Request(batch_size=8), counted)
    assert example.run(mest_run, "train", "--state", tmp_path / "run.state")["samples_held_out"] == 8
    example.finetune(tmp_path / "state")
    assert different(example.plan, tmp_path / "run.state", tmp_path / "state") == []
    assert example.run(mest_run, "eval", "--state", tmp_path / "run.state")["samples"] == 8


def test_a_state_comes_home(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """As a state directory that evaluates to what the program said, and that a new run and a new plan begin from."""
    from edge.handover.state import read_state

    example = made(tmp_path, REQUESTS["adamw, the last layers"])
    state, home = tmp_path / "run.state", tmp_path / "home"
    example.run(mest_run, "train", "--state", state)
    assert bring_home(read_plan(example.plan), state, home) == {"steps": 10, "epochs": 2}
    example.finetune(tmp_path / "state")
    ours, python = read_state(home).tensors, read_state(tmp_path / "state").tensors
    assert {name: array.tobytes() for name, array in ours.items()} == {
        name: array.tobytes() for name, array in python.items()
    }
    accuracy = evaluate(home, str(example.source), "native").accuracy
    assert accuracy == example.run(mest_run, "eval", "--state", state)["accuracy"]
    with pytest.raises(InputError, match="holds a state already"):
        bring_home(read_plan(example.plan), state, home)
    (again := tmp_path / "again").mkdir()
    other = compiled(again, home, example.source, REQUESTS["whole batches"])
    assert other.run(mest_run, "eval")["accuracy"] == accuracy
    with pytest.raises(InputError, match="another plan"):
        bring_home(read_plan(other.plan), state, tmp_path / "other")


def test_a_signal_ends_it_with_a_state_that_goes_on(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Stopped by SIGTERM in its midst and continued, it ends with the state of a run that nobody stopped."""
    example = made(tmp_path, REQUESTS["whole batches"], epochs=120, save_every=1000)
    states = [tmp_path / name for name in ("stopped.state", "whole.state")]
    command = [str(mest_run), "train", example.plan, "--data", example.data, "--state", states[0], "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not states[0].exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "continue with --resume" in said
    example.run(mest_run, "train", "--state", states[0], "--resume", "--quiet")
    example.run(mest_run, "train", "--state", states[1], "--quiet")
    assert states[0].read_bytes() == states[1].read_bytes()


def test_a_state_that_another_process_writes_is_left_alone(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """The second is told which process it is; a lock that a killed one left behind holds nobody back."""
    example = made(tmp_path, REQUESTS["whole batches"], epochs=1)
    state, lock = tmp_path / "run.state", tmp_path / "run.state.lock"
    words = ("train", example.plan, "--data", example.data, "--state", state, "--quiet")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        done = run(mest_run, *words)
        assert (done.returncode, state.exists(), done.stderr.count("\n")) == (2, False, 1)
        assert "process 4711 is writing it" in done.stderr
    assert run(mest_run, *words).returncode == 0
    assert state.exists()
    assert not lock.exists()


def test_a_kill_leaves_a_whole_state(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Killed again and again at any moment, it ends with the very same state."""
    example = made(tmp_path, REQUESTS["whole batches"], epochs=8, save_every=1)
    states = [tmp_path / name for name in ("killed.state", "whole.state")]
    words = ["train", example.plan, "--data", example.data, "--quiet", "--state"]
    kills = 0
    for number in range(12):
        more = ["--resume"] if states[0].exists() else []
        process = subprocess.Popen([str(mest_run), *map(str, words), states[0], *more], stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=0.01 + 0.004 * number)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            kills += process.wait() == -signal.SIGKILL
    assert kills
    example.run(mest_run, "train", "--state", states[0], "--quiet", *(["--resume"] if states[0].exists() else []))
    example.run(mest_run, "train", "--state", states[1], "--quiet")
    assert states[0].read_bytes() == states[1].read_bytes()


def test_a_finished_run_takes_more_epochs(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """As in Python: more than it has behind it; its other settings stay."""
    example = made(tmp_path, REQUESTS["whole batches"], schedule="constant", warmup=0.0)
    state = tmp_path / "run.state"
    words = ("train", example.plan, "--data", example.data, "--state", state)
    example.run(mest_run, "train", "--state", state)
    for more, wrong in {("--epochs", 2): None, ("--epochs", 1): "has 2 behind it", ("--lr", 0.5): "begun with"}.items():
        done = run(mest_run, *words, "--resume", *more)
        assert (done.returncode, wrong is None or wrong in done.stderr) == (0 if wrong is None else 2, True)
    assert example.run(mest_run, "train", "--state", state, "--resume", "--epochs", 4)["epochs"] == 4
    example.run(mest_run, "train", "--state", tmp_path / "whole.state", "--epochs", 4)
    head = 64 + 64  # of files that differ in nothing but the digest and how their epochs were asked for
    assert state.read_bytes()[head:] == (tmp_path / "whole.state").read_bytes()[head:]


@pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}")
def test_planned_beside_measured(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """The network and its data are counted to the byte; the program's own pages are those of this build."""
    peaks = {}
    for width in (8, 48):
        network = resnet("csr", 0.75, **(SMALL | {"width": width, "size": 16}))
        (folder := tmp_path / str(width)).mkdir()
        found = made(folder, REQUESTS["whole batches"], network, epochs=1).run(
            mest_run, "train", "--state", folder / "run.state"
        )
        peaks[width] = found["planned_peak_bytes"], found["measured_peak_bytes"]
    planned, measured = (peaks[48][which] - peaks[8][which] for which in (0, 1))
    assert planned > 1 << 20
    assert abs(planned - measured) < 1 << 18
