"""The frame of the command line: help, usage errors, refusals, signals."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

import mest.cli as cli
from mest.cli.command import Command, Context, Stopped
from mest.errors import DamagedError, InputError


def run_with(monkeypatch: pytest.MonkeyPatch, work: Any, *flags: str) -> int:
    class Probe(Command):
        """Probe."""

        name = "board"

        def run(self, args: Any, context: Context) -> dict[str, Any]:
            return work(context)

        def show(self, result: dict[str, Any]) -> str:
            return "text"

    monkeypatch.setattr(cli, "load", lambda name: Probe())
    return cli.main(["board", *flags])


def test_help_lists_every_command() -> None:
    """`mest --help` names all commands and costs no import of torch."""
    code = (
        "import sys; from mest.cli import main\ntry:\n main(['--help'])\nfinally:\n assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert {*cli.SUMMARIES} <= {line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")}


@pytest.mark.parametrize("name", sorted(cli.SUMMARIES))
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`mest COMMAND --help` prints its options, --json and --seed among them."""
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert "--json" in printed
    assert "--seed" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "mest: trian: no such command; did you mean train; allowed are demo, "),
        (["board", "--jsn"], "mest board: --jsn: no such option; did you mean --json; see 'mest board --help'"),
        (["board", "--xyz", "3"], "mest board: --xyz 3: no such option; see 'mest board --help'"),
        (["board", "more"], "mest board: more: not expected; see 'mest board --help'"),
        (["--versoin"], "mest: --versoin: no such option; did you mean --version; see 'mest --help'"),
    ],
)
def test_an_unknown_word_is_a_usage_error_of_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown word ends with exit code 2 and one line that names the nearest known one."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_json_is_one_object_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json standard output holds one object; messages go to standard error."""

    def work(context: Context) -> dict[str, Any]:
        context.say("hello")
        return {"a": 1}

    assert run_with(monkeypatch, work, "--json") == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == {"a": 1}
    assert "hello" in out.err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (InputError("given, allowed, do"), 2),
        (DamagedError("changed"), 4),
        (OSError(errno.ENOSPC, "No space left on device", "x.pt"), 2),
        (ModuleNotFoundError("no", name="torch"), 2),
    ],
)
def test_a_refusal_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: Exception, code: int
) -> None:
    """Each refusal prints one line without a traceback and returns its own code."""

    def work(context: Context) -> dict[str, Any]:
        raise raised

    assert run_with(monkeypatch, work) == code
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("mest board: ")
    assert out.err.count("\n") == 1


def test_our_own_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is nobody's refusal is not dressed up as one."""

    def work(context: Context) -> dict[str, Any]:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_with(monkeypatch, work)


def test_a_signal_is_seen_at_the_next_poll_and_sets_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM turns the stop flag on; a command that then stops returns 143."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def work(context: Context) -> dict[str, Any]:
        assert not context.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert context.stop()
        raise Stopped("continue with --resume")

    try:
        assert run_with(monkeypatch, work) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_import_of_mest_is_lazy() -> None:
    """`import mest` loads neither torch nor numpy."""
    code = "import sys, mest; assert not {'torch', 'numpy', 'yaml'} & set(sys.modules); mest.__version__"
    subprocess.run([sys.executable, "-c", code], check=True)
