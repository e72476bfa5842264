"""`mest bundle`, and what its file does on a board that has nothing but Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from board_wheels import PYTHON, write_wheels
from finetune_example import digits, make_artifact  # noqa: F401 - a fixture

import mest.cli as cli
from edge.install.versions import Board
from export.deploy.program import program, zipped

HERE = f"linux-{os.uname().machine}"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """The folder that bundles take their wheels from."""
    return write_wheels(tmp_path_factory.mktemp("board") / "wheels")


@pytest.fixture
def artifact(make_artifact, tmp_path: Path) -> Path:  # noqa: F811
    """An artifact of its own, to be altered."""
    return Path(shutil.copytree(make_artifact(), tmp_path / "artifact"))


def mest(*words: object, capsys) -> dict:
    """The JSON object of a command that ends well."""
    assert cli.main([str(word) for word in (*words, "--json", "-q")]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def bundled(artifact: Path, wheels: Path, out: Path, *more: object, capsys) -> dict:
    return mest("bundle", artifact, "--target", HERE, "--wheels", wheels, "--out", out, *more, capsys=capsys)


def on_board(file: Path, *words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The bundle run by Python alone, from another folder, with nothing of this environment."""
    home.mkdir(exist_ok=True)
    base = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
    around = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    words = (str(base), str(file), *words)
    return subprocess.run(words, cwd=home, env=around, capture_output=True, text=True, check=False)


