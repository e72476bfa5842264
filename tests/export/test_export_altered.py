"""A field of a description, altered or deleted and signed again, ends in an answer or a refusal, never a traceback."""

from __future__ import annotations

import copy
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import export.restore
from edge.files.digest import file_sha256
from edge.handover.manifest import MANIFEST
from edge.handover.state import STATE_FILE, _check
from export.checks.observe import native_missing
from export.ort.files import missing
from mest.cli import main

pytestmark = pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
MANY = settings().max_examples
DONE, REFUSED, OVER_BUDGET, DAMAGED = 0, 2, 3, 4

numbers = st.one_of(st.integers(-3, 70), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5), st.sampled_from(["sgd", "csr", "native"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)


@pytest.fixture(scope="module", autouse=True)
def nothing_captured() -> Iterator[None]:
    """The way back without its inference.onnx: tracing the model is what takes time, and reads none of the files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.restore, "_write_inference", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its artifact, a state of each engine with its record, images and one image."""
    folder = tmp_path_factory.mktemp("altered")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    names = np.array([str(digit) for digit in range(10)])
    np.savez(folder / "data.npz", images=images, labels=np.arange(40) % 10, class_names=names)
    Image.fromarray(images[0]).save(folder / "one.png")
    run, artifact = str(folder / "run"), str(folder / "art")
    arguments = ["--model", "digits", "--data", "digits", "--sparsity", "0.8", "--scheme", "channel", "--epochs", "1"]
    assert main(["train", *arguments, "--out", run]) == DONE
    assert main(["export", run, "--out", artifact]) == DONE
    engines = ["native"] if missing() is not None else ["native", "ort"]
    for engine in engines:
        tune = ["finetune", artifact, "--data", str(folder / "data.npz"), "--epochs", "1", "--threads", "1"]
        assert main([*tune, "--engine", engine, "--out", str(folder / f"state-{engine}")]) == DONE
    return folder


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field and entry of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def altered(content: Any, place: tuple[Any, ...], new: Any, delete: bool) -> Any:
    """The content with one place replaced or deleted."""
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if delete:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return content


def sign_manifest(artifact: Path) -> None:
    """Make the manifest vouch for the files as they are, as somebody who alters them would."""
    path = artifact / MANIFEST
    content = json.loads(path.read_text())
    if isinstance(content, dict) and isinstance(content.get("files"), dict):
        for name, facts in content["files"].items():
            if isinstance(facts, dict) and "sha256" in facts and isinstance(name, str) and (artifact / name).is_file():
                facts.update(sha256=file_sha256(artifact / name), bytes=(artifact / name).stat().st_size)
    path.write_text(json.dumps(content))


def sign_state(content: dict[str, Any]) -> dict[str, Any]:
    """The description of a state with the checksum that fits it."""
    content.pop("check", None)
    return {**content, "check": _check(content)}


def exit_code(*arguments: object) -> int:
    """How a command ends; an exception that it lets through fails the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def state_beside(art: Path, made: Path) -> Path:
    """A state that finds the artifact beside itself and not where it was."""
    state = art.parent / "state"
    shutil.copytree(made / "state-native", state)
    content = json.loads((state / STATE_FILE).read_text())
    content["facts"]["artifact"]["path"] = str(made / "nowhere" / "art")
    (state / STATE_FILE).write_text(json.dumps(sign_state(content)))
    return state


ON_ARTIFACT: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "plan": lambda art, made, out: ("plan", art, "--memory-budget", "64MiB", "--threads", 1),
    "plan ort": lambda art, made, out: ("plan", art, "--engine", "ort", "--threads", 1),
    "eval": lambda art, made, out: ("eval", art, "--data", made / "data.npz", "--threads", 1),
    "eval ort": lambda art, made, out: ("eval", art, "--data", made / "data.npz", "--engine", "ort", "--threads", 1),
    "predict": lambda art, made, out: ("predict", art, made / "one.png"),
    "finetune": lambda art, made, out: (
        *("finetune", art, "--data", made / "data.npz", "--epochs", 1, "--out", out, "--threads", 1),
        *("--mutate", "em", "--mutate-every", 1),
    ),
    "profile": lambda art, made, out: ("profile", art, "--steps", 1, "--out", out, "--threads", 1),
    "verify": lambda art, made, out: ("verify", art),
    "cut": lambda art, made, out: ("export", art, "--for", "native", "--out", out),
    "back": lambda art, made, out: ("export", state_beside(art, made), "--out", out),
}
ON_STATE: dict[str, Callable[[Path, Path, Path], tuple[object, ...]]] = {
    "eval": lambda state, made, out: ("eval", state, "--data", made / "data.npz", "--threads", 1),
    "predict": lambda state, made, out: ("predict", state, made / "one.png"),
    "back": lambda state, made, out: ("export", state, "--out", out),
    "resume": lambda state, made, out: (
        *("finetune", made / "art", "--data", made / "data.npz", "--out", state),
        *("--resume", "--epochs", 1, "--threads", 1),
    ),
}


def try_it(copied: Path, file: Path, content: Any, sign: Callable[[], None], command: tuple[object, ...]) -> None:
    """Write the altered content, sign it, and run the command."""
    file.write_text(json.dumps(content))
    sign()
    code = exit_code(*command)
    assert code in (DONE, REFUSED, OVER_BUDGET, DAMAGED), command


@settings(max_examples=3 * MANY)
@given(data=st.data())
def test_altered_random_fields_of_an_artifact_are_answered_or_refused(made: Path, data: st.DataObject) -> None:
    """manifest.json and network.json, opened by every command that takes an artifact."""
    name = data.draw(st.sampled_from([MANIFEST, "network.json"]))
    content = json.loads((made / "art" / name).read_text())
    place = data.draw(st.sampled_from(sorted(places(content), key=str)))
    content = altered(content, place, data.draw(values), data.draw(st.booleans()))
    command = data.draw(st.sampled_from(sorted(ON_ARTIFACT)))
    work = made / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made / "art", work / "art")
    try_it(
        work,
        work / "art" / name,
        content,
        lambda: sign_manifest(work / "art"),
        ON_ARTIFACT[command](work / "art", made, work / "out"),
    )


@settings(max_examples=2 * MANY)
@given(data=st.data())
def test_altered_random_fields_of_a_state_are_answered_or_refused(made: Path, data: st.DataObject) -> None:
    """state.json of both engines, evaluated and resumed."""
    name = data.draw(st.sampled_from(sorted(path.name for path in made.glob("state-*"))))
    content = json.loads((made / name / STATE_FILE).read_text())
    place = data.draw(st.sampled_from(sorted(places(content), key=str)))
    content = sign_state(altered(content, place, data.draw(values), data.draw(st.booleans())))
    command = data.draw(st.sampled_from(sorted(ON_STATE)))
    work = made / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made / name, work)
    try_it(work, work / STATE_FILE, content, lambda: None, ON_STATE[command](work, made, work / "out"))


@settings(max_examples=MANY)
@given(data=st.data())
def test_altered_random_fields_of_a_record_are_answered_or_refused(made: Path, data: st.DataObject) -> None:
    """record.json, drawn as a page."""
    content = json.loads((made / "state-native" / "record.json").read_text())
    place = data.draw(st.sampled_from(sorted(places(content), key=str)))
    content = altered(content, place, data.draw(values), data.draw(st.booleans()))
    file = made / "record.json"
    try_it(made, file, content, lambda: None, ("profile", file, "--out", made / "page"))


@settings(max_examples=MANY)
@given(data=st.data())
def test_altered_random_fields_of_a_run_are_answered_or_refused(made: Path, data: st.DataObject) -> None:
    """run.json, evaluated, and as the run that a state goes back to."""
    content = json.loads((made / "run" / "run.json").read_text())
    del content["result"]
    place = data.draw(st.sampled_from(sorted(places(content), key=str)))
    content = altered(content, place, data.draw(values), data.draw(st.booleans()))
    work = made / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made / "run", work)
    try_it(work, work / "run.json", content, lambda: None, ("eval", work, "--data", "digits"))
