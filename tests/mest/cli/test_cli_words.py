"""What the command line says: choices in the help, quiet and verbose, progress in a log, the command of a plan."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mest.cli as cli
from mest.cli.command import Command, Context
from mest.cli.finetune import _EpochLines
from mest.cli.plan import finetune_command
from mest.cli.train import _progress
from mest.tasks.registry import TASKS
from mest.train.options import GROUPS, OneOf, switch


def helped(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_help_names_every_choice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of options with few values, and true or false where an option is one by itself."""
    monkeypatch.setenv("COLUMNS", "500")
    shown = helped("train", capsys)
    for option in (option for options in GROUPS.values() for option in options):
        if isinstance(option.parse, OneOf):
            assert f"--{option.key} {'|'.join(option.parse.choices)}" in shown, option.key
        if option.parse is switch:
            assert f"--{option.key} [true|false]" in shown, option.key


@pytest.mark.parametrize("name", sorted(cli.SUMMARIES))
def test_every_command_can_be_quiet_and_verbose(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """-q and -v stand in the help of each."""
    shown = helped(name, capsys)
    assert "-q, --quiet" in shown
    assert "-v, --verbose" in shown


@pytest.mark.parametrize(("flags", "lines"), [([], 1), (["-q"], 0), (["-v"], 3), (["-q", "-v"], 0)])
def test_quiet_says_nothing_and_verbose_more(
    flags: list[str], lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error; the result stands alone on standard output in any case."""

    class Probe(Command):
        """Probe."""

        def run(self, args: Any, context: Context) -> dict[str, Any]:
            context.say("half way")
            return {}

        def show(self, result: dict[str, Any]) -> str:
            return "result"

    monkeypatch.setattr(cli, "load", lambda name: Probe())
    assert cli.main(["board", *flags]) == 0
    out = capsys.readouterr()
    assert out.out == "result\n"
    assert out.err.count("\n") == lines


def test_a_log_gets_a_line_for_each_epoch_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal too, and without bars."""
    record = SimpleNamespace(
        epoch=3, train_loss=0.5, train_accuracy=0.75, validation_accuracy=None, samples_removed=0, samples_restored=0
    )
    record.weight_sparsity, record.seconds = 0.9, 1.0
    for quiet, lines in ((False, 1), (True, 0)):
        watch, epoch_done = _progress(
            Context(lambda: False, progress=False, quiet=quiet), TASKS["classification"].metric
        )
        assert list(watch(range(3), 3, "epoch 3")) == [0, 1, 2]
        epoch_done(record)
        said = capsys.readouterr().err
        assert said.count("\n") == lines
        assert not lines or said.startswith("epoch 3: loss 0.5000")


def test_a_log_gets_a_line_for_each_epoch_of_fine_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    """With the last step of each, the epoch that was left in between too."""
    lines = _EpochLines(Context(lambda: False, progress=False))
    for step, epoch in enumerate((0, 0, 1, 1, 2)):
        lines(SimpleNamespace(step=step, epoch=epoch, progress=0.1, loss=1.0, seconds_left=None, resident_bytes=None))
    lines.close()
    said = capsys.readouterr().err.splitlines()
    assert said == [f"epoch {epoch}: step {step}, loss 1.0000" for epoch, step in ((0, 1), (1, 3), (2, 4))]


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (["art"], "mest finetune art --data DATA --out STATE"),
        (
            [
                "an art",
                "--memory-budget",
                "64MiB",
                "--mutate",
                "ems",
                "--data",
                "photos",
                "--board",
                "b.json",
                "--json",
            ],
            "mest finetune 'an art' --data photos --memory-budget 64MiB --mutate ems --out STATE",
        ),
        (
            ["art", "--exact", "--nesterov", "--micro-batch", "8", "--engine", "native", "--seed", "3", "-q"],
            "mest finetune art --data DATA --seed 3 --engine native --micro-batch 8 --nesterov --exact --out STATE",
        ),
    ],
)
def test_a_plan_names_the_command_that_it_describes(given: list[str], command: str) -> None:
    """Every option that plan and finetune share, as given, and finetune takes it."""
    args = cli.build_parser("plan").parse_args(["plan", *given])
    assert finetune_command(args) == command
    again = cli.build_parser("finetune").parse_args(shlex.split(command)[1:])
    for name in ("memory_budget", "mutate", "exact", "nesterov", "micro_batch", "engine"):
        assert getattr(again, name) == getattr(args, name)


def test_the_readme_plans_what_it_fine_tunes() -> None:
    """Its two lines hold the same options."""
    lines = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8").splitlines()
    words = {name: next(line for line in lines if line.startswith(f"mest {name} ")) for name in ("plan", "finetune")}
    args = cli.build_parser("plan").parse_args(shlex.split(words["plan"], comments=True)[1:])
    assert finetune_command(args).replace("STATE", "state") == words["finetune"].strip()