def test_the_same_input_gives_the_same_bytes(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """A bundle that is there already is renewed: its version grows if it does something else, and not otherwise."""
    one = bundled(artifact, wheels, tmp_path / "a", capsys=capsys)
    bundled(artifact, wheels, tmp_path / "b", capsys=capsys)
    whole = (tmp_path / "a").read_bytes()
    assert whole == (tmp_path / "b").read_bytes()
    assert bundled(artifact, wheels, tmp_path / "a", capsys=capsys) == one
    assert whole == (tmp_path / "a").read_bytes()
    other = rewritten(artifact)
    two = bundled(other, wheels, tmp_path / "a", capsys=capsys)
    assert (one["version"], two["version"]) == (1, 2)
    assert two["identity"] != one["identity"]
    assert mest("bundle", "--check", tmp_path / "a", capsys=capsys) == two


def rewritten(artifact: Path) -> Path:
    """The artifact with another note in its manifest, which is no part of what it computes."""
    path = artifact / "manifest.json"
    content = json.loads(path.read_text())
    content["tools"]["note"] = content["tools"].get("note", "") + "again"
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return artifact


def test_it_installs_and_runs_offline(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """Check, install, fine-tune, a second version, and back; repeating a step changes nothing."""
    images, labels = digits(60, shift=1)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    bundled(artifact, wheels, tmp_path / "one", capsys=capsys)
    bundled(rewritten(artifact), wheels, tmp_path / "two", "--bundle-version", 2, capsys=capsys)
    home, board = tmp_path / "home", Board(tmp_path / "home" / ".mest")
    done = on_board(tmp_path / "one", "check", home=home)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    for _ in range(2):
        done = on_board(tmp_path / "one", "install", home=home)
        assert done.returncode == 0, done.stderr
        (first,) = board.installed()
        assert board.active() == first
    start = [board.root / "active" / "start"]
    tune = ["finetune", "--data", tmp_path / "data.npz", "--out", home / "state", "--epochs", "1", "--json"]
    done = subprocess.run([*start, *tune], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["zeros_kept"] is True
    assert on_board(tmp_path / "two", "install", home=home).returncode == 0
    assert board.active() != first
    assert len(list((board.root / "environments").iterdir())) == 1  # the wheels are the same
    older = on_board(tmp_path / "one", "install", home=home)
    assert older.returncode == 4
    assert "versions only grow" in older.stderr
    assert on_board(tmp_path / "two", "back", home=home).returncode == 0
    assert board.active() == first


def test_a_version_that_does_not_verify_is_not_activated(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """The one before it stays active, and the refusal has exit code 4."""
    bundled(artifact, wheels, tmp_path / "one", capsys=capsys)
    home, board = tmp_path / "home", Board(tmp_path / "home" / ".mest")
    assert on_board(tmp_path / "one", "install", home=home).returncode == 0
    first = board.active()
    _spoil(artifact)
    bundled(artifact, wheels, tmp_path / "two", "--bundle-version", 2, capsys=capsys)
    done = on_board(tmp_path / "two", "install", home=home)
    assert done.returncode == 4
    assert "was not activated" in done.stderr
    assert board.active() == first


class _Hostile:
    """What would make a folder if it were unpickled."""

    def __init__(self, sign: Path) -> None:
        self._sign = sign

    def __reduce__(self):
        return os.mkdir, (str(self._sign),)


def test_a_hostile_pickle_in_a_bundle_is_not_run(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """In the arrays of an artifact that its manifest vouches for, where the board's check reads them: exit code 4."""
    hostile = np.array([_Hostile(tmp_path / "sign")], dtype=object)
    _spoil(artifact, lambda arrays: {**arrays, "logits": hostile})
    bundled(artifact, wheels, tmp_path / "one", capsys=capsys)
    home = tmp_path / "home"
    done = on_board(tmp_path / "one", "install", home=home)
    assert done.returncode == 4
    assert "was not activated" in done.stderr
    assert Board(home / ".mest").active() is None
    assert not (tmp_path / "sign").exists()
    assert np.load(artifact / "reference.npz", allow_pickle=True)["logits"].shape == (1,)
    assert (tmp_path / "sign").exists()  # what a reader that trusts it runs


def _spoil(artifact: Path, alter: Callable[[dict], dict] | None = None) -> None:
    """Give the artifact answers that its network does not give, vouched for by its manifest."""
    path = artifact / "reference.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(alter(arrays) if alter else {**arrays, "logits": arrays["logits"] + 1}))
    manifest = artifact / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["reference.npz"] = {
        "sha256": sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }
    manifest.write_text(json.dumps(content))


def test_signed_by_an_allowed_key(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """Who signed is told; an unsigned bundle and a stranger's end with exit code 4."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen (Debian: openssh-client)")
    for name in ("anna", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    allowed = tmp_path / "allowed_signers"
    allowed.write_text(f"anna@lab {(tmp_path / 'anna.pub').read_text()}")
    for name in ("anna", "eve"):
        made = bundled(artifact, wheels, tmp_path / f"{name}.bundle", "--sign", tmp_path / name, capsys=capsys)
        assert made["signed"] is True
    bundled(artifact, wheels, tmp_path / "none.bundle", capsys=capsys)
    found = mest("bundle", "--check", tmp_path / "anna.bundle", "--allowed-signers", allowed, capsys=capsys)
    assert found["signer"] == "anna@lab"
    for name in ("eve", "none"):
        words = ["bundle", "--check", str(tmp_path / f"{name}.bundle"), "--allowed-signers", str(allowed)]
        assert cli.main(words) == 4
        assert "sign" in capsys.readouterr().err


@pytest.mark.parametrize("altered", ["bit", "cut", "text"])
def test_damaged_bundles_end_with_4(artifact: Path, wheels: Path, tmp_path: Path, altered: str, capsys) -> None:
    """On the workstation and on the board, with one line, and nothing is written."""
    bundled(artifact, wheels, tmp_path / "one", capsys=capsys)
    content = bytearray((tmp_path / "one").read_bytes())
    content[-2000] ^= 1
    (tmp_path / "bad").write_bytes({"bit": bytes(content), "cut": content[:-1], "text": b"text" * 99}[altered])
    assert cli.main(["bundle", "--check", str(tmp_path / "bad")]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1
    if altered == "bit":  # what Python cannot read as an archive it does not run
        done = on_board(tmp_path / "bad", "install", home=tmp_path / "home")
        assert done.returncode != 0
    assert not (tmp_path / "home" / ".mest").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "linux-riscv64"], "allowed are linux-x86_64, musl-x86_64, linux-aarch64, musl-aarch64"),
        (["--target", HERE, "--python", "2.7"], "--python 2.7: must be a version from 3.10 on"),
        (["--target", HERE, "--expires", "tomorrow"], "--expires tomorrow: is not a date"),
        (["--target", HERE, "--bundle-version", "0"], "--bundle-version 0: must be 1 or more"),
        (["--target", HERE, "--check", "x"], "--target, --out, --wheels: makes a bundle"),
        (["--target", HERE, "--wheels", "nowhere"], "--wheels nowhere: no such folder"),
    ],
)
def test_what_cannot_be_made_is_said(
    artifact: Path, wheels: Path, words: list[str], said: str, tmp_path, capsys
) -> None:
    """Exit code 2, one line, and no file."""
    given = ["bundle", str(artifact), "--wheels", str(wheels), "--out", str(tmp_path / "out"), *words]
    assert cli.main(given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_is_missing_is_named(artifact: Path, wheels: Path, tmp_path: Path, capsys) -> None:
    """Exit code 2 and the package that no wheel was found for."""
    few = Path(shutil.copytree(wheels, tmp_path / "few"))
    next(few.glob("pillow*")).unlink()
    given = ["bundle", str(artifact), "--target", HERE, "--wheels", str(few), "--out", str(tmp_path / "out"), "-q"]
    assert cli.main(given) == 2
    assert "pillow" in capsys.readouterr().err.lower()


def test_the_program_of_a_board_needs_python_alone(tmp_path: Path) -> None:
    """It runs isolated, outside of any environment, and holds all that it imports."""
    (tmp_path / "program").write_bytes(zipped(program("main")))
    base = Path(sys.base_prefix) / "bin" / f"python{PYTHON}"
    words = [str(base), "-I", str(tmp_path / "program"), "install"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert done.returncode == 4  # a program alone is no bundle
    assert "does not begin with bundle.json" in done.stderr
