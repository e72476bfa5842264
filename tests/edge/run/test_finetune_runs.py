"""Fine-tuning end to end, each run in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from finetune_example import environment, make_artifact, mest, shifted  # noqa: F401 - fixtures

from edge.engines.available import engine_available
from edge.handover.state import read_state
from edge.host.counters import untrusted_reason
from edge.report.record import read_record

KEYS = {
    "engine",
    "batch_size",
    "steps",
    "budget_bytes",
    "planned_peak_bytes",
    "measured_peak_bytes",
    "baseline_bytes",
    "step_ms_median",
    "accuracy_before",
    "accuracy_after",
    "sparsity",
    "zeros_kept",
    "plan",
}
BUDGET = {"ort": "128MiB", "native": "64MiB"}
MIB = 1 << 20


def engine_mark(name):
    usable, reason = engine_available(name)
    return pytest.param(name, marks=pytest.mark.skipif(not usable, reason=f"needs engine {name}: {reason}"))


both_engines = pytest.mark.parametrize("engine", [engine_mark("native"), engine_mark("ort")])
needs_counters = pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}")


def arguments(artifact, data, out, engine, *more):
    run = ["finetune", artifact, "--data", data, "--out", out, "--engine", engine, "--threads", 1]
    return [*run, "--epochs", 3, "--lr", 0.05, "--hold-out", 0.25, "--memory-budget", BUDGET[engine], *more]


def run_json(*command):
    done = mest(*command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@both_engines
def test_accuracy_rises_within_the_budget(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """On shifted digits: better than before, zeros kept, the measured peak below the budget, all keys there."""
    result = run_json(*arguments(make_artifact(), shifted, tmp_path / "s", engine))
    assert result.keys() >= KEYS
    assert result["engine"] == engine
    assert result["accuracy_after"] > result["accuracy_before"] + 0.1
    assert result["zeros_kept"] is True
    assert result["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert result["steps"] == 3 * 10
    if untrusted_reason() is None:
        assert result["measured_peak_bytes"] <= result["budget_bytes"]
        assert result["baseline_bytes"] < result["measured_peak_bytes"]
        assert result["within_budget"] is True
    record = read_record(tmp_path / "s" / "record.json")
    assert record.training is not None
    assert record.training.accuracy_after.value == result["accuracy_after"]
    assert len(record.training.steps) == 30


@needs_counters
@both_engines
def test_planned_and_measured_agree(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """The native plan within 5 % or 2 MiB; the ort plan, an estimate from above, within 8 MiB."""
    result = run_json(*arguments(make_artifact(), shifted, tmp_path / "s", engine))
    planned, measured = result["planned_peak_bytes"], result["measured_peak_bytes"]
    slack = max(0.05 * planned, 2 * MIB) if engine == "native" else 8 * MIB
    assert measured <= planned + MIB // 2
    assert planned - measured <= slack


@both_engines
def test_neither_torch_nor_onnx_is_loaded(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Nor tqdm, hashlib's OpenSSL, numpy.random, or onnxruntime's Python package, though all are installed here."""
    code = (
        "import sys\nfrom mest.cli import main\ncode = main(sys.argv[1:])\n"
        "loaded = {'torch', 'onnx', 'tqdm', '_hashlib', 'onnxruntime', 'onnxruntime.training'} & set(sys.modules)\n"
        "sys.exit(code or ', '.join(loaded) or 0)"
    )
    command = [sys.executable, "-c", code, *map(str, arguments(make_artifact(), shifted, tmp_path / "s", engine))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr


@both_engines
def test_a_state_predicts_and_evaluates(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """With the fine-tuned weights, in the same engine."""
    result = run_json(*arguments(make_artifact(), shifted, tmp_path / "s", engine))
    evaluated = run_json("eval", tmp_path / "s", "--data", shifted, "--engine", engine, "--threads", 1)
    assert evaluated["accuracy"] >= result["accuracy_after"] - 0.1
    before = run_json("eval", make_artifact(), "--data", shifted, "--engine", engine, "--threads", 1)
    assert evaluated["accuracy"] > before["accuracy"]
    from PIL import Image

    with np.load(shifted) as file:
        Image.fromarray(file["images"][3]).save(tmp_path / "image.png")
        label = int(file["labels"][3])
    found = run_json("predict", tmp_path / "s", tmp_path / "image.png", "--engine", engine, "--threads", 1)
    assert found["predictions"][0]["class"] == str(label)


@both_engines
def test_a_state_of_another_optimizer_and_fewer_layers_is_read(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Also in the middle of EM&S, when it is denser than its target; another engine is refused."""
    more = ("--optimizer", "adamw", "--lr", 0.01, "--trainable", "last:2", "--mutate", "ems", "--mutate-every", 2)
    command = arguments(make_artifact(), shifted, tmp_path / "s", engine, *more, "--save-every", 3)
    program = [sys.executable, "-c", PRESS, "7", *map(str, command), "--memory-budget", "128MiB"]
    killed = subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)
    assert killed.returncode == 3, killed.stderr
    assert read_state(tmp_path / "s").facts["position"]["at_target"] is False
    evaluated = run_json("eval", tmp_path / "s", "--data", shifted, "--threads", 1)
    assert (evaluated["engine"], evaluated["engine_reason"]) == (engine, "it wrote the state")
    assert evaluated["accuracy"] > 0.05
    other = {"native": "ort", "ort": "native"}[engine]
    refused = mest("eval", tmp_path / "s", "--data", shifted, "--engine", other)
    assert refused.returncode == 2
    assert f"written by engine {engine}" in refused.stderr


def assert_same_end(left, right):
    """Two states with the same weights, indices, statistics and optimizer."""
    assert sorted(left.tensors) == sorted(right.tensors)
    for name, array in left.tensors.items():
        np.testing.assert_array_equal(array, right.tensors[name], err_msg=name)
    assert left.facts["position"] == right.facts["position"]


def finish(command, out):
    done = mest(*command, "--resume")
    assert done.returncode == 0, done.stderr
    return read_state(out)


@both_engines
@pytest.mark.parametrize(
    "more", [(), ("--mutate", "ems", "--mutate-every", 4), ("--drop-after", 1, "--augment", "crop")]
)
def test_a_stopped_run_ends_as_an_unbroken_one(make_artifact, shifted, tmp_path, engine, more):  # noqa: F811
    """SIGTERM: exit 143 with the way to continue; then the same weights, bit for bit."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_json(*arguments(make_artifact(), shifted, whole, engine, "--epochs", 4, *more))
    command = arguments(make_artifact(), shifted, broken, engine, "--epochs", 4, *more)
    process = subprocess.Popen(
        [sys.executable, "-m", "mest", *map(str, command)], env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(broken / "state.json", process)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    message = process.stderr.read()
    code = process.wait()
    if code == 143:
        assert "--resume" in message
    else:
        assert code == 0
    assert_same_end(finish(command, broken), read_state(whole))


def wait_for(path, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def kill_until_done(command, out, generator, kills):
    """Kill at random moments, resume, and repeat; every state in between is whole."""
    program = [sys.executable, "-m", "mest", *map(str, command), "--save-every", "1"]
    done = 0
    while done < kills:
        resume = ["--resume"] if (out / "state.json").exists() else []
        process = subprocess.Popen([*program, *resume], env=environment(), stderr=subprocess.PIPE)
        if not resume:
            wait_for(out / "state.json", process)
        else:
            time.sleep(generator.uniform(0.25, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done += 1
        assert read_state(out).facts["position"]["step"] >= 0


@both_engines
def test_kills_at_random_moments_change_nothing(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """With mutation on and a state after every step, so that some kills fall into saving."""
    check_kills(make_artifact(), shifted, tmp_path, engine, kills=3)


@pytest.mark.slow
@both_engines
def test_a_hundred_kills_change_nothing(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """The same with each engine, many times."""
    check_kills(make_artifact(), shifted, tmp_path, engine, kills=100)


def check_kills(artifact, data, tmp_path, engine, kills):
    more = ("--mutate", "ems", "--mutate-every", 3)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_json(*arguments(artifact, data, whole, engine, *more))
    command = arguments(artifact, data, broken, engine, *more)
    kill_until_done(command, broken, random.Random(kills), kills)
    assert_same_end(finish(command, broken), read_state(whole))


@both_engines
@pytest.mark.parametrize("kind", ["em", "ems"])
def test_mutation_on_the_board_ends_at_the_target(make_artifact, shifted, tmp_path, engine, kind):  # noqa: F811
    """Weights move, the sparsity ends where it began, zeros are kept, the peak stays within the budget."""
    more = ("--mutate", kind, "--mutate-every", 2)
    result = run_json(*arguments(make_artifact(), shifted, tmp_path / "s", engine, *more))
    assert result["mutations"] > 3
    assert result["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert result["zeros_kept"] is True
    assert result["accuracy_after"] > result["accuracy_before"]
    position = read_state(tmp_path / "s").facts["position"]
    assert all(event["removed"] + event["grown"] > 0 for event in position["mutations"])
    assert sum(e["removed"] for e in position["mutations"]) == sum(e["grown"] for e in position["mutations"])


@both_engines
def test_a_budget_too_small_is_refused_and_the_one_named_works(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Exit 3 before anything is written, with contributors; the smallest budget of the message then succeeds."""
    command = arguments(make_artifact(), shifted, tmp_path / "s", engine)
    refused = mest(*command, "--memory-budget", "20MiB")
    assert refused.returncode == 3
    assert "runtime baseline" in refused.stderr
    smallest = refused.stderr.split("give --memory-budget ")[1].split()[0]
    assert not (tmp_path / "s" / "state.json").exists()
    done = mest(*command, "--memory-budget", f"{float(smallest.removesuffix('MiB')) + 1}MiB", "--json")
    assert done.returncode == 0, done.stderr
    if untrusted_reason() is None:
        assert json.loads(done.stdout)["within_budget"] is True


@both_engines
def test_the_plan_names_the_budget_that_fine_tuning_names(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Planned beforehand or about to run: the same libraries and data are held, so the smallest budget is the same."""
    model, common = make_artifact(), ("--data", shifted, "--engine", engine, "--threads", 1, "--memory-budget", "20MiB")
    said = [mest("plan", model, *common).stderr, mest("finetune", model, *common, "--out", tmp_path / "s").stderr]
    planned, run = (float(text.split("give --memory-budget ")[1].split("MiB")[0]) for text in said)
    assert planned == pytest.approx(run, abs=0.75)


@both_engines
def test_a_loss_that_explodes_keeps_the_last_good_state(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Exit 2, one line, and the state can still be read."""
    done = mest(*arguments(make_artifact(), shifted, tmp_path / "s", engine, "--lr", "1e30", "--save-every", 1))
    assert done.returncode == 2
    assert "no longer finite" in done.stderr
    for name, array in read_state(tmp_path / "s").tensors.items():
        assert np.isfinite(array).all(), name


def test_an_existing_state_is_never_written_over(make_artifact, shifted, tmp_path):  # noqa: F811
    """Nor continued with other settings or other data."""
    engine = "ort" if engine_available("ort")[0] else "native"
    command = arguments(make_artifact(), shifted, tmp_path / "s", engine)
    run_json(*command)
    again = mest(*command)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    other = mest(*command, "--resume", "--lr", 0.5)
    assert other.returncode == 2
    assert "--lr 0.5" in other.stderr
    for pin, value in (("--threads", 2), ("--batch-size", 16), ("--optimizer", "adamw")):
        contradicted = mest(*command, "--resume", pin, value)
        assert contradicted.returncode == 2
        assert f"{pin} {value}" in contradicted.stderr
    with np.load(shifted) as file:
        np.savez(tmp_path / "other.npz", images=file["images"], labels=file["labels"][::-1])
    command[3] = tmp_path / "other.npz"
    foreign = mest(*command, "--resume")
    assert foreign.returncode == 2
    assert "other data" in foreign.stderr


def test_mutation_without_a_trained_sparse_layer_is_refused(make_artifact, shifted, tmp_path):  # noqa: F811
    """Weights that grow and are never trained would only lose accuracy."""
    engine = "ort" if engine_available("ort")[0] else "native"
    done = mest(*arguments(make_artifact(), shifted, tmp_path / "s", engine, "--mutate", "em", "--trainable", "bias"))
    assert done.returncode == 2
    assert "no sparse layer" in done.stderr


def test_one_class_is_refused(make_artifact, shifted, tmp_path):  # noqa: F811
    """There is nothing to learn."""
    with np.load(shifted) as file:
        np.savez(tmp_path / "one.npz", images=file["images"][:20], labels=np.zeros(20, int))
    engine = "ort" if engine_available("ort")[0] else "native"
    done = mest(*arguments(make_artifact(), tmp_path / "one.npz", tmp_path / "s", engine))
    assert done.returncode == 2
    assert "one class" in done.stderr


@both_engines
def test_a_plan_that_no_longer_fits_is_planned_anew_when_told(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """A smaller budget than the pinned plan needs: refused, and done with --replan, in smaller pieces."""
    command = arguments(make_artifact(), shifted, tmp_path / "s", engine, "--batch-size", 256)
    process = subprocess.Popen([sys.executable, "-m", "mest", *map(str, command)], env=environment())
    wait_for(tmp_path / "s" / "state.json", process)
    process.kill()
    process.wait()
    plan = run_json("plan", make_artifact(), "--engine", engine, "--batch-size", 256, "--threads", 1)
    budget = f"{plan['planned_peak_bytes'] / MIB - 0.3:.2f}MiB"
    refused = mest(*command, "--resume", "--memory-budget", budget)
    assert refused.returncode == 3
    assert "--replan" in refused.stderr
    done = mest(*command, "--resume", "--replan", "--memory-budget", budget, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plan"]["micro_batch"] < 256


PRESS = """
import os, sys
import edge.run.training as training
from mest.cli import main
at, held = int(sys.argv[1]), []
step = training.FineTuning._step
def leaking(self, samples, progress):
    if self.position.step >= at:
        held.append(bytearray(os.urandom(1) * (8 << 20)))
    return step(self, samples, progress)
training.FineTuning._step = leaking
sys.exit(main(sys.argv[2:]))
"""


@needs_counters
@both_engines
def test_a_process_that_would_exceed_is_stopped_with_its_state_whole(
    make_artifact,  # noqa: F811
    shifted,  # noqa: F811
    tmp_path,
    engine,
):
    """A leak from step 12 on meets the limit: exit 3, and the run continues from the last state to the same end."""
    whole, leaky = tmp_path / "whole", tmp_path / "leaky"
    run_json(*arguments(make_artifact(), shifted, whole, engine))
    command = arguments(make_artifact(), shifted, leaky, engine, "--save-every", 5)
    program = [sys.executable, "-c", PRESS, "12", *map(str, command)]
    done = subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 3, done.stderr
    assert "--resume" in done.stderr
    assert read_state(leaky).facts["position"]["step"] >= 10
    assert_same_end(finish(arguments(make_artifact(), shifted, leaky, engine), leaky), read_state(whole))


PRESS_SHARED = """
import mmap, sys
import edge.run.training as training
from mest.cli import main
at, nbytes, held = int(sys.argv[1]), int(sys.argv[2]), []
step = training.FineTuning._step
def leaking(self, samples, progress):
    if self.position.step >= at:
        held.append(mmap.mmap(-1, nbytes))
        for start in range(0, nbytes, 4096):
            held[-1][start] = 1
    return step(self, samples, progress)
training.FineTuning._step = leaking
sys.exit(main(sys.argv[3:]))
"""


def leak_shared(make_artifact, shifted, out, engine, nbytes):  # noqa: F811
    """A run that takes shared memory from step 12 on, which RLIMIT_DATA does not count."""
    command = arguments(make_artifact(), shifted, out, engine, "--save-every", 5)
    program = [sys.executable, "-c", PRESS_SHARED, "12", str(nbytes), *map(str, command)]
    return subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)


@needs_counters
@both_engines
def test_resident_memory_is_checked_beside_the_limit(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Memory that no limit on private memory sees: the check after the step ends the run, exit 3, state whole."""
    done = leak_shared(make_artifact, shifted, tmp_path / "s", engine, 6 * MIB)
    if done.returncode == -signal.SIGKILL:
        assert cgroup_granted()
    else:
        assert done.returncode == 3, done.stderr
        assert "was passed" in done.stderr
    assert read_state(tmp_path / "s").facts["position"]["step"] >= 10


def cgroup_granted():
    """True if this user may have a memory control group of its own."""
    code = "from edge.host.cgroup import join_group; g = join_group(1 << 30); print(g is not None); g and g.leave()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    return done.stdout.strip() == "True"


@needs_counters
@both_engines
def test_a_control_group_ends_what_no_check_could_catch(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Far past the budget within one step: the kernel kills, and the run continues from the last state."""
    if not cgroup_granted():
        pytest.skip("needs a delegated memory control group (v1 as root, or v2 in a user scope)")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = leak_shared(make_artifact, shifted, killed, engine, 400 * MIB)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_json(*arguments(make_artifact(), shifted, whole, engine))
    assert_same_end(finish(arguments(make_artifact(), shifted, killed, engine), killed), read_state(whole))


@both_engines
def test_other_data_for_accuracy_and_an_early_end(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Nothing to gain at a rate of almost nothing: the run ends after the patience, and says why."""
    more = ("--eval-data", shifted, "--patience", 1, "--epochs", 9, "--lr", 1e-9, "--warmup", 0.1, "--augment", "flip")
    words = arguments(make_artifact(), "digits", tmp_path / "s", engine, *more)
    place = words.index("--hold-out")  # of --data; --eval-data takes its place
    result = run_json(*words[:place], *words[place + 2 :])
    assert result["samples_held_out"] == 400
    assert result["samples_train"] == 1438
    assert result["epochs"] < 9
    assert "no better held-out accuracy" in result["stopped_early"]


@both_engines
@pytest.mark.parametrize("mutate", ["none", "ems"])
def test_patience_keeps_the_best_weights(make_artifact, shifted, tmp_path, engine, mutate):  # noqa: F811
    """A rate that ruins what was learnt: the run comes back to its best epoch at target, killed in between or not.

    So high a rate makes chaos of rounding: on some processors the last epoch is the best by luck, then the next seed.
    """
    killed = tmp_path / "killed"
    more = ("--patience", 2, "--epochs", 12, "--lr", 3, "--lr-scheduler", "constant", "--warmup", 0.9)
    more += ("--mutate", mutate, "--mutate-every", 3)
    for seed in range(8):
        whole = tmp_path / f"whole{seed}"
        done = mest(*arguments(make_artifact(), shifted, whole, engine, *more, "--seed", seed), "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        if result["kept_epoch"] is not None:
            break
    epochs = {row["epoch"]: row["accuracy"] for row in read_state(whole).facts["position"]["epochs"]}
    assert result["accuracy_after"] == epochs[result["kept_epoch"]]
    judged = [accuracy for epoch, accuracy in epochs.items() if mutate == "none" or epoch >= 9]
    assert result["accuracy_after"] == max(judged)  # the last epoch may tie with it
    assert result["kept_epoch"] < result["epochs"]
    assert sorted(path.name for path in whole.iterdir() if path.is_dir()) == []
    command = arguments(make_artifact(), shifted, killed, engine, *more, "--seed", seed)
    program = [sys.executable, "-c", DIE_READING, *map(str, command)]
    died = subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert read_state(killed).facts["position"]["finished"] is True
    assert_same_end(finish(command, killed), read_state(whole))


# Dies after the best weights were read back and before they were saved.
DIE_READING = """
import os, signal, sys
from edge.run.session import Session
restore = Session.restore
def dying(self, state):
    restore(self, state)
    os.kill(os.getpid(), signal.SIGKILL)
Session.restore = dying
from mest.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("engine", [engine_mark("native")])
@pytest.mark.parametrize(
    "pin", [("--batch-norm", "frozen", "--micro-batch", 8), ("--recompute", "blocks"), ("--optimizer", "adamw")]
)
def test_pinned_plans_run(make_artifact, shifted, tmp_path, engine, pin):  # noqa: F811
    """Each choice that a plan may make, made by the user."""
    rate = () if "blocks" in pin else ("--lr", 0.003)  # frozen statistics of other images bear no larger steps
    result = run_json(*arguments(make_artifact(), shifted, tmp_path / "s", engine, *pin, *rate))
    assert result["plan"][pin[0].removeprefix("--").replace("-", "_")] == pin[1]
    assert result["plan"]["exact"] is True
    assert result["accuracy_after"] > result["accuracy_before"]


def test_help_names_every_pin():
    """Without loading anything heavy."""
    done = mest("finetune", "--help")
    assert done.returncode == 0
    for option in (
        "--micro-batch",
        "--recompute",
        "--saved",
        "--batch-norm",
        "--trainable",
        "--exact",
        "--mutate-every",
        "--replan",
    ):
        assert option in done.stdout
