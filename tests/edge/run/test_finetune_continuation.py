"""Runs that begin where another was left: more epochs, new runs from a state, changed data, options that are pinned."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from finetune_example import digits, environment, make_artifact, mest  # noqa: F401 - a fixture
from PIL import Image

from edge.engines.available import engine_available
from edge.handover.state import read_facts, read_state, write_state
from edge.plan.choices import ENGINES
from mest.cli import build_parser

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


def write_photos(folder: Path, first: int, count: int) -> None:
    """PNGs by class, numbered by their place among the digits."""
    images, labels = digits(first + count, shift=1)
    for number in range(first, first + count):
        place = folder / str(labels[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(place / f"{number:04}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """120 of them."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 0, 120)
    return folder


def run(*words, code=0):
    done = mest(*words, "--threads", 1, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


# Kills itself before a step, as a power cut does.
DIE_AT = """
import os, signal, sys
import edge.run.training as training
from mest.cli import main
step = training.FineTuning._step
def dying(self, samples, progress):
    if self.position.step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, samples, progress)
training.FineTuning._step = dying
sys.exit(main(sys.argv[2:]))
"""


def run_killed(at, *words):
    """A run that is killed before a step, with a state after every one."""
    program = [sys.executable, "-c", DIE_AT, str(at), *map(str, words), "--save-every", "1", "--threads", "1"]
    done = subprocess.run(program, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def weights(tensors):
    """What predictions follow from: everything but gradients and the optimizer."""
    return {
        name: array for name, array in tensors.items() if not name.startswith("optimizer") and "/values" in name
    } or {name: array for name, array in tensors.items() if not name.startswith("optimizer")}


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("kept", ["fresh", "keep"])
def test_a_state_begins_a_new_run(make_artifact, photos, tmp_path, engine, kept):  # noqa: F811
    """Its weights are the first state of the run, counters and epochs begin anew, the optimizer as asked; both stay."""
    first, second = tmp_path / "s", tmp_path / "s2"
    pins = ("--engine", engine, "--optimizer", "adamw", "--lr", 0.003)
    run("finetune", make_artifact(), "--data", photos, "--out", first, "--epochs", 2, *pins)
    before = read_state(first)
    write_photos(tmp_path / "new", 120, 100)
    words = ("finetune", first, "--data", tmp_path / "new", "--out", second, "--epochs", 1, *pins)
    run_killed(0, *words, "--optimizer-state", kept)
    begun = read_state(second)
    assert begun.facts["position"]["step"] == begun.facts["position"]["epoch"] == 0
    assert begun.facts["started_from"]["generation"] == before.generation
    for name, array in weights(before.tensors).items():
        np.testing.assert_array_equal(array, begun.tensors[name], err_msg=name)
    assert int(begun.tensors["optimizer/steps"][0]) == (int(before.tensors["optimizer/steps"][0]) * (kept == "keep"))
    moments = [name for name in before.tensors if name.endswith("/state0") or name.endswith("/0")]
    assert moments
    assert any(begun.tensors[name].any() for name in moments) == (kept == "keep")
    result = run(*words, "--resume")
    assert result["steps"] == -(-result["samples_train"] // 32)
    assert read_facts(second)["started_from"]["state"] == str(first)
    assert read_state(first).generation == before.generation
    assert mest("export", second, "--out", tmp_path / "r").returncode in (2, 4)  # no run behind this artifact
    run("eval", second, "--data", photos, "--engine", engine)


def test_a_new_run_takes_another_optimizer_and_other_layers(make_artifact, photos, tmp_path):  # noqa: F811
    """With a fresh optimizer; a kept one is refused by name, and so is a state in the midst of EM&S."""
    first = tmp_path / "s"
    engine = ("--engine", HERE[0])
    run("finetune", make_artifact(), "--data", photos, "--out", first, "--epochs", 1, "--trainable", "bias", *engine)
    words = ("finetune", first, "--data", photos, "--epochs", 1, "--optimizer", "adamw", "--lr", 0.001, *engine)
    result = run(*words, "--out", tmp_path / "s2")
    assert (result["plan"]["optimizer"], result["plan"]["trainable"]) == ("adamw", "all")
    refused = run(*words, "--out", tmp_path / "s3", "--optimizer-state", "keep", code=2)
    assert "holds the state of sgd" in refused
    assert "--optimizer-state fresh" in refused
    assert not (tmp_path / "s3").exists()
    begun = ("finetune", make_artifact(), "--data", photos, "--out", tmp_path / "ems", *engine)
    run_killed(5, *begun, "--mutate", "ems", "--mutate-every", 2)
    refused = run("finetune", tmp_path / "ems", "--data", photos, "--out", tmp_path / "s4", *engine, code=2)
    assert "denser than its target" in refused
    more = ("--mutate", "em", "--mutate-every", 2, "--epochs", 2)
    result = run("finetune", tmp_path / "ems", "--data", photos, "--out", tmp_path / "s4", *engine, *more)
    assert result["sparsity"] == pytest.approx(0.8, abs=0.01)


def test_what_cannot_begin_names_the_way_that_works(make_artifact, photos, tmp_path):  # noqa: F811
    """An artifact has no optimizer state, a resumed run keeps its own, and a state is not written over."""
    words = ("finetune", make_artifact(), "--data", photos, "--out", tmp_path / "s", "--epochs", 1)
    assert "which has none; leave it out" in run(*words, "--optimizer-state", "keep", code=2)
    assert not (tmp_path / "s").exists()
    run(*words)
    assert "a resumed one keeps its own" in run(*words, "--resume", "--optimizer-state", "keep", code=2)
    for start in (make_artifact(), tmp_path / "s"):
        refused = run("finetune", start, "--data", photos, "--out", tmp_path / "s", code=2)
        assert f"mest finetune {tmp_path / 's'} --data DATA --out OTHER" in refused


@pytest.mark.parametrize("more", [(), ("--patience", 9), ("--mutate", "ems", "--mutate-every", 2)])
def test_a_finished_run_goes_on_to_more_epochs(make_artifact, photos, tmp_path, more):  # noqa: F811
    """To the same end whether or not it is killed on the way; fewer than it has are refused."""
    ends = []
    for out, kill in ((tmp_path / "whole", False), (tmp_path / "killed", True)):
        words = ("finetune", make_artifact(), "--data", photos, "--out", out, "--engine", HERE[0], *more)
        first = run(*words, "--epochs", 2)
        if kill:
            run_killed(first["steps"] + 2, *words, "--resume", "--epochs", 4)
        result = run(*words, "--resume", "--epochs", 4)
        assert (result["epochs"], result["steps"]) == (4, 2 * first["steps"])
        assert run(*words, "--resume")["steps"] == result["steps"]
        ends.append(read_state(out))
    assert ends[0].facts["position"] == ends[1].facts["position"]
    for name, array in ends[0].tensors.items():
        np.testing.assert_array_equal(array, ends[1].tensors[name], err_msg=name)
    assert "has 4 epochs behind it" in run(*words, "--resume", "--epochs", 3, code=2)
    if "--mutate" in more:
        assert result["sparsity"] == pytest.approx(0.8, abs=0.01)


OTHER = {  # another value for every option of a run; those that may change at --resume stand below
    "--seed": 7,
    "--lr": 0.5,
    "--lr-scheduler": "linear",
    "--lr-milestones": "2-3",
    "--lr-gamma": 0.5,
    "--warmup": 0.5,
    "--augment": "flip",
    "--hold-out": 0.3,
    "--mutate": "em",
    "--mutate-every-steps": 7,
    "--gradient-weight": 0.5,
    "--patience": 3,
    "--drop-after": 1,
    "--epochs": 9,
    "--batch-size": 16,
    "--micro-batch": 4,
    "--recompute": "blocks",
    "--saved": "bfloat16",
    "--batch-norm": "frozen",
    "--trainable": "bias",
    "--optimizer": "adamw",
    "--momentum": 0.0,
    "--nesterov": None,
    "--weight-decay": 0.5,
    "--label-smoothing": 0.5,
    "--eval-data": "digits",
    "--optimizer-state": "fresh",
}
MAY_CHANGE = {"--save-every", "--memory-budget", "--threads", "--replan", "--exact", "--json", "--help", "--resume"}
MAY_CHANGE |= {"--unreadable", "--log", "-q", "-v"}
WHERE = {"--data", "--out", "--engine"}


def test_every_option_that_a_resumed_run_would_ignore_is_refused(make_artifact, photos, tmp_path):  # noqa: F811
    """By its name, exit 2; an option that is new to the command must be put into one of the lists above."""
    actions = build_parser("finetune")._subparsers._group_actions[0].choices["finetune"]._actions
    options = {action.option_strings[0] for action in actions if action.option_strings}
    assert options - {"-h"} == (OTHER.keys() | MAY_CHANGE | WHERE) - {"--help"}
    words = ("finetune", make_artifact(), "--data", photos, "--out", tmp_path / "s", "--epochs", 3, "--threads", 1)
    run_killed(2, *words)
    before = read_state(tmp_path / "s")
    from mest.cli import main

    for option, value in OTHER.items():
        given = [option] if value is None else [option, value]
        rest = [word for word in words if option != "--epochs" or word not in ("--epochs", 3)]
        assert main([*map(str, (*rest, "--resume", *given))]) == 2, option
    assert read_state(tmp_path / "s").generation == before.generation


def test_those_refusals_name_the_option(make_artifact, photos, tmp_path, capsys):  # noqa: F811
    """With what it was begun with, and the way to have it otherwise."""
    words = ("finetune", make_artifact(), "--data", photos, "--out", tmp_path / "s", "--epochs", 1)
    run(*words)
    refused = run(*words, "--resume", "--momentum", 0, code=2)
    assert "--momentum 0.0: the state" in refused
    assert "was begun with 0.9" in refused
    assert "begin a new run from it" in refused
    assert "--seed 7" in run(*words, "--resume", "--seed", 7, code=2)
    assert "give --replan" in run(*words, "--resume", "--micro-batch", 4, code=2)


@pytest.mark.parametrize("more", [(), ("--drop-after", 1), ("--hold-out", 0)])
def test_a_bad_photo_can_be_removed_and_the_run_goes_on(make_artifact, photos, tmp_path, more):  # noqa: F811
    """The advice of the message works: the run resumes with the others, and what was held out is never trained on."""
    mine, out = tmp_path / "mine", tmp_path / "s"
    shutil.copytree(photos, mine)
    words = ("finetune", make_artifact(), "--data", mine, "--out", out, "--epochs", 4, "--engine", HERE[0], *more)
    run_killed(4, *words)
    held = held_out_files(out, mine)
    bad = [path for path in sorted(mine.rglob("*.png")) if path not in held][-1]
    content = bad.read_bytes()
    bad.write_bytes(content[:45] + bytes(len(content) - 45))  # as long as before, and its header whole: a lost sector
    refused = run(*words, "--resume", code=2)
    assert bad.name in refused
    assert "remove or replace it" in refused
    bad.unlink()
    write_photos(mine, 120, 3)
    done = mest(*words, "--resume", "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert "1 samples removed, 3 added" in done.stderr
    result = json.loads(done.stdout)
    assert result["samples_train"] + result["samples_held_out"] == 122
    assert held_out_files(out, mine) == held
    lists = [path.name for path in out.iterdir() if path.name.startswith("samples-")]
    assert lists == [read_facts(out)["samples"]]
    assert run(*words, "--resume")["steps"] == result["steps"]


def held_out_files(state, folder):
    """The photos that a state holds out, by the list that lies beside it."""
    from edge.data.folder import FolderSource
    from edge.data.sample_list import SampleList

    source = FolderSource(folder, [str(digit) for digit in range(10)])
    listed = SampleList.read(state / read_facts(state)["samples"])
    keys = set(listed.keys[listed.split.held_out].tolist())
    return {source.path(number) for number, key in enumerate(source.keys().tolist()) if key in keys}


def test_other_data_are_refused_whatever_their_labels(make_artifact, photos, tmp_path):  # noqa: F811
    """Photos replaced by copies of one, and an npz with other pixels: the labels are the same, the images are not."""
    words = ("finetune", make_artifact(), "--out", tmp_path / "s", "--epochs", 2)
    run_killed(2, *words, "--data", photos)
    copies = tmp_path / "copies"
    shutil.copytree(photos, copies)
    one = sorted(copies.rglob("*.png"))[0]
    for path in sorted(copies.rglob("*.png"))[1:]:
        path.write_bytes(one.read_bytes())
    refused = run(*words, "--data", copies, "--resume", code=2)
    assert "begun with other data" in refused
    assert "begin a new run on these" in refused
    images, labels = digits(200, shift=1)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    np.savez(tmp_path / "b.npz", images=255 - images, labels=labels)
    words = ("finetune", make_artifact(), "--out", tmp_path / "npz", "--epochs", 2)
    run_killed(2, *words, "--data", tmp_path / "a.npz")
    assert "begun with other data" in run(*words, "--data", tmp_path / "b.npz", "--resume", code=2)
    run(*words, "--data", tmp_path / "a.npz", "--resume")


def test_a_state_of_an_earlier_version_still_resumes(make_artifact, photos, tmp_path):  # noqa: F811
    """It knows its labels alone; it ends with the weights of an unbroken run and then knows its samples."""
    whole, old = tmp_path / "whole", tmp_path / "old"
    words = ("finetune", make_artifact(), "--data", photos, "--epochs", 2)
    run(*words, "--out", whole)
    run_killed(2, *words, "--out", old)
    saved = read_state(old)
    from edge.data.folder import FolderSource
    from edge.files.digest import sha256

    digest = sha256()
    digest.update(FolderSource(photos, [str(digit) for digit in range(10)]).labels.data.cast("B"))
    facts = {name: value for name, value in saved.facts.items() if name not in ("samples", "held_out_by")}
    write_state(old, {**facts, "data": digest.hexdigest()}, saved.tensors)
    next(old.glob("samples-*.bin")).unlink()
    run(*words, "--out", old, "--resume")
    for name, array in read_state(whole).tensors.items():
        np.testing.assert_array_equal(array, read_state(old).tensors[name], err_msg=name)
    assert read_facts(old)["samples"] == read_facts(whole)["samples"]


@pytest.mark.parametrize("saved", ["bfloat16", "int8"])
def test_a_run_goes_on_with_what_it_keeps_in_fewer_bits(make_artifact, photos, tmp_path, saved):  # noqa: F811
    """Resumed without the option it ends as an unbroken run; a state without the choice is float32's."""
    words = ("finetune", make_artifact(), "--data", photos, "--epochs", 2, "--engine", "native")
    run(*words, "--saved", saved, "--out", tmp_path / "whole")
    run_killed(2, *words, "--saved", saved, "--out", tmp_path / "broken")
    run(*words, "--resume", "--out", tmp_path / "broken")
    whole, broken = (read_state(tmp_path / name) for name in ("whole", "broken"))
    assert whole.facts["choices"]["saved"] == broken.facts["choices"]["saved"] == saved
    for name, array in whole.tensors.items():
        np.testing.assert_array_equal(array, broken.tensors[name], err_msg=name)
    choices = {name: value for name, value in whole.facts["choices"].items() if name != "saved"}
    write_state(tmp_path / "whole", {**whole.facts, "choices": choices}, whole.tensors)
    assert read_facts(tmp_path / "whole")["choices"]["saved"] == "float32"
    assert "begun with float32" in run(
        *words, "--resume", "--epochs", 3, "--saved", saved, "--out", tmp_path / "whole", code=2
    )


def test_an_altered_list_of_samples_is_found(make_artifact, photos, tmp_path):  # noqa: F811
    """By name, exit 4, as every other file of a state."""
    words = ("finetune", make_artifact(), "--data", photos, "--out", tmp_path / "s", "--epochs", 1)
    run(*words)
    path = next((tmp_path / "s").glob("samples-*.bin"))
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert path.name in run(*words, "--resume", code=4)
    path.unlink()
    assert "copy the whole state directory" in run(*words, "--resume", code=4)
