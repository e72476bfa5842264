"""Runs that go on when their board restarts: what is written for cron and systemd, and when it is removed again."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.install import jobs
from edge.install.boot import Cron, Systemd, continue_on_boot, let_lie_on_boot
from edge.install.jobs import Job
from edge.install.restarted import let_all_lie, resume
from edge.install.versions import Board

WORDS = ["/bin/sh", "-I", '/tmp/a b/50% of $HOME/it\'s "here"\\.pyz', "resume", "0123456789abcdef"]
CRONTAB = """#!/bin/sh
case $1 in
-l) cat "{file}" ;;
-) cat >"{file}" ;;
esac
"""


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch) -> Path:
    """The file that a `crontab` on the path keeps its lines in; it is not there yet."""
    tool, file = tmp_path / "bin" / "crontab", tmp_path / "crontab lines"
    tool.parent.mkdir()
    tool.write_text(CRONTAB.format(file=file))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return file


def test_a_line_of_cron(crontab: Path) -> None:
    """It runs the words as they are, is written once however often it is asked for, and other lines stay."""
    cron = Cron()
    cron.write("one", WORDS)
    crontab.write_text("0 5 * * * backup # one of mine\n" + crontab.read_text())
    cron.write("two", WORDS)
    cron.write("one", WORDS)
    mine, *lines = crontab.read_text().splitlines()
    assert mine == "0 5 * * * backup # one of mine"
    assert sorted(line.rpartition(" # ")[2] for line in lines) == ["one", "two"]
    command = lines[0].removeprefix("@reboot ").replace("\\%", "%")  # as cron does before the shell sees it
    said = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == WORDS
    cron.remove("two")
    cron.remove("one")
    cron.remove("one")
    assert crontab.read_text().splitlines() == [mine]


def test_a_unit_of_systemd(tmp_path: Path, monkeypatch) -> None:
    """It is enabled for the start of the system, holds the words as they are, and leaves nothing when it is removed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    systemd = Systemd()
    systemd.write("one", WORDS)
    systemd.write("one", WORDS)
    unit = tmp_path / "config" / "systemd" / "user" / "one.service"
    wanted = unit.parent / "default.target.wants" / "one.service"
    assert wanted.resolve() == unit.resolve()
    (line,) = (line for line in unit.read_text().splitlines() if line.startswith("ExecStart="))
    found = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert found == WORDS
    if shutil.which("systemd-analyze") is not None:
        around = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        words = ["systemd-analyze", "verify", "--user", str(unit)]
        done = subprocess.run(words, env=around, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "Failed to initialize manager" in done.stderr, done.stderr
    systemd.remove("one")
    systemd.remove("one")
    assert [path for path in unit.parent.rglob("*") if not path.is_dir()] == []


def test_systemd_is_taken_where_it_starts_units_without_a_login(tmp_path: Path, crontab: Path, monkeypatch) -> None:
    """Cron otherwise; a board with neither is told what it lacks, and nothing is written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "bin" / "loginctl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "loginctl").chmod(0o755)
    run = tmp_path / "jobs" / "0123456789abcdef"
    run.mkdir(parents=True)
    ways = (Systemd(tmp_path / "systemd", tmp_path / "linger"), Cron())
    assert continue_on_boot(run, WORDS, ways) == "cron"
    let_lie_on_boot(run, ways)
    (tmp_path / "systemd").mkdir()
    assert continue_on_boot(run, WORDS, ways) == "cron"  # nobody lingers
    let_lie_on_boot(run, ways)
    assert crontab.read_text() == ""
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / getpass.getuser()).touch()
    assert continue_on_boot(run, WORDS, ways) == "systemd"
    let_lie_on_boot(run, ways)
    assert list(run.iterdir()) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="has no cron, and no systemd"):
        continue_on_boot(run, WORDS, (Systemd(tmp_path / "nowhere", tmp_path), Cron()))
    assert list(run.iterdir()) == []


@pytest.fixture
def run_of(tmp_path: Path, crontab: Path, monkeypatch):
    """A function from the text of a version's `start` to a run of it that cron would continue."""
    monkeypatch.setattr(Job, "supervise", _in_a_child(Job.supervise))
    board = Board(tmp_path / "board")

    def make(start: str) -> Job:
        folder = board.version("1-a")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "start").write_text(f"#!/bin/sh\n{start}\n")
        (folder / "start").chmod(0o755)
        job = Job(board, "0123456789abcdef")
        job.describe("1-a", [])
        assert continue_on_boot(job.folder, job.command("resume"), (Cron(),)) == "cron"
        return job

    return make


def _in_a_child(supervise):
    """The same in a process of its own, whose standard output and locks end with it."""

    def run(job: Job) -> None:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                supervise(job)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    return run


@pytest.mark.parametrize(("code", "stays"), [(0, False), (2, False), (143, True), (130, True)])
def test_a_run_goes_on_until_it_has_ended(run_of, crontab: Path, code: int, stays: bool) -> None:
    """One that was stopped, as a board that shuts down does, is continued at the next start."""
    job = run_of(f"exit {code}")
    resume(job)
    ended = job.ended()
    assert ended is not None
    assert ended["code"] == code
    assert bool(crontab.read_text()) is stays
    run_of("exit 0")
    resume(job)
    assert job.ended() == (ended if not stays else {**job.ended(), "code": 0})
    assert crontab.read_text() == ""


def test_a_run_that_brings_the_board_down_is_let_lie(run_of, crontab: Path, monkeypatch) -> None:
    """After three starts that found the same state; a new state counts anew."""
    job = run_of("exit 0")
    begun = []
    monkeypatch.setattr(Job, "supervise", lambda self: begun.append(self.number))  # dies without a word
    for _ in range(2):
        resume(job)
    job.state_file.parent.mkdir()
    job.state_file.write_text("{}")
    for _ in range(3):
        resume(job)
    assert len(begun) == 5
    assert crontab.read_text()
    resume(job)
    assert len(begun) == 5
    assert crontab.read_text() == ""
    assert "not continued" in (job.folder / jobs._SAID).read_text()


def test_going_back_lets_every_run_lie(run_of, crontab: Path) -> None:
    """And only what was written for them is removed."""
    job = run_of("exit 0")
    crontab.write_text(crontab.read_text() + "@daily mine\n")
    let_all_lie(job.board)
    assert crontab.read_text() == "@daily mine\n"
