"""A directory that one process writes at a time: the newcomer is told who holds it, and death releases it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest
from finetune_example import environment, make_artifact, mest, shifted  # noqa: F401 - fixtures

from edge.engines.available import engine_available
from edge.errors import InputError
from edge.files.lock import LOCK_FILE, holding
from edge.handover.state import read_facts
from edge.plan.choices import ENGINES

HERE = [name for name in ENGINES if engine_available(name)[0]]

HOLD = """
import sys, time
from pathlib import Path
from edge.files.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path/s until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "s")], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_newcomer_is_told_who_holds_it_until_that_one_dies(tmp_path, holder):
    """By number, host and time; a kill releases it, and whoever comes then cleans up."""
    with pytest.raises(InputError, match=f"process {holder.pid} on {os.uname().nodename} has been writing it since"):
        holding(tmp_path / "s").__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with holding(tmp_path / "s") as locked:
        assert locked
        assert str(os.getpid()) in (tmp_path / "s" / LOCK_FILE).read_text()
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")
def test_two_runs_on_one_state_do_not_meet(make_artifact, shifted, tmp_path, holder):  # noqa: F811
    """The second ends with exit 2 and the first one's number, whether it resumes or begins."""
    words = ("finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "s", "--epochs", 1)
    for more in ((), ("--resume",)):
        done = mest(*words, *more)
        assert done.returncode == 2
        assert (f"process {holder.pid} on" in done.stderr) == (more == ()) or "holds no saved state" in done.stderr
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert mest(*words).returncode == 0
    assert read_facts(tmp_path / "s")["position"]["finished"]
    assert not (tmp_path / "s" / LOCK_FILE).exists()


def test_a_run_of_training_holds_its_directory_too(tmp_path, holder):
    """`mest train --out` beside another process in the same place."""
    pytest.importorskip("torch", reason="needs PyTorch to train")
    words = ("train", "--model", "digits", "--data", "digits", "--epochs", 1, "--out", tmp_path / "s")
    done = mest(*words)
    assert done.returncode == 2
    assert f"process {holder.pid} on" in done.stderr


def test_one_at_a_time_among_many(tmp_path):
    """Forty threads that come and go, removing the file each time: never two inside at once."""
    inside, most, entered = [0], [0], [0]
    count = threading.Lock()

    def come():
        for _ in range(25):
            try:
                with holding(tmp_path / "s"):
                    with count:
                        inside[0] += 1
                        entered[0] += 1
                        most[0] = max(most[0], inside[0])
                    with count:
                        inside[0] -= 1
            except InputError:
                continue

    threads = [threading.Thread(target=come) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert entered[0] > 0


def test_a_refusal_leaves_no_folder_behind(tmp_path):
    """What was made and stayed empty goes again; what was there stays."""
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "new" / "deep" / "s", tmp_path / "there"):
        with pytest.raises(ValueError, match="wrong"), holding(folder):
            raise ValueError("wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_file_system_without_locks_is_no_reason_to_stop(tmp_path, monkeypatch):
    """Some network file systems grant none: the block runs, and is told so."""

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with holding(tmp_path / "s") as locked:
        assert not locked
        (tmp_path / "s" / "file").write_text("")
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    """As on a read-only mount: one line with the reason."""

    def refuse(*arguments, **more):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"Read-only file system.*give another place"):
        holding(tmp_path / "s").__enter__()
