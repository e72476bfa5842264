"""What `mest deploy` refuses before it connects to anything, and what it takes from a board that lies."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

import mest.cli as cli
from export.deploy.home import fetch, listed
from export.deploy.targets import TARGETS, target_of
from mest.errors import DamagedError, InputError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "train"], "train: boards run finetune"),
        (["--", "finetune"], "required: --data"),
        (["--", "finetune", "--data", "digits", "--out", "there"], "--out: is decided by deploy"),
        (["--", "finetune", "--data", "digits", "--resume"], "--resume: is decided by deploy"),
        (["--", "finetune", "--data", "digits", "--epoch-count", "3"], "--epoch-count"),
        (["--", "finetune", "--data", "digits", "--epochs", "0"], "--epochs 0: must be"),
        (["--", "finetune", "--data", "nowhere"], "data nowhere: no such folder or file; give board:PATH"),
        (["--check", "--rollback"], "--check: says what a deployment would do"),
        (["board"], "named twice"),
        (["pi:2", "pi_2"], "two boards would write into the same folder"),
        (["boards.html"], "two boards would write into the same folder"),
        (["--boards", "list.yaml"], "board: name boards or give a list of them by --boards, not both"),
        (["--no-resume-on-boot"], "--no-resume-on-boot: applies to a run; give -- finetune OPTIONS"),
        (["--health-drop", "0.1"], "--health-drop: needs --health-data"),
        (["--health-data", "digits", "--rollback"], "--health-data: checks an installation"),
        (["--health-data", "nowhere"], "data nowhere: no such folder or file"),
        (["--group", "attic"], "--group: applies to a list of boards; give --boards FILE"),
        (["other", "third", "--stage", "1,50%"], "--stage 1,50%: leaves out 1 of 3 boards"),
        (["--at-once", "0"], "--at-once 0: must be 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, words: list[str], said: str, capsys) -> None:
    """Exit code 2 and one line, with no connection made."""
    try:
        code = cli.main(["deploy", str(tmp_path), "board", *words])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("board", ["-oProxyCommand=touch evil", ""])
def test_a_board_is_no_option_of_ssh(tmp_path: Path, board: str, capsys) -> None:
    """A name that ssh would take for an option is refused."""
    try:
        code = cli.main(["deploy", str(tmp_path), "good", board])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert not (tmp_path / "evil").exists()


def test_a_board_without_wheels_is_named() -> None:
    """With what there are wheels for."""
    for target in TARGETS.values():
        assert target_of(target.machine, target.library, 64) is target
    for machine, library, bits in (("armv7l", "glibc", 32), ("aarch64", "glibc", 32), ("riscv64", "musl", 64)):
        with pytest.raises(InputError, match=f"a {bits}-bit one for {machine} with {library}, for which numpy has no"):
            target_of(machine, library, bits)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("android-aarch64", "lacks Android's C library"),
        ("linux-armv7l", "no numpy for 32-bit boards"),
        ("linux-i686", "no numpy for 32-bit boards"),
        ("windows", "no such kind of board; allowed are linux-x86_64"),
    ],
)
def test_a_kind_of_board_without_bundles_is_refused(tmp_path: Path, name: str, said: str, capsys) -> None:
    """With its reason, before anything is made."""
    code = cli.main(["bundle", str(tmp_path), "--target", name, "--out", str(tmp_path / "b")])
    told = capsys.readouterr().err
    assert code == 2
    assert told.startswith(f"mest bundle: --target {name}: ")
    assert said in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "state/../../evil", ".bashrc", "state/a/b", "", "a\nb"])
def test_a_board_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    """A file that no run leaves is refused, and nothing is fetched."""
    with pytest.raises(DamagedError, match="nothing was fetched"):
        listed({name: {"sha256": "0" * 64, "bytes": 1}}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_board_cannot_fill_the_disk(tmp_path: Path) -> None:
    """More than there is room for is refused before anything comes, and no more comes than was listed."""
    with pytest.raises(InputError, match="do not fit"):
        listed({"answer.json": {"sha256": "0" * 64, "bytes": 2**60}}, tmp_path)
    members = listed({"answer.json": {"sha256": "0" * 64, "bytes": 100}}, tmp_path)
    more = iter([b"x" * 4096] * 10)
    with pytest.raises(Exception, match="SHA-256 differs"):
        fetch(members, tmp_path, lambda member, offset: more)
    assert not (tmp_path / "answer.json").exists()
    assert [path.name for path in tmp_path.rglob("*")] == [".coming"]


@pytest.mark.parametrize("lying", ["nothing", "all under its name", "all without its name", "half"])
def test_a_fetch_that_was_cut_goes_on(tmp_path: Path, lying: str) -> None:
    """Wherever it was: what came is not asked for again, and the file is there afterwards and nothing else."""
    content = bytes(range(200))
    digest = sha256(content).hexdigest()
    coming = tmp_path / ".coming"
    coming.mkdir()
    there = {"nothing": b"", "half": content[:100]}.get(lying, content)
    (coming / (digest if lying == "all under its name" else f"{digest}.part")).write_bytes(there)
    members = listed({"answer.json": {"sha256": digest, "bytes": len(content)}}, tmp_path)
    fetch(members, tmp_path, lambda member, offset: iter([content[offset:]] if offset < len(content) else []))
    assert [path.name for path in tmp_path.iterdir()] == ["answer.json"]
    assert (tmp_path / "answer.json").read_bytes() == content
