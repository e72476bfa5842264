"""`mest bundle FILE.mest`, and what a shell makes of its file where there is no Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from compiled_example import Compiled, compiled, mest_run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_networks import resnet

import mest.cli as cli
from edge.libmest import library
from edge.libmest.targets import TARGETS
from edge.plan.search import Request
from export.deploy.without_python import read_runner_bundle

HERE = f"linux-{os.uname().machine}"
OTHER = next(target for target in TARGETS if target != HERE)
# All that a board has: none of it is Python.
TOOLS = ("sh", "tail", "tar", "sha256sum", "sed", "mv", "ln", "rm", "mkdir", "uname", "date", "tr", "readlink", "sync")
TOOLS += ("dirname",)
pytestmark = [
    pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}"),
    pytest.mark.skipif(HERE not in TARGETS, reason=f"programs are built for {', '.join(TARGETS)}"),
]


@pytest.fixture
def example(tmp_path: Path) -> Compiled:
    """A compiled plan and its data."""
    network = resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact = write_artifact(tmp_path / "artifact", network)
    images = write_images(tmp_path / "images.npz", network, 24)
    return compiled(tmp_path, artifact, images, Request(batch_size=8, micro_batch=8), epochs=1)


def bundled(example: Compiled, program: Path, out: Path, *more: object, capsys) -> dict:
    """The JSON object of a bundle that was made."""
    words = ("bundle", example.plan, "--target", HERE, "--runner", program, "--out", out, *more, "--json", "-q")
    assert cli.main([str(word) for word in words]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def on_board(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command where there is nothing but a few tools of a small system."""
    tools = home / "bin"
    if not tools.exists():
        tools.mkdir(parents=True)
        for name in TOOLS:
            found = os.environ.get("MEST_BUSYBOX") or shutil.which(name)  # one program that is all of them, if named
            assert found, f"needs {name}"
            (tools / name).symlink_to(found)
    around = {"HOME": str(home), "PATH": str(tools)}
    command = [str(word) for word in words]
    return subprocess.run(command, cwd=home, env=around, capture_output=True, text=True, check=False, timeout=120)


