"""One message in two spellings: a program reads the names of fields, a user of the command line those of options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.plan.choices import OptimizerChoice
from edge.plan.search import Request
from edge.run.settings import Settings
from edge.spelling import named, spelled
from mest import cli
from mest.cli.spelling import option

ROOT = Path(__file__).parents[3]
OPTION = re.compile(r"""["' (]--[a-z][a-z-]+""")
COMMANDS = ("mest finetune", "mest export", "mest board", "mest train")  # commands that a message quotes whole
OTHERS = ("words = [", "words += [", "command = [")  # the arguments of another program
ITSELF = "edge/install/main.py"  # a program with options of its own
STORED = "BY_SHARE, BY_MARK"  # what states record, whoever wrote them


@pytest.mark.parametrize(
    ("wrong", "field", "as_option"),
    [
        (lambda: Request(micro_batch=64), "micro_batch 64: must be", "--micro-batch 64: must be"),
        (lambda: Request(batch_size=0), "batch_size 0: must be", "--batch-size 0: must be"),
        (lambda: Settings(learning_rate=-1), "learning_rate -1: must be", "--lr -1: must be"),
        (lambda: Settings(schedule="up"), "schedule up: allowed", "--lr-scheduler up: allowed"),
        (lambda: Settings(patience=1, hold_out=0), "give hold_out above 0", "give --hold-out above 0"),
        (
            lambda: OptimizerChoice(nesterov=True, momentum=0.0),
            "nesterov needs a momentum above 0; give one, or nesterov=False",
            "--nesterov needs a --momentum above 0; give one, or --no-nesterov",
        ),
    ],
)
def test_a_refusal_speaks_to_its_reader(wrong, field: str, as_option: str) -> None:
    """The same sentence; neither reader meets the other's names."""
    with pytest.raises(InputError, match=re.escape(field)) as refused:
        wrong()
    assert "--" not in str(refused.value)
    with spelled(option), pytest.raises(InputError, match=re.escape(as_option)):
        wrong()


def test_a_command_leaves_programs_their_own_spelling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Within one process too: `main` may be called from a program."""
    assert cli.main(["plan", str(tmp_path), "--batch-size", "0"]) == 2
    assert "--batch-size 0: must be" in capsys.readouterr().err
    assert named("batch_size") == "batch_size"


def test_every_setting_that_a_message_names_is_an_option_of_a_command() -> None:
    """What a refusal tells a user to give can be given."""
    sources = [path.read_text(encoding="utf-8") for room in ("edge", "export") for path in (ROOT / room).rglob("*.py")]
    settings = {match for text in sources for match in re.findall(r"""named\(["']([a-z_0-9]+)["']""", text)}
    options: set[str] = set()
    for name in cli.SUMMARIES:
        parser = argparse.ArgumentParser(conflict_handler="resolve")
        cli.load(name).configure(parser)
        options |= {flag for action in parser._actions for flag in action.option_strings}
    assert len(settings) > 20
    assert not sorted(option(name) for name in settings if option(name) not in options)


@pytest.mark.parametrize("package", ["edge", "export", "mest/ranking"])
def test_libraries_do_not_speak_of_options(package: str) -> None:
    """No message of theirs spells one, but where it quotes a whole command."""
    wrong = []
    for path in sorted({*(ROOT / package).rglob("*.py")} - {ROOT / ITSELF}):
        code = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text(encoding="utf-8"))
        lines = [line.partition("  # ")[0] for line in code.splitlines() if not line.lstrip().startswith("#")]
        found = [line.strip() for line in lines if OPTION.search(line)]
        wrong += [
            f"{path.name}: {line}" for line in found if not any(word in line for word in (*COMMANDS, *OTHERS, STORED))
        ]
    assert not wrong, "\n".join(wrong)