def done(home: Path, *words: object) -> str:
    """What a command prints that ends well."""
    ended = on_board(home, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_it_installs_and_trains(mest_run: Path, example: Compiled, tmp_path: Path, capsys) -> None:  # noqa: F811
    """By the commands of a board with Python; the state is that of the program and the plan by themselves."""
    made = bundled(example, mest_run, tmp_path / "one.bundle", capsys=capsys)
    assert (made["version"], made["target"], made["python"], made["files"]) == (1, HERE, None, 3)
    home = tmp_path / "home"
    assert done(home, "sh", tmp_path / "one.bundle", "check") == f"version 1 for {HERE}, whole\n"
    said = done(home, "sh", tmp_path / "one.bundle", "install", "--place", "board")
    assert said == f"1-{made['identity'][:12]} is active; use {home}/board/active/start COMMAND OPTIONS\n"
    start = home / "board" / "active" / "start"
    ours = json.loads(done(home, start, "train", "--data", example.data, "--state", home / "run.state", "--json"))
    assert ours["steps"] == 3
    example.run(mest_run, "train", "--state", tmp_path / "run.state")
    assert (home / "run.state").read_bytes() == (tmp_path / "run.state").read_bytes()
    assert json.loads(done(home, start, "info", "--json"))
    assert done(home, "sh", tmp_path / "one.bundle", "install", "--place", "board") == said


def test_versions_go_up_and_back(mest_run: Path, example: Compiled, tmp_path: Path, capsys) -> None:  # noqa: F811
    """Side by side behind one link; an older one is refused, and one goes back on purpose."""
    home, file, old = tmp_path / "home", tmp_path / "one.bundle", tmp_path / "old.bundle"
    one = bundled(example, mest_run, file, capsys=capsys)
    whole = file.read_bytes()
    assert bundled(example, mest_run, file, capsys=capsys) == one
    assert file.read_bytes() == whole
    shutil.copyfile(file, old)
    assert on_board(home, "sh", file, "back").returncode == 2
    done(home, "sh", file, "install")
    program = tmp_path / "other-run"
    program.write_bytes(mest_run.read_bytes() + b"\0")
    program.chmod(0o755)
    two = bundled(example, program, file, capsys=capsys)
    assert (two["version"], two["identity"] != one["identity"]) == (2, True)
    done(home, "sh", file, "install")
    active = home / ".mest" / "active"
    assert active.readlink().name == f"2-{two['identity'][:12]}"
    refused = on_board(home, "sh", old, "install")
    assert (refused.returncode, "version 2 was active here already" in refused.stderr) == (4, True)
    assert done(home, "sh", file, "back") == f"1-{one['identity'][:12]} is active again\n"
    assert active.readlink().name == f"1-{one['identity'][:12]}"
    assert len(list((home / ".mest" / "versions").iterdir())) == 2
    same = tmp_path / "same.bundle"
    bundled(example, mest_run, same, "--bundle-version", 2, capsys=capsys)
    assert on_board(home, "sh", same, "install").returncode == 4
    assert active.readlink().name == f"1-{one['identity'][:12]}"


def test_what_was_altered_is_refused(mest_run: Path, example: Compiled, tmp_path: Path, capsys) -> None:  # noqa: F811
    """On the workstation whatever mest bundle would not have written, on the board what its digest denies."""
    home, file = tmp_path / "home", tmp_path / "one.bundle"
    bundled(example, mest_run, file, capsys=capsys)
    assert cli.main(["bundle", "--check", str(file), "-q"]) == 0
    whole = file.read_bytes()
    begin = whole.index(b"\nexit\n") + 6
    spots = [*range(11, begin, begin // 40), *range(begin, len(whole), len(whole) // 40), len(whole) - 1]
    bad = tmp_path / "bad.bundle"
    for spot in spots:
        bad.write_bytes(whole[:spot] + bytes([whole[spot] ^ 1]) + whole[spot + 1 :])
        assert cli.main(["bundle", "--check", str(bad), "-q"]) == 4, spot
    for length in (20, begin - 1, begin, begin + 513, len(whole) - 1):
        bad.write_bytes(whole[:length])
        assert cli.main(["bundle", "--check", str(bad), "-q"]) == 4, length
    for content in (whole[:-1], whole[: begin + 700] + b"?" + whole[begin + 701 :], whole + b"\0"):
        bad.write_bytes(content)
        refused = on_board(home, "sh", bad, "install")
        assert (refused.returncode, "SHA-256" in refused.stderr) == (4, True)
    assert not (home / ".mest").exists()
    found = read_runner_bundle(file)
    replace(found, plan=found.plan[:-1] + bytes([found.plan[-1] ^ 1])).write(bad)
    refused = on_board(home, "sh", bad, "install")
    assert (refused.returncode, refused.stderr.count("\n")) == (4, 1), refused.stderr
    assert list((home / ".mest" / "versions").iterdir()) == []


def test_where_it_is_not_for(mest_run: Path, example: Compiled, tmp_path: Path, capsys) -> None:  # noqa: F811
    """A board that asks for signatures, one that cannot run the program, a day that is over: each in one line."""
    home, file = tmp_path / "home", tmp_path / "one.bundle"
    bundled(example, mest_run, file, "--expires", "2020-01-31", capsys=capsys)
    refused = on_board(home, "sh", file, "install")
    assert (refused.returncode, "was to be installed until 2020-01-31" in refused.stderr) == (4, True)
    bundled(example, mest_run, file, "--expires", "2099-12-31", capsys=capsys)
    (home / "signed").mkdir()
    (home / "signed" / "allowed_signers").touch()
    refused = on_board(home, "sh", file, "install", "--place", "signed")
    assert (refused.returncode, "carries no signature" in refused.stderr) == (4, True)
    found = read_runner_bundle(file)
    replace(found, program=found.program[:64] + b"\xff" * 64).write(file)
    refused = on_board(home, "sh", file, "install")
    assert (refused.returncode, "does not run here" in refused.stderr) == (2, True), refused.stderr
    assert list((home / ".mest" / "versions").iterdir()) == []
    refused = on_board(home, "sh", file, "install", "--into", "x")
    assert (refused.returncode, "allowed is --place DIR" in refused.stderr) == (2, True)


def test_words_that_do_not_fit(mest_run: Path, example: Compiled, tmp_path: Path, capsys) -> None:  # noqa: F811
    """Options of boards with Python, targets and programs of others: exit code 2 in one line."""
    base = ("bundle", example.plan, "--out", tmp_path / "x", "-q")
    for words, wanted in {
        ("--target", HERE, "--wheels", tmp_path): "is for a board with Python",
        ("--target", "musl-x86_64"): "a board without Python is one of",
        ("--target", OTHER, "--runner", mest_run): f"is no program for {OTHER}",
        ("--target", HERE, "--runner", tmp_path / "none"): "give what 'mest runner",
    }.items():
        assert cli.main([str(word) for word in (*base, *words)]) == 2
        said = capsys.readouterr().err
        assert wanted in said, said
        assert said.count("\n") == 1
    words = ("bundle", example.artifact, "--out", tmp_path / "x", "--target", HERE, "--runner", mest_run, "-q")
    assert cli.main([str(word) for word in words]) == 2
    assert "give a compiled plan" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
